//! [`RunConfig`]: duration, output and reproducibility.

use std::path::PathBuf;

use serde_json::Value;

use super::not_null;
use super::task::DataType;
use crate::error::ConfigError;
use crate::raw::RawConfig;
use crate::resolved::{Duration, Precision, RunConfig};

/// Defaults of Hugging Face `TrainingArguments`.
const NUM_TRAIN_EPOCHS: f64 = 3.0;
const BATCH_SIZE: usize = 8;
const SEED: u64 = 42;
const LOGGING_STEPS: usize = 500;
const SAVE_STEPS: usize = 500;

pub(super) fn read(
    raw: &RawConfig,
    data_type: DataType,
    warnings: &mut Vec<String>,
) -> Result<RunConfig, ConfigError> {
    for (key, value) in [
        (
            "per_device_train_batch_size",
            raw.per_device_train_batch_size,
        ),
        ("per_device_eval_batch_size", raw.per_device_eval_batch_size),
        ("logging_steps", raw.logging_steps),
        ("save_steps", raw.save_steps),
        ("save_total_limit", raw.save_total_limit),
        ("eval_steps", raw.eval_steps),
    ] {
        raw.require(value != Some(0), key, "expected 1 or more")?;
    }
    let output_dir = not_null(raw.output_dir.as_ref()).ok_or_else(|| ConfigError::Missing {
        path: raw.path.clone(),
        key: "output_dir",
        advice: "name the directory that receives logs, checkpoints and the model",
    })?;
    let seed = raw.seed.unwrap_or(SEED);
    let eval_data = raw.eval_data.iter().flatten().map(PathBuf::from);
    let eval_data: Vec<_> = eval_data.collect();
    let without_data = match data_type {
        DataType::Kd | DataType::KdIds | DataType::PosNegs if eval_data.is_empty() => {
            Some("eval_data names no BEIR directory")
        }
        DataType::Mlm if not_null(raw.mlm_eval_file.as_ref()).is_none() => {
            Some("mlm_eval_file is not given")
        }
        _ => None,
    };
    Ok(RunConfig {
        output_dir: output_dir.into(),
        overwrite_output_dir: raw.overwrite_output_dir.unwrap_or(false),
        duration: duration(raw, warnings)?,
        batch_queries: raw.per_device_train_batch_size.unwrap_or(BATCH_SIZE),
        eval_batch_docs: raw.per_device_eval_batch_size.unwrap_or(BATCH_SIZE),
        drop_last: raw.dataloader_drop_last.unwrap_or(false),
        seed,
        data_seed: raw.data_seed.unwrap_or(seed),
        logging_steps: raw.logging_steps.unwrap_or(LOGGING_STEPS),
        save_steps: in_steps(raw, "save_strategy", raw.save_strategy.as_deref(), true)?
            .then(|| raw.save_steps.unwrap_or(SAVE_STEPS)),
        save_total_limit: raw.save_total_limit,
        eval_steps: eval_steps(raw, without_data, warnings)?,
        eval_on_start: raw.eval_on_start.unwrap_or(true),
        eval_data,
        precision: precision(raw)?,
        gradient_checkpointing: raw.gradient_checkpointing.unwrap_or(false),
        resume: resume(raw)?,
        log_level: log_level(raw)?,
    })
}

/// `max_steps` wins over `num_train_epochs`, as in Hugging Face's trainer.
fn duration(raw: &RawConfig, warnings: &mut Vec<String>) -> Result<Duration, ConfigError> {
    let epochs = raw.num_train_epochs.unwrap_or(NUM_TRAIN_EPOCHS);
    raw.require(epochs > 0.0, "num_train_epochs", "expected more than 0")?;
    match raw.max_steps {
        None | Some(-1) => Ok(Duration::Epochs(epochs)),
        Some(steps) if steps > 0 => {
            if raw.num_train_epochs.is_some() {
                let reason = format!("not used: max_steps {steps} is given too");
                warnings.push(raw.warning("num_train_epochs", &reason));
            }
            Ok(Duration::Steps(steps.unsigned_abs() as usize))
        }
        Some(_) => Err(raw.refused(
            "max_steps",
            "expected 1 or more, or -1 to leave it to num_train_epochs",
        )),
    }
}

