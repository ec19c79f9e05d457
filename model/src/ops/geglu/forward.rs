//! Forward pass on any backend.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Slice;

use super::backward;

/// Both passes; the default bodies work on every backend.
pub trait GegluPasses: Backend {
    /// See [`super::geglu`].
    fn forward(input: FloatTensor<Self>) -> FloatTensor<Self> {
        geglu::<Self>(input)
    }

    /// The gradient of the input.
    fn backward(grad: FloatTensor<Self>, input: FloatTensor<Self>) -> FloatTensor<Self> {
        backward::geglu::<Self>(grad, input)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl GegluPasses for burn::backend::Cube {}

pub(super) fn geglu<B: Backend>(input: FloatTensor<B>) -> FloatTensor<B> {
    let [up, gate] = halves::<B>(input);
    B::float_mul(up, B::gelu(gate))
}

/// u and g: `[rows, width]` each.
pub(super) fn halves<B: Backend>(rows: FloatTensor<B>) -> [FloatTensor<B>; 2] {
    let [_, columns] = rows.shape().dims();
    let width = columns / 2;
    [0..width, width..columns].map(|half| {
        let slices = [Slice::full(), half.into()];
        B::float_slice(rows.clone(), &slices)
    })
}
