//! monoT5: token ids, encoder states and scores of small random T5s, v1.0 and v1.1, against transformers, and what is
//! wrong with bad directories. `t5/make_t5.py` makes the fixtures.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use data::BatchLimit;
use model::{MonoT5, MonoT5Error, MonoT5Options};
use serde_json::{Value, json};

use super::tolerance::{HIDDEN_STATES, MONO_T5_SCORES};
use crate::compare::Checks;
use crate::fixture::{self, Arrays, ids, list, number, text};
use crate::weights::{Stored, Weights, copy_files};

/// A fixture; golden data without T5 models leaves those of this crate.
fn path(name: &str) -> PathBuf {
    let folder = fixture::path("t5");
    match folder.is_dir() {
        true => folder.join(name),
        false => Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/t5")
            .join(name),
    }
}

fn read_json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn options(max_length: usize) -> MonoT5Options {
    MonoT5Options {
        max_length,
        ..MonoT5Options::default()
    }
}

fn load(dir: &Path, options: &MonoT5Options) -> MonoT5 {
    MonoT5::load(dir, options, &Device::flex())
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
}

/// A model for one maximum length, and the rows expected of it.
struct Golden {
    name: String,
    model: MonoT5,
    expected: Value,
    io: Arrays,
}

impl Golden {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for name in ["v1_0", "v1_1"] {
            let dir = path(name);
            let expected = read_json(&dir.join("expected.json"));
            for (max_length, rows) in expected.as_object().expect("an object") {
                let options = options(max_length.parse().expect("a length"));
                all.push(Self {
                    name: format!("{name} up to {max_length}"),
                    model: load(&dir, &options),
                    expected: rows.clone(),
                    io: Arrays::open(&dir.join("io.safetensors")),
                });
            }
        }
        all
    }

    fn scores(&self) -> Vec<f32> {
        let rows = list(&self.expected).iter();
        rows.map(|row| number(&row["score"]) as f32).collect()
    }
}

/// Query and document.
fn pairs() -> Vec<(String, String)> {
    let pairs = read_json(&path("pairs.json"));
    let pair = |pair: &Value| {
        let part = |key: &str| text(&pair[key]).to_owned();
        (part("query"), part("document"))
    };
    list(&pairs).iter().map(pair).collect()
}

fn score(model: &MonoT5, pairs: &[(String, String)], limit: BatchLimit) -> Vec<f32> {
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(q, d)| (q.as_str(), d.as_str()))
        .collect();
    model.score(&pairs, limit).expect("scores")
}

#[test]
fn token_ids_and_what_is_cut() {
    let mut checks = Checks::new();
    for golden in Golden::all() {
        let rows = list(&golden.expected);
        checks.equal(&golden.name, rows.len(), pairs().len());
        for (index, ((query, document), row)) in pairs().iter().zip(rows).enumerate() {
            let found = golden.model.tokens(query, document).expect("token ids");
            let what = format!("{} pair {index}", golden.name);
            checks.same(&what, &found, &ids(&row["ids"]));
        }
    }
    checks.finish();
}

#[test]
fn encoder_states() {
    let mut checks = Checks::new();
    for golden in Golden::all() {
        for (index, row) in list(&golden.expected).iter().enumerate() {
            let expected = golden.io.get(&format!("states_{index}"));
            let tokens = ids(&row["ids"]);
            // States are there for whole texts.
            if tokens.len() == expected.shape[0] {
                let found = golden.model.encoder_states(&tokens);
                let what = format!("{} pair {index}", golden.name);
                let shape = expected.shape.as_slice();
                let expected = expected.floats();
                checks.close_where(&what, shape, &found, expected, &HIDDEN_STATES, |_| true);
            }
        }
    }
    checks.finish();
}

#[test]
fn scores() {
    let mut checks = Checks::new();
    for golden in Golden::all() {
        let found = score(&golden.model, &pairs(), BatchLimit::Tokens(100));
        checks.close(&golden.name, &found, &golden.scores(), &MONO_T5_SCORES);
    }
    checks.finish();
}

/// Bit for bit, and in the order of the pairs.
#[test]
fn a_pair_does_not_depend_on_its_company() {
    for golden in Golden::all() {
        let mut pairs = pairs();
        let alone = score(&golden.model, &pairs, BatchLimit::Rows(1));
        let many = BatchLimit::Rows(pairs.len());
        for limit in [many, BatchLimit::Rows(2), BatchLimit::Tokens(150)] {
            assert_eq!(
                score(&golden.model, &pairs, limit),
                alone,
                "{}",
                golden.name
            );
        }
        pairs.reverse();
        let mut reversed = score(&golden.model, &pairs, many);
        reversed.reverse();
        assert_eq!(reversed, alone, "{}", golden.name);
        assert_eq!(score(&golden.model, &[], many), [0.0; 0]);
    }
}

