//! `ellzero-eval metrics` and `compare`, on the golden judgements.

use serde_json::{Value, json};

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
    let json = world.command(&format!("{line} --json")).run().success();
    let found: Value = serde_json::from_str(&json).expect("JSON");
    for key in ["p_value", "p_corrected", "t_p_value", "t_p_corrected"] {
        assert_eq!(found["ndcg@10"][key], 1.0, "{key} in {found}");
    }
    assert_eq!(found["map@100"]["interval"], json!([0.0, 0.0]));
    assert_eq!(found["map@100"]["wins"], 0);
}

/// 40 queries; run `better` puts the one relevant document first, `worse` second, `none` nowhere.
fn write_runs(world: &World) {
    let lines = |line: &dyn Fn(usize) -> String| (0..40).map(line).collect::<String>();
    world.write("many.qrels", lines(&|query| format!("q{query} 0 d 1\n")));
    for (name, score) in [("better", 3.0), ("worse", 1.0)] {
        let run = |query| format!("q{query} Q0 d 1 {score} x\nq{query} Q0 e 2 2.0 x\n");
        world.write(&format!("{name}.trec"), lines(&run));
    }
    world.write(
        "none.trec",
        lines(&|query| format!("q{query} Q0 e 1 1.0 x\n")),
    );
}

#[test]
fn several_runs_against_one() {
    let world = World::new();
    write_runs(&world);
    let compare = |line: &str| {
        let line =
            format!("eval compare {line} --qrels many.qrels --measures mrr,p@1 --rounds 999");
        world.command(&line).run().success()
    };
    let json: Value =
        serde_json::from_str(&compare("worse.trec better.trec none.trec --json")).expect("JSON");
    let better = &json["better.trec"]["mrr"];
    assert_eq!(
        (better["a"].as_f64(), better["b"].as_f64()),
        (Some(0.5), Some(1.0))
    );
    assert_eq!(better["interval"], json!([0.5, 0.5]));
    assert_eq!(
        (&better["wins"], &better["losses"]),
        (&json!(40), &json!(0))
    );
    // 1 of 1000 rounds is as large as the observed one: itself. 4 comparisons.
    assert_eq!(better["p_value"], 0.001);
    assert_eq!(better["p_corrected"], 0.004);
    let none = &json["none.trec"]["p@1"];
    assert_eq!(
        (&none["ties"], &none["p_value"], &none["p_corrected"]),
        (&json!(40), &json!(1.0), &json!(1.0))
    );
    let alone: Value =
        serde_json::from_str(&compare("worse.trec better.trec --json")).expect("JSON");
    assert_eq!(alone["mrr"]["p_corrected"], 0.002);

    let text = compare("worse.trec better.trec none.trec");
    for part in ["B = better.trec", "B = none.trec", "+0.5000", "t-test"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}
