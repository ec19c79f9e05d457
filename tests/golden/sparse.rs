//! The sparse head: document weights of every activation, their gradients, and pruning.

use burn::tensor::{Device, Tensor, TensorData};
use configs::Activation;
use data::{Idf, Tokenizer};
use model::sparse::idf_query;
use model::{SparseVector, ops};

use super::encoder::Golden;
use super::tolerance::{ARGMAX_TIE, IDF, OP_GRADIENTS, OP_WEIGHTS, POOLED_ZERO, PRUNED, WEIGHTS};
use crate::compare::Checks;
use crate::fixture::{self, Array, Arrays, Tokens};

/// One file of `sparse/`: expected document and query representations of the model of its name.
pub struct Expected {
    pub name: String,
    pub arrays: Arrays,
    pub tokens: Tokens,
}

impl Expected {
    pub fn all() -> Vec<Self> {
        let names = fixture::models_with_outputs().into_iter();
        let names: Vec<String> = names
            .filter(|name| fixture::path(&format!("sparse/{name}.safetensors")).is_file())
            .collect();
        assert!(!names.is_empty(), "sparse/ has no file of a model");
        names.into_iter().map(Self::open).collect()
    }

    fn open(name: String) -> Self {
        let arrays = Arrays::read(&format!("sparse/{name}.safetensors"));
        let tokens = Tokens::read(&arrays, "");
        Self {
            name,
            arrays,
            tokens,
        }
    }

    /// `doc_<activation>`: the activations there are, with the expected weights `[docs, vocab]`.
    pub fn activations(&self) -> Vec<(Activation, &Array)> {
        let named = self
            .arrays
            .starting_with("doc_")
            .filter(|(key, _)| !key.contains("_prune"));
        let found: Vec<_> = named.map(|(key, array)| (activation(key), array)).collect();
        assert!(!found.is_empty(), "{}: no doc_<activation>", self.name);
        found
    }

    /// The largest logit of every document and vocabulary entry, from the logits that the encoder test uses.
    fn pooled(&self, logits: &Array) -> Vec<f32> {
        let [docs, seq, vocab] = logits.dims();
        let mut pooled = vec![0.0; docs * vocab];
        for (doc, &length) in self.tokens.lengths.iter().enumerate() {
            for (v, largest) in pooled[doc * vocab..(doc + 1) * vocab]
                .iter_mut()
                .enumerate()
            {
                let logit = |s: usize| logits.floats()[(doc * seq + s) * vocab + v];
                *largest = (0..length).map(logit).fold(f32::NEG_INFINITY, f32::max);
            }
        }
        pooled
    }
}

