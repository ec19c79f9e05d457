//! The CPU kernel: documents on all cores, one head after the other.

use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Distribution;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::Heads;
use super::forward::{AttentionPasses, Saved};
use crate::kernel::math::exp;
use crate::kernel::product::{Matrix, Panels, multiply_here};
use crate::kernel::{largest, split_rows, sum_of, vectorised};
use crate::ops::floats::{contiguous, tensor, values};

/// Queries at a time: their weights for 512 keys take 168 KiB.
const QUERIES: usize = 84;

impl AttentionPasses for Flex {
    fn forward(
        query: FlexTensor,
        key: FlexTensor,
        value: FlexTensor,
        heads: &Heads,
    ) -> (FlexTensor, Saved<Self>) {
        let shape: [usize; 2] = query.shape().dims();
        let seed = seed(heads, &query);
        let inputs = [query, key, value].map(contiguous);
        let inputs = inputs.each_ref().map(values);
        let mut output = vec![0.0; shape[0] * shape[1]];
        documents(heads, &mut output, shape[1])
            .into_par_iter()
            .for_each(|(doc, first, output)| {
                let length = heads.lengths[doc];
                let mut weights = vec![0.0; QUERIES.min(length) * length];
                for head in 0..heads.count {
                    let head = Head::new(inputs, shape[1], heads, [doc, head], first, seed);
                    head.forward(output, &mut weights);
                }
            });
        (tensor(output, shape), Saved::Seed(seed))
    }

    fn backward(
        grad: FlexTensor,
        inputs: [FlexTensor; 3],
        saved: Saved<Self>,
        heads: &Heads,
    ) -> [FlexTensor; 3] {
        let Saved::Seed(seed) = saved else {
            unreachable!("the forward pass of this kernel saves a seed");
        };
        let shape: [usize; 2] = grad.shape().dims();
        let (grad, inputs) = (contiguous(grad), inputs.map(contiguous));
        let (grad, inputs) = (values(&grad), inputs.each_ref().map(values));
        let mut gradients = [(); 3].map(|()| vec![0.0; shape[0] * shape[1]]);
        let [query, key, value] = &mut gradients;
        documents(heads, query, shape[1])
            .into_par_iter()
            .zip(split_rows(key, &heads.lengths, shape[1]))
            .zip(split_rows(value, &heads.lengths, shape[1]))
            .for_each(|(((doc, first, query), key), value)| {
                let length = heads.lengths[doc];
                let mut scratch = [(); 3].map(|()| vec![0.0; length * length]);
                for head in 0..heads.count {
                    let head = Head::new(inputs, shape[1], heads, [doc, head], first, seed);
                    let mut gradients = [&mut *query, &mut *key, &mut *value];
                    head.backward(grad, &mut gradients, &mut scratch);
                }
            });
        gradients.map(|gradient| tensor(gradient, shape))
    }
}

/// Each document's number, first row, and rows of `values`.
fn documents<'a>(
    heads: &Heads,
    values: &'a mut [f32],
    width: usize,
) -> Vec<(usize, usize, &'a mut [f32])> {
    let mut first = 0;
    let rows = split_rows(values, &heads.lengths, width)
        .into_iter()
        .enumerate();
    rows.map(|(doc, rows)| {
        let start = first;
        first += heads.lengths[doc];
        (doc, start, rows)
    })
    .collect()
}

/// Drawn from the device's generator, so that it is what decides over dropped weights.
fn seed(heads: &Heads, like: &FlexTensor) -> u64 {
    use burn::backend::ops::FloatTensorOps;
    if heads.dropout == 0.0 {
        return 0;
    }
    let uniform = Distribution::Uniform(0.0, 1.0);
    let draws = Flex::float_random([4].into(), uniform, &like.device(), like.dtype().into());
    // 16 random bits of each.
    values(&draws)
        .iter()
        .fold(0, |seed, draw| seed << 16 | (draw * 65_536.0) as u64)
}

/// One head of one document.
struct Head<'a> {
    /// `[length, per_head]` each.
    query: Matrix<'a>,
    key: Matrix<'a>,
    value: Matrix<'a>,
    length: usize,
    per_head: usize,
    /// Columns of a row, all heads.
    width: usize,
    /// First row of the document, first column of the head.
    origin: [usize; 2],
    scale: f32,
    dropout: Option<Dropout>,
}

