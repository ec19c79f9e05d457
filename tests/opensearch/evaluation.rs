//! SciFact on a real node, and where its nDCG differs from the embedded index.

use data::beir::BeirDir;
use eval::beir::{EvalOptions, evaluate};
use eval::bm25::{Bm25Encoder, Bm25Params};
use eval::opensearch::stored_weight;
use eval::text_encoder::TextEncoder;
use model::SparseVector;
use model::sparse::SparseError;
use serde_json::Value;

use super::server::{ask, shared};
use crate::cli::binary::ellzero;
use crate::needs::real_data;

/// nDCG@10 with 9-bit weights against float32.
const ROUNDING: f64 = 0.002;

/// nDCG@10 of two sums of the same rounded weights, in another order.
const SUMMATION: f64 = 1e-4;

/// An encoder whose documents have the weights that the server keeps.
struct Rounded<'a>(&'a Bm25Encoder);

impl TextEncoder for Rounded<'_> {
    fn encode_documents(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
        let vectors = self.0.encode_documents(texts)?;
        let round = |vector: &SparseVector| {
            let entries = vector.iter();
            entries
                .map(|(token, weight)| (token, stored_weight(weight)))
                .collect()
        };
        Ok(vectors.iter().map(round).collect())
    }

    fn encode_queries(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
        self.0.encode_queries(texts)
    }

    fn token_names(&self) -> Vec<String> {
        self.0.token_names()
    }
}

#[test]
fn scifact_differs_by_rounding_alone() {
    let (Some(url), Some(scifact)) = (shared(), real_data("scifact")) else {
        return;
    };
    let output = tempfile::tempdir().expect("a temporary folder");
    let arguments = [
        "bm25",
        "--quiet",
        "--engine",
        "opensearch",
        "--opensearch",
        url,
        "--shards",
        "2",
        "--data",
    ];
    let mut arguments: Vec<&str> = arguments.to_vec();
    let (scifact_text, output_text) = (scifact.to_string_lossy(), output.path().to_string_lossy());
    arguments.extend([&*scifact_text, "--output", &*output_text]);
    ellzero("eval", &arguments).run().success();
    let results = std::fs::read(output.path().join("results.json")).expect("written");
    let results: Value = serde_json::from_slice(&results).expect("JSON");
    let served = results["datasets"]["scifact"]["ndcg@10"]
        .as_f64()
        .expect("a number");

    let dir = BeirDir::open(&scifact).expect("a collection");
    let encoder = Bm25Encoder::fit(&dir, Bm25Params::default()).expect("readable");
    let options = EvalOptions {
        timed_queries: 0,
        ..EvalOptions::default()
    };
    let ndcg = |encoder: &dyn TextEncoder| {
        evaluate(encoder, &dir, "test", &options)
            .expect("evaluated")
            .ndcg_at_10
    };
    let (exact, rounded) = (ndcg(&encoder), ndcg(&Rounded(&encoder)));
    println!(
        "nDCG@10: OpenSearch {served:.5}, embedded {exact:.5}, embedded with 9 bits {rounded:.5}"
    );
    assert!((served - exact).abs() < ROUNDING, "{served} and {exact}");
    assert!(
        (served - rounded).abs() < SUMMATION,
        "{served} and {rounded}"
    );

    // The index is gone.
    let left = ask(
        "GET",
        &format!("{url}/ellzero-scifact-*/_count"),
        &Value::Null,
    );
    assert_eq!(left["_shards"]["total"], 0, "{left}");
}
