//! `ellzero-data`: tables, conversions, and a look at data sets.

use std::fs;

use serde_json::{Value, json};

use crate::compare::Checks;
use crate::fixture;
use crate::golden::tolerance::IDF;
use crate::weights::copy_files;

use super::bad_input::{Bad, check_all};
use super::world::World;

/// `ln(1 + (N - df + 0.5) / (df + 0.5))`, and 1 for a token that occurs nowhere.
#[test]
fn idf_of_a_corpus() {
    let world = World::new();
    world.write_lines(
        "three.jsonl",
        &[
            json!({"_id": "a", "title": "the", "text": "school the"}),
            json!({"_id": "b", "text": "the war"}),
            json!({"_id": "c", "text": "war"}),
        ],
    );
    world
        .command("data idf --corpus three.jsonl --tokenizer model --output idf.json")
        .run()
        .success();
    let table: Value = serde_json::from_str(&world.read("idf.json")).expect("a table");
    let mut checks = Checks::new();
    for (token, documents) in [("the", 2.0), ("war", 2.0), ("school", 1.0)] {
        let expected = (1.0_f64 + (3.0 - documents + 0.5) / (documents + 0.5)).ln();
        checks.number(token, fixture::number(&table[token]), expected, &IDF);
    }
    checks.number(
        "a token that occurs nowhere",
        fixture::number(&table["station"]),
        1.0,
        &IDF,
    );
    checks.finish();
    // The table is one that queries can be made with.
    let line = "eval encode --model model --idf idf.json --input beir/queries.jsonl --route query --output -";
    world.command(line).run().success();
}

/// Corpora are read from columns as from lines: one Parquet file, the parts of one in a folder, as the Hub has them, and a
/// save_to_disk directory.
#[test]
fn corpora_of_columns() {
    let world = World::new();
    let rows = world.read_lines("beir/corpus.jsonl").into_iter();
    let rows: Vec<Value> = rows
        .map(|row| json!({"_id": row["_id"], "title": row["title"], "text": row["text"]}))
        .collect();
    world.write_lines("lines.jsonl", &rows);
    world.write_lines("0.jsonl", &rows[..3]);
    world.write_lines("1.jsonl", &rows[3..]);
    fs::create_dir(world.path("parts")).expect("a folder");
    for (input, output) in [
        ("lines.jsonl", "one.parquet"),
        ("lines.jsonl", "saved"),
        ("0.jsonl", "parts/corpus-00000-of-00002.parquet"),
        ("1.jsonl", "parts/corpus-00001-of-00002.parquet"),
    ] {
        let line = format!("data convert --input {input} --output {output}");
        world.command(&line).run().success();
    }
    let mut checks = Checks::new();
    for line in [
        "data idf --corpus CORPUS --tokenizer model --output -",
        "data queries-from-titles --corpus CORPUS --output - --seed 3",
        "data sample --input CORPUS --output - --count 4",
        "eval encode --model model --input CORPUS --output -",
    ] {
        let run = |corpus: &str| {
            let line = line.replace("CORPUS", corpus);
            world.command(&line).run().success()
        };
        let without_spaces = |text: String| text.replace(' ', "");
        let expected = without_spaces(run("lines.jsonl"));
        for corpus in ["one.parquet", "parts", "saved"] {
            let what = line.replace("CORPUS", corpus);
            checks.equal(&what, without_spaces(run(corpus)), expected.clone());
        }
    }
    let score = |corpus: &str| {
        let teachers = format!("teachers: [{{type: bm25, corpus: {corpus}}}]\n");
        world.write("bm25.yaml", teachers);
        let line = "train score --teachers bm25.yaml --input posnegs.jsonl --output -";
        world.command(line).run().success()
    };
    checks.equal("bm25", score("one.parquet"), score("lines.jsonl"));
    checks.finish();
}