/// The two answers' probabilities are all there is.
#[test]
fn other_answers_can_be_named() {
    let mut checks = Checks::new();
    for name in ["v1_0", "v1_1"] {
        let swapped = MonoT5Options {
            positive: "\u{2581}false".to_owned(),
            negative: "\u{2581}true".to_owned(),
            ..MonoT5Options::default()
        };
        let limit = BatchLimit::Tokens(100);
        let positive = score(&load(&path(name), &options(512)), &pairs(), limit);
        let negative = score(&load(&path(name), &swapped), &pairs(), limit);
        for (index, (positive, negative)) in positive.iter().zip(&negative).enumerate() {
            let total = f64::from(positive.exp()) + f64::from(negative.exp());
            checks.number(&format!("{name} pair {index}"), total, 1.0, &MONO_T5_SCORES);
        }
    }
    checks.finish();
}

const WEIGHTS: &str = "model.safetensors";

/// A copy of a model directory, altered.
fn altered(name: &str, alter: impl FnOnce(&Path)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    copy_files(
        &path(name),
        dir.path(),
        &["io.safetensors", "expected.json"],
    );
    alter(dir.path());
    dir
}

fn alter_weights(dir: &Path, alter: impl FnOnce(&mut Weights)) {
    let mut weights = Weights::read(&dir.join(WEIGHTS));
    alter(&mut weights);
    weights.write(&dir.join(WEIGHTS));
}

fn alter_json(dir: &Path, name: &str, alter: impl FnOnce(&mut Value)) {
    let mut value = read_json(&dir.join(name));
    alter(&mut value);
    fs::write(dir.join(name), value.to_string()).expect("written");
}

/// `pytorch_model.bin` files repeat the embeddings under every name they have.
#[test]
fn repeated_embeddings_change_nothing() {
    let dir = altered("v1_0", |dir| {
        alter_weights(dir, |weights| {
            let embeddings = weights.0["shared.weight"].clone();
            for key in [
                "encoder.embed_tokens.weight",
                "decoder.embed_tokens.weight",
                "lm_head.weight",
            ] {
                weights.0.insert(key.to_owned(), embeddings.clone());
            }
        });
    });
    let limit = BatchLimit::Rows(4);
    let expected = score(&load(&path("v1_0"), &options(512)), &pairs(), limit);
    let found = score(&load(dir.path(), &options(512)), &pairs(), limit);
    assert_eq!(found, expected);
}

/// Releases of transformers before 5 say of T5 v1.1 that its head is not tied, later ones that nothing is scaled.
#[test]
fn either_way_to_say_v1_1_is_understood() {
    let before = altered("v1_1", |dir| {
        alter_json(dir, "config.json", |config| {
            config["tie_word_embeddings"] = json!(false);
            let config = config.as_object_mut().expect("an object");
            let scales = config.remove("scale_decoder_outputs");
            assert_eq!(scales, Some(json!(false)));
        });
    });
    let limit = BatchLimit::Rows(4);
    let expected = score(&load(&path("v1_1"), &options(512)), &pairs(), limit);
    let found = score(&load(before.path(), &options(512)), &pairs(), limit);
    assert_eq!(found, expected);
}

/// Breaks a copy of a good directory.
struct Fault {
    name: &'static str,
    apply: fn(&Path),
    /// What the message must contain.
    says: &'static [&'static str],
}

const QUERY: &str = "encoder.block.1.layer.0.SelfAttention.q.weight";