impl<'a> Head<'a> {
    fn new(
        inputs: [&'a [f32]; 3],
        width: usize,
        heads: &Heads,
        [doc, head]: [usize; 2],
        first: usize,
        seed: u64,
    ) -> Self {
        let (length, per_head) = (heads.lengths[doc], width / heads.count);
        let origin = [first, head * per_head];
        let [query, key, value] =
            inputs.map(|rows| head_of(rows, origin, [length, per_head], width));
        Self {
            query,
            key,
            value,
            length,
            per_head,
            width,
            origin,
            scale: (per_head as f32).powf(-0.5),
            dropout: (heads.dropout > 0.0)
                .then(|| Dropout::new(heads.dropout, seed, doc * heads.count + head)),
        }
    }

    /// Writes its columns of the document's rows.
    fn forward(&self, output: &mut [f32], weights: &mut [f32]) {
        if self.length == 0 {
            return;
        }
        let (keys, values) = (
            Panels::pack(self.key.transposed()),
            Panels::pack(self.value),
        );
        for first in (0..self.length).step_by(QUERIES) {
            let queries = first..(first + QUERIES).min(self.length);
            let weights = &mut weights[..queries.len() * self.length];
            multiply_here(
                self.query.rows(queries.clone()),
                &keys,
                weights,
                self.length,
            );
            self.softmax(weights);
            if let Some(dropout) = &self.dropout {
                dropout.apply(weights, first * self.length);
            }
            let weights = Matrix::new(weights, [queries.len(), self.length]);
            let output = &mut output[first * self.width + self.origin[1]..];
            multiply_here(weights, &values, output, self.width);
        }
    }

    /// Scores to weights, row by row.
    fn softmax(&self, scores: &mut [f32]) {
        vectorised(|| {
            for row in scores.chunks_exact_mut(self.length) {
                let top = largest(row) * self.scale;
                row.iter_mut().for_each(|x| *x = exp(*x * self.scale - top));
                let inverse = 1.0 / sum_of(row.len(), |i| row[i]);
                row.iter_mut().for_each(|x| *x *= inverse);
            }
        });
    }

    /// Writes its columns of the gradients' rows; the formulas are those of [`super::backward`].
    fn backward(&self, grad: &[f32], gradients: &mut [&mut [f32]; 3], scratch: &mut [Vec<f32>; 3]) {
        let length = self.length;
        if length == 0 {
            return;
        }
        let grad = head_of(grad, self.origin, [length, self.per_head], self.width);
        let [weights, thinned, scores] = scratch;
        let square = [length, length];
        multiply_here(
            self.query,
            &Panels::pack(self.key.transposed()),
            weights,
            length,
        );
        self.softmax(weights);
        thinned.copy_from_slice(weights);
        multiply_here(grad, &Panels::pack(self.value.transposed()), scores, length);
        if let Some(dropout) = &self.dropout {
            dropout.apply(thinned, 0);
            dropout.apply(scores, 0);
        }
        let column = self.origin[1];
        let [query, key, value] = gradients.each_mut().map(|rows| &mut rows[column..]);
        let thinned = Matrix::new(thinned, square).transposed();
        multiply_here(thinned, &Panels::pack(grad), value, self.width);
        vectorised(|| {
            let rows = scores
                .chunks_exact_mut(length)
                .zip(weights.chunks_exact(length));
            for (scores, weights) in rows {
                let mean = sum_of(length, |i| scores[i] * weights[i]);
                for (s, p) in scores.iter_mut().zip(weights) {
                    *s = p * (*s - mean) * self.scale;
                }
            }
        });
        let scores = Matrix::new(scores, square);
        multiply_here(scores, &Panels::pack(self.key), query, self.width);
        multiply_here(
            scores.transposed(),
            &Panels::pack(self.query),
            key,
            self.width,
        );
    }
}

fn head_of(
    rows: &[f32],
    [first, column]: [usize; 2],
    [length, per_head]: [usize; 2],
    width: usize,
) -> Matrix<'_> {
    let start = (first * width + column).min(rows.len());
    Matrix::strided(&rows[start..], [length, per_head], width)
}

/// Which weights of one head are dropped: a function of their place, so that nothing need be stored.
struct Dropout {
    seed: u32,
    threshold: u32,
    factor: f32,
}

impl Dropout {
    fn new(probability: f64, seed: u64, head: usize) -> Self {
        let mixed = (seed ^ (head as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Self {
            seed: (mixed >> 32) as u32,
            threshold: (probability * f64::from(u32::MAX)) as u32,
            factor: (1.0 / (1.0 - probability)) as f32,
        }
    }

    /// Drops weights; the first one's place is `start`.
    fn apply(&self, weights: &mut [f32], start: usize) {
        vectorised(|| {
            for (index, weight) in weights.iter_mut().enumerate() {
                let hash = mixed(((start + index) as u32).wrapping_mul(0x9E37_79B1) ^ self.seed);
                *weight *= if hash < self.threshold {
                    0.0
                } else {
                    self.factor
                };
            }
        });
    }
}

/// The last mixing steps of MurmurHash3: every bit of the argument decides over every bit of the result.
#[inline(always)]
fn mixed(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x85EB_CA6B);
    x ^= x >> 13;
    x = x.wrapping_mul(0xC2B2_AE35);
    x ^ x >> 16
}
