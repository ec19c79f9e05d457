//! From a model directory to a [`MaskedLm`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

use super::checkpoint::Checkpoint;
use super::fill::fill;
use super::inventory::Inventory;
use super::keys::Head;
use super::{ImportError, WeightType, config, head};
use crate::config::EncoderConfig;
use crate::masked_lm::MaskedLm;

/// What may differ from the files.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportOptions {
    /// Logit below which a vocabulary entry starts at zero, where the checkpoint has no masked-LM head: the
    /// new decoder bias is its negative.
    pub head_threshold: f64,
    /// Overrides both dropout probabilities of `config.json`.
    pub dropout: Option<f64>,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            head_threshold: 2.0,
            dropout: None,
        }
    }
}

/// What was found in the weights' files.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportReport {
    /// The weights' file, or the index of its parts.
    pub path: PathBuf,
    /// Types of the weights that were read.
    pub weight_types: BTreeSet<WeightType>,
    /// Whether the decoder is the word embeddings.
    pub tied: bool,
    /// Keys that were not in the file and got fresh values: the masked-LM head's, or none.
    pub initialised: Vec<String>,
    /// Keys in the file that the model has no use for: buffers, and heads of other tasks.
    pub unused: Vec<String>,
}

/// Loads the model in `dir`, one tensor at a time.
///
/// The decoder is tied to the word embeddings where the file has none or one that equals them bit for bit.
/// A checkpoint without any masked-LM head gets one that passes the hidden states on, and the report says so.
/// Besides the model, at most one tensor in its stored form is in memory (nothing but a small block for
/// safetensors files).
///
/// # Errors
///
/// Everything in [`ImportError`]; a checkpoint is refused as a whole unless every tensor in it is understood
/// and every parameter of the model is there, in the right shape and finite.
pub fn load(
    dir: &Path,
    options: &ImportOptions,
    device: &Device,
) -> Result<(MaskedLm, EncoderConfig, ImportReport), ImportError> {
    let config = effective_config(dir, options)?;
    let checkpoint = Checkpoint::open(dir)?;
    let mut inventory = Inventory::new(&checkpoint, &config, Head::MaskedLm)?;
    let tied = inventory.tie_decoder(&config)?;

    let mut model = config.init(device);
    if !tied {
        let shape = [config.vocab_size, config.hidden_size];
        model.head.decoder = Some(Initializer::Zeros.init(shape, device));
    }
    let initialised = inventory.check(&model, &config)?;
    let weight_types = inventory.weight_types()?;

    let mut model = fill(model, &inventory, &config)?;
    if !initialised.is_empty() {
        head::pass_through(&mut model, options.head_threshold);
    }
    let report = ImportReport {
        path: checkpoint.path.clone(),
        weight_types,
        tied,
        initialised,
        unused: inventory.unused,
    };
    Ok((model, config, report))
}

/// A freshly initialised model of the shape that `config.json` in `dir` says; weights are not read. Its head
/// passes the hidden states on, which start out close to the word embeddings: matching words is where training
/// begins, not what it must learn first.
///
/// The same seed of `device` gives the same weights.
pub fn from_scratch(
    dir: &Path,
    options: &ImportOptions,
    device: &Device,
) -> Result<(MaskedLm, EncoderConfig), ImportError> {
    let config = effective_config(dir, options)?;
    let mut model = config.init(device);
    // Parameters draw their values on first use; drawing them here fixes the order.
    model.visit(&mut Draw);
    head::pass_through(&mut model, options.head_threshold);
    Ok((model, config))
}

fn effective_config(dir: &Path, options: &ImportOptions) -> Result<EncoderConfig, ImportError> {
    let mut config = config::load_config(dir)?;
    if let Some(dropout) = options.dropout {
        config.hidden_dropout = dropout;
        config.attention_dropout = dropout;
    }
    Ok(config)
}

struct Draw;

