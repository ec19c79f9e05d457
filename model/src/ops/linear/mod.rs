//! A linear layer with an activation as one op.
//!
//! `y = x W + b` over the rows of x, with a gelu of x before it or of y after it. Bias and gelu are applied to rows that
//! are in cache; of a gelu only the argument is kept for the backward pass, and its value computed again; the gradient of
//! W is one product over all rows, where autodiff would make one for every document and add them up.

mod backward;
pub(super) use backward::gelu_slope;
mod forward;
mod kernel;
pub(crate) use kernel::add_to_rows;
pub mod reference;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::nn::Linear;
use burn::tensor::Tensor;

use forward::LinearPasses;

/// Where the exact gelu, `x Φ(x)`, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gelu {
    /// `x W + b`
    Nowhere,
    /// `gelu(x) W + b`
    Before,
    /// `gelu(x W + b)`
    After,
}

/// Backends that have the op. Called through [`linear`].
#[backend_extension(Autodiff, Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")))]
pub trait LinearOps: Backend {
    /// See [`linear`].
    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gelu: Gelu,
    ) -> FloatTensor<Self>;
}

impl LinearOps for Flex {
    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gelu: Gelu,
    ) -> FloatTensor<Self> {
        Self::forward(input, weight, bias, gelu).0
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl LinearOps for burn::backend::Cube {
    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gelu: Gelu,
    ) -> FloatTensor<Self> {
        Self::forward(input, weight, bias, gelu).0
    }
}

/// `x W + b` with the layer's weights, b being 0 where it has none, and a gelu where it is said to be.
///
/// # Shapes
///
/// - input: `[rows, in]`, weight: `[in, out]`, bias: `[out]`
/// - output: `[rows, out]`
///
/// # Panics
///
/// If the shapes do not fit together.
pub fn linear(input: Tensor<2>, layer: &Linear, gelu: Gelu) -> Tensor<2> {
    let weight = layer.weight.val();
    let [_, width] = input.dims();
    let [rows, columns] = weight.dims();
    let bias = match &layer.bias {
        Some(bias) => bias.val(),
        None => Tensor::zeros([columns], &weight.device()),
    };
    assert_eq!(
        (width, bias.dims()),
        (rows, [columns]),
        "weight is [in, out]"
    );
    Tensor::from_dispatch(<Dispatch as LinearOps>::linear(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        gelu,
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
        op: fn(Tensor<2>, &Linear, Gelu) -> Tensor<2>,
        [rows, width, columns]: [usize; 3],
        gelu: Gelu,
    ) -> [Vec<f32>; 4] {
        let device = Device::flex().autodiff();
        let mut draws = Draws::new(&device);
        let input = draws.next([rows, width]).require_grad();
        let layer = Linear {
            weight: Param::from_tensor(draws.next([width, columns])),
            bias: Some(Param::from_tensor(draws.next([columns]))),
        };
        let output = op(input.clone(), &layer, gelu);
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
            for gelu in [Gelu::Nowhere, Gelu::Before, Gelu::After] {
                let (found, expected) = (
                    run(linear, shape, gelu),
                    run(reference::linear, shape, gelu),
                );
                for (part, name) in ["output", "d input", "d weight", "d bias"]
                    .iter()
                    .enumerate()
                {
                    let what = format!("{shape:?} {gelu:?} {name}");
                    assert_close(&found[part], &expected[part], 1e-5, &what);
                }
            }
        }
    }

    #[test]
    fn a_missing_bias_is_zero() {
        let device = Device::flex().autodiff();
        let mut draws = Draws::new(&device);
        let input = draws.next([5, 3]).require_grad();
        let mut layer = Linear {
            weight: Param::from_tensor(draws.next([3, 2])),
            bias: None,
        };
        let found = linear(input.clone(), &layer, Gelu::Before);
        let gradients = found.clone().sum().backward();
        let gradient = floats(input.grad(&gradients).expect("a gradient"));
        layer.bias = Some(Param::from_tensor(Tensor::zeros([2], &device)));
        let expected = linear(input.clone(), &layer, Gelu::Before);
        let gradients = expected.clone().sum().backward();
        assert_eq!(floats(found), floats(expected));
        assert_eq!(
            gradient,
            floats(input.grad(&gradients).expect("a gradient"))
        );
    }

    /// The bodies that GPUs run, on the CPU, against its kernel.
    #[test]
    fn the_default_bodies_agree_with_the_kernel() {
        let device = Device::flex();
        for [rows, width, columns] in SHAPES {
            for gelu in [Gelu::Nowhere, Gelu::Before, Gelu::After] {
                let mut draws = Draws::new(&device);
                let input = draws.flex([rows, width]);
                let weight = draws.flex([width, columns]);
                let bias = draws.flex([columns]);
                let grad = draws.flex([rows, columns]);
                let args = || (input.clone(), weight.clone(), bias.clone());
                let (x, w, b) = args();
                let (found, argument) = forward::linear::<Flex>(x, w, b, gelu);
                let (x, w, b) = args();
                let (expected, _) = Flex::forward(x, w, b, gelu);
                assert_close(&flex_floats(found), &flex_floats(expected), 1e-5, "output");
                let kept = (input.clone(), weight.clone(), argument);
                let found = backward::linear::<Flex>(grad.clone(), kept.clone(), gelu);
                let expected = Flex::backward(grad, kept, gelu);
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
