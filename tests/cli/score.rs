//! `ellzero-train score`.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::compare::Checks;
use crate::golden::tolerance::FORMULA;

use super::bad_input::{Bad, check_all};
use super::world::{World, listing};

const SCORE: &str = "train score --teachers teachers.yaml";

fn scores(row: &Value) -> Vec<f64> {
    let scores = row["scores"].as_array().expect("scores").iter();
    scores
        .map(|score| score.as_f64().expect("a number"))
        .collect()
}

/// `(s - min) / (max - min)`.
fn min_max(scores: &[f64]) -> Vec<f64> {
    let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores
        .iter()
        .map(|score| (score - least) / (most - least))
        .collect()
}

/// Vectors that `ellzero-eval encode` writes for texts.
fn encoded(world: &World, texts: &[&str], options: &str) -> Vec<serde_json::Map<String, Value>> {
    let row = |(index, text): (usize, &&str)| json!({"_id": index.to_string(), "text": text});
    let rows: Vec<Value> = texts.iter().enumerate().map(row).collect();
    world.write_lines("texts.jsonl", &rows);
    let line =
        format!("eval encode --model model --input texts.jsonl --output encoded.jsonl {options}");
    world.command(&line).run().success();
    let rows = world.read_lines("encoded.jsonl").into_iter();
    rows.map(|row| row["vector"].as_object().expect("a vector").clone())
        .collect()
}

fn dot(left: &serde_json::Map<String, Value>, right: &serde_json::Map<String, Value>) -> f64 {
    let weight = |value: &Value| value.as_f64().expect("a weight");
    let products = left
        .iter()
        .filter_map(|(token, value)| Some(weight(value) * weight(right.get(token)?)));
    products.sum()
}

/// What a sparse teacher says is the dot product of what `encode` writes, for tables and for siamese queries.
#[test]
fn scores_are_dot_products_of_encoded_vectors() {
    let world = World::new();
    let mut checks = Checks::new();
    for (inf_free, route) in [("true", "--route query"), ("false", "--route document")] {
        let teacher = format!(
            "{{type: sparse, model: model, activation_type: l1_relu, inf_free: {inf_free}}}"
        );
        world.write(
            "teachers.yaml",
            format!("teachers: [{teacher}]\nscore_scale: 10\n"),
        );
        world
            .command(&format!(
                "{SCORE} --input posnegs.jsonl --output {inf_free}.jsonl"
            ))
            .run()
            .success();
        let rows = world.read_lines(&format!("{inf_free}.jsonl"));
        assert_eq!(rows.len(), world.read_lines("posnegs.jsonl").len());
        for (row, given) in rows.iter().zip(world.read_lines("posnegs.jsonl")) {
            assert_eq!(row["query"], given["query"]);
            assert_eq!(row["docs"][0], given["pos"]);
            let docs = row["docs"].as_array().expect("docs");
            assert_eq!(docs[1..], *given["negs"].as_array().expect("negs"));
            let docs: Vec<&str> = docs
                .iter()
                .map(|doc| doc.as_str().expect("a text"))
                .collect();
            let query = row["query"].as_str().expect("a text");
            let query = encoded(&world, &[query], &format!("--activation l1_relu {route}"));
            let docs = encoded(&world, &docs, "--activation l1_relu");
            let dots: Vec<f64> = docs.iter().map(|doc| dot(&query[0], doc)).collect();
            for (index, (found, expected)) in scores(row).iter().zip(min_max(&dots)).enumerate() {
                let what = format!("inf_free {inf_free}, {}, document {index}", row["query"]);
                checks.number(&what, *found, 10.0 * expected, &FORMULA);
            }
        }
    }
    checks.finish();
}

/// Two teachers: the mean of what each says alone, by weight.
#[test]
fn an_ensemble_is_the_weighted_mean() {
    let world = World::new();
    let all = world.read("teachers.yaml");
    let run = |name: &str, teachers: &str| {
        world.write("teachers.yaml", teachers);
        world
            .command(&format!("{SCORE} --input kd.jsonl --output {name}.jsonl"))
            .run()
            .success();
        world.read_lines(&format!("{name}.jsonl"))
    };
    let both = run("both", &all);
    let alone = |index: usize| {
        let line = all.lines().nth(1 + index).expect("a teacher");
        run("alone", &format!("teachers:\n{line}\nscore_scale: 10\n"))
    };
    let (sparse, bm25) = (alone(0), alone(1));
    let mut checks = Checks::new();
    for (row, found) in both.iter().enumerate() {
        let (sparse, bm25) = (scores(&sparse[row]), scores(&bm25[row]));
        for (index, found) in scores(found).iter().enumerate() {
            let expected = (sparse[index] + 2.0 * bm25[index]) / 3.0;
            checks.number(
                &format!("row {row}, document {index}"),
                *found,
                expected,
                &FORMULA,
            );
        }
    }
    checks.finish();
}