impl ModuleVisitor for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        param.val();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::fixture::{Weights, model_dir, read_weights, write_weights};
    use super::super::named_parameters;
    use super::*;
    use crate::config::Family;

    fn load_dir(dir: &Path) -> Result<(MaskedLm, EncoderConfig, ImportReport), ImportError> {
        load(dir, &ImportOptions::default(), &Device::flex())
    }

    fn parameters(dir: &Path, family: Family) -> Weights {
        let (model, ..) = load_dir(dir).unwrap();
        named_parameters(&model, family)
            .into_iter()
            .map(|(key, shape, values)| (key, (shape, values)))
            .collect()
    }

    /// Rewrites the weights of a fresh BERT directory.
    fn altered(alter: impl FnOnce(&mut Weights)) -> (tempfile::TempDir, PathBuf) {
        let (guard, dir) = model_dir(Family::Bert);
        let path = dir.join("model.safetensors");
        let mut weights = read_weights(&path);
        alter(&mut weights);
        write_weights(&path, &weights);
        (guard, dir)
    }

    #[test]
    fn every_parameter_gets_its_value_from_the_file() {
        for family in [Family::Bert, Family::DistilBert, Family::Gte] {
            let (_guard, dir) = model_dir(family);
            let stored = read_weights(&dir.join("model.safetensors"));
            assert_eq!(parameters(&dir, family), stored);
            let (.., report) = load_dir(&dir).unwrap();
            assert!(report.tied && report.unused.is_empty() && report.initialised.is_empty());
        }
    }

    #[test]
    fn legacy_names_missing_prefixes_and_other_heads_are_understood() {
        let (_modern_guard, modern) = model_dir(Family::Bert);
        let stored = read_weights(&modern.join("model.safetensors"));
        let (_guard, dir) = altered(|weights| {
            *weights = stored
                .iter()
                .map(|(key, value)| {
                    let key = key.strip_prefix("bert.").unwrap_or(key);
                    let key = key.replace("LayerNorm.weight", "LayerNorm.gamma");
                    (
                        key.replace("LayerNorm.bias", "LayerNorm.beta"),
                        value.clone(),
                    )
                })
                .collect();
            for unused in [
                "embeddings.position_ids",
                "pooler.dense.bias",
                "cls.seq_relationship.bias",
            ] {
                weights.insert(unused.to_owned(), (vec![2], vec![0.0, 1.0]));
            }
            let bias = weights["cls.predictions.bias"].clone();
            weights.insert("cls.predictions.decoder.bias".to_owned(), bias);
        });
        assert_eq!(parameters(&dir, Family::Bert), stored);
        let (.., report) = load_dir(&dir).unwrap();
        assert_eq!(report.unused.len(), 3);
    }

    #[test]
    fn a_decoder_is_tied_when_it_repeats_the_embeddings() {
        let decoder = "cls.predictions.decoder.weight";
        let embeddings = "bert.embeddings.word_embeddings.weight";
        for (change, expected) in [(0.0, true), (1.0, false)] {
            let (_guard, dir) = altered(|weights| {
                let mut copy = weights[embeddings].clone();
                copy.1[3] += change;
                weights.insert(decoder.to_owned(), copy);
            });
            let (.., report) = load_dir(&dir).unwrap();
            assert_eq!(report.tied, expected);
            assert_eq!(
                parameters(&dir, Family::Bert).contains_key(decoder),
                !expected
            );
        }
    }

    #[test]
    fn a_missing_head_is_initialised_but_half_a_head_is_refused() {
        let (_guard, dir) = altered(|weights| weights.retain(|key, _| !key.starts_with("cls.")));
        let (model, _, report) = load_dir(&dir).unwrap();
        assert_eq!(report.initialised.len(), 5);
        let bias = model.head.bias.val().into_data();
        assert!(bias.iter::<f32>().all(|value| value == -2.0));

        let (_guard, dir) = altered(|weights| {
            weights.remove("cls.predictions.transform.dense.bias");
        });
        let error = load_dir(&dir).unwrap_err().to_string();
        assert!(
            error.contains("key `cls.predictions.transform.dense.bias` is missing"),
            "{error}"
        );
    }

    #[test]
    fn tensors_that_do_not_fit_are_named() {
        let word = "bert.embeddings.word_embeddings.weight";
        let dense = "bert.encoder.layer.1.intermediate.dense.weight";
        type Alter = Box<dyn FnOnce(&mut Weights)>;
        let table: [(Alter, &[&str]); 5] = [
            (
                Box::new(move |weights| drop(weights.remove(dense))),
                &[dense, "is missing (1 of the"],
            ),
            (
                Box::new(|weights| {
                    let extra = "bert.encoder.layer.7.output.dense.bias".to_owned();
                    weights.insert(extra, (vec![1], vec![0.0]));
                }),
                &["bert.encoder.layer.7.output.dense.bias", "unexpected"],
            ),
            (
                Box::new(move |weights| weights.get_mut(dense).unwrap().0 = vec![8, 12]),
                &[dense, "shape [8, 12], expected [12, 8]"],
            ),
            (
                Box::new(move |weights| weights.get_mut(word).unwrap().1[19] = f32::NAN),
                &[word, "NaN at index [2, 3]"],
            ),
            (
                Box::new(move |weights| {
                    let copy = weights[word].clone();
                    weights.insert("embeddings.word_embeddings.weight".to_owned(), copy);
                }),
                &["are the same parameter"],
            ),
        ];
        for (alter, expected) in table {
            let (_guard, dir) = altered(alter);
            let error = load_dir(&dir).unwrap_err().to_string();
            assert!(error.contains("model.safetensors"), "{error}");
            for part in expected {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }

    #[test]
    fn shards_read_like_one_file() {
        let (_guard, dir) = model_dir(Family::DistilBert);
        let whole = dir.join("model.safetensors");
        let stored = read_weights(&whole);
        fs::remove_file(whole).unwrap();
        let mut map = serde_json::Map::new();
        for (part, in_first) in [("a.safetensors", true), ("b.safetensors", false)] {
            let mut weights = stored.clone();
            weights.retain(|key, _| key.contains("layer.0") == in_first);
            map.extend(weights.keys().map(|key| (key.clone(), part.into())));
            write_weights(&dir.join(part), &weights);
        }
        let index = serde_json::json!({"metadata": {}, "weight_map": map});
        fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
        assert_eq!(parameters(&dir, Family::DistilBert), stored);

        fs::remove_file(dir.join("b.safetensors")).unwrap();
        let error = load_dir(&dir).unwrap_err().to_string();
        assert!(error.contains("b.safetensors"), "{error}");
    }
}
