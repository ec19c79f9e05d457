//! What every command has: help with an example, devices by name, quiet, and pipes that close early.

use super::bad_input::{Bad, check_all};
use super::world::World;

/// Every command, without arguments.
const COMMANDS: &[&str] = &[
    "train",
    "train score",
    "data idf",
    "data convert",
    "data inspect",
    "data beir",
    "data queries-from-titles",
    "data sample",
    "data split",
    "data dedup",
    "data msmarco",
    "data tokenizer",
    "model inspect",
    "model export",
    "eval encode",
    "eval index",
    "eval search",
    "eval beir",
    "eval bm25",
    "eval metrics",
    "eval compare",
    "eval report",
    "eval mine",
    "eval ingest",
    "eval opensearch",
    "eval opensearch setup",
    "eval explain",
];

#[test]
fn help_has_an_example() {
    let world = World::new();
    for command in COMMANDS {
        let text = world.command(&format!("{command} --help")).run().success();
        let program = format!("ellzero-{command}");
        assert!(
            text.contains("Example") && text.contains(&program),
            "{command}: {text}"
        );
        for option in ["--threads", "--quiet"] {
            assert!(text.contains(option), "{command} has no {option}");
        }
    }
    for tool in ["train", "data", "model", "eval"] {
        let text = world.command(&format!("{tool} --version")).run().success();
        assert!(text.starts_with(&format!("ellzero-{tool} ")), "{text}");
    }
}

/// Asking for a device that is not there names the missing feature or driver.
#[test]
fn devices_that_are_not_there() {
    let world = World::new();
    let mut table = Vec::new();
    for command in [
        "eval encode --model model --input beir/corpus.jsonl --output out.jsonl",
        "train train.yaml",
    ] {
        if cfg!(not(feature = "cuda")) {
            table.push(Bad::new(
                format!("{command} --device cuda"),
                1,
                &["cuda", "--features cuda"],
            ));
        }
        if cfg!(not(feature = "wgpu")) {
            table.push(Bad::new(
                format!("{command} --device wgpu:1"),
                1,
                &["wgpu:1", "--features wgpu"],
            ));
        }
        table.push(Bad::new(
            format!("{command} --device gpu"),
            2,
            &["gpu", "cpu"],
        ));
        table.push(Bad::new(
            format!("{command} --threads 0"),
            2,
            &["--threads"],
        ));
    }
    check_all(&world, &table);
    for device in ["auto", "cpu"] {
        let line = format!(
            "eval encode --model model --input beir/corpus.jsonl --output - --device {device} --threads 1"
        );
        world.command(&line).run().success();
    }
}

#[test]
fn quiet_commands_say_nothing() {
    let world = World::new();
    for line in [
        "eval encode --model model --input beir/corpus.jsonl --output out.jsonl",
        "eval index --input vectors.jsonl --output index",
        "eval bm25 --data beir",
        "model export model --output exported --activation relu",
        "data convert --input kd.jsonl --output kd",
        "data dedup --input posnegs.jsonl --output unique.jsonl --near",
        "data tokenizer --corpus beir/corpus.jsonl --vocab-size 200 --output tokenizer",
        "train score --teachers teachers.yaml --input posnegs.jsonl --output scored.jsonl",
        "train train.yaml --set max_steps=4",
    ] {
        let outcome = world.command(&format!("{line} --quiet")).run();
        assert_eq!(outcome.stderr, "", "{line}");
        outcome.success();
    }
}

#[test]
fn standard_input_and_output() {
    let world = World::new();
    let encode = "eval encode --model model --output - --input";
    let from_file = world
        .command(&format!("{encode} beir/corpus.jsonl"))
        .run()
        .success();
    let from_input = world
        .command(&format!("{encode} -"))
        .input(&world.path("beir/corpus.jsonl"))
        .run()
        .success();
    assert_eq!(from_file, from_input);
    world
        .command("eval index --input - --output index")
        .input(&world.path("vectors.jsonl"))
        .run()
        .success();
}

/// `| head -1` is no failure.
#[test]
fn readers_that_stop_early() {
    let world = World::new();
    for line in [
        "eval encode --model model --input beir/corpus.jsonl --output -",
        "eval bm25 --data beir",
        "data inspect kd.jsonl",
        "model inspect model",
        "train score --teachers teachers.yaml --input kd.jsonl --output -",
    ] {
        let outcome = world.command(line).run_unread();
        assert!(
            !outcome.stderr.contains("panicked"),
            "{line}: {}",
            outcome.stderr
        );
        assert_eq!(outcome.code, Some(0), "{line}: {}", outcome.stderr);
    }
}
