//! Known keys that are not honoured: each with what happens to it, why, and what to do instead.
//!
//! They come from the reference's own arguments and from Hugging Face `TrainingArguments` (transformers 4.x and 5.x).

use serde_json::Value;

use crate::error::ConfigError;
use crate::raw::RawConfig;

/// One known key without a field in [`RawConfig`].
pub struct ForeignKey {
    /// Its name.
    pub key: &'static str,
    /// Values that ask for nothing (as JSON): accepted in silence, like null, false, and empty text, list or mapping.
    pub harmless: &'static [&'static str],
    /// What happens to any other value.
    pub fate: Fate,
    /// Why, and what to do instead.
    pub reason: &'static str,
}

/// What happens to a key that asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The result would differ from what the recipe asks for.
    Refused,
    /// The result is the same without it; a warning says so.
    Ignored,
}

const fn refused(
    key: &'static str,
    harmless: &'static [&'static str],
    reason: &'static str,
) -> ForeignKey {
    ForeignKey {
        key,
        harmless,
        fate: Fate::Refused,
        reason,
    }
}

const fn ignored(
    key: &'static str,
    harmless: &'static [&'static str],
    reason: &'static str,
) -> ForeignKey {
    ForeignKey {
        key,
        harmless,
        fate: Fate::Ignored,
        reason,
    }
}

const DEVICE: &str = "the device is chosen on the command line: --device cpu, wgpu or cuda";
const EVALUATION: &str = "evaluation is a command of its own, `ellzero-eval beir --model MODEL --data DIR`; \
     to evaluate while training, name BEIR directories in eval_data";
const MIRACL: &str =
    "MIRACL is not read; convert it to the BEIR layout and use `ellzero-eval beir --data DIR`";
const LOGGING: &str = "metrics.jsonl and train.log are always written into output_dir";
const SAVING: &str = "every checkpoint holds safetensors weights and the whole state of the run";
const LOADER: &str =
    "batches are prepared in the background on all threads; --threads N bounds them";
const DISTRIBUTED: &str =
    "one process drives one device in this version; raise gradient_accumulation_steps instead";
const MEMORY: &str = "this is memory tuning of PyTorch; the result does not depend on it";
const COMPILE: &str = "kernels are compiled as the backend needs; there is nothing to switch";
const HUB: &str = "nothing is uploaded; the model is in output_dir/final";
const HEAD: &str =
    "it shapes the loss of a classification head, which this trainer does not have; remove it";
const BEST: &str =
    "the best checkpoint is not tracked; compare the eval rows of metrics.jsonl and pick one";
const FULL_PRECISION: &str = "evaluation uses the precision of training";

