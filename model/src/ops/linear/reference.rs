//! The same values in plain tensor operations, for tests on any device: gradients come from Burn's autodiff.

use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::activation::gelu;

use super::Gelu;

/// [`super::linear`] by Burn's own layer.
pub fn linear(input: Tensor<2>, layer: &Linear, place: Gelu) -> Tensor<2> {
    match place {
        Gelu::Nowhere => layer.forward(input),
        Gelu::Before => layer.forward(gelu(input)),
        Gelu::After => gelu(layer.forward(input)),
    }
}
