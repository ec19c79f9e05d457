//! Real weights and data from `../shared/data`.

use std::fs;

use burn::tensor::Device;
use data::beir::BeirDir;
use data::{BatchLimit, Idf, Tokenizer};
use eval::beir::{EvalOptions, evaluate};
use eval::bm25::{Bm25Encoder, Bm25Params};
use model::hf::{self, ImportOptions};
use model::{DenseEncoder, DenseOptions, Pooling};

use crate::compare::Checks;
use crate::golden::tolerance::{REAL_BM25, REAL_COSINE, REAL_IDF};
use crate::needs;

/// The three sentences of the documentation of sentence-transformers, with the similarities printed there.
#[test]
fn minilm_similarities() {
    let Some(dir) = needs::real_data("minilm-l6-fp16") else {
        return;
    };
    let sentences = [
        "The weather is lovely today.",
        "It's so sunny outside!",
        "He drove to the stadium.",
    ];
    // The weights came without the files that say so.
    let options = DenseOptions {
        pooling: Some(Pooling::Mean),
        max_len: Some(256),
        ..DenseOptions::default()
    };
    let loaded = DenseEncoder::load(&dir, &options, &Device::flex());
    let (encoder, notes) = loaded.expect("a model");
    assert_eq!((encoder.dim(), notes.pooling_assumed), (384, false));
    let vectors = encoder.encode_documents(&sentences, BatchLimit::Rows(2));
    let vectors = vectors.expect("vectors");
    let mut checks = Checks::new();
    for (left, right, expected) in [(0, 1, 0.6660), (0, 2, 0.1046), (1, 2, 0.1411)] {
        let products = vectors[left].iter().zip(&vectors[right]);
        let cosine: f32 = products.map(|(a, b)| a * b).sum();
        let what = format!("{:?} and {:?}", sentences[left], sentences[right]);
        checks.number(&what, cosine.into(), expected, &REAL_COSINE);
    }
    checks.finish();
}

/// Keys without prefix, no masked-LM head, a pooler and a buffer that nobody needs.
#[test]
fn minilm_report() {
    let Some(dir) = needs::real_data("minilm-l6-fp16") else {
        return;
    };
    let (_, config, report) =
        hf::load(&dir, &ImportOptions::default(), &Device::flex()).expect("a model");
    assert_eq!(
        (config.num_layers, config.hidden_size, config.num_heads),
        (6, 384, 12)
    );
    assert_eq!((config.intermediate_size, config.vocab_size), (1536, 30522));
    assert!(report.tied);
    let has = |keys: &[String], part: &str| keys.iter().any(|key| key.contains(part));
    for part in ["transform.dense", "transform.LayerNorm", "predictions.bias"] {
        assert!(
            has(&report.initialised, part),
            "{part}: {:?}",
            report.initialised
        );
    }
    for part in ["pooler.", "position_ids"] {
        assert!(has(&report.unused, part), "{part}: {:?}", report.unused);
    }
}

#[test]
fn idf_table() {
    let (Some(path), Some(model)) = (
        needs::real_data("idf.json"),
        needs::real_data("minilm-l6-fp16"),
    ) else {
        return;
    };
    let tokenizer = Tokenizer::from_dir(&model).expect("a tokenizer");
    let weights = Idf::from_file(&path, &tokenizer).expect("a table").weights;
    let mut checks = Checks::new();
    checks.equal("entries", weights.len(), 30_522);
    checks.equal(
        "entries of exactly 1",
        weights.iter().filter(|&&weight| weight == 1.0).count(),
        1_530,
    );
    let smallest = weights.iter().copied().fold(f32::INFINITY, f32::min);
    let largest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    checks.close(
        "smallest, largest",
        &[smallest, largest],
        &[0.0160542, 15.589_539],
        &REAL_IDF,
    );
    checks.finish();
}

#[test]
fn scifact_counts() {
    let Some(path) = needs::real_data("scifact") else {
        return;
    };
    let dir = BeirDir::open(&path).expect("a BEIR directory");
    let documents = dir
        .documents()
        .expect("documents")
        .map(|document| document.expect("a document"));
    assert_eq!(documents.count(), 5_183);
    assert_eq!(dir.queries().expect("queries").len(), 1_109);
    for (split, queries, rows) in [("train", 809, 919), ("test", 300, 339)] {
        let qrels = dir.qrels(split).expect("judgements");
        assert_eq!(qrels.len(), queries, "{split}");
        assert_eq!(
            qrels.values().map(|row| row.len()).sum::<usize>(),
            rows,
            "{split}"
        );
    }
}

/// Words as Anserini's English analyzer makes them, k1 0.9, b 0.4.
#[test]
fn bm25_on_scifact() {
    let Some(path) = needs::real_data("scifact") else {
        return;
    };
    let dir = BeirDir::open(&path).expect("a BEIR directory");
    let encoder = Bm25Encoder::fit(&dir, Bm25Params::default()).expect("statistics");
    let options = EvalOptions {
        timed_queries: 0,
        ..EvalOptions::default()
    };
    let report = evaluate(&encoder, &dir, "test", &options).expect("an evaluation");
    let figures: std::collections::BTreeMap<_, _> = report.figures().into_iter().collect();
    let mut checks = Checks::new();
    checks.number("nDCG@10", figures["ndcg@10"], 0.6789, &REAL_BM25);
    checks.finish();
}

/// Line ends in the judgements are as found in the wild.
#[test]
fn scifact_judgements_have_crlf() {
    let Some(path) = needs::real_data("scifact/qrels/test.tsv") else {
        return;
    };
    let bytes = fs::read(path).expect("readable");
    assert!(bytes.windows(2).any(|pair| pair == b"\r\n"));
}
