//! The architecture of GTE v1.5: what `fixtures/gte/make_gte.py` computed with the formulas written out in PyTorch.
//!
//! These fixtures are of this crate whatever `ELLZERO_GOLDEN` names.

use std::fs;

use burn::tensor::{Device, Tensor};
use configs::Activation;
use data::Tokenizer;
use model::hf::{self, ExportOptions, ImportOptions, Layout, WeightType};
use model::{Family, Precision, SparseEncoder, SparseOptions};
use serde_json::{Map, Value};

use super::encoder::Golden;
use super::sparse::dense;
use super::tolerance::{HIDDEN_STATES, LOGITS, STEP_GRADIENTS, WEIGHTS};
use crate::compare::Checks;
use crate::fixture;
use crate::weights::Weights;

const MASKED_LM: &str = "gte/masked_lm";
const ENCODER: &str = "gte/encoder";
const ACTIVATION: Activation = Activation::L1Relu;

fn open(name: &str, device: &Device) -> Golden {
    Golden::at(&fixture::own(name), device)
}

/// The model as evaluation uses it.
fn sparse_encoder(precision: Precision) -> SparseEncoder {
    let options = SparseOptions {
        activation: Some(ACTIVATION),
        precision,
        ..SparseOptions::default()
    };
    let loaded = SparseEncoder::load(&fixture::own(MASKED_LM), &options, &Device::flex());
    let (encoder, _) = loaded.unwrap_or_else(|error| panic!("{error}"));
    encoder
}

/// Golden document weights without special tokens, row by row.
fn golden_rows(golden: &Golden, special: &[u32]) -> Vec<Vec<f32>> {
    let weights = golden.io.get("doc_l1_relu");
    let rows = 0..golden.tokens.lengths.len();
    rows.map(|row| {
        let mut row = weights.at(row).floats().to_vec();
        special.iter().for_each(|&id| row[id as usize] = 0.0);
        row
    })
    .collect()
}

fn encode(encoder: &SparseEncoder, golden: &Golden) -> Vec<f32> {
    let rows = golden.tokens.rows();
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let vectors = encoder.encode_tokens(&rows);
    let vocab = golden.config.vocab_size;
    vectors.iter().flat_map(|row| dense(row, vocab)).collect()
}

#[test]
fn hidden_states_and_logits() {
    let device = Device::flex();
    let golden = open(MASKED_LM, &device);
    assert_eq!(golden.config.family, Family::Gte);
    assert!(golden.tokens.lengths.contains(&1), "a text of one token");
    let tokens = golden.tokens.tensors(&device);
    let mut checks = Checks::new();
    let states = golden.model.encoder.hidden_states(&tokens);
    checks.equal("hidden states", states.len(), golden.config.num_layers + 1);
    for (layer, state) in states.into_iter().enumerate() {
        let key = format!("hidden_state_{layer}");
        golden.check(&mut checks, &key, state, &HIDDEN_STATES);
    }
    let logits = golden.model.logits(&tokens);
    golden.check(&mut checks, "logits", logits, &LOGITS);
    checks.finish();
}

/// A text has the logits that it has among others.
#[test]
fn rows_alone() {
    let device = Device::flex();
    let golden = open(MASKED_LM, &device);
    let mut checks = Checks::new();
    for (row, ids) in golden.tokens.rows().into_iter().enumerate() {
        let batch = data::TokenBatch::new(&[&ids]);
        let tokens = model::TokenTensors::new(&batch, &device);
        let logits = golden.model.logits(&tokens);
        let found: Vec<f32> = logits.into_data().iter::<f32>().collect();
        let expected = golden.io.get("logits").at(row);
        let expected = &expected.floats()[..found.len()];
        checks.close(&format!("row {row}"), &found, expected, &LOGITS);
    }
    checks.finish();
}

/// Keys without a prefix, no head, angles without scaling, token types: what a dense teacher is.
#[test]
fn a_bare_encoder_with_token_types() {
    let device = Device::flex();
    let golden = open(ENCODER, &device);
    let dir = fixture::own(ENCODER);
    let (_, _, report) = hf::load(&dir, &ImportOptions::default(), &device).expect("a model");
    let mut checks = Checks::new();
    checks.equal("keys of a new head", report.initialised.len(), 5);
    checks.equal("token types", golden.config.token_types, 2);
    let mut tokens = golden.tokens.tensors(&device);
    let states = golden.model.encoder.forward(&tokens);
    golden.check(&mut checks, "last_hidden_state", states, &HIDDEN_STATES);
    let types = golden.tokens.pack(golden.io.get("token_type_ids").ints());
    let types: Vec<i32> = types.into_iter().map(|id| id as i32).collect();
    tokens.types = Some(Tensor::from_data(types.as_slice(), &device));
    let states = golden.model.encoder.forward(&tokens);
    golden.check(
        &mut checks,
        "last_hidden_state_mixed",
        states,
        &HIDDEN_STATES,
    );
    checks.finish();
}

