//! `ellzero-eval beir` and `bm25`: odd data sets, names, files, and what is not computed twice.

use std::fs;

use serde_json::Value;

use super::bad_input::{Bad, check_all};
use super::world::World;

/// Everything that occurs in published data sets: CRLF, missing, null and empty titles, empty texts, ids that look like
/// numbers or are some, grades from 0, a query with zeros alone, queries without judgements.
#[test]
fn odd_data_sets() {
    let world = World::new();
    let corpus = [
        r#"{"_id": "007", "text": "alpha beta"}"#,
        r#"{"_id": "7", "title": null, "text": "alpha gamma", "metadata": {"x": [1]}}"#,
        r#"{"_id": "1e3", "title": "delta", "text": ""}"#,
        r#"{"_id": 12, "title": "", "text": null}"#,
    ];
    let queries = [
        r#"{"_id": "1e3", "text": "alpha, \"beta\""}"#,
        r#"{"_id": "007", "text": "delta"}"#,
        r#"{"_id": 5, "text": "gamma"}"#,
        r#"{"_id": "unjudged", "text": "gamma"}"#,
    ];
    let qrels = [
        "query-id\tcorpus-id\tscore",
        "1e3\t007\t2",
        "1e3\t7\t1",
        "1e3\t12\t0",
        "007\t1e3\t1",
        "5\t7\t0",
    ];
    for (name, lines) in [
        ("corpus.jsonl", &corpus[..]),
        ("queries.jsonl", &queries[..]),
        ("qrels/test.tsv", &qrels[..]),
    ] {
        world.write(&format!("odd/{name}"), lines.join("\r\n"));
    }
    for command in [
        "bm25",
        "beir --model model --activation l1_relu --baseline none",
    ] {
        let line =
            format!("eval {command} --data odd --output out --per-query queries.csv --quiet");
        let outcome = world.command(&line).run();
        assert_eq!(outcome.stderr, "");
        outcome.success();
        let results: Value = serde_json::from_str(&world.read("out/results.json")).expect("JSON");
        let found = &results["datasets"]["odd"];
        assert_eq!(
            (found["docs"].as_u64(), found["queries"].as_u64()),
            (Some(4), Some(3))
        );
        assert!(
            found["index_bytes_per_doc"]
                .as_f64()
                .is_some_and(|bytes| bytes > 0.0)
        );
        let csv = world.read("queries.csv");
        let rows: Vec<&str> = csv.lines().collect();
        assert_eq!(rows.len(), 4, "{csv}");
        assert_eq!(
            rows[0],
            "dataset,query,ndcg@10,map@100,recall@100,p@10,mrr@10,text"
        );
        assert_eq!(rows[3], "odd,5,0,0,0,0,0,gamma");
        if command == "bm25" {
            // 007 has both words, 7 has one: the order of their grades.
            assert_eq!(rows[1], "odd,007,1,1,1,0.1,1,delta");
            assert_eq!(rows[2], "odd,1e3,1,1,1,0.2,1,\"alpha, \"\"beta\"\"\"");
            let ndcg = found["ndcg@10"].as_f64().expect("a number");
            assert!((ndcg - 2.0 / 3.0).abs() < 1e-12, "{ndcg}");
        }
        fs::remove_dir_all(world.path("out")).expect("removed");
    }
}

#[test]
fn finished_data_sets_are_not_evaluated_again() {
    let world = World::new();
    world.copy_beir("other");
    let line = "eval beir --model model --activation l1_relu --data beir,other --output out";
    let run = |options: &str| {
        let outcome = world.command(&format!("{line}{options}")).run();
        let finished = outcome.stderr.matches("finished in out;").count();
        let baselines = outcome.stderr.matches("finished in out/bm25;").count();
        outcome.success();
        (finished, baselines)
    };
    assert_eq!(run(""), (0, 0));
    let files = [
        "results.json",
        "results.csv",
        "results.md",
        "report.html",
        "beir.run.trec",
    ];
    let read = || files.map(|file| world.read(&format!("out/{file}")));
    let first = read();
    assert_eq!(run(""), (2, 2));
    assert_eq!(read(), first);
    assert_eq!(run(" --recompute"), (0, 0));
    assert_eq!(run(" --depth 50"), (0, 0));
    assert_eq!(run(" --depth 50 --max-length 16"), (0, 2));
    // One judgement more, and a file that is damaged.
    let qrels = world.read("other/qrels/test.tsv");
    world.write("other/qrels/test.tsv", format!("{qrels}q0\td3\t1\r\n"));
    world.write("out/beir.details.json", "{");
    assert_eq!(run(" --depth 50 --max-length 16"), (0, 1));
    assert_eq!(run(" --depth 50 --max-length 16"), (2, 2));
}

#[test]
fn data_sets_by_name() {
    let world = World::new();
    world.copy_beir("sets/scifact");
    world.copy_beir("sets/NanoSciFact");
    fs::remove_file(world.path("sets/NanoSciFact/qrels/test.tsv")).expect("removed");
    let line = "eval bm25 --data SciFact,nanoscifact,beir --root sets --output out";
    let table = world.command(line).run().success();
    for name in ["scifact", "NanoSciFact", "beir", "average"] {
        assert!(table.contains(name), "no {name} in {table}");
    }
    let markdown = world.read("out/results.md");
    assert!(
        markdown.contains("| NanoSciFact | ") && markdown.contains("| average | "),
        "{markdown}"
    );
    let csv = world.read("out/results.csv");
    assert_eq!(csv.lines().count(), 4, "{csv}");
    check_all(
        &world,
        &[
            Bad::new(
                "eval bm25 --data beir-13 --root sets",
                1,
                &["trec-covid", "sets", "HF_HUB_OFFLINE"],
            ),
            Bad::new("eval bm25 --data sci-fact", 1, &["sci-fact", "beir-13"]),
            Bad::new(
                "eval bm25 --data scifact,sets/scifact --root sets",
                1,
                &["two data sets are called scifact"],
            ),
            Bad::new("eval bm25 --data beir --recompute", 2, &["--output"]),
        ],
    );
}
