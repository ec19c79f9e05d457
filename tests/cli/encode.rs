//! `ellzero-eval encode` and `explain`.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::compare::Checks;
use crate::golden::tolerance::BATCH;

use super::bad_input::{Bad, check_all};
use super::world::{World, listing};

const ENCODE: &str = "eval encode --model model --input beir/corpus.jsonl --activation l1_relu";

/// Ids in the order of a file.
fn ids(rows: &[Value], key: &str) -> Vec<String> {
    rows.iter()
        .map(|row| row[key].as_str().expect("an id").to_owned())
        .collect()
}

fn vector(row: &Value) -> &serde_json::Map<String, Value> {
    row["vector"].as_object().expect("a vector")
}

#[test]
fn rows_in_input_order_without_special_tokens() {
    let world = World::new();
    let outcome = world.command(&format!("{ENCODE} --output out.jsonl")).run();
    assert_eq!(outcome.success(), "", "results are in the file");
    let (rows, corpus) = (
        world.read_lines("out.jsonl"),
        world.read_lines("beir/corpus.jsonl"),
    );
    assert_eq!(ids(&rows, "id"), ids(&corpus, "_id"));
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    for row in &rows {
        let keys: Vec<&String> = row.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["id", "vector"]);
        assert!(!vector(row).is_empty(), "{row}");
        for (token, weight) in vector(row) {
            assert!(!special.contains(&token.as_str()), "{token} in {row}");
            assert!(
                weight.as_f64().is_some_and(|weight| weight > 0.0),
                "{token} in {row}"
            );
        }
    }
    let left: Vec<String> = listing(&world.path(""))
        .into_iter()
        .filter(|name| name.contains("partial"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

/// Title and text are joined by one space and trimmed, `id` is as good as `_id`, and the batch does not matter.
#[test]
fn forms_of_a_row_and_sizes_of_a_batch() {
    let world = World::new();
    world.write_lines(
        "forms.jsonl",
        &[
            json!({"_id": "a", "title": "school", "text": "district"}),
            json!({"id": "b", "text": "school district"}),
            json!({"_id": "c", "title": "", "text": "  school district "}),
            json!({"_id": "d", "title": "school district", "text": ""}),
            json!({"_id": "e", "title": "", "text": ""}),
        ],
    );
    let mut checks = Checks::new();
    let mut first: Option<Vec<Value>> = None;
    for batch_tokens in ["8192", "1", "20"] {
        let line = format!(
            "eval encode --model model --input forms.jsonl --batch-tokens {batch_tokens} --output -"
        );
        let rows: Vec<Value> = world
            .command(&line)
            .run()
            .success()
            .lines()
            .map(|line| serde_json::from_str(line).expect("a row"))
            .collect();
        assert_eq!(ids(&rows, "id"), ["a", "b", "c", "d", "e"]);
        let reference = first.get_or_insert_with(|| rows.clone());
        for (index, row) in rows.iter().enumerate() {
            // All but the last are the same text.
            let expected = vector(if index < 4 {
                &reference[0]
            } else {
                &reference[4]
            });
            let weight = |map: &serde_json::Map<String, Value>, token: &str| {
                map.get(token).and_then(Value::as_f64).unwrap_or(0.0)
            };
            let tokens: BTreeSet<&String> = vector(row).keys().chain(expected.keys()).collect();
            for token in tokens {
                let what = format!("{batch_tokens} row {index} {token:?}");
                checks.number(
                    &what,
                    weight(vector(row), token),
                    weight(expected, token),
                    &BATCH,
                );
            }
        }
    }
    checks.finish();
}

#[test]
fn top_k_pruning_and_shards() {
    let world = World::new();
    let run = |options: &str, output: &str| {
        world
            .command(&format!("{ENCODE} {options} --output {output}"))
            .run()
            .success();
        world.read_lines(output)
    };
    let all = run("--max-length 512", "all.jsonl");
    let kept = |row: &Value| -> Vec<f64> {
        let weights = vector(row)
            .values()
            .map(|weight| weight.as_f64().expect("a weight"));
        let mut weights: Vec<f64> = weights.collect();
        weights.sort_by(|a, b| b.total_cmp(a));
        weights
    };
    for (row, full) in run("--top-k 3", "top.jsonl").iter().zip(&all) {
        assert_eq!(kept(row), kept(full)[..3]);
    }
    for (row, full) in run("--prune-ratio 0.5", "pruned.jsonl").iter().zip(&all) {
        let bound = 0.5 * kept(full)[0] as f32;
        let expected: Vec<f64> = kept(full)
            .into_iter()
            .filter(|&weight| weight as f32 > bound)
            .collect();
        assert_eq!(kept(row), expected);
    }
    let mut shards: Vec<Value> = (0..3)
        .flat_map(|index| run(&format!("--shard {index}/3"), &format!("{index}.jsonl")))
        .collect();
    shards.sort_by_key(|row| row["id"].to_string());
    assert_eq!(
        ids(&shards, "id"),
        ids(&all, "id"),
        "every row is in one shard"
    );
}

/// Compressed in and out hold the same rows.
#[test]
fn compressed_files() {
    let world = World::new();
    world
        .command(&format!("{ENCODE} --output plain.jsonl"))
        .run()
        .success();
    for extension in ["gz", "zst"] {
        let packed = format!("out.jsonl.{extension}");
        world
            .command(&format!("{ENCODE} --output {packed}"))
            .run()
            .success();
        // Our own reader unpacks it: the index of both is the same.
        for (input, index) in [
            ("plain.jsonl", "index-plain"),
            (packed.as_str(), "index-packed"),
        ] {
            world
                .command(&format!(
                    "eval index --input {input} --output {index}-{extension}"
                ))
                .run()
                .success();
        }
        let bytes = |index: &str| {
            let dir = world.path(&format!("{index}-{extension}"));
            let read = |name: String| (fs::read(dir.join(&name)).expect("readable"), name);
            listing(&dir).into_iter().map(read).collect::<Vec<_>>()
        };
        assert!(bytes("index-plain") == bytes("index-packed"), "{extension}");
    }
}

/// Less precision gives nearly the same weights, or says what the processor lacks.
#[test]
fn precisions() {
    let world = World::new();
    world
        .command(&format!("{ENCODE} --output f32.jsonl"))
        .run()
        .success();
    let exact = world.read_lines("f32.jsonl");
    for precision in ["bf16", "int8"] {
        let line = format!("{ENCODE} --output {precision}.jsonl --precision {precision}");
        if let Err(error) = precision
            .parse::<model::Precision>()
            .and_then(|precision| precision.check(&burn::tensor::Device::flex()))
        {
            println!("SKIPPED {precision}: {error}");
            check_all(&world, &[Bad::new(line, 1, &["--precision f32"])]);
            continue;
        }
        world.command(&line).run().success();
        let found = world.read_lines(&format!("{precision}.jsonl"));
        assert_eq!(found.len(), exact.len());
        for (found, exact) in found.iter().zip(&exact) {
            let sum = |row: &Value| -> f64 { vector(row).values().filter_map(Value::as_f64).sum() };
            let (found, exact) = (sum(found), sum(exact));
            assert!(
                (found / exact - 1.0).abs() < 0.05,
                "{precision}: {found} {exact}"
            );
        }
    }
    let unknown = format!("{ENCODE} --output half.jsonl --precision half");
    check_all(
        &world,
        &[Bad::new(unknown, 2, &["half", "f32, bf16 or int8"])],
    );
}

/// The document route and the query route; without a table the model makes the queries.
#[test]
fn routes() {
    let world = World::new();
    let run = |line: &str| world.command(line).run().success();
    let queries = "eval encode --input beir/queries.jsonl --output - --route query";
    let inference_free = run(&format!("{queries} --model model"));
    let row: Value =
        serde_json::from_str(inference_free.lines().next().expect("a row")).expect("JSON");
    let table: Value = serde_json::from_str(&world.read("model/idf.json")).expect("a table");
    assert!(!vector(&row).is_empty());
    for (token, weight) in vector(&row) {
        assert_eq!(
            weight.as_f64().map(|weight| weight as f32),
            table[token].as_f64().map(|weight| weight as f32)
        );
    }
    fs::remove_file(world.copy_model("siamese").join("idf.json")).expect("removed");
    let siamese = run(&format!("{queries} --model siamese"));
    let documents = run("eval encode --input beir/queries.jsonl --output - --model siamese");
    assert_eq!(siamese, documents);
    assert_ne!(siamese, inference_free);
}

/// A run that is killed leaves a partial file; the same command goes on from there and gives the same file.
#[test]
fn killed_runs_continue() {
    let world = World::new();
    let document =
        |index: usize| json!({"_id": format!("d{index}"), "text": "the war of the world"});
    world.write_lines("many.jsonl", &(0..4000).map(document).collect::<Vec<_>>());
    let command = |output: &str| {
        let line = format!(
            "eval encode --model model --input many.jsonl --batch-tokens 512 --top-k 20 --output {output}"
        );
        world.command(&line)
    };
    command("whole.jsonl").run().success();

    let partial = || {
        listing(&world.path(""))
            .into_iter()
            .find(|name| name.starts_with("cut.jsonl."))
    };
    let mut running = command("cut.jsonl").start();
    let whole = world.read("whole.jsonl");
    let is_half_done = || {
        let size = |name: String| fs::metadata(world.path(&name)).map_or(0, |file| file.len());
        partial().map_or(0, size) > whole.len() as u64 / 2
    };
    assert!(
        running.wait_until(is_half_done),
        "it was too fast to be killed"
    );
    running.kill();
    assert!(
        !world.path("cut.jsonl").exists(),
        "an incomplete file under the final name"
    );
    assert!(partial().is_some(), "nothing to continue from");

    let outcome = command("cut.jsonl").run();
    assert!(outcome.stderr.contains("continuing"), "{}", outcome.stderr);
    outcome.success();
    assert!(
        world.read("cut.jsonl") == whole,
        "another result than without the kill"
    );
    assert_eq!(partial(), None);
}

#[test]
fn explanations() {
    let world = World::new();
    let line = "eval explain --model model --activation l1_relu --query school --document district --html page.html";
    let text = world.command(line).run().success();
    assert!(!text.is_empty());
    let page = world.read("page.html");
    assert!(
        page.contains("<html") && !page.contains("<script src"),
        "{page}"
    );
}
