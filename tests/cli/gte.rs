//! A model of GTE's architecture in the commands that read and write models.

use std::fs;

use serde_json::json;

use super::world::World;
use crate::fixture;
use crate::weights::{Weights, copy_files};

const TRAIN: &str = "train train.yaml --set model_name_or_path=gte --set idf_path=gte/idf.json";

fn world() -> World {
    let world = World::new();
    let skip = ["io.safetensors", "texts.json"];
    copy_files(&fixture::own("gte/masked_lm"), &world.path("gte"), &skip);
    let idf = json!({"water": 2.5, "city": 1.5, "river": 3.0, "the": 0.1});
    world.write("gte/idf.json", idf.to_string());
    world
}

fn weights(world: &World, dir: &str) -> Weights {
    Weights::read(&world.path(&format!("{dir}/model.safetensors")))
}

#[test]
fn inspection() {
    let world = world();
    let text = world.command("model inspect gte").run().success();
    for (name, value) in [
        ("family", "gte"),
        ("feed-forward", "64, gated"),
        ("positions", "48, rotary"),
        ("decoder", "tied to the word embeddings"),
        ("initialised", "0 keys"),
        ("unused", "0 keys"),
    ] {
        let line = format!("{name:<14}{value}\n");
        assert!(text.contains(&line), "no {line} in\n{text}");
    }
}

/// What is frozen stays, bit by bit, and all else moves; a run that goes on from a checkpoint ends the same.
#[test]
fn training() {
    let world = world();
    let frozen = "--set freeze=[encoder.embeddings,encoder.layers.0.attention]";
    let line = format!("{TRAIN} {frozen} --set grad_cache_docs=3");
    world.command(&line).run().success();
    let (before, after) = (weights(&world, "gte"), weights(&world, "out/final"));
    assert!(before.0.keys().eq(after.0.keys()));
    for (key, stored) in &before.0 {
        let is_frozen =
            key.starts_with("new.embeddings.") || key.starts_with("new.encoder.layer.0.attention.");
        assert_eq!(after.0[key] == *stored, is_frozen, "{key}");
    }

    for dir in ["out/final", "out/checkpoint-6"] {
        fs::remove_dir_all(world.path(dir)).expect("removed");
    }
    world.command(&format!("{line} --resume")).run().success();
    let again = weights(&world, "out/final");
    assert!(after.0 == again.0, "the resumed run ends elsewhere");

    world
        .command("eval encode --model out/final --input beir/corpus.jsonl --output out.jsonl")
        .run()
        .success();
    let rows = world.read_lines("out.jsonl");
    let is_empty = |row: &serde_json::Value| row["vector"].as_object().is_none_or(|v| v.is_empty());
    assert!(!rows.is_empty() && !rows.iter().any(is_empty), "{rows:?}");
}
