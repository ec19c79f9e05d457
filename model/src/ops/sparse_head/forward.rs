//! Forward pass on any backend, one document at a time.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{IntDType, Shape, Slice};

use super::backward;

/// Maximum of the positive logits over each document's tokens, and its gradient.
///
/// The default bodies work on every backend with one document's logits in memory at a time.
pub trait PoolLogits: Backend {
    /// `(relu(max over s), first s that holds the maximum)`.
    ///
    /// # Shapes
    ///
    /// - hidden: `[tokens, hidden]`, decoder: `[vocab, hidden]`, bias: `[vocab]`
    /// - output: `[docs, vocab]` twice; positions count from a document's first token, and mean nothing where the
    ///   value is 0
    fn pool_logits(
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        lengths: &[usize],
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        pool_by_document::<Self>(hidden, decoder, bias, lengths)
    }

    /// The first half of [`PoolLogits::pool_logits`].
    fn pool(
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        lengths: &[usize],
    ) -> FloatTensor<Self> {
        Self::pool_logits(hidden, decoder, bias, lengths).0
    }

    /// Gradients of hidden, decoder and bias from the gradient of the pooled logits, which is 0 wherever the
    /// pooled logit is.
    ///
    /// # Shapes
    ///
    /// - grad, positions: `[docs, vocab]`
    /// - output: those of hidden, decoder and bias
    fn pool_logits_backward(
        grad: FloatTensor<Self>,
        positions: IntTensor<Self>,
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        lengths: &[usize],
    ) -> [FloatTensor<Self>; 3] {
        backward::pool_by_document_backward::<Self>(grad, positions, hidden, decoder, lengths)
    }
}

pub(super) fn pool_by_document<B: Backend>(
    hidden: FloatTensor<B>,
    decoder: FloatTensor<B>,
    bias: FloatTensor<B>,
    lengths: &[usize],
) -> (FloatTensor<B>, IntTensor<B>) {
    let [vocab] = bias.shape().dims();
    let device = hidden.device();
    let dtype = hidden.dtype().into();
    let decoder = B::float_transpose(decoder); // [hidden, vocab]
    let bias = B::float_reshape(bias, Shape::new([1, vocab]));
    let (mut values, mut positions) = (Vec::new(), Vec::new());
    let mut first = 0;
    for &length in lengths {
        if length == 0 {
            let shape = Shape::new([1, vocab]);
            values.push(B::float_zeros(shape.clone(), &device, dtype));
            positions.push(B::int_zeros(shape, &device, IntDType::I32));
            continue;
        }
        let rows = B::float_slice(hidden.clone(), &[Slice::from(first..first + length)]);
        first += length;
        let logits = B::float_add(B::float_matmul(rows, decoder.clone()), bias.clone()); // [length, vocab]
        let (value, position) = B::float_max_dim_with_indices(logits, 0, IntDType::I32);
        values.push(B::relu(value));
        positions.push(position);
    }
    (B::float_cat(values, 0), B::int_cat(positions, 0))
}

/// `log1p` applied `count` times.
pub(super) fn logarithms<B: Backend>(pooled: FloatTensor<B>, count: usize) -> FloatTensor<B> {
    (0..count).fold(pooled, |weights, _| B::float_log1p(weights))
}
