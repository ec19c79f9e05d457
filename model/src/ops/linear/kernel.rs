//! The CPU kernel: products over all rows, with bias and gelu applied to blocks of rows while they are in cache.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::Gelu;
use super::forward::{Kept, LinearPasses};
use crate::kernel::math::{gelu, gelu_slope};
use crate::kernel::product::{Matrix, Panels, multiply, multiply_here};
use crate::kernel::{block_rows, column_sums, vectorised};
use crate::ops::floats::{contiguous, tensor, values};

/// Numbers per task where every number is for itself.
const CHUNK: usize = 1 << 14;

impl LinearPasses for Flex {
    fn forward(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        place: Gelu,
    ) -> (FlexTensor, Option<FlexTensor>) {
        let [rows, depth] = input.shape().dims();
        let [_, columns] = weight.shape().dims();
        let [input, weight, bias] = [input, weight, bias].map(contiguous);
        let panels = Panels::pack_in_parallel(Matrix::new(values(&weight), [depth, columns]));
        let mut sums = vec![0.0; rows * columns];
        let block = block_rows(rows);
        sums.par_chunks_mut((block * columns).max(1))
            .zip(values(&input).par_chunks((block * depth).max(1)))
            .with_max_len(1)
            .for_each(|(sums, input)| {
                let mut inner = Vec::new();
                if place == Gelu::Before {
                    inner.resize(input.len(), 0.0);
                    apply(&mut inner, input, |h, x| *h = gelu(x));
                }
                let left = if inner.is_empty() { input } else { &inner };
                let left = Matrix::new(left, [input.len() / depth.max(1), depth]);
                multiply_here(left, &panels, sums, columns);
                vectorised(
                    #[inline(always)]
                    || add_to_rows(sums, values(&bias)),
                );
            });
        let shape = [rows, columns];
        if place != Gelu::After {
            return (tensor(sums, shape), None);
        }
        let mut output = vec![0.0; sums.len()];
        apply_in_parallel(&mut output, &sums, |y, z| *y = gelu(z));
        (tensor(output, shape), Some(tensor(sums, shape)))
    }

    fn backward(
        grad: FlexTensor,
        (input, weight, sums): Kept<Self>,
        place: Gelu,
    ) -> [FlexTensor; 3] {
        let [rows, depth] = input.shape().dims();
        let [_, columns] = weight.shape().dims();
        let [mut grad, input, weight] = [grad, input, weight].map(contiguous);
        if let Some(sums) = sums.map(contiguous) {
            let grad = grad.storage_mut::<f32>();
            apply_in_parallel(grad, values(&sums), |dy, z| *dy *= gelu_slope(z));
        }
        let (grad, input) = (values(&grad), values(&input));
        let grad_matrix = Matrix::new(grad, [rows, columns]);

        let mut grad_weight = vec![0.0; depth * columns];
        let panels = Panels::pack_in_parallel(grad_matrix);
        let left = Matrix::new(input, [rows, depth]).transposed();
        let block = block_rows(depth);
        grad_weight
            .par_chunks_mut((block * columns).max(1))
            .with_max_len(1)
            .enumerate()
            .for_each(|(task, out)| {
                let first = task * block;
                let share = first..(first + block).min(depth);
                if place != Gelu::Before {
                    return multiply_here(left.rows(share), &panels, out, columns);
                }
                // The gelu of these columns alone: that of all is as large as the input.
                let mut inner = vec![0.0; rows * share.len()];
                let inner_rows = inner.chunks_exact_mut(share.len());
                for (inner, row) in inner_rows.zip(input.chunks_exact(depth)) {
                    apply(inner, &row[share.clone()], |h, x| *h = gelu(x));
                }
                let left = Matrix::new(&inner, [rows, share.len()]).transposed();
                multiply_here(left, &panels, out, columns);
            });
        drop(panels);

        let mut grad_input = vec![0.0; rows * depth];
        let weight = Matrix::new(values(&weight), [depth, columns]);
        let panels = Panels::pack_in_parallel(weight.transposed());
        multiply(grad_matrix, &panels, &mut grad_input, |first, rows| {
            if place == Gelu::Before {
                let input = &input[first * depth..][..rows.len()];
                apply(rows, input, |dh, x| *dh *= gelu_slope(x));
            }
        });

        [
            tensor(grad_input, [rows, depth]),
            tensor(grad_weight, [depth, columns]),
            tensor(column_sums(grad, columns), [columns]),
        ]
    }
}

/// `f(to, from)` for every number.
fn apply(to: &mut [f32], from: &[f32], f: impl Fn(&mut f32, f32)) {
    vectorised(
        #[inline(always)]
        || to.iter_mut().zip(from).for_each(|(to, &from)| f(to, from)),
    );
}

fn apply_in_parallel(to: &mut [f32], from: &[f32], f: impl Fn(&mut f32, f32) + Sync) {
    to.par_chunks_mut(CHUNK)
        .zip(from.par_chunks(CHUNK))
        .for_each(|(to, from)| apply(to, from, &f));
}

/// Adds the bias to every row.
#[inline(always)]
pub(crate) fn add_to_rows(rows: &mut [f32], bias: &[f32]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
    }
}
