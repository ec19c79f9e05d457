//! Broken judgements, runs, vectors and indexes.

use std::fs;

use super::bad_input::{Bad, check_all};
use super::world::{World, listing};

#[test]
fn runs_and_judgements() {
    let world = World::new();
    let metrics = |qrels: &str, run: &str| format!("eval metrics --qrels {qrels} --run {run}");
    let qrels = "beir/qrels/test.tsv";
    let mut table = vec![
        Bad::new(metrics("missing.tsv", "run.trec"), 1, &["missing.tsv"]),
        Bad::new(metrics(qrels, "missing.trec"), 1, &["missing.trec"]),
        Bad::new(
            format!("eval compare run.trec missing.trec --qrels {qrels}"),
            1,
            &["missing.trec"],
        ),
        Bad::new("eval metrics --run run.trec", 2, &["--qrels"]),
        Bad::new(
            format!("{} --measures bpref", metrics(qrels, "run.trec")),
            2,
            &["bpref"],
        ),
    ];
    for (name, content, says) in [
        ("empty.trec", &b""[..], vec![]),
        ("columns.trec", b"q0 Q0 d0 1 1.0 x\nq0 d0 1.0\n", vec![":2"]),
        ("score.trec", b"q0 Q0 d0 1 high x\n", vec![":1", "high"]),
        ("nan.trec", b"q0 Q0 d0 1 nan x\n", vec![":1"]),
        (
            "twice.trec",
            b"q0 Q0 d0 1 1.0 x\nq0 Q0 d0 2 0.5 x\n",
            vec!["d0", "q0"],
        ),
        ("latin1.trec", b"q0 Q0 d\xe9 1 1.0 x\n", vec![":1", "UTF-8"]),
    ] {
        world.write(name, content);
        table.push(Bad::new(
            metrics(qrels, name),
            1,
            &[&[name], says.as_slice()].concat(),
        ));
    }
    for (name, content, says) in [
        ("empty.tsv", &b""[..], vec![]),
        (
            "columns.tsv",
            b"query-id\tcorpus-id\tscore\nq0\td0\n",
            vec![":2"],
        ),
        ("columns.qrels", b"q0 0 d0 1\nq0 0 d1\n", vec![":2"]),
        ("gain.qrels", b"q0 0 d0 much\n", vec![":1", "much"]),
        ("latin1.qrels", b"q0 0 d\xe9 1\n", vec![":1", "UTF-8"]),
    ] {
        world.write(name, content);
        table.push(Bad::new(
            metrics(name, "run.trec"),
            1,
            &[&[name], says.as_slice()].concat(),
        ));
    }
    check_all(&world, &table);
}

#[test]
fn vectors_and_indexes() {
    let world = World::new();
    world
        .command("eval index --input vectors.jsonl --output good")
        .run()
        .success();
    let search = |index: &str| {
        format!("eval search --index {index} --query-vectors query-vectors.jsonl --run out.trec")
    };
    let mut table = vec![
        Bad::new(
            "eval index --input missing.jsonl --output index",
            1,
            &["missing.jsonl"],
        ),
        Bad::new(search("nowhere"), 1, &["nowhere"]),
        Bad::new(search("beir"), 1, &["beir"]),
        Bad::new(
            "eval search --index good --query-vectors missing.jsonl --run out.trec",
            1,
            &["missing.jsonl"],
        ),
        Bad::new("eval search --index good", 2, &["QUERY"]),
        Bad::new("eval search --index good word", 2, &["--model"]),
    ];
    for (name, content, says) in [
        ("no-json.jsonl", "{\"id\":", vec![":1"]),
        ("no-vector.jsonl", "{\"id\":\"a\"}\n", vec![":1", "vector"]),
        (
            "text-weight.jsonl",
            "{\"id\":\"a\",\"vector\":{\"x\":\"1\"}}\n",
            vec![":1"],
        ),
        (
            "negative.jsonl",
            "{\"id\":\"a\",\"vector\":{\"x\":-1}}\n",
            vec![":1", "x"],
        ),
        (
            "huge.jsonl",
            "{\"id\":\"a\",\"vector\":{\"x\":1e300}}\n",
            vec![":1", "x"],
        ),
        (
            "twice.jsonl",
            "{\"id\":\"a\",\"vector\":{}}\n{\"id\":\"a\",\"vector\":{}}\n",
            vec!["a"],
        ),
    ] {
        world.write(name, content);
        let line = format!("eval index --input {name} --output index");
        let named = if name == "twice.jsonl" {
            vec![]
        } else {
            vec![name]
        };
        table.push(Bad::new(line, 1, &[named, says].concat()));
    }
    check_all(&world, &table);
    assert!(!world.path("out.trec").exists());
    let index = world.path("index");
    assert!(!index.exists() || listing(&index).is_empty());
}

/// Every file of an index is checked: cut short or with one changed byte it is refused by name.
#[test]
fn damaged_indexes() {
    let world = World::new();
    world
        .command("eval index --input vectors.jsonl --output good")
        .run()
        .success();
    let files = listing(&world.path("good"));
    let mut table = Vec::new();
    for file in &files {
        let bytes = fs::read(world.path(&format!("good/{file}"))).expect("readable");
        let mut flipped = bytes.clone();
        let middle = bytes.len() / 2;
        flipped[middle] ^= 0x40;
        for (kind, content) in [
            ("cut", &bytes[..middle]),
            ("flipped", &flipped[..]),
            ("empty", &[][..]),
        ] {
            let name = format!("{kind}-{file}");
            for other in &files {
                let content = fs::read(world.path(&format!("good/{other}"))).expect("readable");
                world.write(&format!("{name}/{other}"), content);
            }
            world.write(&format!("{name}/{file}"), content);
            let line = format!(
                "eval search --index {name} --query-vectors query-vectors.jsonl --run out.trec"
            );
            table.push(Bad::new(line, 1, &[&name]));
        }
    }
    check_all(&world, &table);
}
