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

/// Weights computed at a time.
const LANES: usize = 16;

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
            .filter(|(doc, _, _)| heads.lengths[*doc] > 0)
            .for_each(|(doc, first, output)| {
                let mut weights = Vec::new();
                for index in 0..heads.count {
                    let (head, column) =
                        nth_head(inputs, shape[1], heads, [doc, index], first, seed);
                    head.forward(&mut output[column..], shape[1], &mut weights);
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
            .filter(|(((doc, _, _), _), _)| heads.lengths[*doc] > 0)
            .for_each(|(((doc, first, query), key), value)| {
                let length = heads.lengths[doc];
                let mut scratch = [(); 3].map(|()| vec![0.0; length * length]);
                for index in 0..heads.count {
                    let (head, column) =
                        nth_head(inputs, shape[1], heads, [doc, index], first, seed);
                    let grad = head_of(grad, [first, column], [length, head.per_head], shape[1]);
                    let gradients = [&mut *query, &mut *key, &mut *value];
                    let gradients = gradients.map(|rows| &mut rows[column..]);
                    head.backward(grad, gradients, shape[1], &mut scratch);
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

/// A head of a document whose queries, keys and values are in three tensors, with its first column.
fn nth_head<'a>(
    inputs: [&'a [f32]; 3],
    width: usize,
    heads: &Heads,
    [doc, index]: [usize; 2],
    first: usize,
    seed: u64,
) -> (Head<'a>, usize) {
    let per_head = width / heads.count;
    let column = index * per_head;
    let shape = [heads.lengths[doc], per_head];
    let [query, key, value] = inputs.map(|rows| head_of(rows, [first, column], shape, width));
    let mut head = Head::new(query, key, value);
    if heads.dropout > 0.0 {
        head.dropout = Some(Dropout::new(heads.dropout, seed, doc * heads.count + index));
    }
    (head, column)
}

/// One head of one document.
pub(crate) struct Head<'a> {
    /// `[length, per_head]` each.
    query: Matrix<'a>,
    key: Matrix<'a>,
    value: Matrix<'a>,
    length: usize,
    per_head: usize,
    scale: f32,
    dropout: Option<Dropout>,
}

impl<'a> Head<'a> {
    /// # Shapes
    ///
    /// - query, key, value: `[length, per_head]`, at least one row
    pub(crate) fn new(query: Matrix<'a>, key: Matrix<'a>, value: Matrix<'a>) -> Self {
        let [length, per_head] = query.shape();
        Self {
            query,
            key,
            value,
            length,
            per_head,
            scale: (per_head as f32).powf(-0.5),
            dropout: None,
        }
    }

    /// Writes `[length, per_head]`, rows `stride` values apart; `weights` is memory to use.
    pub(crate) fn forward(&self, output: &mut [f32], stride: usize, weights: &mut Vec<f32>) {
        let (keys, values) = (
            Panels::pack(self.key.transposed()),
            Panels::pack(self.value),
        );
        let row = self.length.next_multiple_of(LANES);
        weights.resize(QUERIES.min(self.length) * row, 0.0);
        for first in (0..self.length).step_by(QUERIES) {
            let queries = first..(first + QUERIES).min(self.length);
            multiply_here(self.query.rows(queries.clone()), &keys, weights, row);
            let mut sums = [0.0; QUERIES];
            let scores = weights.chunks_exact_mut(row).take(queries.len());
            for ((scores, sum), query) in scores.zip(&mut sums).zip(queries.clone()) {
                *sum = self.exponentials(scores);
                if let Some(dropout) = &self.dropout {
                    dropout.apply(&mut scores[..self.length], query * self.length);
                }
            }
            let weights = Matrix::strided(weights, [queries.len(), self.length], row);
            let output = &mut output[first * stride..];
            multiply_here(weights, &values, output, stride);
            for (output, sum) in output.chunks_mut(stride).zip(&sums[..queries.len()]) {
                output[..self.per_head].iter_mut().for_each(|y| *y /= sum);
            }
        }
    }

    /// Scores to weights that are not divided by their sum yet, which is returned; a row's length is a multiple of
    /// [`LANES`], and what is beyond the document's is without weight.
    fn exponentials(&self, scores: &mut [f32]) -> f32 {
        vectorised(
            #[inline(always)]
            || {
                scores[self.length..].fill(f32::MIN);
                let top = largest(scores) * self.scale;
                let mut sums = [0.0; LANES];
                for scores in scores.as_chunks_mut::<LANES>().0 {
                    for (score, sum) in scores.iter_mut().zip(&mut sums) {
                        *score = exp(*score * self.scale - top);
                        *sum += *score;
                    }
                }
                sums.iter().sum()
            },
        )
    }

    /// Scores to weights, row by row.
    fn softmax(&self, scores: &mut [f32]) {
        let mut padded = vec![0.0; self.length.next_multiple_of(LANES)];
        for row in scores.chunks_exact_mut(self.length) {
            padded[..self.length].copy_from_slice(row);
            let inverse = 1.0 / self.exponentials(&mut padded);
            let weights = row.iter_mut().zip(&padded);
            vectorised(
                #[inline(always)]
                || weights.for_each(|(to, weight)| *to = weight * inverse),
            );
        }
    }

    /// Writes its columns of the gradients' rows; the formulas are those of [`super::backward`].
    fn backward(
        &self,
        grad: Matrix,
        [query, key, value]: [&mut [f32]; 3],
        stride: usize,
        [weights, thinned, scores]: &mut [Vec<f32>; 3],
    ) {
        let length = self.length;
        let square = [length, length];
        let keys = Panels::pack(self.key.transposed());
        multiply_here(self.query, &keys, weights, length);
        self.softmax(weights);
        thinned.copy_from_slice(weights);
        multiply_here(grad, &Panels::pack(self.value.transposed()), scores, length);
        if let Some(dropout) = &self.dropout {
            dropout.apply(thinned, 0);
            dropout.apply(scores, 0);
        }
        let thinned = Matrix::new(thinned, square).transposed();
        multiply_here(thinned, &Panels::pack(grad), value, stride);
        vectorised(
            #[inline(always)]
            || {
                let rows = scores
                    .chunks_exact_mut(length)
                    .zip(weights.chunks_exact(length));
                for (scores, weights) in rows {
                    let mean = sum_of(length, |i| scores[i] * weights[i]);
                    for (s, p) in scores.iter_mut().zip(weights) {
                        *s = p * (*s - mean) * self.scale;
                    }
                }
            },
        );
        let scores = Matrix::new(scores, square);
        multiply_here(scores, &Panels::pack(self.key), query, stride);
        let queries = Panels::pack(self.query);
        multiply_here(scores.transposed(), &queries, key, stride);
    }
}

/// Rows of one document and columns of one head.
pub(crate) fn head_of(
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
        vectorised(
            #[inline(always)]
            || {
                for (index, weight) in weights.iter_mut().enumerate() {
                    let hash =
                        mixed(((start + index) as u32).wrapping_mul(0x9E37_79B1) ^ self.seed);
                    *weight *= if hash < self.threshold {
                        0.0
                    } else {
                        self.factor
                    };
                }
            },
        );
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
