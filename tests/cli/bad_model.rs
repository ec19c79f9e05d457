//! Broken model directories, in every command that reads one.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::damage::{WEIGHTS, edit_config, edit_weights, remove, truncate, write};
use crate::weights::Stored;

use super::bad_input::{Bad, check_all};
use super::world::World;

/// Breaks a copy of a good model directory.
struct Fault {
    name: &'static str,
    apply: fn(&Path),
    /// What the message must contain besides the directory's name.
    says: &'static [&'static str],
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "missing-config",
        apply: |dir| remove(dir, "config.json"),
        says: &["config.json"],
    },
    Fault {
        name: "empty-config",
        apply: |dir| write(dir, "config.json", b""),
        says: &["config.json"],
    },
    Fault {
        name: "config-no-json",
        apply: |dir| write(dir, "config.json", b"{\"model_type\": \"bert\","),
        says: &["config.json", "JSON"],
    },
    Fault {
        name: "unknown-model-type",
        apply: |dir| edit_config(dir, |config| config["model_type"] = json!("roberta")),
        says: &["config.json", "model_type", "roberta"],
    },
    Fault {
        name: "no-model-type",
        apply: |dir| {
            edit_config(dir, |config| {
                config
                    .as_object_mut()
                    .expect("an object")
                    .remove("model_type");
            })
        },
        says: &["config.json", "model_type"],
    },
    Fault {
        name: "heads-do-not-divide",
        apply: |dir| {
            edit_config(dir, |config| {
                for key in ["num_attention_heads", "n_heads"] {
                    if config.get(key).is_some() {
                        config[key] = json!(7);
                    }
                }
            })
        },
        says: &["config.json", "7"],
    },
    Fault {
        name: "no-weights",
        apply: |dir| remove(dir, WEIGHTS),
        says: &[WEIGHTS],
    },
    Fault {
        name: "empty-weights",
        apply: |dir| write(dir, WEIGHTS, b""),
        says: &[WEIGHTS],
    },
    Fault {
        name: "truncated-weights",
        apply: |dir| truncate(&dir.join(WEIGHTS), 0.6),
        says: &[WEIGHTS, "truncated"],
    },
    Fault {
        name: "truncated-header",
        apply: |dir| truncate(&dir.join(WEIGHTS), 0.0001),
        says: &[WEIGHTS],
    },
    Fault {
        name: "not-safetensors",
        apply: |dir| write(dir, WEIGHTS, &[0xff; 4096]),
        says: &[WEIGHTS],
    },
    Fault {
        name: "wrong-shape",
        apply: |dir| {
            edit_weights(dir, |weights| {
                let key = weights.key("position_embeddings.weight");
                weights.0.insert(key, Stored::zeros(&[3, 5]));
            })
        },
        says: &[WEIGHTS, "position_embeddings.weight", "[3, 5]"],
    },
    Fault {
        name: "nan-weights",
        apply: |dir| {
            edit_weights(dir, |weights| {
                let key = weights.key("position_embeddings.weight");
                let stored = weights.0[&key].clone();
                let mut values = stored.floats();
                values[3] = f32::NAN;
                weights.0.insert(key, Stored::f32(&stored.shape, &values));
            })
        },
        says: &[WEIGHTS, "position_embeddings.weight", "NaN", "[0, 3]"],
    },
    Fault {
        name: "integer-weights",
        apply: |dir| {
            edit_weights(dir, |weights| {
                let key = weights.key("position_embeddings.weight");
                let shape = weights.0[&key].shape.clone();
                let zeros = vec![0; shape.iter().product()];
                weights.0.insert(key, Stored::i64(&shape, &zeros));
            })
        },
        says: &[WEIGHTS, "position_embeddings.weight", "I64"],
    },
    Fault {
        name: "missing-key",
        apply: |dir| {
            edit_weights(dir, |weights| {
                let key = weights.key("position_embeddings.weight");
                weights.0.remove(&key);
            })
        },
        says: &[WEIGHTS, "position_embeddings.weight", "missing"],
    },
    Fault {
        name: "unexpected-key",
        apply: |dir| {
            edit_weights(dir, |weights| {
                weights
                    .0
                    .insert("mystery.weight".to_owned(), Stored::zeros(&[2]));
            })
        },
        says: &[WEIGHTS, "mystery.weight"],
    },
    Fault {
        name: "pickle-is-no-pickle",
        apply: |dir| {
            remove(dir, WEIGHTS);
            write(
                dir,
                "pytorch_model.bin",
                b"these are not the weights you are looking for",
            );
        },
        says: &["pytorch_model.bin"],
    },
    Fault {
        name: "missing-shard",
        apply: |dir| {
            remove(dir, WEIGHTS);
            let map = json!({"weight_map": {"a.weight": "model-00001-of-00001.safetensors"}});
            write(
                dir,
                "model.safetensors.index.json",
                map.to_string().as_bytes(),
            );
        },
        says: &["model-00001-of-00001.safetensors"],
    },
];

