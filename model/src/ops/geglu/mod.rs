//! What is between the products of a gated feed-forward, as one op.
//!
//! `y = u gelu(g)` for rows of two halves, u and g (GEGLU, Shazeer 2020). The rows alone are kept for the backward pass,
//! and the gelu is computed again.

mod backward;
mod forward;
mod kernel;
pub(crate) use kernel::gate_rows;
pub mod reference;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use forward::GegluPasses;

/// Backends that have the op. Called through [`geglu`].
#[backend_extension(Autodiff, Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")))]
pub trait GegluOps: Backend {
    /// See [`geglu`].
    fn geglu(input: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl GegluOps for Flex {
    fn geglu(input: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::forward(input)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl GegluOps for burn::backend::Cube {
    fn geglu(input: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::forward(input)
    }
}

/// `u gelu(g)`, u being the first half of each row and g the second; the gelu is the exact one.
///
/// # Shapes
///
/// - input: `[rows, 2 * width]`, output: `[rows, width]`
///
/// # Panics
///
/// If the rows have no halves.
pub fn geglu(input: Tensor<2>) -> Tensor<2> {
    let [_, columns] = input.dims();
    assert!(columns.is_multiple_of(2), "{columns} columns in two halves");
    Tensor::from_dispatch(<Dispatch as GegluOps>::geglu(input.into_dispatch()))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::ops::check::{Draws, assert_close, flex_floats, floats};

    /// Rows, and width of a half.
    const SHAPES: [[usize; 2]; 4] = [[1, 1], [1, 8], [70, 33], [5, 96]];

    fn run(op: fn(Tensor<2>) -> Tensor<2>, [rows, width]: [usize; 2]) -> [Vec<f32>; 2] {
        let device = Device::flex().autodiff();
        let mut draws = Draws::new(&device);
        let input = (draws.next([rows, 2 * width]) * 2.0)
            .detach()
            .require_grad();
        let output = op(input.clone());
        let upstream = draws.next([rows, width]);
        let grads = (output.clone() * upstream).sum().backward();
        [
            floats(output.inner()),
            floats(input.grad(&grads).expect("a gradient")),
        ]
    }

    #[test]
    fn values_and_gradients_match_plain_tensor_operations() {
        for shape in SHAPES {
            let (found, expected) = (run(geglu, shape), run(reference::geglu, shape));
            for (part, name) in ["output", "d input"].iter().enumerate() {
                let what = format!("{shape:?} {name}");
                assert_close(&found[part], &expected[part], 1e-5, &what);
            }
        }
    }

    /// The bodies that GPUs run, on the CPU, against its kernel.
    #[test]
    fn the_default_bodies_agree_with_the_kernel() {
        let device = Device::flex();
        for [rows, width] in SHAPES {
            let mut draws = Draws::new(&device);
            let (input, grad) = (draws.flex([rows, 2 * width]), draws.flex([rows, width]));
            let found = forward::geglu::<Flex>(input.clone());
            let expected = Flex::forward(input.clone());
            assert_close(&flex_floats(found), &flex_floats(expected), 1e-5, "output");
            let found = backward::geglu::<Flex>(grad.clone(), input.clone());
            let expected = Flex::backward(grad, input);
            assert_close(
                &flex_floats(found),
                &flex_floats(expected),
                1e-5,
                "gradient",
            );
        }
    }

    #[test]
    fn gradients_are_finite_differences() {
        const STEP: f32 = 1e-2;
        let device = Device::flex();
        let values = floats(Draws::new(&device).next([3, 8]));
        let of = |values: &[f32]| {
            let rows = Tensor::<1>::from_floats(values, &device).reshape([3, 8]);
            geglu(rows).sum().into_scalar::<f32>()
        };
        let rows = Tensor::<1>::from_floats(values.as_slice(), &device.clone().autodiff());
        let rows = rows.reshape([3, 8]).detach().require_grad();
        let gradients = geglu(rows.clone()).sum().backward();
        let gradient = floats(rows.grad(&gradients).expect("a gradient"));
        for (index, &gradient) in gradient.iter().enumerate() {
            let moved = |by: f32| {
                let mut values = values.clone();
                values[index] += by;
                of(&values)
            };
            let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            assert!(
                (slope - gradient).abs() < 1e-3,
                "{index}: {gradient}, {slope}"
            );
        }
    }
}
