//! Measures of a run, against trec_eval and ir_measures.

use std::collections::BTreeMap;

use data::beir::Qrels;
use eval::metric::{self, Average, Evaluation, Measure, TokenCounts};
use eval::ranking::{Hit, Run, rank_order};
use eval::run_file;
use model::SparseVector;
use serde_json::Value;

use super::tolerance::{METRIC, METRIC_ROUNDED, SPARSITY, Tolerance};
use crate::compare::Checks;
use crate::fixture::{self, ids, number, texts};

/// The measure of a name of trec_eval (`ndcg_cut_10`) or of ir_measures and BEIR (`nDCG@10`).
fn measure(name: &str) -> Measure {
    let ours = match name
        .rsplit_once(['_', '@'])
        .filter(|(_, cut)| cut.parse::<usize>().is_ok())
    {
        Some((kind, cut)) => match kind.to_lowercase().as_str() {
            "ndcg" | "ndcg_cut" => format!("ndcg@{cut}"),
            "map" | "map_cut" | "ap" => format!("map@{cut}"),
            "r" | "recall" => format!("recall@{cut}"),
            "rr" | "mrr" => format!("mrr@{cut}"),
            "p" => format!("p@{cut}"),
            other => format!("{other}@{cut}"),
        },
        None if name == "recip_rank" => "mrr".to_owned(),
        None => name.to_owned(),
    };
    ours.parse()
        .unwrap_or_else(|error| panic!("measure `{name}` in a fixture: {error}"))
}

fn qrels() -> Qrels {
    qrels_of(&fixture::json("metrics/qrels.json"))
}

fn run() -> Run {
    run_of(&fixture::json("metrics/run.json"))
}

fn qrels_of(judged: &Value) -> Qrels {
    let row = |(id, gain): (&String, &Value)| (id.clone(), gain.as_i64().expect("a gain") as i32);
    let rows_of = |rows: &Value| rows.as_object().expect("rows").iter().map(row).collect();
    let queries = judged.as_object().expect("queries").iter();
    queries
        .map(|(query, rows)| (query.clone(), rows_of(rows)))
        .collect()
}

fn run_of(run: &Value) -> Run {
    let hit = |(id, score): (&String, &Value)| Hit {
        id: id.clone(),
        score: number(score) as f32,
    };
    let hits_of = |hits: &Value| hits.as_object().expect("hits").iter().map(hit).collect();
    let queries = run.as_object().expect("queries").iter();
    queries
        .map(|(query, hits)| (query.clone(), hits_of(hits)))
        .collect()
}

/// Every measure of `expected`, over the queries of `average`.
fn evaluate<'a>(names: impl Iterator<Item = &'a String>, average: Average) -> Evaluation {
    let measures: Vec<Measure> = names.map(|name| measure(name)).collect();
    metric::evaluate(&qrels(), &run(), &measures, average)
}

fn check_mean(checks: &mut Checks, what: &str, expected: &Value, average: Average, by: &Tolerance) {
    let expected = expected.as_object().expect("measures");
    let found = evaluate(expected.keys(), average);
    for (index, (name, value)) in expected.iter().enumerate() {
        checks.number(
            &format!("{what} {name}"),
            found.mean[index],
            number(value),
            by,
        );
    }
}

fn check_queries(checks: &mut Checks, what: &str, expected: &Value, average: Average) {
    let expected = expected.as_object().expect("queries");
    for (query, values) in expected {
        let values = values.as_object().expect("measures");
        let found = evaluate(values.keys(), average);
        let Some(row) = found.per_query.get(query) else {
            checks.fail(format!("{what} {query}: not evaluated"));
            continue;
        };
        for (index, (name, value)) in values.iter().enumerate() {
            checks.number(
                &format!("{what} {query} {name}"),
                row[index],
                number(value),
                &METRIC,
            );
        }
        checks.equal(&format!("{what}: queries"), found.queries(), expected.len());
    }
}

#[test]
fn every_query() {
    let expected = fixture::object("metrics/expected.json");
    let mut checks = Checks::new();
    check_queries(
        &mut checks,
        "trec_eval",
        &expected["per_query"],
        Average::Retrieved,
    );
    check_queries(
        &mut checks,
        "ir_measures",
        &expected["ir_measures"]["per_query"],
        Average::Judged,
    );
    checks.finish();
}

#[test]
fn averages() {
    let expected = fixture::object("metrics/expected.json");
    let mut checks = Checks::new();
    for (key, average, tolerance) in [
        (
            "average_over_queries_in_run_and_qrels",
            Average::Retrieved,
            METRIC,
        ),
        ("average_over_all_qrels_queries", Average::Judged, METRIC),
        ("beir_rounded", Average::Retrieved, METRIC_ROUNDED),
    ] {
        check_mean(&mut checks, key, &expected[key], average, &tolerance);
    }
    let aggregate = &expected["ir_measures"]["aggregate"];
    check_mean(
        &mut checks,
        "ir_measures",
        aggregate,
        Average::Judged,
        &METRIC,
    );
    checks.finish();
}

