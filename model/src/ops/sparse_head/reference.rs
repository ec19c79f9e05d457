//! The same values in plain tensor operations, for tests on any device: gradients come from Burn's autodiff.

use burn::tensor::activation::relu;
use burn::tensor::{Int, Tensor};
use configs::Activation;

/// [`super::sparse_head`] with every logit materialised.
pub fn sparse_head(
    hidden: Tensor<3>,
    decoder: Tensor<2>,
    bias: Tensor<1>,
    lengths: &[usize],
    activation: Activation,
) -> Tensor<2> {
    let [docs, seq, _] = hidden.dims();
    let vocab = bias.dims()[0];
    let device = hidden.device();
    let logits = hidden.matmul(decoder.transpose().unsqueeze()) + bias.unsqueeze(); // [docs, seq, vocab]
    let lengths: Vec<i32> = lengths.iter().map(|&length| length as i32).collect();
    let lengths = Tensor::<1, Int>::from_data(lengths.as_slice(), &device).reshape([docs, 1]);
    let positions = Tensor::<1, Int>::arange(0..seq as i64, &device).reshape([1, seq]);
    let padding = positions
        .expand([docs, seq])
        .greater_equal(lengths.expand([docs, seq]));
    let masked = logits.mask_fill(
        padding.reshape([docs, seq, 1]).expand([docs, seq, vocab]),
        0.0,
    );
    let pooled = relu(masked.max_dim(1)).reshape([docs, vocab]);
    (0..activation.logarithms()).fold(pooled, |weights, _| weights.log1p())
}
