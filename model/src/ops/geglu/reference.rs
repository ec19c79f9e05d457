//! The same values in plain tensor operations, for tests on any device: gradients come from Burn's autodiff.

use burn::tensor::Tensor;
use burn::tensor::activation::gelu;

/// [`super::geglu`] by Burn's own gelu.
pub fn geglu(input: Tensor<2>) -> Tensor<2> {
    let halves = input.chunk(2, 1);
    halves[0].clone() * gelu(halves[1].clone())
}
