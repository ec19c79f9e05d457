//! The CPU kernel: every row is for itself.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::forward::GegluPasses;
use crate::kernel::math::{gelu, gelu_slope};
use crate::kernel::vectorised;
use crate::ops::floats::{contiguous, tensor, values};

/// Rows of a task.
const ROWS: usize = 16;

impl GegluPasses for Flex {
    fn forward(input: FlexTensor) -> FlexTensor {
        let [rows, columns] = input.shape().dims();
        let width = columns / 2;
        let input = contiguous(input);
        let mut output = vec![0.0; rows * width];
        output
            .par_chunks_mut((ROWS * width).max(1))
            .zip(values(&input).par_chunks((ROWS * columns).max(1)))
            .for_each(|(output, input)| gate_rows(input, output, width));
        tensor(output, [rows, width])
    }

    fn backward(grad: FlexTensor, input: FlexTensor) -> FlexTensor {
        let [rows, columns] = input.shape().dims();
        let width = columns / 2;
        let [grad, input] = [grad, input].map(contiguous);
        let mut grad_input = vec![0.0; rows * columns];
        grad_input
            .par_chunks_mut((ROWS * columns).max(1))
            .zip(values(&input).par_chunks((ROWS * columns).max(1)))
            .zip(values(&grad).par_chunks((ROWS * width).max(1)))
            .for_each(|((to, rows), grad)| {
                vectorised(
                    #[inline(always)]
                    || {
                        let rows = to.chunks_exact_mut(columns).zip(rows.chunks_exact(columns));
                        for ((to, row), grad) in rows.zip(grad.chunks_exact(width)) {
                            backward_row(to, row, grad);
                        }
                    },
                );
            });
        tensor(grad_input, [rows, columns])
    }
}

/// `to = u gelu(g)` for rows of u and g, `width` numbers each.
pub(crate) fn gate_rows(rows: &[f32], to: &mut [f32], width: usize) {
    vectorised(
        #[inline(always)]
        || {
            for (row, to) in rows.chunks_exact(2 * width).zip(to.chunks_exact_mut(width)) {
                let (up, gate) = row.split_at(width);
                for ((y, u), g) in to.iter_mut().zip(up).zip(gate) {
                    *y = u * gelu(*g);
                }
            }
        },
    );
}

#[inline(always)]
fn backward_row(to: &mut [f32], row: &[f32], grad: &[f32]) {
    let width = grad.len();
    let (up, gate) = row.split_at(width);
    let (grad_up, grad_gate) = to.split_at_mut(width);
    for ((du, g), dy) in grad_up.iter_mut().zip(gate).zip(grad) {
        *du = dy * gelu(*g);
    }
    for (((dg, u), g), dy) in grad_gate.iter_mut().zip(up).zip(gate).zip(grad) {
        *dg = dy * u * gelu_slope(*g);
    }
}
