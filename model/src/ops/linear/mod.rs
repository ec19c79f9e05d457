//! A linear layer with its activation as one op.
//!
//! `y = act(x W + b)` over the rows of x. The bias and the activation are applied to rows that are still in cache,
//! and the gradient of W is one product over all rows, where autodiff would make one for every document and add them
//! up.

mod backward;
mod forward;
mod kernel;
pub mod reference;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::precision::Precision;
use forward::LinearPasses;

/// What follows the bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Identity,
    /// The exact gelu, `x Φ(x)`.
    Gelu,
}

/// Backends that have the op. Called through [`linear`].
#[backend_extension(Autodiff, Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")))]
pub trait LinearOps: Backend {
    /// See [`linear`].
    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        then: Then,
        precision: Precision,
    ) -> FloatTensor<Self>;
}

impl LinearOps for Flex {
    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        then: Then,
        precision: Precision,
    ) -> FloatTensor<Self> {
        Self::infer(input, weight, bias, then, precision)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl LinearOps for burn::backend::Cube {
    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        then: Then,
        precision: Precision,
    ) -> FloatTensor<Self> {
        Self::infer(input, weight, bias, then, precision)
    }
}

/// `act(x W + b)` with the layer's weights.
///
/// `precision` is that of the product where nothing is differentiated; training computes in float32.
///
/// # Shapes
///
/// - input: `[rows, in]`, weight: `[in, out]`, bias: `[out]`
/// - output: `[rows, out]`
///
/// # Panics
///
/// If the shapes do not fit together, or the layer has no bias.
pub fn linear(input: Tensor<2>, layer: &Linear, then: Then, precision: Precision) -> Tensor<2> {
    let (weight, bias) = (
        layer.weight.val(),
        layer.bias.as_ref().map(|bias| bias.val()),
    );
    let bias = bias.expect("linear layers of encoders have a bias");
    let [_, width] = input.dims();
    let [rows, columns] = weight.dims();
    assert_eq!(
        (width, bias.dims()),
        (rows, [columns]),
        "weight is [in, out]"
    );
    Tensor::from_dispatch(<Dispatch as LinearOps>::linear(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        then,
        precision,
    ))
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::tensor::Device;

    use super::*;
    use crate::ops::check::{Draws, assert_close, flex_floats, floats};

    const SHAPES: [[usize; 3]; 4] = [[1, 1, 1], [1, 8, 33], [5, 3, 2], [37, 24, 65]];

    fn run(
        op: fn(Tensor<2>, &Linear, Then, Precision) -> Tensor<2>,
        [rows, width, columns]: [usize; 3],
        then: Then,
    ) -> [Vec<f32>; 4] {
        let device = Device::flex().autodiff();
        let mut draws = Draws::new(&device);
        let input = draws.next([rows, width]).require_grad();
        let layer = Linear {
            weight: Param::from_tensor(draws.next([width, columns])),
            bias: Some(Param::from_tensor(draws.next([columns]))),
        };
        let output = op(input.clone(), &layer, then, Precision::Float32);
        let grads = (output.clone() * draws.next([rows, columns]))
            .sum()
            .backward();
        [
            floats(output.inner()),
            floats(input.grad(&grads).expect("a gradient")),
            floats(layer.weight.val().grad(&grads).expect("a gradient")),
            floats(
                layer
                    .bias
                    .expect("a bias")
                    .val()
                    .grad(&grads)
                    .expect("a gradient"),
            ),
        ]
    }

    #[test]
    fn values_and_gradients_match_plain_tensor_operations() {
        for shape in SHAPES {
            for then in [Then::Identity, Then::Gelu] {
                let (found, expected) = (
                    run(linear, shape, then),
                    run(reference::linear, shape, then),
                );
                for (part, name) in ["output", "d input", "d weight", "d bias"]
                    .iter()
                    .enumerate()
                {
                    let what = format!("{shape:?} {then:?} {name}");
                    assert_close(&found[part], &expected[part], 1e-5, &what);
                }
            }
        }
    }

    /// The bodies that GPUs run, on the CPU, against its kernel.
    #[test]
    fn the_default_bodies_agree_with_the_kernel() {
        let device = Device::flex();
        for [rows, width, columns] in SHAPES {
            for then in [Then::Identity, Then::Gelu] {
                let mut draws = Draws::new(&device);
                let input = draws.flex([rows, width]);
                let weight = draws.flex([width, columns]);
                let bias = draws.flex([columns]);
                let grad = draws.flex([rows, columns]);
                let args = || (input.clone(), weight.clone(), bias.clone());
                let (x, w, b) = args();
                let (found, sums) = forward::linear::<Flex>(x, w, b, then);
                let (x, w, b) = args();
                let (expected, kept) = Flex::forward(x, w, b, then);
                assert_close(&flex_floats(found), &flex_floats(expected), 1e-5, "output");
                let found =
                    backward::linear::<Flex>(grad.clone(), input.clone(), weight.clone(), sums);
                let expected = Flex::backward(grad, input.clone(), weight.clone(), kept);
                for (found, expected) in found.into_iter().zip(expected) {
                    assert_close(
                        &flex_floats(found),
                        &flex_floats(expected),
                        1e-5,
                        "gradient",
                    );
                }
            }
        }
    }
}
