//! Forward pass on any backend.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Distribution;

use super::padded::Padded;
use super::{Heads, backward};

/// What the backward pass needs besides query, key and value.
#[derive(Debug, Clone)]
pub enum Saved<B: Backend> {
    /// `[docs, heads, seq, seq]`: the weights, and what dropout multiplied them by.
    Weights(FloatTensor<B>, Option<FloatTensor<B>>),
    /// Where the dropped weights come from: the rest is computed again.
    Seed(u64),
}

/// Both passes; the default bodies work on every backend.
pub trait AttentionPasses: Backend {
    /// See [`super::attention`].
    fn forward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: &Heads,
    ) -> (FloatTensor<Self>, Saved<Self>) {
        attention::<Self>(query, key, value, heads)
    }

    /// Gradients of query, key and value.
    fn backward(
        grad: FloatTensor<Self>,
        inputs: [FloatTensor<Self>; 3],
        saved: Saved<Self>,
        heads: &Heads,
    ) -> [FloatTensor<Self>; 3] {
        backward::attention::<Self>(grad, inputs, saved, heads)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl AttentionPasses for burn::backend::Cube {}

pub(super) fn attention<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    heads: &Heads,
) -> (FloatTensor<B>, Saved<B>) {
    let padded = Padded::new(heads);
    let device = query.device();
    let dtype = query.dtype();
    let [query, key, value] = [query, key, value].map(|packed| padded.pad::<B>(packed));
    let query = B::float_mul_scalar(query, scale::<B>(&key).into());
    let scores = B::float_matmul(query, B::float_swap_dims(key, 2, 3)); // [docs, heads, seq, seq]
    let exclusions = B::float_cast(padded.exclusions::<B>(&device), dtype.into());
    let weights = B::softmax(B::float_add(scores, exclusions), 3);
    let kept = (heads.dropout > 0.0).then(|| {
        let keep = 1.0 - heads.dropout;
        let draws = Distribution::Bernoulli(keep);
        let kept = B::float_random(weights.shape(), draws, &device, dtype.into());
        B::float_mul_scalar(kept, (1.0 / keep).into())
    });
    let thinned = match &kept {
        Some(kept) => B::float_mul(weights.clone(), kept.clone()),
        None => weights.clone(),
    };
    let context = padded.unpad::<B>(B::float_matmul(thinned, value));
    (context, Saved::Weights(weights, kept))
}

/// `1 / √d` for heads `[.., .., .., d]`.
pub(super) fn scale<B: Backend>(heads: &FloatTensor<B>) -> f64 {
    let [_, _, _, per_head] = heads.shape().dims();
    (per_head as f64).powf(-0.5)
}
