//! `ellzero-eval metrics` and `compare`, on the golden judgements.

use serde_json::Value;

use crate::compare::Checks;
use crate::fixture::{self, number};
use crate::golden::tolerance::METRIC;

use super::world::World;

/// The golden run as a TREC file, its judgements in both forms.
fn write_golden(world: &World) {
    let run = fixture::object("metrics/run.json");
    let mut lines = String::new();
    for (query, hits) in &run {
        for (doc, score) in hits.as_object().expect("hits") {
            lines += &format!("{query} Q0 {doc} 0 {score} golden\n");
        }
    }
    world.write("golden.trec", lines);
    world.write(
        "golden.tsv",
        std::fs::read(fixture::path("metrics/qrels.tsv")).expect("readable"),
    );
    let mut lines = String::new();
    for (query, docs) in &fixture::object("metrics/qrels.json") {
        for (doc, gain) in docs.as_object().expect("judgements") {
            lines += &format!("{query} 0 {doc} {gain}\n");
        }
    }
    world.write("golden.qrels", lines);
}

/// The keys of `--json`, with the names that the golden data has for them.
const KEYS: [(&str, &str); 5] = [
    ("ndcg@10", "ndcg_cut_10"),
    ("map@100", "map_cut_100"),
    ("recall@100", "recall_100"),
    ("p@10", "P_10"),
    ("mrr@10", "mrr_10"),
];

#[test]
fn figures_of_the_golden_run() {
    let world = World::new();
    write_golden(&world);
    let expected = fixture::object("metrics/expected.json");
    let mut checks = Checks::new();
    for qrels in ["golden.tsv", "golden.qrels"] {
        for (average, key) in [
            ("qrels", "average_over_all_qrels_queries"),
            ("run", "average_over_queries_in_run_and_qrels"),
        ] {
            let line = format!(
                "eval metrics --qrels {qrels} --run golden.trec --json --average {average}"
            );
            let found: Value =
                serde_json::from_str(&world.command(&line).run().success()).expect("JSON");
            for (ours, golden) in KEYS {
                let what = format!("{qrels} {average} {ours}");
                checks.number(
                    &what,
                    number(&found[ours]),
                    number(&expected[key][golden]),
                    &METRIC,
                );
            }
            checks.require(found["queries"].is_u64(), || {
                format!("no count of queries in {found}")
            });
        }
    }
    checks.finish();
}

#[test]
fn per_query_figures() {
    let world = World::new();
    write_golden(&world);
    let line = "eval metrics --qrels golden.tsv --run golden.trec --per-query";
    let text = world.command(line).run().success();
    for query in fixture::object("metrics/qrels.json").keys() {
        assert!(
            text.contains(query.as_str()),
            "{query} is missing from\n{text}"
        );
    }
}

#[test]
fn a_run_does_not_differ_from_itself() {
    let world = World::new();
    write_golden(&world);
    let line = "eval compare golden.trec golden.trec --qrels golden.tsv";
    let text = world.command(line).run().success();
    assert!(text.contains("ndcg@10"), "{text}");
}
