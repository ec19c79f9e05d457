//! The CPU kernel: one product over all rows, with bias and gelu applied to each block of rows as it is done.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::Then;
use super::forward::LinearPasses;
use crate::kernel::math::{gelu, gelu_slope};
use crate::kernel::product::{Matrix, Panels, multiply};
use crate::kernel::{column_sums, reduced, vectorised};
use crate::ops::floats::{contiguous, tensor, values};
use crate::precision::Precision;

/// Numbers per task where every number is for itself.
const CHUNK: usize = 1 << 14;

impl LinearPasses for Flex {
    fn forward(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        then: Then,
    ) -> (FlexTensor, Option<FlexTensor>) {
        let sums = Self::infer(input, weight, bias, Then::Identity, Precision::Float32);
        match then {
            Then::Identity => (sums, None),
            Then::Gelu => {
                let mut output = vec![0.0; values(&sums).len()];
                output
                    .par_chunks_mut(CHUNK)
                    .zip(values(&sums).par_chunks(CHUNK))
                    .for_each(|(to, from)| {
                        vectorised(|| to.iter_mut().zip(from).for_each(|(y, &z)| *y = gelu(z)));
                    });
                let shape: [usize; 2] = sums.shape().dims();
                (tensor(output, shape), Some(sums))
            }
        }
    }

    fn infer(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        then: Then,
        precision: Precision,
    ) -> FlexTensor {
        let [rows, depth] = input.shape().dims();
        let [_, columns] = weight.shape().dims();
        let [input, weight, bias] = [input, weight, bias].map(contiguous);
        let (input, bias) = (values(&input), values(&bias));
        let weight = Matrix::new(values(&weight), [depth, columns]);
        let mut output = vec![0.0; rows * columns];
        let finish = |rows: &mut [f32]| vectorised(|| finish(rows, bias, then));
        match reduced::Weights::pack(weight, precision) {
            Some(weights) => {
                reduced::multiply(&weights.round(input, depth), &weights, &mut output, finish);
            }
            None => {
                let panels = Panels::pack_in_parallel(weight);
                let input = Matrix::new(input, [rows, depth]);
                multiply(input, &panels, &mut output, finish);
            }
        }
        tensor(output, [rows, columns])
    }

    fn backward(
        grad: FlexTensor,
        input: FlexTensor,
        weight: FlexTensor,
        sums: Option<FlexTensor>,
    ) -> [FlexTensor; 3] {
        let [rows, depth] = input.shape().dims();
        let [_, columns] = weight.shape().dims();
        let [mut grad, input, weight] = [grad, input, weight].map(contiguous);
        if let Some(sums) = sums.map(contiguous) {
            grad.storage_mut::<f32>()
                .par_chunks_mut(CHUNK)
                .zip(values(&sums).par_chunks(CHUNK))
                .for_each(|(grad, sums)| {
                    vectorised(|| {
                        grad.iter_mut()
                            .zip(sums)
                            .for_each(|(g, &z)| *g *= gelu_slope(z))
                    });
                });
        }
        let grad = values(&grad);
        let grad_matrix = Matrix::new(grad, [rows, columns]);

        let mut grad_input = vec![0.0; rows * depth];
        let weight = Matrix::new(values(&weight), [depth, columns]);
        let panels = Panels::pack_in_parallel(weight.transposed());
        multiply(grad_matrix, &panels, &mut grad_input, |_| ());
        drop(panels);

        let mut grad_weight = vec![0.0; depth * columns];
        let input = Matrix::new(values(&input), [rows, depth]);
        let panels = Panels::pack_in_parallel(grad_matrix);
        multiply(input.transposed(), &panels, &mut grad_weight, |_| ());

        [
            tensor(grad_input, [rows, depth]),
            tensor(grad_weight, [depth, columns]),
            tensor(column_sums(grad, columns), [columns]),
        ]
    }
}

/// `act(row + bias)` for every row.
#[inline(always)]
fn finish(rows: &mut [f32], bias: &[f32], then: Then) {
    for row in rows.chunks_exact_mut(bias.len()) {
        match then {
            Then::Identity => row.iter_mut().zip(bias).for_each(|(y, b)| *y += b),
            Then::Gelu => row
                .iter_mut()
                .zip(bias)
                .for_each(|(y, b)| *y = gelu(*y + b)),
        }
    }
}
