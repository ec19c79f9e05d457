//! Residual connection and LayerNorm as one op.
//!
//! `y = γ (s - mean(s)) / √(var(s) + ε) + β` over the last axis of `s = x + residual` (Ba et al. 2016). Saved for the
//! backward pass: s, and two numbers a row.

mod backward;
mod forward;
mod kernel;
pub(crate) use kernel::normalise;
pub mod reference;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::nn::LayerNorm;
use burn::tensor::Tensor;

use forward::AddNormPasses;

/// Backends that have the op. Called through [`add_norm`].
#[backend_extension(Autodiff, Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")))]
pub trait AddNormOps: Backend {
    /// See [`add_norm`].
    fn add_norm(
        input: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;
}

impl AddNormOps for Flex {
    fn add_norm(
        input: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        Self::forward(input, residual, gamma, beta, epsilon).output
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl AddNormOps for burn::backend::Cube {
    fn add_norm(
        input: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        Self::forward(input, residual, gamma, beta, epsilon).output
    }
}

/// `LayerNorm(input + residual)`, `epsilon` being the norm's own, which it keeps to itself.
///
/// # Shapes
///
/// - input, residual, output: `[rows, width]`
///
/// # Panics
///
/// If the shapes do not fit together, or the norm has no offset.
pub fn add_norm(
    input: Tensor<2>,
    residual: Tensor<2>,
    norm: &LayerNorm,
    epsilon: f64,
) -> Tensor<2> {
    let (gamma, beta) = (norm.gamma.val(), norm.beta.as_ref().map(|beta| beta.val()));
    let beta = beta.expect("norms of encoders have an offset");
    let [_, width] = input.dims();
    assert_eq!(
        input.dims(),
        residual.dims(),
        "the residual has the input's shape"
    );
    assert_eq!(
        (gamma.dims(), beta.dims()),
        ([width], [width]),
        "one scale and offset per column"
    );
    Tensor::from_dispatch(<Dispatch as AddNormOps>::add_norm(
        input.into_dispatch(),
        residual.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        epsilon,
    ))
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::nn::LayerNormConfig;
    use burn::tensor::Device;

    use super::*;
    use crate::ops::check::{Draws, assert_close, flex_floats, floats};

    const SHAPES: [[usize; 2]; 4] = [[1, 1], [1, 8], [70, 33], [5, 96]];

    fn run(
        op: fn(Tensor<2>, Tensor<2>, &LayerNorm, f64) -> Tensor<2>,
        shape: [usize; 2],
    ) -> [Vec<f32>; 5] {
        let device = Device::flex().autodiff();
        let mut draws = Draws::new(&device);
        let (input, residual) = (
            draws.next(shape).require_grad(),
            draws.next(shape).require_grad(),
        );
        let mut norm = LayerNormConfig::new(shape[1])
            .with_epsilon(1e-3)
            .init(&device);
        norm.gamma = Param::from_tensor(draws.next([shape[1]]));
        norm.beta = Some(Param::from_tensor(draws.next([shape[1]])));
        let output = op(input.clone(), residual.clone(), &norm, 1e-3);
        let grads = (output.clone() * draws.next(shape)).sum().backward();
        [
            floats(output.inner()),
            floats(input.grad(&grads).expect("a gradient")),
            floats(residual.grad(&grads).expect("a gradient")),
            floats(norm.gamma.val().grad(&grads).expect("a gradient")),
            floats(
                norm.beta
                    .expect("an offset")
                    .val()
                    .grad(&grads)
                    .expect("a gradient"),
            ),
        ]
    }

    #[test]
    fn values_and_gradients_match_plain_tensor_operations() {
        for shape in SHAPES {
            let (found, expected) = (run(add_norm, shape), run(reference::add_norm, shape));
            let names = ["output", "d input", "d residual", "d gamma", "d beta"];
            for (part, name) in names.iter().enumerate() {
                assert_close(
                    &found[part],
                    &expected[part],
                    2e-5,
                    &format!("{shape:?} {name}"),
                );
            }
        }
    }

    /// The bodies that GPUs run, on the CPU, against its kernel.
    #[test]
    fn the_default_bodies_agree_with_the_kernel() {
        let device = Device::flex();
        for [rows, width] in SHAPES {
            let mut draws = Draws::new(&device);
            let mut next = || draws.flex([rows, width]);
            let (input, residual, grad) = (next(), next(), next());
            let (gamma, beta) = (draws.flex([width]), draws.flex([width]));
            let args = || (input.clone(), residual.clone(), gamma.clone(), beta.clone());
            let (x, r, g, b) = args();
            let found = forward::add_norm::<Flex>(x, r, g, b, 1e-3);
            let (x, r, g, b) = args();
            let expected = Flex::forward(x, r, g, b, 1e-3);
            let output = [&found, &expected].map(|passed| flex_floats(passed.output.clone()));
            assert_close(&output[0], &output[1], 1e-5, "output");
            let found = backward::add_norm::<Flex>(grad.clone(), gamma.clone(), found.saved);
            let expected = Flex::backward(grad, gamma.clone(), expected.saved);
            for (found, expected) in found.into_iter().zip(expected) {
                assert_close(
                    &flex_floats(found),
                    &flex_floats(expected),
                    2e-5,
                    "gradient",
                );
            }
        }
    }
}
