//! `ellzero-train`: what a run leaves, and interruptions.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::world::{World, listing};
use crate::weights::Weights;

/// Keys of every row of metrics.jsonl.
const FIGURES: [&str; 14] = [
    "step",
    "epoch",
    "loss",
    "ranking_loss",
    "flops_loss",
    "d_flops",
    "q_flops",
    "lambda_d",
    "lr",
    "grad_norm",
    "d_length",
    "q_length",
    "step_s",
    "tokens_per_s",
];

fn finished(world: &World, options: &str) -> String {
    world
        .command(format!("train train.yaml {options}").trim_end())
        .run()
        .success()
}

/// Documents encoded one at a time: the same figures, but for the order of sums.
#[test]
fn gradient_caching_changes_nothing() {
    let world = World::new();
    let figures = |options: &str, dir: &str| {
        finished(
            &world,
            &format!("--set dropout=0 --set output_dir={dir} {options}"),
        );
        let rows = world.read_lines(&format!("{dir}/metrics.jsonl"));
        let numbers = rows.iter().flat_map(|row| {
            ["loss", "grad_norm", "d_length"].map(|key| row[key].as_f64().expect("a number"))
        });
        numbers.collect::<Vec<_>>()
    };
    let whole = figures("", "whole");
    let cached = figures("--set grad_cache_docs=1", "cached");
    assert_eq!(whole.len(), cached.len());
    for (whole, cached) in whole.iter().zip(&cached) {
        assert!(
            (whole - cached).abs() <= 1e-4 * (1.0 + whole.abs()),
            "{whole} {cached}"
        );
    }
}

/// The bias of the first step is the file's, plus IDF up to a cap, less the threshold; that of a resumed run is not moved
/// again.
#[test]
fn a_head_starts_where_the_recipe_says() {
    let world = World::new();
    let bias = |dir: &str| {
        let weights = Weights::read(&world.path(dir).join("model.safetensors"));
        weights.0[&weights.key("predictions.bias")].floats()
    };
    let options =
        "--set head_threshold=1.5 --set head_idf_cap=2 --set learning_rate=1e-7 --set save_steps=1";
    finished(&world, &format!("{options} --set max_steps=1"));
    finished(&world, &format!("{options} --set max_steps=2 --resume"));
    let idf: Value = serde_json::from_str(&world.read("model/idf.json")).expect("JSON");
    let vocabulary = world.read("model/vocab.txt");
    let before = bias("model");
    for (id, token) in vocabulary.lines().enumerate() {
        let idf = idf[token].as_f64().unwrap_or(1.0) as f32;
        let expected = before[id] + idf.min(2.0) - 1.5;
        for dir in ["out/checkpoint-1", "out/final"] {
            let found = bias(dir)[id];
            assert!(
                (found - expected).abs() < 1e-5,
                "{dir} {token}: {found} {expected}"
            );
        }
    }
}

#[test]
fn files_of_a_run() {
    let world = World::new();
    finished(&world, "--set eval_data=beir --set eval_steps=3");
    assert_eq!(world.read("out/config.yaml"), world.read("train.yaml"));
    assert!(!world.read("out/train.log").is_empty());
    let rows = world.read_lines("out/metrics.jsonl");
    let steps: Vec<&Value> = rows
        .iter()
        .filter(|row| row.get("loss").is_some())
        .collect();
    assert_eq!(steps.len(), 6, "a row for every logged step");
    for (index, row) in steps.iter().enumerate() {
        for figure in FIGURES {
            assert!(row.get(figure).is_some(), "no {figure} in {row}");
        }
        assert!(row.get("peak_memory_mib").is_some(), "{row}");
        assert_eq!(row["step"], index + 1);
        assert!(row["loss"].as_f64().is_some_and(f64::is_finite), "{row}");
    }
    let evaluations = rows.iter().filter(|row| row.get("eval").is_some());
    let at: Vec<u64> = evaluations
        .map(|row| row["step"].as_u64().expect("a step"))
        .collect();
    assert_eq!(at, [0, 3, 6]);
    for name in ["checkpoint-2", "checkpoint-4", "checkpoint-6", "final"] {
        let found = listing(&world.path(&format!("out/{name}")));
        for file in [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "idf.json",
            "README.md",
        ] {
            assert!(
                found.iter().any(|found| found == file),
                "no {file} in {name}: {found:?}"
            );
        }
        let has_state = found.iter().any(|file| file.starts_with("trainer/"));
        assert_eq!(has_state, name != "final", "{name}: {found:?}");
    }
    // What was trained is a model: it encodes.
    world
        .command("eval encode --model out/final --input beir/corpus.jsonl --output out.jsonl")
        .run()
        .success();
}