#[test]
fn ranking_order() {
    let expected = fixture::object("metrics/expected.json");
    let mut run = run();
    let mut checks = Checks::new();
    for (query, order) in expected["ranking_order"].as_object().expect("queries") {
        let hits = run.get_mut(query).expect("a query of the run");
        hits.sort_by(rank_order);
        let found: Vec<&str> = hits.iter().map(|hit| hit.id.as_str()).collect();
        checks.same(query, &found, &texts(order));
    }
    checks.finish();
}

/// qrels.tsv holds what qrels.json holds.
#[test]
fn qrels_file() {
    let path = fixture::path("metrics/qrels.tsv");
    let found = data::qrels::read_qrels(&path).expect("judgements");
    let mut checks = Checks::new();
    let rows = |qrels: &Qrels| -> Vec<(String, BTreeMap<String, i32>)> {
        qrels.clone().into_iter().collect()
    };
    checks.same("qrels.tsv", &rows(&found), &rows(&qrels()));
    checks.finish();
}

#[test]
fn sparsity() {
    let expected = fixture::object("metrics/flops.json");
    let counts = |key: &str| -> TokenCounts {
        let rows = fixture::list(&expected[key]).iter();
        let vectors: Vec<SparseVector> = rows
            .map(|row| ids(row).into_iter().map(|id| (id, 1.0)).collect())
            .collect();
        vectors.iter().collect()
    };
    let (queries, documents) = (counts("query_nonzero_ids"), counts("doc_nonzero_ids"));
    let mut checks = Checks::new();
    for (key, found) in [
        ("flops", metric::flops(&queries, &documents)),
        (
            "brute_force_mean_overlap",
            metric::flops(&queries, &documents),
        ),
        ("q_length", queries.mean_length()),
        ("d_length", documents.mean_length()),
    ] {
        checks.number(key, found, number(&expected[key]), &SPARSITY);
    }
    checks.finish();
}

/// 200 random runs, each query under every measure: ties, ids that look like numbers, grades, missing judgements.
#[test]
fn random_runs() {
    let fixture = fixture::json_at(&fixture::own("metrics/random.json"));
    let names = texts(&fixture["measures"]);
    let measures: Vec<Measure> = names.iter().map(|name| measure(name)).collect();
    let cases = fixture::list(&fixture["cases"]);
    assert_eq!(cases.len(), 200);
    let mut checks = Checks::new();
    for (index, case) in cases.iter().enumerate() {
        let found = metric::evaluate(
            &qrels_of(&case["qrels"]),
            &run_of(&case["run"]),
            &measures,
            Average::Retrieved,
        );
        let expected = case["expected"].as_object().expect("queries");
        checks.equal(
            &format!("run {index}: queries"),
            found.per_query.keys().cloned().collect::<Vec<_>>(),
            expected.keys().cloned().collect::<Vec<_>>(),
        );
        for (query, values) in expected {
            for (place, value) in fixture::list(values).iter().enumerate() {
                if value.is_null() {
                    continue;
                }
                let row = found.per_query.get(query);
                let what = format!("run {index} query {query} {}", names[place]);
                let found = row.map_or(f64::NAN, |row| row[place]);
                checks.number(&what, found, number(value), &METRIC);
            }
        }
    }
    checks.finish();
}

/// trec_eval's own test: the published values of a query with 500 documents, equal in every digit printed.
#[test]
fn published_by_trec_eval() {
    let file = |name: &str| fixture::own("metrics/trec_eval").join(name);
    let run = run_file::read(&file("run.trec")).expect("a run");
    let qrels = data::qrels::read_qrels(&file("qrels.trec")).expect("judgements");
    let published = fixture::json_at(&file("expected.json"));
    let query = fixture::text(&published["query"]);
    let values = published["values"].as_object().expect("measures");
    let measures: Vec<Measure> = values.keys().map(|name| measure(name)).collect();

    let mut checks = Checks::new();
    let is_relevant = |id: &String| qrels[query].get(id).is_some_and(|&gain| gain > 0);
    for (key, found) in [
        ("num_ret", run[query].len()),
        (
            "num_rel",
            qrels[query].keys().filter(|id| is_relevant(id)).count(),
        ),
        (
            "num_rel_ret",
            run[query].iter().filter(|hit| is_relevant(&hit.id)).count(),
        ),
    ] {
        checks.equal(key, found, fixture::count(&published[key]));
    }
    let found = metric::evaluate(&qrels, &run, &measures, Average::Retrieved);
    for (index, (name, value)) in values.iter().enumerate() {
        let printed = format!("{:.4}", found.per_query[query][index]);
        checks.equal(name, printed.as_str(), fixture::text(value));
    }
    checks.finish();
}
