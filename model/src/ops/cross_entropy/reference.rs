//! The same values in plain tensor operations, for tests on any device: gradients come from Burn's autodiff.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

use super::CrossEntropy;

/// [`super::cross_entropy`] with every logit materialised.
pub fn cross_entropy(
    hidden: Tensor<2>,
    decoder: Tensor<2>,
    bias: Tensor<1>,
    targets: Tensor<1, Int>,
) -> CrossEntropy {
    let logits = hidden.matmul(decoder.transpose()) + bias.unsqueeze(); // [rows, vocab]
    let targets = targets.unsqueeze_dim::<2>(1); // [rows, 1]
    let logarithms = log_softmax(logits.clone(), 1).gather(1, targets);
    CrossEntropy {
        losses: logarithms.squeeze_dim::<1>(1).neg(),
        guesses: logits.argmax(1).squeeze_dim::<1>(1),
    }
}
