//! A text encodes the same alone and among others.

use burn::tensor::Device;
use configs::Activation;
use data::BatchLimit;
use model::{SparseEncoder, SparseOptions};

use crate::compare::Checks;
use crate::fixture;
use crate::golden::sparse::{Expected, dense};
use crate::golden::tolerance::BATCH;

/// Texts of very different lengths, the golden ones and what is made of them.
fn texts() -> Vec<String> {
    let meta = fixture::object("sparse/meta.json");
    let golden = [
        fixture::texts(&meta["texts"]),
        fixture::texts(&meta["queries"]),
    ]
    .concat();
    let long = golden.join(" ");
    let mut texts: Vec<String> = golden.into_iter().map(str::to_owned).collect();
    texts.extend([long.repeat(3), long, "a".to_owned()]);
    texts
}

#[test]
fn alone_and_in_padded_batches() {
    let device = Device::flex();
    let texts = texts();
    let mut checks = Checks::new();
    for expected in Expected::all() {
        let load = |batch| -> SparseEncoder {
            let options = SparseOptions {
                activation: Some(Activation::L1Relu),
                batch,
                ..SparseOptions::default()
            };
            let dir = fixture::path(&expected.name);
            SparseEncoder::load(&dir, &options, &device)
                .expect("a model")
                .0
        };
        let [_, vocab] = expected.arrays.get("upstream").dims();
        let alone: Vec<_> = {
            let encoder = load(BatchLimit::Rows(1));
            let encode = |text: &String| encoder.encode_documents(&[text]).expect("a vector");
            texts.iter().flat_map(encode).collect()
        };
        for batch in [
            BatchLimit::Rows(texts.len()),
            BatchLimit::Rows(3),
            BatchLimit::Rows(1),
            BatchLimit::Tokens(100),
        ] {
            let together = load(batch).encode_documents(&texts).expect("vectors");
            checks.equal("vectors", together.len(), alone.len());
            for (row, (found, expected_row)) in together.iter().zip(&alone).enumerate() {
                let what = format!("{} {batch:?} text {row}", expected.name);
                let (found, expected_row) = (dense(found, vocab), dense(expected_row, vocab));
                checks.close(&what, &found, &expected_row, &BATCH);
            }
        }
    }
    checks.finish();
}

#[test]
fn no_text_at_all() {
    let name = &Expected::all()[0].name;
    let options = SparseOptions::default();
    let loaded = SparseEncoder::load(&fixture::path(name), &options, &Device::flex());
    let encoder = loaded.expect("a model").0;
    assert_eq!(
        encoder.encode_documents::<&str>(&[]).expect("no vectors"),
        []
    );
    assert_eq!(encoder.encode_queries(&[""]).expect("a vector").len(), 1);
}
