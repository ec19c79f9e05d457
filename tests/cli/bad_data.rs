//! Broken texts and BEIR directories.

use std::fs;

use serde_json::json;

use super::bad_input::{Bad, check_all};
use super::world::World;

const DOCUMENT: &str = r#"{"_id": "d0", "text": "a school"}"#;

/// A name, the content of a texts' file, and what a message about it says.
fn bad_texts() -> Vec<(&'static str, Vec<u8>, Vec<&'static str>)> {
    let line = |text: &str| format!("{DOCUMENT}\n{text}\n").into_bytes();
    let mut not_utf8 = line("");
    not_utf8.extend_from_slice(b"{\"_id\": \"d1\", \"text\": \"caf\xe9\"}\n");
    let mut cut = flate_header();
    cut.truncate(12);
    vec![
        ("no-json.jsonl", line("{\"_id\": \"d1\", "), vec![":2"]),
        ("no-object.jsonl", line("[1, 2]"), vec![":2"]),
        (
            "no-text.jsonl",
            line(r#"{"_id": "d1"}"#),
            vec![":2", "text"],
        ),
        ("no-id.jsonl", line(r#"{"text": "a"}"#), vec![":2", "id"]),
        (
            "text-is-a-number.jsonl",
            line(r#"{"_id": "d1", "text": 3}"#),
            vec![":2"],
        ),
        ("latin1.jsonl", not_utf8, vec![":3", "UTF-8"]),
        ("cut.jsonl.gz", cut, vec![]),
        ("no-zstd.jsonl.zst", b"plain text".to_vec(), vec![]),
    ]
}

/// The beginning of a gzip file.
fn flate_header() -> Vec<u8> {
    vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0x56, 0x4a, 0xcd]
}

#[test]
fn texts_to_encode() {
    let world = World::new();
    let encode =
        |input: &str| format!("eval encode --model model --input {input} --output out.jsonl");
    let mut table = vec![
        Bad::new(encode("missing.jsonl"), 1, &["missing.jsonl"]),
        Bad::new(encode("beir"), 1, &["beir"]),
    ];
    for (name, content, says) in bad_texts() {
        world.write(name, content);
        table.push(Bad::new(
            encode(name),
            1,
            &[&[name], says.as_slice()].concat(),
        ));
    }
    check_all(&world, &table);
    assert!(!world.path("out.jsonl").exists());
}

#[test]
fn beir_directories() {
    let world = World::new();
    let mut table = Vec::new();
    for command in [
        "eval beir --model model --data",
        "eval bm25 --data",
        "eval mine --model model --output mined.jsonl --data",
    ] {
        table.push(Bad::new(format!("{command} nowhere"), 1, &["nowhere"]));
    }
    for (name, content, says) in bad_texts()
        .into_iter()
        .filter(|(name, ..)| name.ends_with(".jsonl"))
    {
        for file in ["corpus.jsonl", "queries.jsonl"] {
            let dir = format!("{file}-{name}");
            world.copy_beir(&dir);
            world.write(&format!("{dir}/{file}"), &content);
            let says = [&[dir.as_str(), file], says.as_slice()].concat();
            table.push(Bad::new(format!("eval bm25 --data {dir}"), 1, &says));
        }
    }
    let twice = format!("{DOCUMENT}\n{{\"_id\": \"d1\", \"text\": \"b\"}}\n{DOCUMENT}\n");
    for (dir, file, content, says) in [
        ("missing-corpus", "corpus.jsonl", None, vec!["corpus.jsonl"]),
        (
            "missing-queries",
            "queries.jsonl",
            None,
            vec!["queries.jsonl"],
        ),
        ("missing-qrels", "qrels/test.tsv", None, vec!["test"]),
        (
            "empty-corpus",
            "corpus.jsonl",
            Some(""),
            vec!["corpus.jsonl"],
        ),
        (
            "empty-queries",
            "queries.jsonl",
            Some(""),
            vec!["empty-queries"],
        ),
        ("empty-qrels", "qrels/test.tsv", Some(""), vec!["test.tsv"]),
        (
            "duplicate-documents",
            "corpus.jsonl",
            Some(twice.as_str()),
            vec!["corpus.jsonl:3", "d0"],
        ),
        (
            "duplicate-queries",
            "queries.jsonl",
            Some(twice.as_str()),
            vec!["queries.jsonl:3", "d0"],
        ),
        (
            "two-columns",
            "qrels/test.tsv",
            Some("query-id\tcorpus-id\tscore\nq0\td0\n"),
            vec!["test.tsv:2"],
        ),
        (
            "gain-is-text",
            "qrels/test.tsv",
            Some("query-id\tcorpus-id\tscore\nq0\td0\tyes\n"),
            vec!["test.tsv:2", "yes"],
        ),
        (
            "twice-judged",
            "qrels/test.tsv",
            Some("query-id\tcorpus-id\tscore\nq0\td0\t1\nq0\td0\t0\n"),
            vec!["test.tsv:3", "d0"],
        ),
        (
            "only-unknown-queries",
            "qrels/test.tsv",
            Some("query-id\tcorpus-id\tscore\nzz\td0\t1\n"),
            vec!["only-unknown-queries", "test"],
        ),
    ] {
        world.copy_beir(dir);
        match content {
            Some(content) => world.write(&format!("{dir}/{file}"), content),
            None => fs::remove_file(world.path(&format!("{dir}/{file}"))).expect("removed"),
        }
        table.push(Bad::new(
            format!("eval bm25 --data {dir} --output results"),
            1,
            &says,
        ));
    }
    table.push(Bad::new("eval bm25 --data beir,copy/beir", 1, &["beir"]));
    world.copy_beir("copy/beir");
    table.push(Bad::new(
        "eval bm25 --data beir --split validation",
        1,
        &["validation"],
    ));
    table.push(Bad::new("eval bm25", 2, &["--data"]));
    check_all(&world, &table);
    assert!(!world.path("results/results.json").exists());
}

/// Judgements that name unknown documents and queries are counted and said, and the rest is evaluated.
#[test]
fn unknown_ids_in_judgements() {
    let world = World::new();
    world.copy_beir("partly");
    let qrels = "query-id\tcorpus-id\tscore\nq0\td0\t1\nq0\tghost\t1\nq1\td1\t1\nphantom\td2\t1\n";
    world.write("partly/qrels/test.tsv", qrels);
    let outcome = world
        .command("eval bm25 --data partly --output results")
        .run();
    for part in ["ghost", "phantom", "1 "] {
        assert!(
            outcome.stderr.contains(part),
            "no {part:?} in: {}",
            outcome.stderr
        );
    }
    outcome.success();
    let results: serde_json::Value =
        serde_json::from_str(&world.read("results/results.json")).expect("JSON");
    // q0 finds one of its two documents; the query without a text scores 0.
    let recall = results["datasets"]["partly"]["recall@100"]
        .as_f64()
        .expect("a number");
    assert!((recall - (0.5 + 1.0) / 3.0).abs() < 1e-9, "{recall}");
}

/// 5 MB of text on one line: encoded up to the length that is kept, in bounded time.
#[test]
fn a_document_of_five_megabytes() {
    let world = World::new();
    let words = "the light water reactor uses normal water ".repeat(125_000);
    let unbroken = "a".repeat(5_000_000);
    world.write_lines(
        "long.jsonl",
        &[
            json!({"_id": "words", "text": words}),
            json!({"_id": "letters", "text": unbroken}),
        ],
    );
    let outcome = world
        .command("eval encode --model model --input long.jsonl --output out.jsonl")
        .run();
    assert!(outcome.took.as_secs() < 30, "{:?}", outcome.took);
    outcome.success();
    let rows = world.read_lines("out.jsonl");
    assert_eq!((rows.len(), rows[0]["id"].as_str()), (2, Some("words")));
    assert!(!rows[0]["vector"].as_object().expect("a vector").is_empty());
}
