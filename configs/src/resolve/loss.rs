//! [`LossConfig`]: ranking losses and FLOPS penalties.

use super::choice;
use crate::choice::Choice;
use crate::error::ConfigError;
use crate::raw::RawConfig;
use crate::resolved::{FlopsConfig, FlopsReduction, LossConfig, RankingLoss};

const FLOPS_D_LAMBDA: f64 = 1e-3;
const FLOPS_D_T: usize = 10_000;

pub(super) fn read(raw: &RawConfig, warnings: &mut Vec<String>) -> Result<LossConfig, ConfigError> {
    let temperature = raw.temperature.unwrap_or(1.0);
    raw.require(temperature > 0.0, "temperature", "expected more than 0")?;
    for (key, value) in [
        ("ranking_loss_weight", raw.ranking_loss_weight),
        ("score_scale", raw.score_scale),
        ("flops_d_lambda", raw.flops_d_lambda),
        ("flops_q_lambda", raw.flops_q_lambda),
        ("flops_threshold", raw.flops_threshold),
    ] {
        let ok = value.is_none_or(|number| number >= 0.0);
        raw.require(ok, key, "expected 0 or more")?;
    }
    let document_flops = FlopsConfig {
        lambda: raw.flops_d_lambda.unwrap_or(FLOPS_D_LAMBDA),
        warmup_steps: raw.flops_d_T.unwrap_or(FLOPS_D_T),
        threshold: raw.flops_threshold,
        decouple_activation: raw.decouple_activation.unwrap_or(false),
        reduction: choice(
            raw,
            "flops_reduction",
            raw.flops_reduction.as_ref(),
            FlopsReduction::default(),
        )?,
    };
    let ranking = ranking(raw)?;
    Ok(LossConfig {
        loss_weights: loss_weights(raw, ranking.len())?,
        ranking,
        ranking_weight: raw.ranking_loss_weight.unwrap_or(1.0),
        in_batch_negatives: raw.use_in_batch_negatives.unwrap_or(false),
        temperature,
        score_scale: raw.score_scale.unwrap_or(1.0),
        document_flops,
        query_flops: query_flops(raw, document_flops, warnings)?,
        mask_special_tokens: raw.mask_special_tokens.unwrap_or(false),
    })
}

fn ranking(raw: &RawConfig) -> Result<Vec<RankingLoss>, ConfigError> {
    let Some(names) = &raw.loss_types else {
        return Ok(vec![RankingLoss::KlDiv]);
    };
    let mut losses = Vec::new();
    for name in names {
        let loss = choice(raw, "loss_types", Some(name), RankingLoss::KlDiv)?;
        let twice = format!("{name} is listed twice; raise its share of loss_weights instead");
        raw.require(!losses.contains(&loss), "loss_types", &twice)?;
        losses.push(loss);
    }
    let none = format!(
        "the list is empty; expected one or more of {}",
        RankingLoss::names()
    );
    raw.require(!losses.is_empty(), "loss_types", &none)?;
    Ok(losses)
}

fn loss_weights(raw: &RawConfig, losses: usize) -> Result<Vec<f64>, ConfigError> {
    let weights = raw.loss_weights.clone().unwrap_or(vec![1.0; losses]);
    let found = format!(
        "found {} numbers for {losses} losses; expected one each, in the order of loss_types",
        weights.len()
    );
    raw.require(weights.len() == losses, "loss_weights", &found)?;
    let ok = weights.iter().all(|&weight| weight >= 0.0);
    raw.require(ok, "loss_weights", "expected numbers of 0 or more")?;
    Ok(weights)
}

/// Queries are penalised where the model writes them; threshold and reduction are those of the documents.
fn query_flops(
    raw: &RawConfig,
    document: FlopsConfig,
    warnings: &mut Vec<String>,
) -> Result<Option<FlopsConfig>, ConfigError> {
    if raw.inf_free.unwrap_or(true) {
        let given = [
            ("flops_q_lambda", raw.flops_q_lambda.is_some()),
            ("flops_q_T", raw.flops_q_T.is_some()),
        ];
        for (key, _) in given.iter().filter(|(_, given)| *given) {
            warnings.push(raw.warning(
                key,
                "not used: inf_free is true, so no model writes the queries",
            ));
        }
        return Ok(None);
    }
    let lambda = raw.flops_q_lambda.ok_or_else(|| ConfigError::Missing {
        path: raw.path.clone(),
        key: "flops_q_lambda",
        advice: "inf_free: false penalises queries too; give its weight, or 0 for no penalty",
    })?;
    Ok(Some(FlopsConfig {
        lambda,
        warmup_steps: raw.flops_q_T.unwrap_or(document.warmup_steps),
        ..document
    }))
}

pub(super) fn write(loss: &LossConfig, raw: &mut RawConfig) {
    let names = loss.ranking.iter().map(|loss| loss.label().to_owned());
    raw.loss_types = Some(names.collect());
    raw.loss_weights = Some(loss.loss_weights.clone());
    raw.ranking_loss_weight = Some(loss.ranking_weight);
    raw.use_in_batch_negatives = Some(loss.in_batch_negatives);
    raw.temperature = Some(loss.temperature);
    raw.score_scale = Some(loss.score_scale);
    let document = loss.document_flops;
    raw.flops_d_lambda = Some(document.lambda);
    raw.flops_d_T = Some(document.warmup_steps);
    raw.flops_threshold = document.threshold;
    raw.decouple_activation = Some(document.decouple_activation);
    raw.flops_reduction = Some(document.reduction.label().to_owned());
    raw.flops_q_lambda = loss.query_flops.map(|query| query.lambda);
    raw.flops_q_T = loss.query_flops.map(|query| query.warmup_steps);
    raw.mask_special_tokens = Some(loss.mask_special_tokens);
}