/// A damaged page is an error that names the file, whatever the reader of Parquet says about itself.
#[test]
fn damaged_parquet_files() {
    let world = World::new();
    let line = "data convert --input kd.jsonl --output kd.parquet";
    world.command(line).run().success();
    let whole = fs::read(world.path("kd.parquet")).expect("a file");
    let mut damaged = 0;
    let mut checks = Checks::new();
    // The first page's header, behind the file's mark.
    for position in 4..64 {
        let mut bytes = whole.clone();
        bytes[position] = 0;
        world.write("damaged.parquet", bytes);
        let outcome = world
            .command("data convert --input damaged.parquet --output -")
            .run();
        let said = &outcome.stderr;
        checks.require(!said.contains("panicked"), || format!("{position}: {said}"));
        damaged += usize::from(said.contains("damaged.parquet: it is damaged"));
    }
    checks.finish();
    assert!(damaged > 0, "no damage made the reader panic");
}

/// From a save_to_disk directory to JSON lines and back: the same rows.
#[test]
fn conversions_keep_every_row() {
    let world = World::new();
    let all = fixture::object("hf_dataset/expected_rows.json");
    let mut checks = Checks::new();
    for name in ["kd", "kd_large", "kd_extra_cols", "kd_nulls", "posnegs"] {
        let Some(expected) = all.get(name) else {
            continue;
        };
        copy_files(
            &fixture::path(&format!("hf_dataset/{name}")),
            &world.path(name),
            &[],
        );
        for line in [
            format!("data convert --input {name} --output {name}.jsonl"),
            format!("data convert --input {name}.jsonl --output {name}-again"),
            format!("data convert --input {name}-again --output {name}-again.jsonl"),
            format!("data convert --input {name} --output {name}.parquet"),
            format!("data convert --input {name}.parquet --output {name}-parquet.jsonl"),
        ] {
            world.command(&line).run().success();
        }
        for file in [
            format!("{name}.jsonl"),
            format!("{name}-again.jsonl"),
            format!("{name}-parquet.jsonl"),
        ] {
            checks.same(&file, &world.read_lines(&file), fixture::list(expected));
        }
    }
    checks.finish();
}

#[test]
fn inspections() {
    let world = World::new();
    copy_files(&fixture::path("hf_dataset/kd"), &world.path("kd"), &[]);
    for (path, parts) in [
        ("kd", ["kd", "query", "scores"]),
        ("kd.jsonl", ["kd", "query", "scores"]),
        ("posnegs.jsonl", ["posnegs", "pos", "negs"]),
        ("beir", ["beir", "8", "test"]),
    ] {
        let text = world
            .command(&format!("data inspect {path}"))
            .run()
            .success();
        for part in parts {
            assert!(
                text.to_lowercase().contains(part),
                "{path}: no {part} in\n{text}"
            );
        }
    }
}

/// From a corpus without queries to training data, and from there to a trained model.
#[test]
fn titles_train_a_model() {
    let world = World::new();
    let rows: Vec<Value> = (0..40)
        .map(|row| {
            let (title, text) = (format!("school {row}"), format!("the war {row}"));
            json!({"_id": format!("d{row}"), "title": title, "text": text})
        })
        .collect();
    world.write_lines("corpus.jsonl", &rows);
    for line in [
        "data queries-from-titles --corpus corpus.jsonl --negatives 3 --output pairs.jsonl.gz",
        "data dedup --input pairs.jsonl.gz --output unique.jsonl",
        "data split --input unique.jsonl --output-dir parts --parts train=0.8,dev=0.2",
        "data sample --input parts/train.jsonl --count 20 --seed 3 --output few.jsonl",
        "data convert --input few.jsonl --output few.parquet",
        "train train.yaml --set max_steps=2 --set data_type=posnegs --set train_file=few.parquet \
         --set loss_types=[infonce]",
        "data queries-from-titles --corpus corpus.jsonl --format beir --output titles",
        "eval bm25 --data titles --split train",
    ] {
        world.command(line).run().success();
    }
    assert_eq!(world.read_lines("few.jsonl").len(), 20);
    let parts = ["parts/train.jsonl", "parts/dev.jsonl"];
    let rows: usize = parts.map(|part| world.read_lines(part).len()).iter().sum();
    assert_eq!(rows, 40);
}

