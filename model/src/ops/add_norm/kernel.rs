//! The CPU kernel: each row is read once, in cache for everything that is done to it.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::forward::{AddNormPasses, Passed, Saved};
use crate::kernel::{column_sums, sum_of, vectorised};
use crate::ops::floats::{contiguous, tensor, values};

/// Rows of a task; fixed, so that sums over rows do not depend on the number of threads.
const ROWS: usize = 64;

impl AddNormPasses for Flex {
    fn forward(
        input: FlexTensor,
        residual: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        epsilon: f64,
    ) -> Passed<Self> {
        let [rows, width] = input.shape().dims();
        let [mut sum, residual, gamma, beta] = [input, residual, gamma, beta].map(contiguous);
        let (gamma, beta) = (values(&gamma), values(&beta));
        let mut output = vec![0.0; rows * width];
        let mut moments = vec![[0.0; 2]; rows];
        // In place where nothing else holds the input.
        sum.storage_mut::<f32>()
            .par_chunks_mut(ROWS * width)
            .zip(values(&residual).par_chunks(ROWS * width))
            .zip(output.par_chunks_mut(ROWS * width))
            .zip(moments.par_chunks_mut(ROWS))
            .for_each(|(((sums, residuals), outputs), moments)| {
                vectorised(
                    #[inline(always)]
                    || {
                        let rows = sums
                            .chunks_exact_mut(width)
                            .zip(residuals.chunks_exact(width));
                        let rows = rows.zip(outputs.chunks_exact_mut(width)).zip(moments);
                        for (((sum, residual), output), moments) in rows {
                            sum.iter_mut().zip(residual).for_each(|(s, r)| *s += r);
                            *moments = normalise(sum, output, epsilon as f32);
                            for ((y, g), b) in output.iter_mut().zip(gamma).zip(beta) {
                                *y = *y * g + b;
                            }
                        }
                    },
                );
            });
        let column = |index: usize| {
            let column = moments.iter().map(|moments| moments[index]).collect();
            tensor(column, [rows, 1])
        };
        let saved = Saved {
            mean: column(0),
            inverse_deviation: column(1),
            sum,
        };
        Passed {
            output: tensor(output, [rows, width]),
            saved,
        }
    }

    fn backward(grad: FlexTensor, gamma: FlexTensor, saved: Saved<Self>) -> [FlexTensor; 3] {
        let [_, width] = grad.shape().dims();
        let [mut grad, gamma, mut sum] = [grad, gamma, saved.sum].map(contiguous);
        let (gamma, means) = (values(&gamma), values(&saved.mean));
        let inverses = values(&saved.inverse_deviation);
        let grad_beta = column_sums(values(&grad), width);
        // `sum` becomes dy n, of which gamma's gradient is the column sum; `grad` becomes the gradient of the sum.
        sum.storage_mut::<f32>()
            .par_chunks_mut(ROWS * width)
            .zip(grad.storage_mut::<f32>().par_chunks_mut(ROWS * width))
            .zip(means.par_chunks(ROWS).zip(inverses.par_chunks(ROWS)))
            .for_each(|((sums, grads), (means, inverses))| {
                vectorised(
                    #[inline(always)]
                    || {
                        let rows = sums
                            .chunks_exact_mut(width)
                            .zip(grads.chunks_exact_mut(width));
                        for ((sum, grad), (mean, inverse)) in rows.zip(means.iter().zip(inverses)) {
                            backward_row(sum, grad, gamma, *mean, *inverse);
                        }
                    },
                );
            });
        let grad_gamma = column_sums(values(&sum), width);
        [
            grad,
            tensor(grad_gamma, [width]),
            tensor(grad_beta, [width]),
        ]
    }
}

/// `normal = (row - mean) / deviation`; returns mean and inverse deviation.
#[inline(always)]
pub(crate) fn normalise(row: &[f32], normal: &mut [f32], epsilon: f32) -> [f32; 2] {
    let width = row.len() as f32;
    let mean = sum_of(row.len(), |i| row[i]) / width;
    let variance = sum_of(row.len(), |i| (row[i] - mean) * (row[i] - mean)) / width;
    let inverse = 1.0 / (variance + epsilon).sqrt();
    for (y, x) in normal.iter_mut().zip(row) {
        *y = (x - mean) * inverse;
    }
    [mean, inverse]
}

#[inline(always)]
fn backward_row(sum: &mut [f32], grad: &mut [f32], gamma: &[f32], mean: f32, inverse: f32) {
    let width = sum.len();
    for s in sum.iter_mut() {
        *s = (*s - mean) * inverse;
    }
    let mean = sum_of(width, |i| grad[i] * gamma[i]) / width as f32;
    let share = sum_of(width, |i| grad[i] * gamma[i] * sum[i]) / width as f32;
    for ((s, d), g) in sum.iter_mut().zip(grad).zip(gamma) {
        let normal = *s;
        *s = normal * *d;
        *d = (*d * g - mean - normal * share) * inverse;
    }
}
