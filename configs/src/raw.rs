//! What may be written in a recipe: the keys of the reference, and ours, each with its type.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::error::{ConfigError, Place};
use crate::foreign;
pub use crate::scalar::Nullable;
use crate::scalar::{FromYaml, describe};
use crate::yaml::{assignment, mapping};

/// Declares one field per key, and what goes key by key: the list of names, and setting one by name.
macro_rules! keys {
    ($($(#[$doc:meta])* $key:ident: $type:ty,)*) => {
        /// One recipe as written: `None` where a key is not given.
        #[derive(Debug, Clone, Default, Serialize)]
        #[allow(non_snake_case)] // flops_d_T and flops_q_T are the reference's names
        pub struct RawConfig {
            $($(#[$doc])*
            #[serde(skip_serializing_if = "Option::is_none")]
            pub $key: Option<$type>,)*
            /// Keys of [`foreign`] in the recipe, with their values.
            #[serde(skip)]
            pub foreign: Vec<(String, Value)>,
            /// The recipe itself.
            #[serde(skip)]
            pub path: PathBuf,
            /// Where each key was written.
            #[serde(skip)]
            pub places: BTreeMap<String, Place>,
        }

        impl RawConfig {
            /// Every key that is honoured.
            pub const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];

            /// Sets one key; `Ok(false)` where the key is none of [`Self::KEYS`].
            fn set(&mut self, key: &str, value: &Value) -> Result<bool, WrongType> {
                match key {
                    $(stringify!($key) => self.$key = typed(value)?,)*
                    _ => return Ok(false),
                }
                Ok(true)
            }

            /// Whether one of [`Self::KEYS`] is given.
            pub(crate) fn is_given(&self, key: &str) -> bool {
                match key {
                    $(stringify!($key) => self.$key.is_some(),)*
                    _ => false,
                }
            }

            /// Takes one of [`Self::KEYS`] back.
            pub(crate) fn unset(&mut self, key: &str) {
                match key {
                    $(stringify!($key) => self.$key = None,)*
                    _ => {}
                }
            }
        }
    };
}

keys! {
    /// A model directory, or a Hub id, `ORG/NAME[@REVISION]`.
    model_name_or_path: String,
    /// Where the tokenizer comes from (default: the model).
    tokenizer_name: String,
    /// Start from random weights; only config.json and the tokenizer of the model are read (default: false). Ours.
    init_from_scratch: bool,
    /// Queries are looked up in the IDF table, no model runs (default: true).
    inf_free: bool,
    /// The IDF table, which may be an address of the Hub, `hf://...`; `"null"` is null.
    idf_path: String,
    /// Train the IDF table (default: false).
    idf_requires_grad: bool,
    /// Learning rate of the IDF table (default: learning_rate).
    idf_lr: f64,
    /// relu, l1_relu, l2_relu, l3_relu (default: relu).
    activation_type: String,
    /// true is `activation_type: l1_relu`, false is relu.
    use_l0: bool,
    /// Keep weights above this share of the row's largest.
    prune_ratio: f32,
    /// to_lower, blank_prefix, blank_prefix_lower; `"null"` is null.
    preprocess_func: String,
    /// Overrides the dropout of the model's config.json. Ours.
    dropout: f64,
    /// Logit below which a vocabulary entry starts at zero: taken from the decoder's bias before the first step (default:
    /// 0; where the checkpoint has no masked-LM head 2.0, but for mlm, since a constant says nothing about which token it
    /// is). Ours.
    head_threshold: f64,
    /// Adds each token's IDF, but at most this, to the decoder's bias before the first step (default: nothing). Ours.
    head_idf_cap: f64,

    /// Parts of the model that are not trained, by their path, as `head.transform` (default: none). Ours.
    freeze: Vec<String>,

    /// One data set: a JSON lines or Parquet file, a save_to_disk directory, or the address of one, `hf://...`.
    train_file: String,
    /// A folder of data sets, or its address.
    train_file_dir: String,
    /// kd, posnegs, kd-ids, mlm (default: kd).
    data_type: String,
    /// kd: documents per query; posnegs: negatives per query, beside the positive (default: 2).
    sample_num_one_query: usize,
    /// Longest training sequence in tokens (default: 512).
    max_seq_length: usize,
    /// Longest sequence in evaluation (default: 512).
    eval_max_seq_length: usize,
    /// kd rows whose `first_rank` exceeds this are dropped (default: 10000).
    first_rank_thresh: usize,
    /// Random swaps in each kd row's ranking before grouping (default: 0).
    swap_times: usize,

    /// mlm: share of the tokens that are to be guessed (default: 0.15). Ours.
    mlm_probability: f64,
    /// mlm: mask words with all of their `##` pieces (default: false). Ours.
    mlm_whole_word: bool,
    /// mlm: join documents with \[SEP\] and cut them into sequences of max_seq_length (default: false). Ours.
    mlm_packed: bool,
    /// mlm: texts to evaluate on, as train_file (default: none). Ours.
    mlm_eval_file: String,

    /// kldiv, marginmse, infonce; several are summed (default: kldiv).
    loss_types: Vec<String>,
    /// What each of `loss_types` is multiplied by, in their order (default: 1 each). Ours.
    loss_weights: Vec<f64>,
    /// Times each ranking loss (default: 1).
    ranking_loss_weight: f64,
    /// Score every query against every document of the batch (default: false).
    use_in_batch_negatives: bool,
    /// Scores are divided by it (default: 1).
    temperature: f64,
    /// Teacher scores are multiplied by it (default: 1).
    score_scale: f64,
    /// lambda of the documents' FLOPS (default: 1e-3).
    flops_d_lambda: f64,
    /// Steps until the documents' lambda is at full strength (default: 10000).
    flops_d_T: usize,
    /// lambda of the queries' FLOPS; siamese only.
    flops_q_lambda: f64,
    /// Steps until the queries' lambda is at full strength (default: flops_d_T); siamese only.
    flops_q_T: usize,
    /// Only rows with more non-zero weights are penalised.
    flops_threshold: f64,
    /// One more log1p inside FLOPS (default: false).
    decouple_activation: bool,
    /// slots, documents (default: slots). Ours.
    flops_reduction: String,
    /// Zero the special tokens' weights in training too (default: false). Ours.
    mask_special_tokens: bool,
    /// Teachers that score every batch: types, model_ids, teacher_tokenizer_ids and score_scale, or teachers and
    /// score_scale as in a file of teachers (default: none).
    kd_ensemble_teacher_kwargs: Value,

    /// Peak learning rate (default: 5e-5).
    learning_rate: f64,
    /// Decoupled weight decay (default: 0).
    weight_decay: f64,
    /// Leave biases and LayerNorm weights undecayed (default: false). Ours.
    weight_decay_exclude_bias_and_norm: bool,
    /// First-moment decay (default: 0.9).
    adam_beta1: f64,
    /// Second-moment decay (default: 0.999).
    adam_beta2: f64,
    /// Denominator offset (default: 1e-8).
    adam_epsilon: f64,
    /// Bound on the global gradient norm (default: 1); null or 0 is no bound.
    max_grad_norm: Nullable<f64>,
    /// linear, cosine, constant, constant_with_warmup (default: linear).
    lr_scheduler_type: String,
    /// Warm-up in steps (default: 0); 0 leaves it to warmup_ratio.
    warmup_steps: usize,
    /// Warm-up as a share of all steps (default: 0).
    warmup_ratio: f64,
    /// Micro-batches per optimizer step (default: 1).
    gradient_accumulation_steps: usize,
    /// Texts encoded at a time where a batch's activations do not fit into memory; the loss is over the whole batch, and
    /// gradients are the same (default: all at once). Saves memory with `dropout: 0`. Ours.
    grad_cache_docs: usize,

    /// Receives configs, logs, checkpoints and the final model.
    output_dir: String,
    /// Write into an output_dir that already holds a run (default: false).
    overwrite_output_dir: bool,
    /// Optimizer steps; -1 leaves it to num_train_epochs (default: -1).
    max_steps: i64,
    /// Passes over the data (default: 3).
    num_train_epochs: f64,
    /// Queries per batch (default: 8).
    per_device_train_batch_size: usize,
    /// Documents per batch in evaluation (default: 8).
    per_device_eval_batch_size: usize,
    /// Drop the last, smaller batch of an epoch (default: false).
    dataloader_drop_last: bool,
    /// Initialisation and dropout (default: 42).
    seed: u64,
    /// Order of the data (default: seed).
    data_seed: u64,
    /// Steps between rows of metrics.jsonl (default: 500).
    logging_steps: usize,
    /// debug, info, warning, error, critical, passive (default: passive, which is info).
    log_level: String,
    /// steps, no (default: steps).
    save_strategy: String,
    /// Steps between checkpoints (default: 500).
    save_steps: usize,
    /// Checkpoints kept (default: all).
    save_total_limit: usize,
    /// BEIR directories to evaluate on, or their addresses (default: none). Ours.
    eval_data: Vec<String>,
    /// steps, no (default: steps where eval_steps is given).
    eval_strategy: String,
    /// Steps between evaluations (default: logging_steps).
    eval_steps: usize,
    /// Evaluate the untrained model first (default: true, unlike Hugging Face's).
    eval_on_start: bool,
    /// float16 on the GPU (default: false).
    fp16: bool,
    /// bfloat16 on the GPU (default: false).
    bf16: bool,
    /// Recompute activations in the backward pass (default: false).
    gradient_checkpointing: bool,
    /// true continues the newest checkpoint of output_dir (default: false).
    resume_from_checkpoint: Value,
}

/// What a key expected and did not get.
struct WrongType(&'static str);

/// `null` is "not given" for most keys.
fn typed<T: FromYaml>(value: &Value) -> Result<Option<T>, WrongType> {
    if value.is_null() && !T::NULL_IS_A_VALUE {
        return Ok(None);
    }
    T::from_yaml(value).map(Some).ok_or(WrongType(T::EXPECTED))
}

impl RawConfig {
    /// Reads the recipe at `path` and applies the overrides, each `key=value`, in order.
    ///
    /// # Errors
    /// See [`crate::load`]; values are checked for their type only.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            what: "recipe",
            source,
        })?;
        Self::parse(path, &text, overrides)
    }

    /// As [`Self::read`], with the text at hand; `path` is only named in errors.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn parse(path: &Path, text: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        let mut raw = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        for (line, key, value) in mapping(path, text)? {
            raw.take(key, value, Place::Line(path.to_owned(), line))?;
        }
        for text in overrides {
            let (key, value) = assignment(text)?;
            raw.take(key, value, Place::Override(text.clone()))?;
        }
        Ok(raw)
    }

    /// Files one key away by kind: honoured, foreign, or unknown.
    fn take(&mut self, key: String, value: Value, place: Place) -> Result<(), ConfigError> {
        match self.set(&key, &value) {
            Ok(true) => {}
            Ok(false) if foreign::find(&key).is_some() => {
                self.foreign.retain(|(known, _)| *known != key);
                self.foreign.push((key.clone(), value));
            }
            Ok(false) => {
                let suggestion = nearest(&key);
                return Err(ConfigError::UnknownKey {
                    place,
                    key,
                    suggestion,
                });
            }
            Err(WrongType(expected)) => {
                return Err(ConfigError::WrongType {
                    place,
                    key,
                    expected,
                    found: describe(&value),
                });
            }
        }
        self.places.insert(key, place);
        Ok(())
    }

    /// Where `key` was written; the file where it was not.
    pub(crate) fn place(&self, key: &str) -> Place {
        let place = self.places.get(key).cloned();
        place.unwrap_or_else(|| Place::File(self.path.clone()))
    }

    /// The error for a value of `key` that cannot be.
    pub(crate) fn refused(&self, key: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::Refused {
            place: self.place(key),
            key: key.to_owned(),
            reason: reason.into(),
        }
    }

    /// Refuses the value of `key` unless `ok`.
    pub(crate) fn require(&self, ok: bool, key: &str, reason: &str) -> Result<(), ConfigError> {
        if ok {
            Ok(())
        } else {
            Err(self.refused(key, reason))
        }
    }

    /// The warning for a value of `key` that has no effect.
    pub(crate) fn warning(&self, key: &str, reason: &str) -> String {
        format!("{}: {key}: {reason}", self.place(key))
    }

    /// The keys that are given, as YAML, in the order of [`Self::KEYS`].
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).expect("plain values always serialize")
    }
}