/// The table.
#[rustfmt::skip] // one row a line reads as a table
pub const KEYS: &[ForeignKey] = &[
    // The reference's own.
    refused("flops_start_T", &["0"], "lambda grows from the first step; raise flops_d_T for a slower start, or remove the key"),
    ignored("split_batch", &["1"], "the head never holds a [documents, tokens, vocabulary] tensor, so there is nothing to split"),
    ignored("beir_dir", &[], EVALUATION),
    ignored("beir_datasets", &[], EVALUATION),
    ignored("nano_beir_datasets", &[], EVALUATION),
    ignored("miracl_dir", &[], MIRACL),
    ignored("miracl_datasets", &[], MIRACL),
    ignored("tydi_datasets", &[], MIRACL),
    ignored("use_two_phase", &[], "two-phase search is a feature of OpenSearch; the embedded index searches exactly"),
    ignored("query_prune", &["0", "0.0"], EVALUATION),
    ignored("skip_ingest", &[], EVALUATION),
    ignored("do_search", &["true"], EVALUATION),
    ignored("mine_datasets", &[], "mining hard negatives is not part of training"),
    ignored("source", &[], "mining hard negatives is not part of training"),
    // Optimisation.
    refused("optim", &["\"adamw_torch\"", "\"adamw_torch_fused\"", "\"adamw_hf\""], "the optimizer is AdamW as in torch; use adamw_torch"),
    refused("optim_args", &[], "AdamW is set with adam_beta1, adam_beta2, adam_epsilon and weight_decay"),
    refused("optim_target_modules", &[], "every parameter is trained"),
    refused("adafactor", &[], "the optimizer is AdamW; remove the key"),
    refused("lr_scheduler_kwargs", &[], "the schedules take no further arguments; remove the key"),
    refused("neftune_noise_alpha", &["0", "0.0"], "embedding noise is not implemented; remove the key"),
    refused("label_smoothing_factor", &["0", "0.0"], HEAD),
    refused("auto_find_batch_size", &[], "set per_device_train_batch_size; gradient_accumulation_steps trades memory for time"),
    refused("average_tokens_across_devices", &["true"], DISTRIBUTED),
    // Names that transformers dropped.
    refused("evaluation_strategy", &[], "it is called eval_strategy now"),
    refused("per_gpu_train_batch_size", &[], "it is called per_device_train_batch_size now"),
    refused("per_gpu_eval_batch_size", &[], "it is called per_device_eval_batch_size now"),
    // What a run does.
    ignored("do_train", &["true"], "ellzero-train trains; `ellzero-eval` evaluates"),
    ignored("do_eval", &["true"], EVALUATION),
    ignored("do_predict", &[], "`ellzero-eval encode` writes a model's vectors"),
    ignored("prediction_loss_only", &[], EVALUATION),
    ignored("eval_accumulation_steps", &[], MEMORY),
    ignored("eval_delay", &["0", "0.0"], "evaluation runs at every multiple of eval_steps"),
    ignored("eval_do_concat_batches", &["true"], EVALUATION),
    ignored("batch_eval_metrics", &[], EVALUATION),
    ignored("eval_use_gather_object", &[], EVALUATION),
    ignored("include_inputs_for_metrics", &[], EVALUATION),
    ignored("include_for_metrics", &[], EVALUATION),
    ignored("label_names", &[], HEAD),
    ignored("jit_mode_eval", &[], COMPILE),
    refused("load_best_model_at_end", &[], BEST),
    ignored("metric_for_best_model", &[], BEST),
    ignored("greater_is_better", &[], BEST),
    ignored("ignore_data_skip", &[], "a resumed run always continues at the position of the data"),
    ignored("full_determinism", &["true"], "on the CPU runs are reproducible bit by bit at the same seed and number of threads"),
    ignored("restore_callback_states_from_checkpoint", &[], SAVING),
    // Logging and saving.
    ignored("log_level_replica", &["\"warning\"", "\"passive\"", "\"info\""], DISTRIBUTED),
    ignored("log_on_each_node", &["true"], DISTRIBUTED),
    ignored("logging_dir", &[], LOGGING),
    ignored("logging_strategy", &["\"steps\""], "a row is written every logging_steps"),
    ignored("logging_first_step", &["true"], "the first row is that of step logging_steps"),
    ignored("logging_nan_inf_filter", &["true"], "a loss that is not finite stops the run"),
    ignored("report_to", &["\"none\"", "[\"none\"]"], LOGGING),
    ignored("run_name", &[], LOGGING),
    ignored("project", &[], LOGGING),
    ignored("trackio_space_id", &[], LOGGING),
    ignored("disable_tqdm", &[], "--quiet turns progress off"),
    ignored("include_tokens_per_second", &["true"], "metrics.jsonl always has tokens_per_s"),
    ignored("include_num_input_tokens_seen", &["\"no\""], "metrics.jsonl has tokens_per_s and step_s"),
    ignored("save_safetensors", &["true"], SAVING),
    ignored("save_on_each_node", &[], DISTRIBUTED),
    ignored("save_only_model", &[], SAVING),
    ignored("enable_jit_checkpoint", &[], "an interrupted run always writes a checkpoint"),
    // Data loading.
    ignored("dataloader_num_workers", &["0"], LOADER),
    ignored("dataloader_prefetch_factor", &[], LOADER),
    ignored("dataloader_pin_memory", &["true"], LOADER),
    ignored("dataloader_persistent_workers", &[], LOADER),
    ignored("remove_unused_columns", &["true"], "columns that are not needed are not read"),
    ignored("group_by_length", &[], "texts of a batch are bucketed by length inside the encoder"),
    ignored("length_column_name", &["\"length\""], "lengths come from the tokenizer"),
    ignored("train_sampling_strategy", &["\"random\""], "batches are drawn at random"),
    ignored("accelerator_config", &[], LOADER),
    // Devices and precision.
    ignored("no_cuda", &[], DEVICE),
    ignored("use_cpu", &[], DEVICE),
    ignored("use_mps_device", &[], DEVICE),
    ignored("use_ipex", &[], DEVICE),
    ignored("local_rank", &["-1", "0"], DISTRIBUTED),
    ignored("fp16_opt_level", &["\"O1\""], "mixed precision has one level"),
    ignored("fp16_backend", &["\"auto\""], "mixed precision has one implementation"),
    ignored("half_precision_backend", &["\"auto\""], "mixed precision has one implementation"),
    ignored("fp16_full_eval", &[], FULL_PRECISION),
    ignored("bf16_full_eval", &[], FULL_PRECISION),
    ignored("tf32", &[], "float32 is computed in float32"),
    ignored("torch_empty_cache_steps", &[], MEMORY),
    ignored("torch_compile", &[], COMPILE),
    ignored("torch_compile_backend", &[], COMPILE),
    ignored("torch_compile_mode", &[], COMPILE),
    ignored("torchdynamo", &[], COMPILE),
    ignored("use_liger_kernel", &[], COMPILE),
    ignored("liger_kernel_config", &[], COMPILE),
    ignored("use_cache", &[], "an encoder has no key-value cache"),
    ignored("gradient_checkpointing_kwargs", &[], MEMORY),
    ignored("skip_memory_metrics", &["true"], "metrics.jsonl always has peak_memory_mib"),
    ignored("debug", &[], "log_level: debug says more"),
    ignored("past_index", &["-1"], "an encoder has no past"),
    ignored("use_legacy_prediction_loop", &[], EVALUATION),
    ignored("tpu_num_cores", &[], DEVICE),
    ignored("tpu_metrics_debug", &[], DEVICE),
    // Several devices.
    refused("deepspeed", &[], DISTRIBUTED),
    refused("fsdp", &[], DISTRIBUTED),
    refused("parallelism_config", &[], DISTRIBUTED),
    ignored("fsdp_config", &[], DISTRIBUTED),
    ignored("fsdp_min_num_params", &["0"], DISTRIBUTED),
    ignored("fsdp_transformer_layer_cls_to_wrap", &[], DISTRIBUTED),
    ignored("mp_parameters", &[], DISTRIBUTED),
    ignored("ray_scope", &["\"last\""], DISTRIBUTED),
    ignored("ddp_backend", &[], DISTRIBUTED),
    ignored("ddp_timeout", &["1800"], DISTRIBUTED),
    ignored("ddp_find_unused_parameters", &[], DISTRIBUTED),
    ignored("ddp_bucket_cap_mb", &[], DISTRIBUTED),
    ignored("ddp_broadcast_buffers", &[], DISTRIBUTED),
    // The Hub.
    ignored("push_to_hub", &[], HUB),
    ignored("push_to_hub_model_id", &[], HUB),
    ignored("push_to_hub_organization", &[], HUB),
    ignored("push_to_hub_token", &[], HUB),
    ignored("hub_model_id", &[], HUB),
    ignored("hub_strategy", &["\"every_save\""], HUB),
    ignored("hub_token", &[], HUB),
    ignored("hub_private_repo", &[], HUB),
    ignored("hub_always_push", &[], HUB),
    ignored("hub_revision", &[], HUB),
];

