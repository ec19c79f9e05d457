//! Broken directories of cross-encoders and bi-encoders.

use std::error::Error;
use std::path::Path;

use burn::tensor::Device;
use data::BatchLimit;
use model::{CrossEncoder, CrossEncoderOptions, DenseEncoder, DenseOptions};
use serde_json::json;

use crate::compare::Checks;
use crate::damage::{WEIGHTS, edit_config, edit_json, edit_weights, remove, write};
use crate::fixture;
use crate::weights::{Stored, copy_tree};

/// Breaks a copy of a good model directory.
struct Fault {
    name: &'static str,
    apply: fn(&Path),
    /// What the message must contain.
    says: &'static [&'static str],
}

const CROSS_ENCODER: &[Fault] = &[
    Fault {
        name: "two labels",
        apply: |dir| {
            edit_config(dir, |config| {
                config["id2label"] = json!({"0": "no", "1": "yes"})
            })
        },
        says: &["config.json", "id2label", "yes", "one label"],
    },
    Fault {
        name: "labels left open",
        apply: |dir| {
            edit_config(dir, |config| {
                config
                    .as_object_mut()
                    .expect("an object")
                    .remove("id2label");
            })
        },
        says: &["config.json", "id2label", "no such key"],
    },
    Fault {
        name: "another architecture",
        apply: |dir| {
            edit_config(dir, |config| {
                config["architectures"] = json!(["BertForMaskedLM"])
            })
        },
        says: &["config.json", "architectures", "ForSequenceClassification"],
    },
    Fault {
        name: "weights of two labels",
        apply: |dir| {
            edit_weights(dir, |weights| {
                weights
                    .0
                    .insert("classifier.bias".to_owned(), Stored::zeros(&[2]));
            })
        },
        says: &[WEIGHTS, "classifier.bias", "[2]", "[1]"],
    },
    Fault {
        name: "no classifier",
        apply: |dir| {
            edit_weights(dir, |weights| {
                weights.0.retain(|key, _| !key.starts_with("classifier."))
            })
        },
        says: &[WEIGHTS, "classifier.weight", "missing (2 of"],
    },
    Fault {
        name: "not a number",
        apply: |dir| {
            edit_weights(dir, |weights| {
                weights
                    .0
                    .insert("classifier.bias".to_owned(), Stored::f32(&[1], &[f32::NAN]));
            })
        },
        says: &[WEIGHTS, "classifier.bias", "NaN", "[0]"],
    },
    Fault {
        name: "too much of a classifier",
        apply: |dir| {
            edit_weights(dir, |weights| {
                weights
                    .0
                    .insert("classifier.out_proj.bias".to_owned(), Stored::zeros(&[1]));
            })
        },
        says: &[WEIGHTS, "classifier.out_proj.bias", "unexpected"],
    },
];

