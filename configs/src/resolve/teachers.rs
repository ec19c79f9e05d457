//! Teachers that score every batch: `kd_ensemble_teacher_kwargs`.

use crate::error::ConfigError;
use crate::raw::RawConfig;
use crate::resolved::{DataConfig, DataKind, LossConfig};
use crate::teachers::{TeachersConfig, kwargs};

const KEY: &str = "kd_ensemble_teacher_kwargs";

pub(super) fn read(
    raw: &RawConfig,
    data: &DataConfig,
    loss: &LossConfig,
    warnings: &mut Vec<String>,
) -> Result<Option<TeachersConfig>, ConfigError> {
    let Some(value) = &raw.kd_ensemble_teacher_kwargs else {
        return Ok(None);
    };
    let Some(teachers) = kwargs(KEY, value, raw.place(KEY), data.max_seq_len)? else {
        return Ok(None);
    };
    if loss.needs_scores().is_none() {
        warnings.push(raw.warning(KEY, "not used: no loss of loss_types learns from scores"));
        return Ok(None);
    }
    let by_id = teachers
        .teachers
        .iter()
        .find(|teacher| teacher.kind.needs_ids());
    if let Some(teacher) = by_id
        && data.kind != DataKind::KdIds
    {
        let name = teacher.kind.type_name();
        let reason =
            format!("teachers of type {name} find texts by their ids; use data_type: kd-ids");
        return Err(raw.refused(KEY, reason));
    }
    Ok(Some(teachers))
}

pub(super) fn write(teachers: Option<&TeachersConfig>, raw: &mut RawConfig) {
    raw.kd_ensemble_teacher_kwargs = teachers.map(TeachersConfig::to_value);
}