pub fn activation(name: &str) -> Activation {
    name.parse()
        .unwrap_or_else(|error| panic!("activation in a fixture: {error}"))
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[test]
fn document_weights() {
    let device = Device::flex();
    let mut checks = Checks::new();
    for expected in Expected::all() {
        let golden = Golden::open(&expected.name, &device);
        let tokens = expected.tokens.tensors(&device);
        for (activation, weights) in expected.activations() {
            let found = floats(golden.model.document_weights(&tokens, activation));
            let what = format!("{} {}", expected.name, activation.name());
            checks.close_where(
                &what,
                &weights.shape,
                &found,
                weights.floats(),
                &WEIGHTS,
                |_| true,
            );
        }
    }
    checks.finish();
}

/// The op by itself on the golden logits: hidden := logits, decoder := identity, bias := 0, so that the gradient of
/// hidden is the gradient of the logits.
#[test]
fn op_and_gradients() {
    let device = Device::flex().autodiff();
    let mut checks = Checks::new();
    for expected in Expected::all() {
        let io = Arrays::read(&format!("{}/io.safetensors", expected.name));
        let logits = io.get("logits");
        checks.same(
            &format!("{}: sparse and io have the same input", expected.name),
            expected.arrays.get("input_ids").ints(),
            io.get("input_ids").ints(),
        );
        let pooled = expected.pooled(logits);
        for (activation, weights) in expected.activations() {
            let what = format!("{} {}", expected.name, activation.name());
            let [_, seq, vocab] = logits.dims();
            let packed = expected.tokens.pack(logits.floats());
            let packed = TensorData::new(packed, [expected.tokens.lengths.iter().sum(), vocab]);
            let hidden = Tensor::<2>::from_data(packed, &device).require_grad();
            let found = ops::sparse_head(
                hidden.clone(),
                Tensor::eye(vocab, &device),
                Tensor::zeros([vocab], &device),
                &expected.tokens.lengths,
                activation,
            );
            let upstream = expected.arrays.get("upstream").tensor::<2>(&device);
            let gradients = (found.clone() * upstream).sum().backward();
            let gradient = floats(hidden.grad(&gradients).expect("logits have a gradient"));
            let gradient = expected.tokens.unpack(&gradient, seq * vocab);
            let (found, expected_weights) = (floats(found.inner()), weights.floats());
            let shape = &weights.shape;
            checks.close_where(&what, shape, &found, expected_weights, &OP_WEIGHTS, |_| {
                true
            });

            // At a maximum of 0 the slope jumps.
            let is_clear = |index: usize| !POOLED_ZERO.allows(pooled[index].into(), 0.0);
            let rows = gradient.chunks(seq * vocab);
            let summed: Vec<f32> = rows
                .flat_map(|row| (0..vocab).map(|v| row.iter().skip(v).step_by(vocab).sum()))
                .collect();
            let key = format!("grad_logits_sum_over_seq_{}", activation.name());
            let slopes = expected.arrays.get(&key);
            let what = format!("{} {key}", expected.name);
            checks.close_where(
                &what,
                shape,
                &summed,
                slopes.floats(),
                &OP_GRADIENTS,
                is_clear,
            );
            check_positions(&mut checks, &expected, logits, &pooled, &gradient);
        }
    }
    checks.finish();
}

/// Only one position of each (document, token) has a gradient: the one that holds the maximum.
fn check_positions(
    checks: &mut Checks,
    expected: &Expected,
    logits: &Array,
    pooled: &[f32],
    gradient: &[f32],
) {
    let [docs, seq, vocab] = logits.dims();
    let argmax = expected.arrays.get("argmax_pos").ints();
    for doc in 0..docs {
        for v in 0..vocab {
            let at = |s: usize| (doc * seq + s) * vocab + v;
            let touched: Vec<usize> = (0..seq).filter(|&s| gradient[at(s)] != 0.0).collect();
            let what = || format!("{} gradient positions of [{doc}, {v}]", expected.name);
            let largest = pooled[doc * vocab + v];
            if POOLED_ZERO.allows(largest.into(), 0.0) {
                continue;
            }
            let Some(&position) = touched.first() else {
                let upstream = expected.arrays.get("upstream").floats()[doc * vocab + v];
                let none = largest < 0.0 || upstream == 0.0;
                checks.require(none, || format!("{}: none, maximum {largest}", what()));
                continue;
            };
            checks.require(largest > 0.0, || {
                format!("{}: {touched:?}, maximum {largest}", what())
            });
            let golden = argmax[doc * vocab + v] as usize;
            let is_golden = touched.len() == 1
                && (position == golden
                    || ARGMAX_TIE.allows(
                        logits.floats()[at(position)].into(),
                        logits.floats()[at(golden)].into(),
                    ));
            checks.require(is_golden, || {
                format!("{}: {touched:?}, expected {golden}", what())
            });
        }
    }
}

/// `doc_<activation>_prune<r>` from `doc_<activation>`.
#[test]
fn pruning() {
    let mut checks = Checks::new();
    for expected in Expected::all() {
        for (key, pruned) in expected.arrays.starting_with("doc_") {
            let Some((name, ratio)) = key.split_once("_prune") else {
                continue;
            };
            let ratio: f32 = ratio.parse().expect("a ratio after `prune`");
            let [docs, vocab] = pruned.dims();
            let weights = expected.arrays.get(&format!("doc_{name}"));
            for doc in 0..docs {
                let row = weights.at(doc);
                let found = SparseVector::from_dense(row.floats(), &[]).prune(ratio);
                let largest = row.floats().iter().copied().fold(0.0, f32::max);
                let bound = f64::from(ratio * largest);
                let is_clear = |v: usize| !PRUNED.allows(row.floats()[v].into(), bound);
                let (what, found) = (
                    format!("{} {key} row {doc}", expected.name),
                    dense(&found, vocab),
                );
                let pruned = pruned.at(doc);
                checks.close_where(&what, &[vocab], &found, pruned.floats(), &PRUNED, is_clear);
            }
        }
    }
    checks.finish();
}

pub fn dense(vector: &SparseVector, vocab: usize) -> Vec<f32> {
    let mut row = vec![0.0; vocab];
    for (id, weight) in vector.iter() {
        row[id as usize] = weight;
    }
    row
}

/// Inference-free queries, from the golden token ids.
#[test]
fn query_weights() {
    let mut checks = Checks::new();
    for expected in Expected::all() {
        let tokenizer = Tokenizer::from_dir(&fixture::path(&expected.name)).expect("a tokenizer");
        let special: Vec<i64> = tokenizer
            .special_ids()
            .iter()
            .map(|&id| id.into())
            .collect();
        let mut golden = expected.arrays.get("special_token_ids").ints().to_vec();
        golden.sort_unstable();
        checks.same(
            &format!("{}: special tokens", expected.name),
            &special,
            &golden,
        );

        let idf = Idf::from_file(&fixture::path("sparse/idf.json"), &tokenizer).expect("a table");
        let vector = expected.arrays.get("idf_vector").floats();
        checks.close(
            &format!("{}: idf_vector", expected.name),
            &idf.weights,
            vector,
            &IDF,
        );

        let tokens = Tokens::read(&expected.arrays, "q_");
        for (key, table) in [
            ("q_rep", &idf),
            ("q_rep_no_idf", &Idf::uniform(vector.len())),
        ] {
            for (row, ids) in tokens.rows().iter().enumerate() {
                let query = idf_query(ids, &table.weights, tokenizer.special_ids());
                let found = dense(&query, vector.len());
                let what = format!("{} {key} row {row}", expected.name);
                checks.close(
                    &what,
                    &found,
                    expected.arrays.get(key).at(row).floats(),
                    &IDF,
                );
            }
        }
    }
    checks.finish();
}
