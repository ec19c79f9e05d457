//! Logits of pairs.

use std::path::PathBuf;

use burn::tensor::Device;
use data::{TokenBatch, Tokenizer};
use model::{CrossEncoder, CrossEncoderOptions, TokenTensors, hf};

use super::{LIMITS, holders};
use crate::compare::Checks;
use crate::fixture::{self, count, ids, list, number, text};
use crate::golden::tolerance::SCORES;

/// A cross-encoder with the pairs of its `pairs.json`.
struct Golden {
    name: String,
    dir: PathBuf,
    /// What its files say.
    max_len: usize,
    cases: Vec<Case>,
}

struct Case {
    max_len: usize,
    pair: (String, String),
    ids: Vec<u32>,
    /// `None` where the family has none.
    types: Option<Vec<u32>>,
    logit: f32,
}

impl Golden {
    fn all() -> Vec<Self> {
        let open = |(name, dir): (String, PathBuf)| {
            let pairs = fixture::json_at(&dir.join("pairs.json"));
            Self {
                name,
                dir,
                max_len: count(&pairs["max_length"]),
                cases: list(&pairs["cases"]).iter().map(Case::new).collect(),
            }
        };
        holders("pairs.json").into_iter().map(open).collect()
    }

    fn load(&self, max_len: Option<usize>, device: &Device) -> CrossEncoder {
        let options = CrossEncoderOptions {
            max_len,
            ..CrossEncoderOptions::default()
        };
        CrossEncoder::load(&self.dir, &options, device)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// The maximum lengths, and the cases of each.
    fn by_length(&self) -> Vec<(usize, Vec<&Case>)> {
        let mut lengths: Vec<usize> = self.cases.iter().map(|case| case.max_len).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let of = |max_len| {
            self.cases
                .iter()
                .filter(move |case| case.max_len == max_len)
        };
        lengths
            .into_iter()
            .map(|max_len| (max_len, of(max_len).collect()))
            .collect()
    }
}

impl Case {
    fn new(case: &serde_json::Value) -> Self {
        let types = &case["token_type_ids"];
        Self {
            max_len: count(&case["max_length"]),
            pair: (
                text(&case["query"]).to_owned(),
                text(&case["document"]).to_owned(),
            ),
            ids: ids(&case["input_ids"]),
            types: (!types.is_null()).then(|| ids(types)),
            logit: number(&case["logit"]) as f32,
        }
    }
}

#[test]
fn token_ids_and_types() {
    let mut checks = Checks::new();
    for golden in Golden::all() {
        let tokenizer = Tokenizer::from_dir(&golden.dir).expect("a tokenizer");
        for case in &golden.cases {
            let (query, document) = &case.pair;
            let found = tokenizer
                .encode_pair(query, document, case.max_len)
                .expect("token ids");
            let what = format!("{} {:?} in {}", golden.name, case.pair, case.max_len);
            checks.same(&format!("{what}: ids"), &found.ids, &case.ids);
            if let Some(types) = &case.types {
                let found: Vec<u32> = (0..found.ids.len())
                    .map(|position| u32::from(position >= found.first))
                    .collect();
                checks.same(&format!("{what}: types"), &found, types);
            }
        }
    }
    checks.finish();
}

#[test]
fn scores() {
    let mut checks = Checks::new();
    check_scores(&mut checks, &Device::flex());
    checks.finish();
}

/// Every model, within every maximum length, in batches of every size.
pub fn check_scores(checks: &mut Checks, device: &Device) {
    for golden in Golden::all() {
        for (max_len, cases) in golden.by_length() {
            let encoder = golden.load(Some(max_len), device);
            let pairs: Vec<(&str, &str)> = cases
                .iter()
                .map(|case| (case.pair.0.as_str(), case.pair.1.as_str()))
                .collect();
            let expected: Vec<f32> = cases.iter().map(|case| case.logit).collect();
            for limit in LIMITS {
                let found = encoder.score(&pairs, limit).expect("scores");
                let what = format!("{} within {max_len}, {limit:?}", golden.name);
                checks.close(&what, &found, &expected, &SCORES);
            }
        }
    }
}

/// What GPUs compute, on the CPU.
#[test]
fn logits_through_tensors() {
    let device = Device::flex();
    let mut checks = Checks::new();
    for golden in Golden::all() {
        let (model, ..) = hf::load_classifier(&golden.dir, &device).expect("a classifier");
        let rows: Vec<&Vec<u32>> = golden.cases.iter().map(|case| &case.ids).collect();
        let first_types = |case: &Case| match &case.types {
            Some(types) => types.iter().filter(|&&id| id == 0).count(),
            None => case.ids.len(),
        };
        let first: Vec<usize> = golden.cases.iter().map(first_types).collect();
        let tokens = TokenTensors::new(&TokenBatch::new(&rows), &device).with_second_type(&first);
        let found: Vec<f32> = model.logits(&tokens).into_data().iter::<f32>().collect();
        let expected: Vec<f32> = golden.cases.iter().map(|case| case.logit).collect();
        checks.close(&golden.name, &found, &expected, &SCORES);
    }
    checks.finish();
}

/// Bit for bit, in any batch and any order.
#[test]
fn a_pair_does_not_depend_on_its_company() {
    let mut checks = Checks::new();
    for golden in Golden::all() {
        let encoder = golden.load(None, &Device::flex());
        let mut pairs: Vec<(String, String)> =
            golden.cases.iter().map(|case| case.pair.clone()).collect();
        let alone: Vec<f32> = pairs
            .iter()
            .flat_map(|pair| {
                encoder
                    .score(std::slice::from_ref(pair), LIMITS[0])
                    .expect("a score")
            })
            .collect();
        for limit in LIMITS {
            let found = encoder.score(&pairs, limit).expect("scores");
            checks.same(&format!("{} {limit:?}", golden.name), &found, &alone);
        }
        pairs.reverse();
        let mut backwards = encoder.score(&pairs, LIMITS[2]).expect("scores");
        backwards.reverse();
        checks.same(&format!("{} backwards", golden.name), &backwards, &alone);
        let none = encoder
            .score::<&str, &str>(&[], LIMITS[0])
            .expect("no scores");
        checks.equal(&format!("{} without pairs", golden.name), none.len(), 0);
    }
    checks.finish();
}

#[test]
fn the_longest_pair_is_what_the_files_say() {
    let mut checks = Checks::new();
    for golden in Golden::all() {
        for (asked, expected) in [
            (None, golden.max_len),
            (Some(7), 7),
            (Some(1 << 20), golden.max_len),
        ] {
            let what = format!("{} asked for {asked:?}", golden.name);
            checks.equal(
                &what,
                golden.load(asked, &Device::flex()).max_len(),
                expected,
            );
        }
    }
    checks.finish();
}
