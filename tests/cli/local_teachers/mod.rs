//! `ellzero-train score` with models on this machine, against what Python made of the fixtures' texts.

mod expected;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use data::BatchLimit;
use model::{CrossEncoder, CrossEncoderOptions, MonoT5, MonoT5Options};
use serde_json::{Value, json};

use crate::compare::Checks;
use crate::damage::{edit_config, edit_weights};
use crate::fixture::{self, Arrays, floats, list, number, text, texts};
use crate::golden::sparse::Expected;
use crate::golden::tolerance::{HIDDEN_STATES, MONO_T5_SCORES, SCORES, Tolerance, WEIGHTS};
use crate::weights::{Stored, copy_tree};

use super::bad_input::{Bad, check_all};
use super::world::World;
use expected::{Teacher, Texts, check, dots};

fn place(folder: &str, name: &str) -> PathBuf {
    fixture::own(folder).join(name)
}

/// A bi-encoder, its texts, and the pooling that its files ask for.
fn dense(name: &str, expected: &Value) -> (Teacher, String) {
    let vectors = |side: &str| -> Vec<Vec<f32>> {
        let rows = list(&expected[side]).iter();
        rows.map(|row| floats(&row["vector"])).collect()
    };
    let (scores, slack) = dots(&vectors("queries"), &vectors("documents"), &HIDDEN_STATES);
    let mapping = format!(
        "{{type: dense, model: '{}', max_length: {}}}",
        place("teachers", name).display(),
        expected["max_length"]
    );
    let teacher = Teacher {
        mapping,
        scores,
        slack,
    };
    (teacher, text(&expected["pooling"]).to_owned())
}

fn dense_texts(expected: &Value) -> Texts<'_> {
    let side = |side: &str| {
        let rows = list(&expected[side]).iter();
        rows.map(|row| text(&row["text"])).collect()
    };
    Texts {
        queries: side("queries"),
        documents: side("documents"),
    }
}

/// A model of pairs. `known` are pairs and their golden scores; of all others the library is asked, which has tests of
/// its own: two documents of a query would be 0 and 1 whatever their scores.
fn pair_model(
    mapping: String,
    texts: &Texts,
    known: &[(&str, &str, f64)],
    tolerance: &Tolerance,
    score: impl Fn(&[(&str, &str)]) -> Vec<f32>,
) -> Teacher {
    let pairs = texts.pairs();
    let mut scores: Vec<f64> = score(&pairs).into_iter().map(f64::from).collect();
    for &(query, document, score) in known {
        if let Some(index) = pairs.iter().position(|pair| *pair == (query, document)) {
            scores[index] = score;
        }
    }
    let largest = scores.iter().map(|score| score.abs()).fold(0.0, f64::max);
    let rows = scores.chunks(texts.documents.len());
    Teacher {
        mapping,
        scores: rows.map(<[f64]>::to_vec).collect(),
        slack: tolerance.atol + tolerance.rtol * largest,
    }
}

fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for text in texts {
        if !found.contains(&text) {
            found.push(text);
        }
    }
    found
}

/// The queries and documents of pairs.
fn texts_of<'a>(known: &[(&'a str, &'a str, f64)]) -> Texts<'a> {
    Texts {
        queries: distinct(known.iter().map(|pair| pair.0)),
        documents: distinct(known.iter().map(|pair| pair.1)),
    }
}

fn cross_encoder(
    name: &str,
    texts: &Texts,
    known: &[(&str, &str, f64)],
    max_len: usize,
) -> Teacher {
    let dir = place("teachers", name);
    let options = CrossEncoderOptions {
        max_len: Some(max_len),
        ..CrossEncoderOptions::default()
    };
    let mapping = format!(
        "{{type: cross-encoder, model: '{}', max_length: {max_len}}}",
        dir.display()
    );
    let model = CrossEncoder::load(&dir, &options, &Device::flex()).expect("a cross-encoder");
    pair_model(mapping, texts, known, &SCORES, |pairs| {
        let scores = model.score(pairs, BatchLimit::Rows(1));
        scores.expect("scores")
    })
}

fn mono_t5(name: &str, texts: &Texts, known: &[(&str, &str, f64)]) -> Teacher {
    let dir = place("t5", name);
    let model = MonoT5::load(&dir, &MonoT5Options::default(), &Device::flex()).expect("a monoT5");
    let mapping = format!("{{type: monot5, model: '{}'}}", dir.display());
    pair_model(mapping, texts, known, &MONO_T5_SCORES, |pairs| {
        let scores = model.score(pairs, BatchLimit::Rows(1));
        scores.expect("scores")
    })
}

/// Mean and `[CLS]`, normalised and not, alone and together with models of pairs.
#[test]
fn dense_encoders_and_an_ensemble() {
    let names = ["dense_bert", "dense_distilbert"];
    let expected = names.map(|name| fixture::json_at(&place("teachers", name).join("texts.json")));
    let mut checks = Checks::new();
    let (mut poolings, mut together) = (Vec::new(), Vec::new());
    for (name, expected) in names.iter().zip(&expected) {
        let (teacher, pooling) = dense(name, expected);
        check(
            &mut checks,
            name,
            &dense_texts(expected),
            std::slice::from_ref(&teacher),
        );
        poolings.push(pooling);
        together.push(teacher);
    }
    poolings.sort();
    assert_eq!(poolings, ["cls", "mean"]);
    let texts = dense_texts(&expected[0]);
    assert_eq!(texts.pairs(), dense_texts(&expected[1]).pairs());
    together.push(cross_encoder("cross_bert", &texts, &[], 40));
    together.push(mono_t5("v1_1", &texts, &[]));
    check(&mut checks, "ensemble", &texts, &together);
    checks.finish();
}

