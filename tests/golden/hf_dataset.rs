//! Hugging Face `save_to_disk` directories: rows, groups, and the broken ones.

use std::path::Path;

use configs::{DataConfig, DataKind, TrainSource};
use data::{Dataset, DatasetError, GroupId, TrainData, TrainDataError, TrainGroup};
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
        DataKind::Kd | DataKind::KdIds => TrainGroup {
            query,
            docs: owned(texts(&group[1])),
            scores: Some(
                list(&group[2])
                    .iter()
                    .map(|score| number(score) as f32)
                    .collect(),
            ),
            ids: None,
        },
        DataKind::PosNegs => TrainGroup {
            query,
            docs: owned([vec![text(&group[1])], texts(&group[2])].concat()),
            scores: None,
            ids: None,
        },
    }
}

/// Every data set with rows as they should be read: `<name>`, or `<name>/<split>`, whose rows may be said to be the
/// `same as` another's.
fn expected_rows() -> Vec<(String, Vec<Value>)> {
    let all = fixture::object("hf_dataset/expected_rows.json");
    let resolve = |entry: &Value| match entry.as_str().map(|text| text.strip_prefix("same as ")) {
        Some(Some(same)) => list(&all[same]).to_vec(),
        _ => list(entry).to_vec(),
    };
    let mut found = Vec::new();
    for (name, entry) in &all {
        match entry.as_object() {
            Some(splits) => found.extend(
                splits
                    .iter()
                    .map(|(split, entry)| (format!("{name}/{split}"), resolve(entry))),
            ),
            None => found.push((name.clone(), resolve(entry))),
        }
    }
    found
}

/// Reads all rows; the first error where there is one.
fn read(path: &Path) -> Result<Vec<Value>, DatasetError> {
    let dataset = Dataset::open(path)?;
    (0..dataset.len())
        .map(|row| dataset.row(row).map(Value::Object))
        .collect()
}

#[test]
fn rows_of_every_data_set() {
    let mut checks = Checks::new();
    for (name, expected) in expected_rows() {
        match read(&fixture::path("hf_dataset").join(&name)) {
            Ok(rows) => checks.same(&name, &rows, &expected),
            Err(error) => checks.fail(format!("{name}: {error}")),
        }
    }
    checks.finish();
}

/// What the reference's own reader cannot load is refused, naming the file and the cause.
#[test]
fn broken_data_sets() {
    let all = fixture::object("hf_dataset/expected_rows.json");
    let mut checks = Checks::new();
    for (name, behaviour) in fixture::object("hf_dataset/reader_behaviour.json") {
        if behaviour.get("error").is_none() || all.contains_key(&name) {
            continue;
        }
        let path = fixture::path("hf_dataset").join(&name);
        let opened = open(&path, DataKind::Kd, 2).and_then(|data| groups(&data).map(drop));
        for (how, message) in [
            (
                "rows",
                read(&path).map(drop).map_err(|error| error.to_string()),
            ),
            ("groups", opened.map_err(|error| error.to_string())),
        ] {
            let Err(message) = message else {
                checks.fail(format!("{name}: {how} were read"));
                continue;
            };
            let file = path.join("data-").display().to_string();
            let is_clear = message.contains(&file) && message.contains(".arrow: ");
            checks.require(is_clear, || format!("{name}: {message}"));
        }
    }
    checks.finish();
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

/// Group i of floor(len / n) takes documents i, i + step, i + 2 step, ...
fn kd_groups(rows: &[Value], docs_per_query: usize) -> Vec<TrainGroup> {
    let mut groups = Vec::new();
    for row in rows {
        let docs = list(&row["docs"]);
        let scores = row.get("scores").map(list);
        let step = docs.len() / docs_per_query;
        for first in 0..step {
            let members = || (0..docs_per_query).map(|member| first + member * step);
            groups.push(TrainGroup {
                query: text(&row["query"]).to_owned(),
                docs: members().map(|doc| text(&docs[doc]).to_owned()).collect(),
                scores: scores
                    .map(|scores| members().map(|doc| number(&scores[doc]) as f32).collect()),
                ids: None,
            });
        }
    }
    groups
}

/// Every way to store the rows gives the groups of the rows. Rows with nulls are left out, and counted.
#[test]
fn groups_of_every_data_set() {
    let mut checks = Checks::new();
    for (name, rows) in expected_rows() {
        let (kept, null): (Vec<Value>, Vec<Value>) =
            rows.iter().cloned().partition(|row| !has_null(row));
        if rows.first().is_none_or(|row| row.get("docs").is_none()) {
            continue; // posnegs, and those without a row
        }
        for docs_per_query in 2..=4 {
            let what = format!("{name}, {docs_per_query} documents");
            let data = match open(
                &fixture::path("hf_dataset").join(&name),
                DataKind::Kd,
                docs_per_query,
            ) {
                Ok(data) => data,
                Err(error) => {
                    checks.fail(format!("{what}: {error}"));
                    continue;
                }
            };
            let found = groups(&data).unwrap_or_else(|error| panic!("{what}: {error}"));
            checks.same(&what, &found, &kd_groups(&kept, docs_per_query));
            let counts = data.sets()[0].counts();
            checks.equal(&format!("{what}: rows"), counts.rows, rows.len());
            checks.equal(&format!("{what}: rows with nulls"), counts.null, null.len());
        }
    }
    checks.finish();
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.iter().any(has_null),
        Value::Object(values) => values.values().any(has_null),
        _ => false,
    }
}

/// The formula of the test before this one is the reference's.
#[test]
fn the_grouping_formula() {
    let rows = fixture::object("hf_dataset/expected_rows.json");
    let mut checks = Checks::new();
    for (case, expected) in fixture::object("hf_dataset/expected_groups.json") {
        let (name, sampled) = parse(&case);
        if rows[name][0].get("docs").is_some() {
            let expected: Vec<_> = list(&expected)
                .iter()
                .map(|group| expected_group(group, DataKind::Kd))
                .collect();
            checks.same(&case, &kd_groups(list(&rows[name]), sampled), &expected);
        }
    }
    checks.finish();
}