/// Every form of input and output holds the same rows.
#[test]
fn forms_of_input_and_output() {
    let world = World::new();
    world
        .command("data convert --input posnegs.jsonl --output posnegs")
        .run()
        .success();
    world
        .command("data convert --input posnegs.jsonl --output posnegs.parquet")
        .run()
        .success();
    world
        .command(&format!(
            "{SCORE} --input posnegs.jsonl --output plain.jsonl"
        ))
        .run()
        .success();
    let plain = world.read_lines("plain.jsonl");
    for (input, output) in [
        ("posnegs", "a.jsonl.gz"),
        ("posnegs.parquet", "b.jsonl.zst"),
        ("posnegs.jsonl", "c.parquet"),
        ("posnegs.jsonl", "d"),
    ] {
        world
            .command(&format!("{SCORE} --input {input} --output {output}"))
            .run()
            .success();
        world
            .command(&format!(
                "data convert --input {output} --output back.jsonl"
            ))
            .run()
            .success();
        let back = world.read_lines("back.jsonl");
        assert_eq!(back, plain, "{input} to {output}");
    }
    let text = world
        .command(&format!("{SCORE} --input posnegs.jsonl --output -"))
        .run()
        .success();
    assert_eq!(text, world.read("plain.jsonl"));
    let left: Vec<String> = listing(&world.path(""))
        .into_iter()
        .filter(|name| name.contains("partial"))
        .collect();
    assert_eq!(left, [""; 0]);
    // What was written is training data.
    world
        .command("train train.yaml --set train_file=c.parquet --set max_steps=2")
        .run()
        .success();
}

/// A second run asks for nothing, and one with a changed teacher for everything.
#[test]
fn the_cache_saves_a_second_run() {
    let world = World::new();
    let run = |output: &str| {
        let line = format!("{SCORE} --input kd.jsonl --output {output} --cache kept");
        let outcome = world.command(&line).run();
        let said = outcome.stderr.clone();
        outcome.success();
        said
    };
    let pairs = 2 * 8 * 4;
    let first = run("a.jsonl");
    assert!(
        first.contains(&format!("asked for {pairs} scores, 0 were known")),
        "{first}"
    );
    let second = run("b.jsonl");
    assert!(
        second.contains(&format!("asked for 0 scores, {pairs} were known")),
        "{second}"
    );
    assert_eq!(world.read("a.jsonl"), world.read("b.jsonl"));
    let teachers = world.read("teachers.yaml");
    world.write("teachers.yaml", teachers.replace("beir", "beir, k1: 1.2"));
    let third = run("c.jsonl");
    assert!(
        third.contains("asked for 32 scores, 32 were known"),
        "{third}"
    );
    world.write(
        "model/config.json",
        format!("{}\n", world.read("model/config.json")),
    );
    let fourth = run("d.jsonl");
    assert!(
        fourth.contains("asked for 32 scores, 32 were known"),
        "{fourth}"
    );
}

/// Killed ten times at points spread over the run; each time the same command goes on, and the file is the same as
/// without a kill.
#[test]
fn killed_runs_continue() {
    let world = World::new();
    let text = "the war of the world was a war that many countries fought for years ".repeat(4);
    let row = |index: usize| {
        let doc = |number: usize| format!("{number} {text} {index}");
        json!({"query": format!("query {index}"), "pos": doc(0), "negs": (1..6).map(doc).collect::<Vec<_>>()})
    };
    world.write_lines("many.jsonl", &(0..5000).map(row).collect::<Vec<_>>());
    let command = |output: &str| {
        world.command(&format!(
            "{SCORE} --input many.jsonl --output {output} --cache {output}.kept"
        ))
    };
    command("whole.jsonl").run().success();
    let whole = world.read("whole.jsonl");

    let partial = || {
        listing(&world.path(""))
            .into_iter()
            .find(|name| name.starts_with("cut.jsonl.partial-"))
    };
    let size = || {
        let size =
            |name: String| fs::metadata(world.path(&name)).map_or(0, |file| file.len() as usize);
        partial().map_or(0, size)
    };
    for kill in 0..10 {
        let mut running = command("cut.jsonl").start();
        let before = size();
        // From the second on behind the first chunk of rows that this run writes.
        let ready = || kill == 0 || size() > before;
        assert!(
            running.wait_until(ready),
            "kill {kill}: it was too fast to be killed"
        );
        sleep(Duration::from_millis(kill * 7919 % 61));
        running.kill();
        assert!(
            !world.path("cut.jsonl").exists(),
            "kill {kill}: an incomplete file under the final name"
        );
    }
    assert!(partial().is_some(), "nothing to continue from");
    let outcome = command("cut.jsonl").run();
    assert!(
        outcome.stderr.contains("continuing after"),
        "{}",
        outcome.stderr
    );
    outcome.success();
    assert!(
        world.read("cut.jsonl") == whole,
        "another result than without the kills"
    );
    assert_eq!(partial(), None);
}

