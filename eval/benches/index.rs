//! The embedded index: 20,000 documents of 150 tokens drawn with the skew of real text, queries of 10. `cargo bench -p
//! eval`.

use std::collections::BTreeMap;

use divan::Bencher;
use divan::counter::ItemsCount;
use eval::search::{IndexBuilder, InvertedIndex, Searcher};
use model::SparseVector;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DOCS: usize = 20_000;
const QUERIES: usize = 200;

fn main() {
    divan::main();
}

/// Distinct token ids, ascending, whose frequency falls with the id, as words' does with their rank.
fn vectors(count: usize, length: usize, seed: u64) -> Vec<SparseVector> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut vector = || {
        let mut tokens = BTreeMap::new();
        while tokens.len() < length {
            let token = 30_522f64.powf(random.random::<f64>()) as u32;
            tokens.insert(token, random.random_range(0.1..2.0f32));
        }
        tokens.into_iter().collect()
    };
    (0..count).map(|_| vector()).collect()
}

fn index(documents: &[SparseVector]) -> InvertedIndex {
    let mut builder = IndexBuilder::default();
    for (number, vector) in documents.iter().enumerate() {
        builder.add(&number.to_string(), vector).expect("a new id");
    }
    builder.finish().expect("no duplicates")
}

#[divan::bench(sample_count = 5)]
fn build(bencher: Bencher) {
    let documents = vectors(DOCS, 150, 1);
    bencher
        .counter(ItemsCount::new(DOCS))
        .bench(|| index(&documents));
}

#[divan::bench(args = [10, 1000])]
fn search(bencher: Bencher, k: usize) {
    let index = index(&vectors(DOCS, 150, 1));
    let queries = vectors(QUERIES, 10, 2);
    bencher
        .counter(ItemsCount::new(QUERIES))
        .bench(|| index.search(&queries, k));
}
