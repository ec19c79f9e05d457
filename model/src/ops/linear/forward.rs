//! Forward pass on any backend.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::{Then, backward};
use crate::precision::Precision;

/// Both passes; the default bodies work on every backend.
pub trait LinearPasses: Backend {
    /// The output, and `x W + b` where the backward pass needs it.
    ///
    /// # Shapes
    ///
    /// - input: `[rows, in]`, weight: `[in, out]`, bias: `[out]`; outputs: `[rows, out]`
    fn forward(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        then: Then,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>) {
        linear::<Self>(input, weight, bias, then)
    }

    /// The output alone, its product in any precision that the backend has.
    fn infer(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        then: Then,
        _precision: Precision,
    ) -> FloatTensor<Self> {
        Self::forward(input, weight, bias, then).0
    }

    /// Gradients of input, weight and bias.
    fn backward(
        grad: FloatTensor<Self>,
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        sums: Option<FloatTensor<Self>>,
    ) -> [FloatTensor<Self>; 3] {
        backward::linear::<Self>(grad, input, weight, sums)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl LinearPasses for burn::backend::Cube {}

pub(super) fn linear<B: Backend>(
    input: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    then: Then,
) -> (FloatTensor<B>, Option<FloatTensor<B>>) {
    let [columns] = bias.shape().dims();
    let bias = B::float_reshape(bias, Shape::new([1, columns]));
    let sums = B::float_add(B::float_matmul(input, weight), bias);
    match then {
        Then::Identity => (sums, None),
        Then::Gelu => (B::gelu(sums.clone()), Some(sums)),
    }
}
