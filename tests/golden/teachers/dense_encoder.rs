//! Vectors of texts.

use std::path::PathBuf;

use burn::tensor::Device;
use model::{DenseEncoder, DenseOptions, Pooling};
use serde_json::Value;

use super::{LIMITS, holders};
use crate::compare::Checks;
use crate::fixture::{self, count, floats, list, text, texts};
use crate::golden::tolerance::HIDDEN_STATES;

/// A bi-encoder with the texts of its `texts.json`.
struct Golden {
    name: String,
    dir: PathBuf,
    /// What its files say, and what they make of texts.
    expected: Value,
}

impl Golden {
    fn all() -> Vec<Self> {
        let open = |(name, dir): (String, PathBuf)| {
            let expected = fixture::json_at(&dir.join("texts.json"));
            Self {
                name,
                dir,
                expected,
            }
        };
        holders("texts.json").into_iter().map(open).collect()
    }

    fn load(&self, options: &DenseOptions, device: &Device) -> DenseEncoder {
        let loaded = DenseEncoder::load(&self.dir, options, device);
        let (encoder, notes) = loaded.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let is_plain = !self.dir.join("modules.json").exists();
        assert_eq!(notes.pooling_assumed, is_plain && options.pooling.is_none());
        encoder
    }

    /// Texts of a side, and their vectors.
    fn rows(&self, side: &str) -> (Vec<&str>, Vec<Vec<f32>>) {
        let rows = list(&self.expected[side]).iter();
        rows.map(|row| (text(&row["text"]), floats(&row["vector"])))
            .unzip()
    }
}

#[test]
fn vectors() {
    let mut checks = Checks::new();
    check_vectors(&mut checks, &Device::flex());
    checks.finish();
}

/// Every model, on both sides, in batches of every size.
pub fn check_vectors(checks: &mut Checks, device: &Device) {
    for golden in Golden::all() {
        let encoder = golden.load(&DenseOptions::default(), device);
        for limit in LIMITS {
            for side in ["queries", "documents"] {
                let (texts, expected) = golden.rows(side);
                let found = match side {
                    "queries" => encoder.encode_queries(&texts, limit),
                    _ => encoder.encode_documents(&texts, limit),
                };
                let found = found.expect("vectors");
                checks.equal(&golden.name, found.len(), expected.len());
                for ((text, found), expected) in texts.iter().zip(&found).zip(&expected) {
                    let what = format!("{} {side} {limit:?} {text:?}", golden.name);
                    checks.equal(&what, found.len(), encoder.dim());
                    checks.close(&what, found, expected, &HIDDEN_STATES);
                }
            }
        }
    }
}

#[test]
fn what_the_files_say() {
    let mut checks = Checks::new();
    for golden in Golden::all() {
        let encoder = golden.load(&DenseOptions::default(), &Device::flex());
        let (name, expected) = (&golden.name, &golden.expected);
        let pooling = match text(&expected["pooling"]) {
            "cls" => Pooling::Cls,
            "mean" => Pooling::Mean,
            other => panic!("{name}: pooling {other}"),
        };
        checks.equal(name, encoder.pooling(), pooling);
        checks.equal(
            name,
            Some(encoder.normalises()),
            expected["normalised"].as_bool(),
        );
        checks.equal(name, encoder.max_len(), count(&expected["max_length"]));
        checks.same(name, &encoder.prefixes(), &texts(&expected["prompts"]));
    }
    checks.finish();
}

/// What a caller chooses makes of every model the same: the last hidden state of `[CLS]`, at its own length.
#[test]
fn what_the_caller_says() {
    let mut checks = Checks::new();
    for golden in Golden::all() {
        let options = DenseOptions {
            pooling: Some(Pooling::Cls),
            normalise: Some(false),
            max_len: Some(9),
            query_prefix: Some("sun ".to_owned()),
            document_prefix: Some(String::new()),
            ..DenseOptions::default()
        };
        let encoder = golden.load(&options, &Device::flex());
        let prefixed = encoder
            .encode_queries(&["moon"], LIMITS[0])
            .expect("a vector");
        let whole = encoder
            .encode_documents(&["sun moon"], LIMITS[0])
            .expect("a vector");
        checks.same(&golden.name, &prefixed, &whole);
        let long = "tide moon sun ".repeat(9);
        let cut = encoder
            .encode_documents(&[&long, &long[..32]], LIMITS[0])
            .expect("vectors");
        checks.same(&format!("{}: 7 words", golden.name), &cut[0], &cut[1]);

        // Normalised or not, they have the same direction.
        let options = DenseOptions {
            normalise: Some(true),
            ..options
        };
        let normalised = golden
            .load(&options, &Device::flex())
            .encode_documents(&["sun moon"], LIMITS[0]);
        let length = whole[0].iter().map(|x| x * x).sum::<f32>().sqrt();
        let expected: Vec<f32> = whole[0].iter().map(|x| x / length).collect();
        checks.close(
            &golden.name,
            &normalised.expect("a vector")[0],
            &expected,
            &HIDDEN_STATES,
        );
    }
    checks.finish();
}

/// Bit for bit, in any batch and any order.
#[test]
fn a_text_does_not_depend_on_its_company() {
    let mut checks = Checks::new();
    for golden in Golden::all() {
        let encoder = golden.load(&DenseOptions::default(), &Device::flex());
        let (mut texts, _) = golden.rows("documents");
        let alone: Vec<Vec<f32>> = texts
            .iter()
            .flat_map(|text| {
                encoder
                    .encode_documents(&[text], LIMITS[0])
                    .expect("a vector")
            })
            .collect();
        for limit in LIMITS {
            let found = encoder.encode_documents(&texts, limit).expect("vectors");
            checks.same(&format!("{} {limit:?}", golden.name), &found, &alone);
        }
        texts.reverse();
        let mut backwards = encoder
            .encode_documents(&texts, LIMITS[1])
            .expect("vectors");
        backwards.reverse();
        checks.same(&format!("{} backwards", golden.name), &backwards, &alone);
    }
    checks.finish();
}
