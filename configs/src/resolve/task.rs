//! [`Task`]: what `data_type` says about the run as a whole, and which keys that leaves without a meaning.

use super::not_null;
use crate::choice::Choice;
use crate::error::ConfigError;
use crate::raw::RawConfig;
use crate::resolved::{MaskedLmConfig, Task};

/// Of BERT (Devlin et al. 2019, section 3.1).
const PROBABILITY: f64 = 0.15;

/// `data_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataType {
    Kd,
    KdIds,
    PosNegs,
    Mlm,
}

impl Choice for DataType {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("kd", Self::Kd),
        ("kd-ids", Self::KdIds),
        ("posnegs", Self::PosNegs),
        ("mlm", Self::Mlm),
    ];
}

/// Keys that mlm alone reads.
const MLM_KEYS: &[&str] = &[
    "mlm_probability",
    "mlm_whole_word",
    "mlm_packed",
    "mlm_eval_file",
];

/// Keys that mlm does not read.
const RANKING_KEYS: &[&str] = &[
    "inf_free",
    "idf_path",
    "idf_requires_grad",
    "idf_lr",
    "head_idf_cap",
    "activation_type",
    "use_l0",
    "prune_ratio",
    "sample_num_one_query",
    "first_rank_thresh",
    "swap_times",
    "kd_ensemble_teacher_kwargs",
    "loss_types",
    "loss_weights",
    "ranking_loss_weight",
    "use_in_batch_negatives",
    "temperature",
    "score_scale",
    "flops_d_lambda",
    "flops_d_T",
    "flops_q_lambda",
    "flops_q_T",
    "flops_threshold",
    "decouple_activation",
    "flops_reduction",
    "mask_special_tokens",
    "grad_cache_docs",
    "eval_data",
];

pub(super) fn read(
    raw: &RawConfig,
    data_type: DataType,
    warnings: &mut Vec<String>,
) -> Result<Task, ConfigError> {
    for key in unused_keys(data_type) {
        if raw.is_given(key) {
            let reason = format!("not used: data_type is {}", data_type.label());
            warnings.push(raw.warning(key, &reason));
        }
    }
    if data_type != DataType::Mlm {
        return Ok(Task::Ranking);
    }
    refuse_ranking(raw)?;
    let probability = raw.mlm_probability.unwrap_or(PROBABILITY);
    raw.require(
        probability > 0.0 && probability < 1.0,
        "mlm_probability",
        "expected more than 0 and less than 1",
    )?;
    Ok(Task::MaskedLm(MaskedLmConfig {
        probability,
        whole_word: raw.mlm_whole_word.unwrap_or(false),
        packed: raw.mlm_packed.unwrap_or(false),
        eval_file: not_null(raw.mlm_eval_file.as_ref()).map(Into::into),
    }))
}

/// Settings that ask mlm for another result than it has, rather than for nothing.
fn refuse_ranking(raw: &RawConfig) -> Result<(), ConfigError> {
    let asked = |flag: Option<bool>| flag == Some(true);
    for (key, is_asked, reason) in [
        (
            "loss_types",
            raw.loss_types.is_some(),
            "data_type mlm has one loss, the cross entropy of the masked tokens; remove the key",
        ),
        (
            "use_in_batch_negatives",
            asked(raw.use_in_batch_negatives),
            "data_type mlm scores no documents; remove the key",
        ),
        (
            "idf_requires_grad",
            asked(raw.idf_requires_grad),
            "data_type mlm has no queries, so there is no IDF table to train; remove the key",
        ),
        (
            "grad_cache_docs",
            raw.grad_cache_docs.is_some(),
            "texts of data_type mlm do not depend on each other: lower per_device_train_batch_size and raise \
             gradient_accumulation_steps, which gives the same gradients in less memory",
        ),
        (
            "eval_data",
            raw.eval_data.as_ref().is_some_and(|dirs| !dirs.is_empty()),
            "BEIR directories measure ranking; name texts in mlm_eval_file",
        ),
    ] {
        raw.require(!is_asked, key, reason)?;
    }
    Ok(())
}

fn unused_keys(data_type: DataType) -> &'static [&'static str] {
    match data_type {
        DataType::Kd | DataType::KdIds | DataType::PosNegs => MLM_KEYS,
        DataType::Mlm => RANKING_KEYS,
    }
}

/// The recipe without the keys that its `data_type` leaves without a meaning.
pub(super) fn used_keys(raw: &RawConfig, data_type: DataType) -> RawConfig {
    let mut used = raw.clone();
    unused_keys(data_type)
        .iter()
        .for_each(|key| used.unset(key));
    used
}

/// After all other sections.
pub(super) fn write(task: &Task, raw: &mut RawConfig) {
    let Task::MaskedLm(config) = task else {
        return;
    };
    *raw = used_keys(raw, DataType::Mlm);
    raw.data_type = Some(DataType::Mlm.label().to_owned());
    raw.mlm_probability = Some(config.probability);
    raw.mlm_whole_word = Some(config.whole_word);
    raw.mlm_packed = Some(config.packed);
    raw.mlm_eval_file = config
        .eval_file
        .as_ref()
        .map(|path| path.display().to_string());
}
