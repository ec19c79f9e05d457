//! The same values in plain tensor operations, for tests on any device: gradients come from Burn's autodiff.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use super::Heads;

/// [`super::attention`] a document at a time, without dropout.
pub fn attention(query: Tensor<2>, key: Tensor<2>, value: Tensor<2>, heads: Heads) -> Tensor<2> {
    let [_, width] = query.dims();
    let per_head = width / heads.count;
    let mut start = 0;
    let mut outputs = Vec::new();
    for &length in heads.lengths.iter().filter(|&&length| length > 0) {
        let split = |rows: &Tensor<2>| {
            rows.clone()
                .slice(start..start + length)
                .reshape([length, heads.count, per_head])
                .swap_dims(0, 1) // [heads, length, per_head]
        };
        let scores = split(&query).matmul(split(&key).swap_dims(1, 2)); // [heads, length, length]
        let weights = softmax(scores * (per_head as f64).powf(-0.5), 2);
        let context = weights.matmul(split(&value)).swap_dims(0, 1);
        outputs.push(context.reshape([length, width]));
        start += length;
    }
    Tensor::cat(outputs, 0)
}