/// Same seed, same bits; another seed, others.
#[test]
fn runs_are_reproducible() {
    let world = World::new();
    for (dir, seed) in [("first", 7), ("second", 7), ("third", 8)] {
        finished(
            &world,
            &format!("--set save_strategy=no --set output_dir={dir} --set seed={seed}"),
        );
    }
    let model = |dir: &str| {
        fs::read(world.path(&format!("{dir}/final/model.safetensors"))).expect("weights")
    };
    let idf = |dir: &str| world.read(&format!("{dir}/final/idf.json"));
    assert!(
        model("first") == model("second"),
        "the same seed gave other weights"
    );
    assert_eq!(idf("first"), idf("second"));
    assert!(
        model("first") != model("third"),
        "another seed gave the same weights"
    );
    assert_ne!(
        idf("first"),
        world.read("model/idf.json"),
        "the table was not trained"
    );
}

/// config.resolved.yaml is a recipe for the same run.
#[test]
fn the_resolved_recipe_gives_the_same_run() {
    let world = World::new();
    finished(&world, "--set save_strategy=no");
    let line = "train out/config.resolved.yaml --set output_dir=again";
    world.command(line).run().success();
    let model = |dir: &str| {
        fs::read(world.path(&format!("{dir}/final/model.safetensors"))).expect("weights")
    };
    assert!(model("out") == model("again"));
    let resolved = world.read("out/config.resolved.yaml");
    let again = world.read("again/config.resolved.yaml");
    assert_eq!(
        resolved.replace("output_dir: out", "output_dir: again"),
        again
    );
}

/// A dry run says what would happen and writes nothing.
#[test]
fn dry_runs_write_nothing() {
    let world = World::new();
    let before = listing(&world.path(""));
    let text = finished(&world, "--dry-run");
    assert!(!text.is_empty());
    assert_eq!(listing(&world.path("")), before);
}

#[test]
fn an_output_dir_is_not_used_twice() {
    let world = World::new();
    finished(&world, "--set max_steps=2");
    let metrics = world.read("out/metrics.jsonl");
    let outcome = world.command("train train.yaml").run();
    assert_eq!(outcome.code, Some(1));
    for part in ["out", "--resume", "overwrite_output_dir"] {
        assert!(
            outcome.stderr.contains(part),
            "no {part} in {}",
            outcome.stderr
        );
    }
    assert_eq!(world.read("out/metrics.jsonl"), metrics);
    finished(&world, "--set overwrite_output_dir=true --set max_steps=1");
    assert_eq!(world.read_lines("out/metrics.jsonl").len(), 1);
}

/// Sends a signal to a process.
#[cfg(unix)]
pub fn signal(name: &str, id: u32) {
    let status = Command::new("kill")
        .args([format!("-{name}"), id.to_string()])
        .status();
    assert!(status.expect("kill runs").success());
}

/// Ctrl-C writes a checkpoint; `--resume` ends with the weights of a run without interruption. So does resuming
/// after a kill, from the last checkpoint.
#[test]
#[cfg(unix)]
fn interrupted_runs_end_the_same() {
    let world = World::new();
    // Enough rows that an epoch ends in between, long enough to be caught.
    let long = "the war of the world was a war that many countries fought ".repeat(8);
    let row = |index: usize| json!({"query": format!("query {index}"), "docs": [long, format!("{index} and {long}")], "scores": [1.5, index]});
    world.write_lines("kd.jsonl", &(0..90).map(row).collect::<Vec<_>>());
    let recipe = "--set max_steps=60 --set save_steps=25 --set max_seq_length=100";
    finished(&world, &format!("{recipe} --set output_dir=whole"));

    for (name, dir) in [("INT", "stopped"), ("KILL", "killed")] {
        let line = format!("train train.yaml {recipe} --set output_dir={dir}");
        let mut running = world.command(&line).start();
        let metrics = world.path(&format!("{dir}/metrics.jsonl"));
        let steps = || fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
        assert!(
            running.wait_until(|| steps() >= 28),
            "{dir}: it ended too soon"
        );
        signal(name, running.id());
        let outcome = running.wait();
        assert!(
            !world.path(&format!("{dir}/final")).exists(),
            "{dir}: it was not interrupted"
        );
        let checkpoints: Vec<String> = listing(&world.path(dir))
            .into_iter()
            .filter(|file| file.starts_with("checkpoint-") && !file.contains('/'))
            .collect();
        if name == "INT" {
            assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
            assert!(outcome.stderr.contains("--resume"), "{}", outcome.stderr);
            assert_eq!(checkpoints.len(), 2, "{checkpoints:?}");
        } else {
            assert_eq!(checkpoints, ["checkpoint-25"]);
        }
        world.command(&format!("{line} --resume")).run().success();
        let files = ["model.safetensors", "idf.json", "config.json"];
        for file in files {
            let read =
                |dir: &str| fs::read(world.path(&format!("{dir}/final/{file}"))).expect("a file");
            assert!(
                read(dir) == read("whole"),
                "{dir}: {file} differs from that of an uninterrupted run"
            );
        }
        // One row per step, none twice, with the same losses.
        let losses = |dir: &str| -> Vec<(u64, String)> {
            let rows = world.read_lines(&format!("{dir}/metrics.jsonl"));
            rows.iter()
                .map(|row| {
                    (
                        row["step"].as_u64().expect("a step"),
                        row["loss"].to_string(),
                    )
                })
                .collect()
        };
        assert_eq!(losses(dir), losses("whole"), "{dir}");
    }
}
