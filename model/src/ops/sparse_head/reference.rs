//! The same values in plain tensor operations, for tests on any device: gradients come from Burn's autodiff.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use configs::Activation;

/// [`super::sparse_head`] with every logit materialised.
pub fn sparse_head(
    hidden: Tensor<2>,
    decoder: Tensor<2>,
    bias: Tensor<1>,
    lengths: &[usize],
    activation: Activation,
) -> Tensor<2> {
    let logits = hidden.matmul(decoder.transpose()) + bias.unsqueeze(); // [tokens, vocab]
    let [_, vocab] = logits.dims();
    let mut first = 0;
    let pooled = lengths.iter().map(|&length| {
        let rows = first..first + length;
        first += length;
        match length {
            0 => Tensor::zeros([1, vocab], &logits.device()),
            _ => relu(logits.clone().slice(rows).max_dim(0)), // [1, vocab]
        }
    });
    let pooled = Tensor::cat(pooled.collect(), 0);
    (0..activation.logarithms()).fold(pooled, |weights, _| weights.log1p())
}