/// Ctrl-C ends the run after the rows at hand and says how to go on.
#[test]
#[cfg(unix)]
fn interrupted_runs_keep_what_they_have() {
    let world = World::new();
    let text = "the war of the world was a war that many countries fought for years ".repeat(6);
    let row = |index: usize| {
        let docs: Vec<String> = (0..8)
            .map(|number| format!("{number} {text} {index}"))
            .collect();
        json!({"query": format!("query {index}"), "docs": docs})
    };
    world.write_lines("many.jsonl", &(0..3000).map(row).collect::<Vec<_>>());
    let line = format!("{SCORE} --input many.jsonl --output out.jsonl");
    let mut running = world.command(&line).start();
    let has_rows = || {
        let names = listing(&world.path(""));
        let mut names = names.into_iter().filter(|name| name.contains(".partial-"));
        names.any(|name| fs::metadata(world.path(&name)).is_ok_and(|file| file.len() > 0))
    };
    assert!(
        running.wait_until(has_rows),
        "it was too fast to be stopped"
    );
    super::train::signal("INT", running.id());
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("the same command goes on"),
        "{}",
        outcome.stderr
    );
    assert!(!world.path("out.jsonl").exists());
    assert!(has_rows());
}

#[test]
fn bad_teachers_and_data() {
    let world = World::new();
    fs::copy(world.path("beir/corpus.jsonl"), world.path("texts.jsonl")).expect("copied");
    fs::create_dir(world.path("full")).expect("a folder");
    world.write("full/file", "mine");
    world.write(
        "ids.jsonl",
        "{\"query\": \"q\", \"q_id\": 1, \"docs\": [\"d\"], \"d_ids\": [7]}\n",
    );
    world.write("dense.jsonl", "{\"id\": 1, \"vector\": [1, 2]}\n");
    world.write("other.bin/scores.bin", "something else, and long enough");
    let score = "train score --input posnegs.jsonl --output out.jsonl --teachers";
    let mut table = vec![
        Bad::new("train score --input a --output b", 2, &["--teachers"]),
        Bad::new("train train.yaml score", 2, &["score"]),
        Bad::new(
            format!("{score} missing.yaml"),
            1,
            &["missing.yaml", "teachers"],
        ),
        Bad::new(
            format!("{SCORE} --input missing.jsonl --output out.jsonl"),
            1,
            &["missing.jsonl"],
        ),
        Bad::new(
            format!("{SCORE} --input texts.jsonl --output out.jsonl"),
            1,
            &["texts.jsonl", "expected rows", "text"],
        ),
        Bad::new(
            format!("{SCORE} --input kd.jsonl --output out.csv"),
            1,
            &["out.csv"],
        ),
        Bad::new(
            format!("{SCORE} --input kd.jsonl --output full"),
            1,
            &["full already exists"],
        ),
        Bad::new(
            format!("{SCORE} --input kd.jsonl --output no/out.jsonl --cache kept"),
            1,
            &["no/out.jsonl"],
        ),
        Bad::new(
            format!("{SCORE} --input kd.jsonl --output out.jsonl --cache other.bin"),
            1,
            &["scores.bin is no file of scores"],
        ),
    ];
    for (name, teachers, says) in [
        ("empty.yaml", "", vec!["empty.yaml", "teachers"]),
        (
            "type.yaml",
            "teachers:\n- {type: sparce, model: model}\n",
            vec!["type.yaml:2", "sparce", "sparse"],
        ),
        (
            "key.yaml",
            "teachers:\n- {type: sparse, modell: model}\n",
            vec!["key.yaml:2", "teachers[0].model"],
        ),
        (
            "model.yaml",
            "teachers:\n- {type: sparse, model: nowhere}\n",
            vec!["model.yaml: nowhere: no such directory"],
        ),
        (
            "corpus.yaml",
            "teachers:\n- {type: bm25, corpus: nowhere}\n",
            vec!["nowhere"],
        ),
        (
            "ids.yaml",
            "teachers:\n- {type: vectors, queries: dense.jsonl, documents: dense.jsonl}\n",
            vec!["vectors dense.jsonl", "ids"],
        ),
        (
            "token.yaml",
            "teachers:\n- {type: remote, url: 'http://127.0.0.1:9', api: embed, token_env: ELLZERO_NONE}\n",
            vec!["ELLZERO_NONE"],
        ),
        (
            "down.yaml",
            "teachers:\n- {type: remote, url: 'http://127.0.0.1:9', api: embed, retries: 1, backoff_s: 0.01}\n",
            vec!["http://127.0.0.1:9/embed", "tried 2 times"],
        ),
    ] {
        world.write(name, teachers);
        table.push(Bad::new(format!("{score} {name}"), 1, &says));
    }
    let line = "train score --input ids.jsonl --output out.jsonl --teachers ids.yaml";
    table.push(Bad::new(
        line,
        1,
        &["dense.jsonl has no vector with the id \"7\""],
    ));
    check_all(&world, &table);
    assert!(!world.path("out.jsonl").exists());
    assert_eq!(world.read("full/file"), "mine");
}
