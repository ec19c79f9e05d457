//! Rows of a table as one op.
//!
//! `y[t] = table[id[t]]`. The backward pass adds to the gradient that the table already has: the word embeddings are the
//! decoder too, and a second gradient of its size, to be summed afterwards, would be the step's memory peak.

mod backward;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};

/// Backends that have the op. Called through [`lookup`].
#[backend_extension(Autodiff, Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")))]
pub trait LookupOps: Backend {
    /// See [`lookup`].
    fn lookup(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        Self::float_select(table, 0, ids)
    }
}

impl LookupOps for Flex {}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl LookupOps for burn::backend::Cube {}

/// The rows of `table` with these numbers.
///
/// # Shapes
///
/// - table: `[entries, width]`, ids: `[rows]`, output: `[rows, width]`
pub fn lookup(table: Tensor<2>, ids: Tensor<1, Int>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as LookupOps>::lookup(
        table.into_dispatch(),
        ids.into_dispatch(),
    ))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::ops::check::{Draws, assert_close, floats};

    /// A table used twice, and as a matrix before or after: its gradient is the sum of all uses.
    #[test]
    fn values_and_gradients_match_plain_tensor_operations() {
        let run = |rows: fn(Tensor<2>, Tensor<1, Int>) -> Tensor<2>, matrix_first: bool| {
            let device = Device::flex().autodiff();
            let mut draws = Draws::new(&device);
            let table = draws.next([5, 3]).require_grad();
            let [first, second] = [[4, 0, 4, 2], [2, 2, 2, 1]]
                .map(|ids| rows(table.clone(), Tensor::from_ints(ids, &device)));
            let product = draws.next([4, 3]).matmul(table.clone().transpose()); // [4, 5]
            let weights: [Tensor<2>; 2] = [draws.next([4, 3]), draws.next([4, 5])];
            let looked_up = (first.clone() * weights[0].clone() * second).sum();
            let multiplied = (product * weights[1].clone()).sum();
            let loss = match matrix_first {
                true => multiplied + looked_up,
                false => looked_up + multiplied,
            };
            let grads = loss.backward();
            let gradient = table.grad(&grads).expect("a gradient");
            [floats(first.inner()), floats(gradient)]
        };
        for matrix_first in [true, false] {
            let plain = run(|table, ids| table.select(0, ids), matrix_first);
            for (found, expected) in run(lookup, matrix_first).iter().zip(&plain) {
                assert_close(found, expected, 1e-6, "values or gradient");
            }
        }
    }

    #[test]
    fn a_table_that_is_not_trained_has_no_gradient() {
        let device = Device::flex().autodiff();
        let mut draws = Draws::new(&device);
        let (table, scale) = (draws.next([5, 3]), draws.next([2, 3]).require_grad());
        let rows = lookup(table.clone(), Tensor::from_ints([1, 3], &device));
        let grads = (rows * scale.clone()).sum().backward();
        assert!(table.grad(&grads).is_none() && scale.grad(&grads).is_some());
    }
}