/// The row of `key`.
pub fn find(key: &str) -> Option<&'static ForeignKey> {
    KEYS.iter().find(|foreign| foreign.key == key)
}

impl ForeignKey {
    /// Whether `value` asks for nothing.
    fn is_harmless(&self, value: &Value) -> bool {
        let empty = match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty() || text == "null",
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            Value::Bool(true) | Value::Number(_) => false,
        };
        empty || self.harmless.contains(&value.to_string().as_str())
    }
}

/// Goes through the foreign keys of a recipe: warnings for the ignored ones.
///
/// # Errors
/// The first refused one.
pub(crate) fn check(raw: &RawConfig) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    for (key, value) in &raw.foreign {
        let row = find(key).expect("only keys of the table are filed as foreign");
        if row.is_harmless(value) {
            continue;
        }
        match row.fate {
            Fate::Refused => return Err(raw.refused(key, row.reason)),
            Fate::Ignored => warnings.push(raw.warning(key, &format!("ignored: {}", row.reason))),
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn no_key_is_listed_twice() {
        let mut seen = BTreeSet::new();
        let foreign = KEYS.iter().map(|row| row.key);
        for key in RawConfig::KEYS.iter().copied().chain(foreign) {
            assert!(seen.insert(key), "{key} is listed twice");
        }
    }

    #[test]
    fn values_decide_about_a_key() {
        let cases = [
            ("optim: adamw_torch", None),
            (
                "optim: lion",
                Some("r.yaml:1: optim: the optimizer is AdamW"),
            ),
            ("flops_start_T: 0", None),
            (
                "flops_start_T: 5",
                Some("r.yaml:1: flops_start_T: lambda grows from the first step"),
            ),
            ("deepspeed: null", None),
            (
                "deepspeed: ds.json",
                Some("r.yaml:1: deepspeed: one process drives one device"),
            ),
            ("label_smoothing_factor: 0.0", None),
        ];
        for (text, expected) in cases {
            let raw = RawConfig::parse(Path::new("r.yaml"), text, &[]).unwrap();
            match (check(&raw), expected) {
                (Ok(warnings), None) => assert_eq!(warnings, [""; 0], "{text}"),
                (Err(error), Some(expected)) => {
                    assert!(error.to_string().starts_with(expected), "{text}: {error}");
                }
                (result, _) => panic!("{text}: {result:?}"),
            }
        }
    }

    #[test]
    fn ignored_keys_warn_with_their_place() {
        let raw = RawConfig::parse(Path::new("r.yaml"), "seed: 1\nbeir_dir: d\n", &[]).unwrap();
        let warnings = check(&raw).unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("r.yaml:2: beir_dir: ignored: evaluation is a command"));
    }
}