/// The known key that `key` is most likely meant to be.
fn nearest(key: &str) -> Option<&'static str> {
    const LIKELY: f64 = 0.8;
    let foreign = foreign::KEYS.iter().map(|foreign| foreign.key);
    let near = RawConfig::KEYS.iter().copied().chain(foreign);
    near.map(|known| (strsim::jaro_winkler(key, known), known))
        .filter(|(similarity, _)| *similarity >= LIKELY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, overrides: &[&str]) -> Result<RawConfig, ConfigError> {
        let overrides: Vec<_> = overrides.iter().map(|text| (*text).to_owned()).collect();
        RawConfig::parse(Path::new("r.yaml"), text, &overrides)
    }

    #[test]
    fn errors_name_line_and_key() {
        let cases = [
            ("a: [1\nb: 2\n", &[][..], "r.yaml:"),
            (
                "- a\n- b\n",
                &[],
                "r.yaml:1: expected `key: value` lines in YAML",
            ),
            (
                "just text\n",
                &[],
                "r.yaml:1: expected `key: value` lines in YAML",
            ),
            ("", &[], "r.yaml: the recipe is empty"),
            ("# only a comment\n", &[], "r.yaml: the recipe is empty"),
            (
                "seed: 1\nseed: 2\n",
                &[],
                "r.yaml:2: expected `key: value` lines in YAML, but `seed` is written twice",
            ),
            (
                "seed: 1\nlerning_rate: 1\n",
                &[],
                "r.yaml:2: unknown key `lerning_rate`; did you mean `learning_rate`?",
            ),
            ("zzz: 1\n", &[], "r.yaml:1: unknown key `zzz`"),
            (
                "seed: 1\n\nlearning_rate: fast\n",
                &[],
                "r.yaml:3: learning_rate: expected a number, found the text \"fast\"",
            ),
            (
                "max_seq_length: [1]\n",
                &[],
                "r.yaml:1: max_seq_length: expected a whole number of 0 or more, found the list [1]",
            ),
            ("seed: 1\n", &["seed"], "--set seed: there is no `=`"),
            ("seed: 1\n", &["seed=[1"], "--set seed=[1: "),
            (
                "seed: 1\n",
                &["sed=1"],
                "--set sed=1: unknown key `sed`; did you mean `seed`?",
            ),
            (
                "seed: 1\n",
                &["seed=x"],
                "--set seed=x: seed: expected a whole number",
            ),
        ];
        for (text, overrides, expected) in cases {
            let message = parse(text, overrides).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{text:?}: {message}");
        }
    }

    #[test]
    fn overrides_win_and_null_unsets() {
        let raw = parse(
            "seed: 1\nsave_total_limit: 3\nloss_types: [kldiv]\n",
            &[
                "seed=7",
                "save_total_limit=",
                "loss_types=[infonce]",
                "seed=9",
            ],
        )
        .unwrap();
        assert_eq!(raw.seed, Some(9));
        assert_eq!(raw.save_total_limit, None);
        assert_eq!(raw.loss_types, Some(vec!["infonce".to_owned()]));
    }

    #[test]
    fn null_gradient_norm_is_not_the_default() {
        assert_eq!(parse("seed: 1", &[]).unwrap().max_grad_norm, None);
        let raw = parse("max_grad_norm: null", &[]).unwrap();
        assert_eq!(raw.max_grad_norm, Some(Nullable::Null));
    }
}