/// Document weights, and the gradient of every parameter, queries, keys and values as one.
#[test]
fn document_weights_and_gradients() {
    let device = Device::flex().autodiff();
    let golden = open(MASKED_LM, &device);
    let options = ImportOptions {
        dropout: Some(0.0),
        ..ImportOptions::default()
    };
    let loaded = hf::load(&fixture::own(MASKED_LM), &options, &device);
    let (model, ..) = loaded.expect("a model");
    let tokens = golden.tokens.tensors(&device);
    let weights = model.document_weights(&tokens, ACTIVATION);
    let upstream = golden.io.get("upstream").tensor::<2>(&device);
    let gradients = (weights.clone() * upstream).sum().backward();
    let mut checks = Checks::new();
    let found: Vec<f32> = weights.into_data().iter::<f32>().collect();
    let expected = golden.io.get("doc_l1_relu");
    checks.close("weights", &found, expected.floats(), &WEIGHTS);
    let found = hf::named_gradients(&model, &gradients, Family::Gte);
    let stored = golden.io.starting_with("gradient.").count();
    checks.equal("number of gradients", found.len(), stored);
    for gradient in found {
        let what = format!("gradient.{}", gradient.key);
        let expected = golden.io.get(&what);
        let (shape, values) = (&gradient.shape, gradient.values());
        checks.equal(&what, shape, &expected.shape);
        let expected = expected.floats();
        checks.close_where(&what, shape, &values, expected, &STEP_GRADIENTS, |_| true);
    }
    checks.finish();
}

/// Texts through the tokenizer, and tokens, with the CPU's encoder.
#[test]
fn vectors() {
    let golden = open(MASKED_LM, &Device::flex());
    let encoder = sparse_encoder(Precision::Float32);
    let expected = golden_rows(&golden, encoder.tokenizer().special_ids());
    let path = fixture::own(MASKED_LM).join("texts.json");
    let texts = fs::read(&path).expect("readable");
    let texts: Vec<String> = serde_json::from_slice(&texts).expect("a list of texts");
    let mut checks = Checks::new();
    let vectors = encoder.encode_documents(&texts).expect("vectors");
    for ((text, vector), expected) in texts.iter().zip(&vectors).zip(&expected) {
        checks.close(text, &dense(vector, expected.len()), expected, &WEIGHTS);
    }
    let found = encode(&encoder, &golden);
    checks.close("tokens", &found, &expected.concat(), &WEIGHTS);
    checks.finish();
}

/// Rounded numbers change hidden states a little, and winners whose logits are close.
#[test]
fn less_precision_is_close() {
    let device = Device::flex();
    let golden = open(MASKED_LM, &device);
    for (precision, share) in [(Precision::BFloat16, 0.01), (Precision::Int8, 0.03)] {
        if let Err(error) = precision.check(&device) {
            println!("SKIPPED {precision}: {error}");
            continue;
        }
        let encoder = sparse_encoder(precision);
        let expected = golden_rows(&golden, encoder.tokenizer().special_ids()).concat();
        let found = encode(&encoder, &golden);
        let differences = expected.iter().zip(&found).map(|(a, b)| (a - b).abs());
        let (error, size) = (differences.sum::<f32>(), expected.iter().sum::<f32>());
        assert!(error < share * size, "{precision}: {error} of {size}");
    }
}

/// The same tensors under the same keys, bit by bit, and every setting.
#[test]
fn what_is_exported_is_what_was_read() {
    let device = Device::flex();
    for (name, prefix) in [(MASKED_LM, ""), (ENCODER, "new.")] {
        let source = fixture::own(name);
        let (model, config, _) =
            hf::load(&source, &ImportOptions::default(), &device).expect("a model");
        let tokenizer = Tokenizer::from_dir(&source).expect("a tokenizer");
        let scratch = tempfile::tempdir().expect("a folder");
        let target = scratch.path().join("model");
        let options = ExportOptions {
            source: &source,
            tokenizer: &tokenizer,
            idf: None,
            activation: Some(ACTIVATION),
            max_seq_len: config.max_positions,
            weight_type: WeightType::F32,
            layouts: &[Layout::Hf],
        };
        hf::export(&model, &config, &options, &target).expect("an export");
        let read = |dir: &std::path::Path| Weights::read(&dir.join("model.safetensors"));
        let mut found = read(&target).0;
        // A bare encoder comes out with the head that it got.
        found.retain(|key, _| prefix.is_empty() || !key.starts_with("lm_head."));
        let expected = read(&source).renamed(|key| format!("{prefix}{key}")).0;
        assert!(found.keys().eq(expected.keys()), "{:?}", found.keys());
        for (key, stored) in &expected {
            assert!(found[key] == *stored, "{name}: {key} differs");
        }
        let settings = |dir: &std::path::Path| -> Map<String, Value> {
            let bytes = fs::read(dir.join("config.json")).expect("readable");
            serde_json::from_slice(&bytes).expect("an object")
        };
        let (mut before, mut after) = (settings(&source), settings(&target));
        assert_eq!(after.remove("sparse_activation"), Some("l1_relu".into()));
        before.insert("architectures".into(), vec!["NewForMaskedLM"].into());
        assert_eq!(before, after, "{name}");
        let again = hf::load_config(&target).expect("settings");
        assert_eq!(again, config, "{name}");
    }
}