#[test]
fn cross_encoders() {
    let mut checks = Checks::new();
    for name in ["cross_bert", "cross_distilbert"] {
        let pairs = fixture::json_at(&place("teachers", name).join("pairs.json"));
        let max_len = fixture::count(&pairs["max_length"]);
        let cases = list(&pairs["cases"]).iter();
        let known: Vec<_> = cases
            .filter(|case| fixture::count(&case["max_length"]) == max_len)
            .map(|case| {
                (
                    text(&case["query"]),
                    text(&case["document"]),
                    number(&case["logit"]),
                )
            })
            .collect();
        let texts = texts_of(&known);
        let teacher = cross_encoder(name, &texts, &known, max_len);
        check(&mut checks, name, &texts, &[teacher]);
    }
    checks.finish();
}

#[test]
fn mono_t5s() {
    let pairs = fixture::json_at(&place("t5", "pairs.json"));
    let mut checks = Checks::new();
    for name in ["v1_0", "v1_1"] {
        let expected = fixture::json_at(&place("t5", name).join("expected.json"));
        let rows = list(&pairs).iter().zip(list(&expected["512"]));
        let known: Vec<_> = rows
            .map(|(pair, row)| {
                (
                    text(&pair["query"]),
                    text(&pair["document"]),
                    number(&row["score"]),
                )
            })
            .collect();
        let texts = texts_of(&known);
        let teacher = mono_t5(name, &texts, &known);
        check(&mut checks, name, &texts, &[teacher]);
    }
    checks.finish();
}

/// Queries out of a table, and queries encoded as documents.
#[test]
fn sparse_encoders() {
    let meta = fixture::object("sparse/meta.json");
    let documents = texts(&meta["texts"]);
    let mut checks = Checks::new();
    for expected in Expected::all() {
        let special = expected.arrays.get("special_token_ids").ints();
        let rows = |array: &fixture::Array| -> Vec<Vec<f32>> {
            let [count, _] = array.dims();
            let row = |row| {
                let mut row = array.at(row).floats().to_vec();
                special.iter().for_each(|&id| row[id as usize] = 0.0);
                row
            };
            (0..count).map(row).collect()
        };
        let arrays = Arrays::read(&format!("sparse/{}_texts.safetensors", expected.name));
        let docs = rows(arrays.get("docs"));
        let table = format!(
            "inf_free: true, idf_path: '{}'",
            fixture::path("sparse/idf.json").display()
        );
        for (queries, left, options) in [
            (
                texts(&meta["queries"]),
                rows(expected.arrays.get("q_rep")),
                table.as_str(),
            ),
            (documents.clone(), docs.clone(), "inf_free: false"),
        ] {
            let (scores, slack) = dots(&left, &docs, &WEIGHTS);
            let model = fixture::path(&expected.name);
            let mapping = format!(
                "{{type: sparse, model: '{}', activation_type: l1_relu, {options}}}",
                model.display()
            );
            let teacher = Teacher {
                mapping,
                scores,
                slack,
            };
            let texts = Texts {
                queries,
                documents: documents.clone(),
            };
            let what = format!("{} {options}", expected.name);
            check(&mut checks, &what, &texts, &[teacher]);
        }
    }
    checks.finish();
}

/// Nothing is scored by a broken model; file and key are named.
#[test]
fn broken_models() {
    type Break = fn(&Path);
    const NOT_A_NUMBER: Break = |dir| {
        edit_weights(dir, |weights| {
            let key = weights.key("position_embeddings.weight");
            let stored = weights.0[&key].clone();
            let mut values = stored.floats();
            values[3] = f32::NAN;
            weights.0.insert(key, Stored::f32(&stored.shape, &values));
        })
    };
    const TWO_LABELS: Break = |dir| {
        edit_weights(dir, |weights| {
            let bias = "classifier.bias".to_owned();
            weights.0.insert(bias, Stored::zeros(&[2]));
        })
    };
    const SHORT_TABLE: Break = |dir| {
        edit_weights(dir, |weights| {
            let shared = "shared.weight".to_owned();
            weights.0.insert(shared, Stored::zeros(&[3, 5]));
        })
    };
    const ROBERTA: Break = |dir| edit_config(dir, |config| config["model_type"] = json!("roberta"));
    let world = World::new();
    let table: [(&str, &str, &str, Break, &[&str]); 4] = [
        (
            "dense",
            "teachers",
            "cross_bert",
            NOT_A_NUMBER,
            &[
                "model.safetensors",
                "position_embeddings.weight",
                "NaN",
                "[0, 3]",
            ],
        ),
        (
            "cross-encoder",
            "teachers",
            "cross_bert",
            TWO_LABELS,
            &["model.safetensors", "classifier.bias", "[2]", "[1]"],
        ),
        (
            "monot5",
            "t5",
            "v1_0",
            SHORT_TABLE,
            &["model.safetensors", "shared.weight", "[3, 5]"],
        ),
        (
            "cross-encoder",
            "teachers",
            "cross_distilbert",
            ROBERTA,
            &["config.json", "model_type", "roberta"],
        ),
    ];
    let mut bad = Vec::new();
    for (index, (kind, folder, name, apply, says)) in table.into_iter().enumerate() {
        let model = format!("broken-{index}");
        copy_tree(&place(folder, name), &world.path(&model));
        apply(&world.path(&model));
        let file = format!("broken-{index}.yaml");
        world.write(
            &file,
            format!("teachers: [{{type: {kind}, model: {model}}}]\n"),
        );
        let line = format!("train score --teachers {file} --input kd.jsonl --output out.jsonl");
        bad.push(Bad::new(line, 1, &[&[model.as_str()], says].concat()));
    }
    check_all(&world, &bad);
    assert!(!world.path("out.jsonl").exists());
}
