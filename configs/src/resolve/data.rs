//! [`DataConfig`]: what is read and how it is cut into groups.

use super::not_null;
use super::task::DataType;
use crate::choice::Choice;
use crate::error::ConfigError;
use crate::raw::RawConfig;
use crate::resolved::{DataConfig, DataKind, TrainSource};

const MAX_SEQ_LENGTH: usize = 512;
const SAMPLE_NUM_ONE_QUERY: usize = 2;
const FIRST_RANK_THRESH: usize = 10_000;

/// [CLS], one token, [SEP].
const SHORTEST_SEQUENCE: usize = 3;

pub(super) fn read(
    raw: &RawConfig,
    data_type: DataType,
    warnings: &mut Vec<String>,
) -> Result<DataConfig, ConfigError> {
    for (key, length) in [
        ("max_seq_length", raw.max_seq_length),
        ("eval_max_seq_length", raw.eval_max_seq_length),
    ] {
        let reason = "expected 3 or more: [CLS], one token and [SEP]";
        raw.require(length.is_none_or(|n| n >= SHORTEST_SEQUENCE), key, reason)?;
    }
    let data = DataConfig {
        source: source(raw)?,
        kind: match data_type {
            DataType::Kd | DataType::Mlm => DataKind::Kd,
            DataType::KdIds => DataKind::KdIds,
            DataType::PosNegs => DataKind::PosNegs,
        },
        docs_per_query: docs_per_query(raw, data_type)?,
        max_seq_len: raw.max_seq_length.unwrap_or(MAX_SEQ_LENGTH),
        eval_max_seq_len: raw.eval_max_seq_length.unwrap_or(MAX_SEQ_LENGTH),
        first_rank_thresh: raw.first_rank_thresh.unwrap_or(FIRST_RANK_THRESH),
        swap_times: raw.swap_times.unwrap_or(0),
    };
    if data_type == DataType::PosNegs {
        let not_used = "not used: data_type is posnegs";
        if data.first_rank_thresh != FIRST_RANK_THRESH {
            warnings.push(raw.warning("first_rank_thresh", not_used));
        }
        if data.swap_times > 0 {
            warnings.push(raw.warning("swap_times", not_used));
        }
    }
    Ok(data)
}

fn source(raw: &RawConfig) -> Result<TrainSource, ConfigError> {
    let file = not_null(raw.train_file.as_ref());
    let dir = not_null(raw.train_file_dir.as_ref());
    match (file, dir) {
        (Some(file), None) => Ok(TrainSource::File(file.into())),
        (None, Some(dir)) => Ok(TrainSource::Dir(dir.into())),
        (Some(_), Some(_)) => Err(raw.refused(
            "train_file_dir",
            "train_file is given too; keep one (train_file_dir is a folder of several data sets)",
        )),
        (None, None) => Err(ConfigError::Missing {
            path: raw.path.clone(),
            key: "train_file",
            advice: "name a JSON lines file or a save_to_disk directory, or a folder of them in train_file_dir",
        }),
    }
}

/// Documents per query of a group: kd counts them all, posnegs counts the negatives beside the positive.
fn docs_per_query(raw: &RawConfig, data_type: DataType) -> Result<usize, ConfigError> {
    let sampled = raw.sample_num_one_query.unwrap_or(SAMPLE_NUM_ONE_QUERY);
    let (least, docs, reason) = match data_type {
        DataType::Mlm => return Ok(1),
        DataType::Kd | DataType::KdIds => (
            2,
            sampled,
            "expected 2 or more: a query's documents are compared with each other",
        ),
        DataType::PosNegs => (
            1,
            sampled.saturating_add(1),
            "expected 1 or more: negatives beside the positive",
        ),
    };
    raw.require(sampled >= least, "sample_num_one_query", reason)?;
    Ok(docs)
}

pub(super) fn write(data: &DataConfig, raw: &mut RawConfig) {
    match &data.source {
        TrainSource::File(path) => raw.train_file = Some(path.display().to_string()),
        TrainSource::Dir(path) => raw.train_file_dir = Some(path.display().to_string()),
    }
    raw.data_type = Some(data.kind.label().to_owned());
    raw.sample_num_one_query = Some(match data.kind {
        DataKind::Kd | DataKind::KdIds => data.docs_per_query,
        DataKind::PosNegs => data.docs_per_query - 1,
    });
    raw.max_seq_length = Some(data.max_seq_len);
    raw.eval_max_seq_length = Some(data.eval_max_seq_len);
    raw.first_rank_thresh = Some(data.first_rank_thresh);
    raw.swap_times = Some(data.swap_times);
}
