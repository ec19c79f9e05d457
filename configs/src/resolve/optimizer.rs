//! [`OptimizerConfig`]: AdamW and its schedule.

use super::choice;
use crate::choice::Choice;
use crate::error::ConfigError;
use crate::raw::RawConfig;
use crate::resolved::{LrSchedule, OptimizerConfig, Warmup};
use crate::scalar::Nullable;

/// Defaults of Hugging Face `TrainingArguments`.
pub(super) const LEARNING_RATE: f64 = 5e-5;
const MAX_GRAD_NORM: f64 = 1.0;

pub(super) fn read(
    raw: &RawConfig,
    warnings: &mut Vec<String>,
) -> Result<OptimizerConfig, ConfigError> {
    let in_0_1 = |value: f64| (0.0..1.0).contains(&value);
    let positive = |value: f64| value > 0.0;
    let not_negative = |value: f64| value >= 0.0;
    let below_1 = "expected 0 or more and less than 1";
    let learning_rate = raw.learning_rate.unwrap_or(LEARNING_RATE);
    let weight_decay = raw.weight_decay.unwrap_or(0.0);
    let beta1 = raw.adam_beta1.unwrap_or(0.9);
    let beta2 = raw.adam_beta2.unwrap_or(0.999);
    let epsilon = raw.adam_epsilon.unwrap_or(1e-8);
    let accumulation_steps = raw.gradient_accumulation_steps.unwrap_or(1);
    raw.require(
        positive(learning_rate),
        "learning_rate",
        "expected more than 0",
    )?;
    raw.require(
        not_negative(weight_decay),
        "weight_decay",
        "expected 0 or more",
    )?;
    raw.require(in_0_1(beta1), "adam_beta1", below_1)?;
    raw.require(in_0_1(beta2), "adam_beta2", below_1)?;
    raw.require(positive(epsilon), "adam_epsilon", "expected more than 0")?;
    raw.require(
        accumulation_steps >= 1,
        "gradient_accumulation_steps",
        "expected 1 or more",
    )?;
    raw.require(
        raw.grad_cache_docs != Some(0),
        "grad_cache_docs",
        "expected 1 or more, or no such line",
    )?;
    let schedule = choice(
        raw,
        "lr_scheduler_type",
        raw.lr_scheduler_type.as_ref(),
        LrSchedule::Linear,
    )?;
    Ok(OptimizerConfig {
        learning_rate,
        weight_decay,
        exclude_bias_and_norm: raw.weight_decay_exclude_bias_and_norm.unwrap_or(false),
        beta1,
        beta2,
        epsilon,
        max_grad_norm: max_grad_norm(raw)?,
        schedule,
        warmup: warmup(raw, schedule, warnings)?,
        accumulation_steps,
        grad_cache_docs: raw.grad_cache_docs,
    })
}

/// null and 0 both turn clipping off, as in Hugging Face's trainer.
fn max_grad_norm(raw: &RawConfig) -> Result<Option<f64>, ConfigError> {
    let bound = match raw.max_grad_norm {
        None => Some(MAX_GRAD_NORM),
        Some(Nullable::Null) => None,
        Some(Nullable::Value(bound)) => Some(bound),
    };
    let ok = bound.is_none_or(|bound| bound >= 0.0);
    raw.require(
        ok,
        "max_grad_norm",
        "expected 0 or more, or null for no clipping",
    )?;
    Ok(bound.filter(|bound| *bound > 0.0))
}

/// A number of steps wins over a ratio, as in Hugging Face's trainer.
fn warmup(
    raw: &RawConfig,
    schedule: LrSchedule,
    warnings: &mut Vec<String>,
) -> Result<Warmup, ConfigError> {
    let steps = raw.warmup_steps.unwrap_or(0);
    let ratio = raw.warmup_ratio.unwrap_or(0.0);
    let in_0_1 = (0.0..=1.0).contains(&ratio);
    raw.require(
        in_0_1,
        "warmup_ratio",
        "expected 0 to 1, a share of all steps",
    )?;
    if steps > 0 && ratio > 0.0 {
        warnings.push(raw.warning("warmup_ratio", "not used: warmup_steps is given too"));
    }
    let key = if steps > 0 {
        "warmup_steps"
    } else {
        "warmup_ratio"
    };
    if schedule == LrSchedule::Constant && (steps > 0 || ratio > 0.0) {
        let reason =
            "not used: lr_scheduler_type constant has no warm-up; constant_with_warmup has";
        warnings.push(raw.warning(key, reason));
    }
    if let Some(max_steps) = raw.max_steps
        && max_steps > 0
        && steps as u64 >= max_steps.unsigned_abs()
    {
        let reason = format!(
            "{steps} steps of warm-up in a run of {max_steps}: the learning rate never reaches its peak"
        );
        warnings.push(raw.warning(key, &reason));
    }
    Ok(match steps {
        0 if ratio > 0.0 => Warmup::Ratio(ratio),
        _ => Warmup::Steps(steps),
    })
}

pub(super) fn write(optimizer: &OptimizerConfig, raw: &mut RawConfig) {
    raw.learning_rate = Some(optimizer.learning_rate);
    raw.grad_cache_docs = optimizer.grad_cache_docs;
    raw.weight_decay = Some(optimizer.weight_decay);
    raw.weight_decay_exclude_bias_and_norm = Some(optimizer.exclude_bias_and_norm);
    raw.adam_beta1 = Some(optimizer.beta1);
    raw.adam_beta2 = Some(optimizer.beta2);
    raw.adam_epsilon = Some(optimizer.epsilon);
    raw.max_grad_norm = Some(match optimizer.max_grad_norm {
        Some(bound) => Nullable::Value(bound),
        None => Nullable::Null,
    });
    raw.lr_scheduler_type = Some(optimizer.schedule.label().to_owned());
    match optimizer.warmup {
        Warmup::Steps(steps) => raw.warmup_steps = Some(steps),
        Warmup::Ratio(ratio) => raw.warmup_ratio = Some(ratio),
    }
    raw.gradient_accumulation_steps = Some(optimizer.accumulation_steps);
}
