//! Hugging Face `save_to_disk` directories: rows, groups, and the broken ones.

use std::path::Path;

use configs::{DataConfig, DataKind, TrainSource};
use data::{GroupId, TrainData, TrainDataError, TrainGroup};
use serde_json::Value;

use crate::compare::Checks;
use crate::fixture::{self, list, number, text, texts};

fn open(path: &Path, kind: DataKind, docs_per_query: usize) -> Result<TrainData, TrainDataError> {
    TrainData::open(&DataConfig {
        source: TrainSource::File(path.to_owned()),
        kind,
        docs_per_query,
        max_seq_len: 64,
        eval_max_seq_len: 64,
        first_rank_thresh: usize::MAX,
        swap_times: 0,
    })
}

fn groups(data: &TrainData) -> Result<Vec<TrainGroup>, TrainDataError> {
    let ids = (0..data.len()).map(|group| GroupId { set: 0, group });
    ids.map(|id| data.group(id)).collect()
}

/// `<data set>[_l0]_sample<n>`: the rows' kind tells what n counts.
fn parse(case: &str) -> (&str, usize) {
    let (name, sampled) = case
        .rsplit_once("_sample")
        .expect("`_sample` in the name of a case");
    let name = name.strip_suffix("_l0").unwrap_or(name);
    (name, sampled.parse().expect("a number after `_sample`"))
}

/// `[query, docs, scores]` of kd, `[query, pos, negs]` of posnegs.
fn expected_group(group: &Value, kind: DataKind) -> TrainGroup {
    let query = text(&group[0]).to_owned();
    let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
    match kind {
        DataKind::Kd => TrainGroup {
            query,
            docs: owned(texts(&group[1])),
            scores: Some(
                list(&group[2])
                    .iter()
                    .map(|score| number(score) as f32)
                    .collect(),
            ),
        },
        DataKind::PosNegs => TrainGroup {
            query,
            docs: owned([vec![text(&group[1])], texts(&group[2])].concat()),
            scores: None,
        },
    }
}

#[test]
fn groups_of_every_case() {
    let rows = fixture::object("hf_dataset/expected_rows.json");
    let mut checks = Checks::new();
    for (case, expected) in fixture::object("hf_dataset/expected_groups.json") {
        let (name, sampled) = parse(&case);
        let (kind, docs) = match rows[name][0].get("negs") {
            Some(_) => (DataKind::PosNegs, sampled + 1),
            None => (DataKind::Kd, sampled),
        };
        let found = open(&fixture::path("hf_dataset").join(name), kind, docs)
            .and_then(|data| groups(&data))
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        let expected: Vec<_> = list(&expected)
            .iter()
            .map(|group| expected_group(group, kind))
            .collect();
        checks.same(&case, &found, &expected);
    }
    checks.finish();
}