/// `steps` or `no` of a Hugging Face strategy.
fn in_steps(
    raw: &RawConfig,
    key: &str,
    strategy: Option<&str>,
    default: bool,
) -> Result<bool, ConfigError> {
    match strategy {
        None => Ok(default),
        Some("steps") => Ok(true),
        Some("no") => Ok(false),
        Some(other) => {
            let reason = match super::unsupported_value(key, other) {
                Some(reason) => format!("`{other}` is not supported: {reason}"),
                None => format!("`{other}` is none of steps, no"),
            };
            Err(raw.refused(key, reason))
        }
    }
}

/// Evaluation while training needs data; `eval_steps` alone is enough to ask for it. `without_data` is why there is
/// none.
fn eval_steps(
    raw: &RawConfig,
    without_data: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<Option<usize>, ConfigError> {
    let strategy = raw.eval_strategy.as_deref();
    let wanted = in_steps(raw, "eval_strategy", strategy, raw.eval_steps.is_some())?;
    if !wanted {
        return Ok(None);
    }
    if let Some(reason) = without_data {
        let key = if raw.eval_steps.is_some() {
            "eval_steps"
        } else {
            "eval_strategy"
        };
        warnings.push(raw.warning(key, &format!("not used: {reason}")));
        return Ok(None);
    }
    let default = raw.logging_steps.unwrap_or(LOGGING_STEPS);
    Ok(Some(raw.eval_steps.unwrap_or(default)))
}

fn precision(raw: &RawConfig) -> Result<Precision, ConfigError> {
    match (raw.fp16.unwrap_or(false), raw.bf16.unwrap_or(false)) {
        (false, false) => Ok(Precision::F32),
        (true, false) => Ok(Precision::F16),
        (false, true) => Ok(Precision::Bf16),
        (true, true) => Err(raw.refused("bf16", "fp16 is true too; keep one of the two")),
    }
}

fn resume(raw: &RawConfig) -> Result<bool, ConfigError> {
    match &raw.resume_from_checkpoint {
        None => Ok(false),
        Some(Value::Bool(resume)) => Ok(*resume),
        Some(_) => Err(raw.refused(
            "resume_from_checkpoint",
            "expected true or false: a run continues the newest complete checkpoint of its output_dir; \
             to start from the weights of another one, name it in model_name_or_path",
        )),
    }
}

/// Hugging Face's names to those of tracing.
fn log_level(raw: &RawConfig) -> Result<String, ConfigError> {
    let level = match raw.log_level.as_deref() {
        None | Some("info" | "passive") => "info",
        Some("trace" | "detail") => "trace",
        Some("debug") => "debug",
        Some("warning" | "warn") => "warn",
        Some("error" | "critical") => "error",
        Some(other) => {
            let reason =
                format!("`{other}` is none of debug, info, warning, error, critical, passive");
            return Err(raw.refused("log_level", reason));
        }
    };
    Ok(level.to_owned())
}

pub(super) fn write(run: &RunConfig, raw: &mut RawConfig) {
    let strategy =
        |steps: Option<usize>| Some(if steps.is_some() { "steps" } else { "no" }.to_owned());
    raw.output_dir = Some(run.output_dir.display().to_string());
    raw.overwrite_output_dir = Some(run.overwrite_output_dir);
    match run.duration {
        Duration::Steps(steps) => raw.max_steps = i64::try_from(steps).ok(),
        Duration::Epochs(epochs) => raw.num_train_epochs = Some(epochs),
    }
    raw.per_device_train_batch_size = Some(run.batch_queries);
    raw.per_device_eval_batch_size = Some(run.eval_batch_docs);
    raw.dataloader_drop_last = Some(run.drop_last);
    raw.seed = Some(run.seed);
    raw.data_seed = Some(run.data_seed);
    raw.logging_steps = Some(run.logging_steps);
    raw.log_level = Some(run.log_level.clone());
    raw.save_strategy = strategy(run.save_steps);
    raw.save_steps = run.save_steps;
    raw.save_total_limit = run.save_total_limit;
    let directories = run.eval_data.iter().map(|path| path.display().to_string());
    raw.eval_data = Some(directories.collect());
    raw.eval_strategy = strategy(run.eval_steps);
    raw.eval_steps = run.eval_steps;
    raw.eval_on_start = Some(run.eval_on_start);
    raw.fp16 = Some(run.precision == Precision::F16);
    raw.bf16 = Some(run.precision == Precision::Bf16);
    raw.gradient_checkpointing = Some(run.gradient_checkpointing);
    raw.resume_from_checkpoint = Some(Value::Bool(run.resume));
}