const DENSE: &[Fault] = &[
    Fault {
        name: "another pooling",
        apply: |dir| write(dir, "1_Pooling/config.json", br#"{"pooling_mode": "max"}"#),
        says: &[
            "1_Pooling/config.json",
            "pooling_mode",
            "max",
            "cls or mean",
        ],
    },
    Fault {
        name: "another pooling in older words",
        apply: |dir| {
            let settings = br#"{"pooling_mode_weightedmean_tokens": true}"#;
            write(dir, "1_Pooling/config.json", settings);
        },
        says: &[
            "1_Pooling/config.json",
            "pooling_mode_weightedmean_tokens",
            "cls or mean",
        ],
    },
    Fault {
        name: "no pooling",
        apply: |dir| remove(dir, "1_Pooling/config.json"),
        says: &["1_Pooling/config.json"],
    },
    Fault {
        name: "one more module",
        apply: |dir| {
            edit_json(dir, "modules.json", |modules| {
                let dense = json!({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"});
                modules.as_array_mut().expect("a list").push(dense);
            })
        },
        says: &["modules.json", "Dense"],
    },
];

/// What every model can suffer from.
const BOTH: &[Fault] = &[
    Fault {
        name: "missing config",
        apply: |dir| remove(dir, "config.json"),
        says: &["config.json"],
    },
    Fault {
        name: "another model",
        apply: |dir| edit_config(dir, |config| config["model_type"] = json!("roberta")),
        says: &["config.json", "model_type", "roberta"],
    },
    Fault {
        name: "no weights",
        apply: |dir| remove(dir, WEIGHTS),
        says: &[WEIGHTS],
    },
    Fault {
        name: "wrong shape",
        apply: |dir| {
            edit_weights(dir, |weights| {
                let key = weights.key("position_embeddings.weight");
                weights.0.insert(key, Stored::zeros(&[3, 5]));
            })
        },
        says: &[WEIGHTS, "position_embeddings.weight", "[3, 5]"],
    },
    Fault {
        name: "not a number",
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
        name: "missing key",
        apply: |dir| {
            edit_weights(dir, |weights| {
                let key = weights.key("position_embeddings.weight");
                weights.0.remove(&key);
            })
        },
        says: &[WEIGHTS, "position_embeddings.weight", "missing"],
    },
    Fault {
        name: "unexpected key",
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
        name: "no tokenizer",
        apply: |dir| remove(dir, "tokenizer.json"),
        says: &["tokenizer.json"],
    },
    Fault {
        name: "large tokenizer",
        apply: |dir| {
            edit_json(dir, "tokenizer.json", |tokenizer| {
                let words = tokenizer["model"]["vocab"]
                    .as_object_mut()
                    .expect("a vocabulary");
                words.insert("onemore".to_owned(), json!(words.len()));
            })
        },
        says: &["vocabulary"],
    },
];

type Load = fn(&Path) -> Result<(), Box<dyn Error>>;

fn check(model: &str, load: Load, faults: &[&[Fault]]) {
    let mut checks = Checks::new();
    let source = fixture::own("teachers").join(model);
    load(&source).expect("the model is good");
    for fault in faults.iter().copied().flatten() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        copy_tree(&source, dir.path());
        (fault.apply)(dir.path());
        let what = format!("{model}, {}", fault.name);
        match load(dir.path()) {
            Ok(()) => checks.fail(format!("{what}: was loaded")),
            Err(error) => {
                let message = error.to_string();
                for part in [&[dir.path().to_str().expect("UTF-8")], fault.says].concat() {
                    checks.require(message.contains(part), || {
                        format!("{what}: no {part} in: {message}")
                    });
                }
            }
        }
    }
    checks.finish();
}

fn load_cross_encoder(dir: &Path) -> Result<(), Box<dyn Error>> {
    CrossEncoder::load(dir, &CrossEncoderOptions::default(), &Device::flex())?;
    Ok(())
}

fn load_dense(dir: &Path) -> Result<(), Box<dyn Error>> {
    DenseEncoder::load(dir, &DenseOptions::default(), &Device::flex())?;
    Ok(())
}

#[test]
fn broken_cross_encoders() {
    for model in ["cross_bert", "cross_distilbert"] {
        check(model, load_cross_encoder, &[CROSS_ENCODER, BOTH]);
    }
}

#[test]
fn broken_bi_encoders() {
    check("dense_bert", load_dense, &[DENSE, BOTH]);
    check("cross_bert", load_dense, &[BOTH]);
}

/// A bi-encoder is no cross-encoder, and nothing is one that is not there.
#[test]
fn other_directories() {
    let mut checks = Checks::new();
    let table: [(&str, Load, &str); 3] = [
        ("dense_bert", load_cross_encoder, "architectures"),
        ("nowhere", load_cross_encoder, "nowhere"),
        ("nowhere", load_dense, "nowhere"),
    ];
    for (model, load, says) in table {
        let loaded = load(&fixture::own("teachers").join(model));
        let message = loaded.expect_err("no such model").to_string();
        checks.require(message.contains(says), || format!("{model}: {message}"));
    }
    checks.finish();
}

/// The special tokens alone take three places.
#[test]
fn no_room_for_a_pair() {
    let options = CrossEncoderOptions {
        max_len: Some(2),
        ..CrossEncoderOptions::default()
    };
    let dir = fixture::own("teachers").join("cross_bert");
    let loaded = CrossEncoder::load(&dir, &options, &Device::flex());
    let scored = loaded
        .expect("a model")
        .score(&[("sun", "moon")], BatchLimit::Rows(1));
    let error = scored.expect_err("no room").to_string();
    let expected = "a maximum length of 2 tokens is too short";
    assert!(error.contains(expected), "{error}");
}
