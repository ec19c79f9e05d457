//! The same values in plain tensor operations, for tests on any device: gradients come from Burn's autodiff.

use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::activation::gelu;

use super::{Precision, Then};

/// [`super::linear`] by Burn's own layer.
pub fn linear(input: Tensor<2>, layer: &Linear, then: Then, _precision: Precision) -> Tensor<2> {
    let output = layer.forward(input);
    match then {
        Then::Identity => output,
        Then::Gelu => gelu(output),
    }
}
