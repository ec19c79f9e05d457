//! [`ModelConfig`]: which model is trained and how it represents text.

use std::path::PathBuf;

use super::task::DataType;
use super::{choice, not_null};
use crate::choice::Choice;
use crate::error::ConfigError;
use crate::raw::RawConfig;
use crate::resolved::{Activation, ModelConfig, Preprocess, QueryEncoder};

pub(super) fn read(
    raw: &RawConfig,
    data_type: DataType,
    warnings: &mut Vec<String>,
) -> Result<ModelConfig, ConfigError> {
    let name_or_path = not_null(raw.model_name_or_path.as_ref())
        .cloned()
        .ok_or_else(|| ConfigError::Missing {
            path: raw.path.clone(),
            key: "model_name_or_path",
            advice: "name the model to start from: a directory, or a Hub id",
        })?;
    let in_0_1 = |value: f64| (0.0..1.0).contains(&value);
    raw.require(
        raw.prune_ratio.is_none_or(|ratio| in_0_1(ratio.into())),
        "prune_ratio",
        "expected 0 or more and less than 1",
    )?;
    raw.require(
        raw.dropout.is_none_or(in_0_1),
        "dropout",
        "expected 0 or more and less than 1",
    )?;
    Ok(ModelConfig {
        tokenizer: not_null(raw.tokenizer_name.as_ref())
            .unwrap_or(&name_or_path)
            .clone(),
        name_or_path,
        from_scratch: raw.init_from_scratch.unwrap_or(false),
        query: match data_type {
            DataType::Kd | DataType::KdIds | DataType::PosNegs => query(raw, warnings)?,
            DataType::Mlm => QueryEncoder::InferenceFree {
                idf_path: None,
                learning_rate: None,
            },
        },
        activation: activation(raw)?,
        prune_ratio: raw.prune_ratio,
        preprocess: preprocess(raw)?,
        dropout: raw.dropout,
        head_threshold: raw.head_threshold,
        head_idf_cap: match data_type {
            DataType::Kd | DataType::KdIds | DataType::PosNegs => head_idf_cap(raw)?,
            DataType::Mlm => None,
        },
        freeze: raw.freeze.clone().unwrap_or_default(),
    })
}

fn query(raw: &RawConfig, warnings: &mut Vec<String>) -> Result<QueryEncoder, ConfigError> {
    let idf_path = not_null(raw.idf_path.as_ref()).map(PathBuf::from);
    let trained = raw.idf_requires_grad.unwrap_or(false);
    if !raw.inf_free.unwrap_or(true) {
        raw.require(
            !trained,
            "idf_requires_grad",
            "inf_free: false encodes queries with the model, so there is no IDF table to train; \
             set one of the two the other way",
        )?;
        if idf_path.is_some() {
            warnings.push(raw.warning("idf_path", "not used: inf_free is false"));
        }
        return Ok(QueryEncoder::Siamese);
    }
    if idf_path.is_none() {
        let reason = "not given: every query token weighs 1; name an idf.json for better queries";
        warnings.push(raw.warning("idf_path", reason));
    }
    if !trained && raw.idf_lr.is_some() {
        warnings.push(raw.warning("idf_lr", "not used: idf_requires_grad is false"));
    }
    let rate = raw.idf_lr.or(raw.learning_rate);
    let rate = rate.unwrap_or(super::optimizer::LEARNING_RATE);
    let ok = raw.idf_lr.is_none_or(|rate| rate > 0.0);
    raw.require(ok, "idf_lr", "expected more than 0")?;
    Ok(QueryEncoder::InferenceFree {
        idf_path,
        learning_rate: trained.then_some(rate),
    })
}

fn head_idf_cap(raw: &RawConfig) -> Result<Option<f64>, ConfigError> {
    let has_idf = raw.inf_free.unwrap_or(true) && not_null(raw.idf_path.as_ref()).is_some();
    raw.require(
        raw.head_idf_cap.is_none() || has_idf,
        "head_idf_cap",
        "it caps the weights of idf_path, which is not given; name an idf.json or remove the key",
    )?;
    raw.require(
        raw.head_idf_cap.is_none_or(|cap| cap > 0.0),
        "head_idf_cap",
        "expected more than 0",
    )?;
    Ok(raw.head_idf_cap)
}

/// `activation_type` of one branch of the reference, `use_l0` of the other.
fn activation(raw: &RawConfig) -> Result<Activation, ConfigError> {
    let from_flag = raw.use_l0.map(|l0| match l0 {
        true => Activation::L1Relu,
        false => Activation::Relu,
    });
    let default = from_flag.unwrap_or_default();
    let activation = choice(
        raw,
        "activation_type",
        raw.activation_type.as_ref(),
        default,
    )?;
    if let Some(flag) = from_flag
        && flag != activation
    {
        return Err(raw.refused(
            "use_l0",
            format!(
                "it says {}, and activation_type says {}; keep one of the two keys",
                flag.name(),
                activation.name()
            ),
        ));
    }
    Ok(activation)
}

fn preprocess(raw: &RawConfig) -> Result<Option<Preprocess>, ConfigError> {
    let Some(name) = not_null(raw.preprocess_func.as_ref()) else {
        return Ok(None);
    };
    choice(raw, "preprocess_func", Some(name), Preprocess::ToLower).map(Some)
}

pub(super) fn write(model: &ModelConfig, raw: &mut RawConfig) {
    raw.model_name_or_path = Some(model.name_or_path.clone());
    raw.tokenizer_name = Some(model.tokenizer.clone());
    raw.init_from_scratch = Some(model.from_scratch);
    match &model.query {
        QueryEncoder::Siamese => raw.inf_free = Some(false),
        QueryEncoder::InferenceFree {
            idf_path,
            learning_rate,
        } => {
            raw.inf_free = Some(true);
            raw.idf_path = idf_path.as_ref().map(|path| path.display().to_string());
            raw.idf_requires_grad = Some(learning_rate.is_some());
            raw.idf_lr = *learning_rate;
        }
    }
    raw.activation_type = Some(model.activation.name().to_owned());
    raw.prune_ratio = model.prune_ratio;
    raw.preprocess_func = model
        .preprocess
        .map(|preprocess| preprocess.label().to_owned());
    raw.dropout = model.dropout;
    raw.head_threshold = model.head_threshold;
    raw.head_idf_cap = model.head_idf_cap;
    raw.freeze = Some(model.freeze.clone());
}