#[test]
fn refusals() {
    let world = World::new();
    copy_files(
        &fixture::path("hf_dataset/kd_corrupt"),
        &world.path("corrupt"),
        &[],
    );
    world.write("empty.jsonl", "");
    world.write("latin1.jsonl", b"{\"_id\": \"a\", \"text\": \"caf\xe9\"}\n");
    world.write("taken/file", "mine");
    world.write("cut.parquet", "PAR1 and no more");
    check_all(
        &world,
        &[
            Bad::new("data inspect nowhere", 1, &["nowhere"]),
            Bad::new("data inspect corrupt", 1, &["corrupt/data-", ".arrow"]),
            Bad::new(
                "data convert --input corrupt --output x.jsonl",
                1,
                &["corrupt/data-", ".arrow"],
            ),
            Bad::new(
                "data convert --input nowhere --output x.jsonl",
                1,
                &["nowhere"],
            ),
            Bad::new(
                "data convert --input latin1.jsonl --output x",
                1,
                &["latin1.jsonl", "UTF-8"],
            ),
            Bad::new(
                "data convert --input kd.jsonl --output taken",
                1,
                &["taken"],
            ),
            Bad::new(
                "data idf --corpus nowhere.jsonl --tokenizer model --output x.json",
                1,
                &["nowhere.jsonl"],
            ),
            Bad::new(
                "data idf --corpus empty.jsonl --tokenizer model --output x.json",
                1,
                &["empty.jsonl"],
            ),
            Bad::new(
                "data idf --corpus beir/corpus.jsonl --tokenizer nowhere --output x.json",
                1,
                &["nowhere"],
            ),
            Bad::new("data idf --corpus beir/corpus.jsonl", 2, &["--tokenizer"]),
            Bad::new(
                "data convert --input cut.parquet --output x.jsonl",
                1,
                &["cut.parquet", "copy or write it again"],
            ),
            Bad::new(
                "data queries-from-titles --corpus empty.jsonl --output x.jsonl",
                1,
                &["empty.jsonl", "0 of 0 documents have a title and a text"],
            ),
            Bad::new(
                "data sample --input nowhere --count 3 --output x.jsonl",
                1,
                &["nowhere"],
            ),
            Bad::new(
                "data sample --input kd.jsonl --count -3 --output x.jsonl",
                2,
                &["-3"],
            ),
            Bad::new(
                "data split --input kd.jsonl --parts train=0.9,dev=0.2 --output-dir x",
                2,
                &["--parts", "add up to 1.1"],
            ),
            Bad::new(
                "data split --input kd.jsonl --parts a=1 --output-dir taken",
                1,
                &["taken", "already exists"],
            ),
            Bad::new(
                "data dedup --input kd.jsonl --columns titel --output x.jsonl",
                1,
                &["kd.jsonl:1", "titel"],
            ),
            Bad::new("data msmarco --data beir --output x.jsonl", 2, &["--lists"]),
            Bad::new(
                "data msmarco --data beir --lists kd.jsonl --output x.jsonl",
                1,
                &["kd.jsonl", "ids of beir"],
            ),
            Bad::new(
                "data msmarco --questions kd.jsonl --output x.jsonl",
                1,
                &["kd.jsonl:1", "passages"],
            ),
            Bad::new(
                "data tokenizer --corpus empty.jsonl --vocab-size 100 --output x",
                1,
                &["empty.jsonl", "no document with text"],
            ),
            Bad::new(
                "data tokenizer --corpus beir/corpus.jsonl --vocab-size 20 --output x",
                1,
                &["beir/corpus.jsonl", "a vocabulary of 20 has no room"],
            ),
            Bad::new(
                "data tokenizer --corpus kd.jsonl --vocab-size 100 --output x",
                1,
                &["kd.jsonl:1", "no `text`"],
            ),
            Bad::new(
                "data tokenizer --corpus beir/corpus.jsonl --vocab-size 400 --output taken",
                1,
                &["taken", "already exists"],
            ),
            Bad::new(
                "data tokenizer --corpus beir/corpus.jsonl --output x",
                2,
                &["--vocab-size"],
            ),
            Bad::new("data", 2, &["Usage"]),
        ],
    );
    for left in ["x", "x.jsonl", "x.json"] {
        assert!(!world.path(left).exists(), "{left} was written");
    }
    assert_eq!(
        fs::read_dir(world.path("taken")).expect("a folder").count(),
        1
    );
}
