//! From text to token -> weight maps, through the encoder that the commands use.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::Device;
use configs::Activation;
use data::Tokenizer;
use model::{SparseEncoder, SparseOptions, SparseVector};
use serde_json::Value;

use super::sparse::{Expected, activation};
use super::tolerance::{POOLED_ZERO, Tolerance, WEIGHTS};
use crate::compare::Checks;
use crate::fixture::{self, Arrays, Tokens};

type Weights = BTreeMap<String, f32>;

fn encoder(name: &str, activation: Activation, idf: Option<PathBuf>) -> SparseEncoder {
    let options = SparseOptions {
        activation: Some(activation),
        idf,
        ..SparseOptions::default()
    };
    let loaded = SparseEncoder::load(&fixture::path(name), &options, &Device::flex());
    loaded.unwrap_or_else(|error| panic!("{name}: {error}")).0
}

fn by_token(vector: &SparseVector, tokenizer: &Tokenizer) -> Weights {
    let entry = |(id, weight)| (tokenizer.token(id).expect("a known id").to_owned(), weight);
    vector.iter().map(entry).collect()
}

/// The golden map, without the special tokens, which ours never has.
fn golden(map: &Value, tokenizer: &Tokenizer) -> Weights {
    let is_special = |token: &str| {
        let id = tokenizer.id(token);
        id.is_some_and(|id| tokenizer.special_ids().contains(&id))
    };
    let entries = map.as_object().expect("a map").iter();
    entries
        .filter(|(token, _)| !is_special(token))
        .map(|(token, weight)| (token.clone(), fixture::number(weight) as f32))
        .collect()
}

/// A token in one of the maps only must be one whose weight is nothing but rounding.
fn check(checks: &mut Checks, what: &str, found: &Weights, expected: &Weights, by: &Tolerance) {
    let tokens: std::collections::BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    for token in tokens {
        let weight = |map: &Weights| f64::from(map.get(token).copied().unwrap_or(0.0));
        checks.number(
            &format!("{what} {token:?}"),
            weight(found),
            weight(expected),
            by,
        );
    }
}

#[test]
fn queries() {
    let meta = fixture::object("sparse/meta.json");
    let texts = fixture::texts(&meta["queries"]);
    let mut checks = Checks::new();
    for expected in Expected::all() {
        let idf = Some(fixture::path("sparse/idf.json"));
        let encoder = encoder(&expected.name, Activation::Relu, idf);
        let tokenizer = encoder.tokenizer();
        let ids = tokenizer.encode_all(&texts, 512).expect("token ids");
        let golden_ids = Tokens::read(&expected.arrays, "q_").rows();
        checks.same(&format!("{}: query ids", expected.name), &ids, &golden_ids);

        let found = encoder.encode_queries(&texts).expect("query vectors");
        let maps = fixture::list(&meta[&expected.name]["query_token_weights"]);
        checks.equal(
            &format!("{}: queries", expected.name),
            found.len(),
            maps.len(),
        );
        for (row, (vector, map)) in found.iter().zip(maps).enumerate() {
            let what = format!("{} query {row}", expected.name);
            let (found, map) = (by_token(vector, tokenizer), golden(map, tokenizer));
            check(&mut checks, &what, &found, &map, &WEIGHTS);
        }
    }
    checks.finish();
}

/// `<model>_texts.safetensors`: ids and dense weights of `meta.texts`.
#[test]
fn documents() {
    let meta = fixture::object("sparse/meta.json");
    let texts = fixture::texts(&meta["texts"]);
    let mut checks = Checks::new();
    for expected in Expected::all() {
        let arrays = Arrays::read(&format!("sparse/{}_texts.safetensors", expected.name));
        let encoder = encoder(&expected.name, Activation::L1Relu, None);
        let tokenizer = encoder.tokenizer();
        let ids = tokenizer.encode_all(&texts, 512).expect("token ids");
        checks.same(
            &format!("{}: ids", expected.name),
            &ids,
            &Tokens::read(&arrays, "").rows(),
        );

        let found = encoder.encode_documents(&texts).expect("document vectors");
        let docs = arrays.get("docs");
        let [rows, vocab] = docs.dims();
        checks.equal(&format!("{}: documents", expected.name), found.len(), rows);
        for (row, vector) in found.iter().enumerate() {
            let found = super::sparse::dense(vector, vocab);
            let is_kept = |id: usize| !tokenizer.special_ids().contains(&(id as u32));
            let what = format!("{} document {row}", expected.name);
            let docs = docs.at(row);
            checks.close_where(&what, &[vocab], &found, docs.floats(), &WEIGHTS, is_kept);
            let specials = tokenizer.special_ids().iter();
            let leaked = specials.filter(|&&id| found[id as usize] != 0.0).count();
            checks.equal(&format!("{what}: special tokens in it"), leaked, 0);
        }
    }
    checks.finish();
}

/// `doc_token_weights_<activation>` and `doc_nnz`: the maps of the golden input ids.
#[test]
fn document_maps() {
    let meta = fixture::object("sparse/meta.json");
    let mut checks = Checks::new();
    for expected in Expected::all() {
        let entries = meta[&expected.name]
            .as_object()
            .expect("an object per model");
        let batch = expected.tokens.rows();
        for (key, maps) in entries {
            let Some(name) = key.strip_prefix("doc_token_weights_") else {
                continue;
            };
            let encoder = encoder(&expected.name, activation(name), None);
            let texts: Vec<&[u32]> = batch.iter().map(Vec::as_slice).collect();
            let vectors = encoder.encode_tokens(&texts);
            checks.equal(
                &format!("{} {key}", expected.name),
                vectors.len(),
                fixture::list(maps).len(),
            );
            for (row, (vector, map)) in vectors.iter().zip(fixture::list(maps)).enumerate() {
                let what = format!("{} {key} {row}", expected.name);
                let tokenizer = encoder.tokenizer();
                let (found, map) = (by_token(vector, tokenizer), golden(map, tokenizer));
                check(&mut checks, &what, &found, &map, &WEIGHTS);
            }
        }
        for (activation, weights) in expected.activations() {
            let counts = fixture::ids(&entries["doc_nnz"][activation.name()]);
            let [docs, _] = weights.dims();
            let encoder = encoder(&expected.name, activation, None);
            let texts: Vec<&[u32]> = batch.iter().map(Vec::as_slice).collect();
            let vectors = encoder.encode_tokens(&texts);
            for doc in 0..docs {
                let row = weights.at(doc);
                let near_zero = row
                    .floats()
                    .iter()
                    .filter(|&&weight| weight > 0.0 && POOLED_ZERO.allows(weight.into(), 0.0));
                let special = encoder.tokenizer().special_ids().iter();
                let special = special
                    .filter(|&&id| row.floats()[id as usize] > 0.0)
                    .count();
                let expected_count = counts[doc] as usize - special;
                let off = vectors[doc].len().abs_diff(expected_count);
                checks.require(off <= near_zero.count(), || {
                    let what = format!("{} {} row {doc}", expected.name, activation.name());
                    format!(
                        "{what}: {} non-zero, expected {expected_count}",
                        vectors[doc].len()
                    )
                });
            }
        }
    }
    checks.finish();
}