/// What is wrong beside the weights; only commands that read text notice.
const TEXT_FAULTS: &[Fault] = &[
    Fault {
        name: "no-tokenizer",
        apply: |dir| {
            remove(dir, "tokenizer.json");
            remove(dir, "vocab.txt");
        },
        says: &["tokenizer.json"],
    },
    Fault {
        name: "tokenizer-no-json",
        apply: |dir| write(dir, "tokenizer.json", b"{"),
        says: &["tokenizer.json"],
    },
    Fault {
        name: "large-tokenizer",
        apply: |dir| {
            remove(dir, "tokenizer.json");
            let mut vocab = fs::read(dir.join("vocab.txt")).expect("a vocabulary");
            vocab.extend_from_slice(b"\nonemore\nandanother\n");
            write(dir, "vocab.txt", &vocab);
        },
        says: &["vocabulary"],
    },
    Fault {
        name: "idf-no-json",
        apply: |dir| write(dir, "idf.json", b"[1, 2"),
        says: &["idf.json"],
    },
    Fault {
        name: "idf-of-text",
        apply: |dir| write(dir, "idf.json", b"{\"the\": \"heavy\"}"),
        says: &["idf.json", "the"],
    },
    Fault {
        name: "unknown-pooling",
        apply: |dir| {
            write(
                dir,
                "1_SpladePooling/config.json",
                b"{\"activation_function\": \"tanh\"}",
            )
        },
        says: &["1_SpladePooling/config.json", "tanh"],
    },
];

const ENCODE: &str = "eval encode --model MODEL --input beir/corpus.jsonl --output out.jsonl";

/// Commands with MODEL for the directory.
const COMMANDS: &[&str] = &[
    "model inspect MODEL",
    "model export MODEL --output exported",
    ENCODE,
    "eval beir --model MODEL --data beir --output results",
    "eval mine --model MODEL --data beir --output mined.jsonl",
    "eval explain --model MODEL --query a --document b",
    "train train.yaml --set model_name_or_path=MODEL --set output_dir=OUT",
    "train train.yaml --dry-run --set model_name_or_path=MODEL --set output_dir=OUT",
];

fn table(world: &World, faults: &[Fault], commands: &[&str]) -> Vec<Bad> {
    let mut table = Vec::new();
    for fault in faults {
        (fault.apply)(&world.copy_model(fault.name));
        for command in commands {
            let line = command
                .replace("MODEL", fault.name)
                .replace("OUT", &format!("out-{}", fault.name));
            let says = [&[fault.name], fault.says].concat();
            table.push(Bad::new(line, 1, &says));
        }
    }
    table
}

#[test]
fn broken_models_in_one_command() {
    let world = World::new();
    check_all(&world, &table(&world, FAULTS, &[ENCODE]));
    assert!(!world.path("out.jsonl").exists());
}

/// The loader is the same everywhere; that every command reports what it says is checked with a few faults.
#[test]
fn broken_models_in_every_command() {
    let world = World::new();
    let chosen = ["unknown-model-type", "truncated-weights", "nan-weights"];
    for fault in FAULTS.iter().filter(|fault| chosen.contains(&fault.name)) {
        check_all(
            &world,
            &table(&world, std::slice::from_ref(fault), COMMANDS),
        );
    }
    for left in [
        "out.jsonl",
        "exported",
        "mined.jsonl",
        "results/results.json",
    ] {
        assert!(!world.path(left).exists(), "{left} was written");
    }
}

#[test]
fn broken_tokenizers_and_tables() {
    let world = World::new();
    check_all(&world, &table(&world, TEXT_FAULTS, &[ENCODE]));
}

#[test]
fn missing_models() {
    let world = World::new();
    let table: Vec<Bad> = COMMANDS
        .iter()
        .map(|command| {
            Bad::new(
                command
                    .replace("MODEL", "nowhere/at-all")
                    .replace("OUT", "out"),
                1,
                &["nowhere/at-all"],
            )
        })
        .collect();
    check_all(&world, &table);
}