const FAULTS: &[Fault] = &[
    Fault {
        name: "missing key",
        apply: |dir| alter_weights(dir, |weights| drop(weights.0.remove(QUERY))),
        says: &[WEIGHTS, QUERY, "is missing (1 of the"],
    },
    Fault {
        name: "missing head",
        apply: |dir| {
            alter_json(dir, "config.json", |config| {
                config["tie_word_embeddings"] = json!(false);
                let config = config.as_object_mut().expect("an object");
                config.remove("scale_decoder_outputs");
            });
            alter_weights(dir, |weights| drop(weights.0.remove("lm_head.weight")));
        },
        says: &[WEIGHTS, "lm_head.weight", "is missing"],
    },
    Fault {
        name: "wrong shape",
        apply: |dir| {
            alter_weights(dir, |weights| {
                weights.0.insert(QUERY.to_owned(), Stored::zeros(&[32, 24]));
            });
        },
        says: &[WEIGHTS, QUERY, "shape [32, 24], expected [24, 32]"],
    },
    Fault {
        name: "unexpected key",
        apply: |dir| {
            alter_weights(dir, |weights| {
                let key = "encoder.block.2.layer.0.layer_norm.weight";
                weights.0.insert(key.to_owned(), Stored::zeros(&[32]));
            });
        },
        says: &[
            WEIGHTS,
            "encoder.block.2.layer.0.layer_norm.weight",
            "unexpected",
        ],
    },
    Fault {
        name: "not finite",
        apply: |dir| {
            alter_weights(dir, |weights| {
                let mut values = vec![0.5; 24 * 32];
                values[33] = f32::NAN;
                weights
                    .0
                    .insert(QUERY.to_owned(), Stored::f32(&[24, 32], &values));
            });
        },
        says: &[WEIGHTS, QUERY, "NaN at index [1, 1]"],
    },
    Fault {
        name: "another feed-forward layer",
        apply: |dir| {
            alter_json(dir, "config.json", |config| {
                config["feed_forward_proj"] = json!("gated-silu");
            });
        },
        says: &[
            "config.json",
            "`feed_forward_proj`: found \"gated-silu\"",
            "gated-gelu",
        ],
    },
    Fault {
        name: "another model",
        apply: |dir| {
            alter_json(dir, "config.json", |config| {
                config["model_type"] = json!("bart")
            });
        },
        says: &["config.json", "`model_type`: found \"bart\"", "t5"],
    },
    Fault {
        name: "SentencePiece only",
        apply: |dir| {
            fs::rename(dir.join("tokenizer.json"), dir.join("spiece.model")).expect("renamed");
        },
        says: &["spiece.model", "tokenizer.json", "save_pretrained"],
    },
    Fault {
        name: "no tokenizer",
        apply: |dir| fs::remove_file(dir.join("tokenizer.json")).expect("removed"),
        says: &["no tokenizer.json"],
    },
    Fault {
        name: "no such answer",
        apply: |dir| {
            alter_json(dir, "tokenizer.json", |tokenizer| {
                let vocabulary = tokenizer["model"]["vocab"].as_array_mut();
                for piece in vocabulary.expect("a list") {
                    if piece[0] == "\u{2581}true" {
                        piece[0] = json!("\u{2581}truth");
                    }
                }
            });
        },
        says: &["tokenizer.json", "`\u{2581}true` is not in the vocabulary"],
    },
    Fault {
        name: "no end of text",
        apply: |dir| {
            alter_json(dir, "tokenizer.json", |tokenizer| {
                tokenizer["post_processor"] = Value::Null;
            });
        },
        says: &["the tokens [] around a text, expected 1 (eos_token_id"],
    },
    Fault {
        name: "another vocabulary",
        apply: |dir| {
            alter_json(dir, "tokenizer.json", |tokenizer| {
                let vocabulary = tokenizer["model"]["vocab"].as_array_mut();
                let more = (0..300).map(|i| json!([format!("more{i}"), -20.0]));
                vocabulary.expect("a list").extend(more);
            });
        },
        says: &["the model's vocabulary has 272"],
    },
];

#[test]
fn bad_directories_are_refused_by_name() {
    let mut checks = Checks::new();
    for fault in FAULTS {
        let dir = altered("v1_1", fault.apply);
        match MonoT5::load(dir.path(), &options(512), &Device::flex()) {
            Ok(_) => checks.fail(format!("{}: loaded", fault.name)),
            Err(error) => {
                let error = error.to_string();
                for part in fault.says {
                    let lacks = || format!("{}: no {part:?} in {error:?}", fault.name);
                    checks.require(error.contains(part), lacks);
                }
            }
        }
    }
    checks.finish();
}

#[test]
fn impossible_options_are_refused() {
    let load = |options: &MonoT5Options| MonoT5::load(&path("v1_0"), options, &Device::flex());
    let shortest = match load(&options(1)) {
        Err(MonoT5Error::TooShort {
            max_length: 1,
            least,
        }) => least,
        other => panic!("{:?}", other.err()),
    };
    assert!(load(&options(shortest - 1)).is_err());
    let model = load(&options(shortest)).expect("room for one token");
    let tokens = model.tokens("rust", "iron").expect("token ids");
    assert_eq!(tokens.len(), shortest);
    let same = MonoT5Options {
        negative: "\u{2581}true".to_owned(),
        ..MonoT5Options::default()
    };
    assert!(matches!(load(&same), Err(MonoT5Error::SameAnswer(_))));
}
