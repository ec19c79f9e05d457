//! Forward pass on any backend.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::{Gelu, backward};

/// What the backward pass needs: input, weight, and `x W + b` where a gelu follows it.
pub type Kept<B> = (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>);

/// Both passes; the default bodies work on every backend.
pub trait LinearPasses: Backend {
    /// The output, and `x W + b` where a gelu follows it.
    ///
    /// # Shapes
    ///
    /// - input: `[rows, in]`, weight: `[in, out]`, bias: `[out]`; outputs: `[rows, out]`
    fn forward(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gelu: Gelu,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>) {
        linear::<Self>(input, weight, bias, gelu)
    }

    /// Gradients of input, weight and bias.
    fn backward(grad: FloatTensor<Self>, kept: Kept<Self>, gelu: Gelu) -> [FloatTensor<Self>; 3] {
        backward::linear::<Self>(grad, kept, gelu)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl LinearPasses for burn::backend::Cube {}

pub(super) fn linear<B: Backend>(
    input: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    gelu: Gelu,
) -> (FloatTensor<B>, Option<FloatTensor<B>>) {
    let input = match gelu {
        Gelu::Before => B::gelu(input),
        Gelu::Nowhere | Gelu::After => input,
    };
    let [columns] = bias.shape().dims();
    let bias = B::float_reshape(bias, Shape::new([1, columns]));
    let sums = B::float_add(B::float_matmul(input, weight), bias);
    match gelu {
        Gelu::After => (B::gelu(sums.clone()), Some(sums)),
        Gelu::Nowhere | Gelu::Before => (sums, None),
    }
}
