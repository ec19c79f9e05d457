//! Forward pass on any backend.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::backward;

/// What the backward pass needs.
#[derive(Debug, Clone)]
pub struct Saved<B: Backend> {
    /// `[rows, width]`: input plus residual.
    pub sum: FloatTensor<B>,
    /// `[rows, 1]`
    pub mean: FloatTensor<B>,
    /// `[rows, 1]`: `1 / √(var + ε)`.
    pub inverse_deviation: FloatTensor<B>,
}

/// What the forward pass gives.
#[derive(Debug, Clone)]
pub struct Passed<B: Backend> {
    /// `[rows, width]`
    pub output: FloatTensor<B>,
    /// For the backward pass.
    pub saved: Saved<B>,
}

/// Both passes; the default bodies work on every backend.
pub trait AddNormPasses: Backend {
    /// See [`super::add_norm`].
    fn forward(
        input: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> Passed<Self> {
        add_norm::<Self>(input, residual, gamma, beta, epsilon)
    }

    /// Gradients of input (and residual: they are the same), gamma and beta.
    fn backward(
        grad: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        saved: Saved<Self>,
    ) -> [FloatTensor<Self>; 3] {
        backward::add_norm::<Self>(grad, gamma, saved)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl AddNormPasses for burn::backend::Cube {}

pub(super) fn add_norm<B: Backend>(
    input: FloatTensor<B>,
    residual: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    epsilon: f64,
) -> Passed<B> {
    let sum = B::float_add(input, residual);
    let [_, width] = sum.shape().dims();
    let mean = B::float_mean_dim(sum.clone(), 1);
    let centred = B::float_sub(sum.clone(), mean.clone());
    let variance = B::float_mean_dim(B::float_mul(centred.clone(), centred.clone()), 1);
    let deviation = B::float_sqrt(B::float_add_scalar(variance, epsilon.into()));
    let inverse_deviation = B::float_recip(deviation);
    let row = |tensor| B::float_reshape(tensor, Shape::new([1, width]));
    let normal = B::float_mul(centred, inverse_deviation.clone());
    let output = B::float_add(B::float_mul(normal, row(gamma)), row(beta));
    let saved = Saved {
        sum,
        mean,
        inverse_deviation,
    };
    Passed { output, saved }
}
