//! The sparse head: decoder, maximum over the sequence and activation as one op.
//!
//! `w[d, v] = log1p^L(relu(max over the tokens s of d of (hidden[s] · decoder[v] + bias[v])))`
//!
//! (arXiv 2504.14839, sections 2 and 3.) The logits `[docs, seq, vocab]` never exist as a whole. relu and log1p
//! are monotone, so taking the maximum first is exact, and only one position per (document, token) receives a
//! gradient: the first that holds the maximum, and none where the maximum is not positive.
//!
//! There is no padding. The reference multiplies padded logits by 0 instead, which a relu cannot tell from leaving them
//! out.

mod backward;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod cube;
mod forward;
mod kernel;
pub(crate) use kernel::{Fold, TILE_WEIGHTS};
pub mod reference;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use configs::Activation;

use forward::PoolLogits;

/// Backends that have the op. Called through [`sparse_head`].
#[backend_extension(Autodiff, Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")))]
pub trait SparseHeadOps: Backend {
    /// See [`sparse_head`]; `logarithms` is the number of `log1p` applied after the relu.
    fn sparse_head(
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        lengths: Vec<usize>,
        logarithms: usize,
    ) -> FloatTensor<Self>;
}

impl SparseHeadOps for Flex {
    fn sparse_head(
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        lengths: Vec<usize>,
        logarithms: usize,
    ) -> FloatTensor<Self> {
        let pooled = Self::pool(hidden, decoder, bias, &lengths);
        forward::logarithms::<Self>(pooled, logarithms)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl SparseHeadOps for burn::backend::Cube {
    fn sparse_head(
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        lengths: Vec<usize>,
        logarithms: usize,
    ) -> FloatTensor<Self> {
        let pooled = Self::pool(hidden, decoder, bias, &lengths);
        forward::logarithms::<Self>(pooled, logarithms)
    }
}

/// Document weights over the vocabulary.
///
/// # Shapes
///
/// - hidden: `[tokens, hidden]`, after the masked-LM transform, document after document
/// - decoder: `[vocab, hidden]`
/// - bias: `[vocab]`
/// - lengths: number of tokens of each document
/// - output: `[docs, vocab]`, non-negative
///
/// # Panics
///
/// If the shapes do not fit together.
pub fn sparse_head(
    hidden: Tensor<2>,
    decoder: Tensor<2>,
    bias: Tensor<1>,
    lengths: &[usize],
    activation: Activation,
) -> Tensor<2> {
    let [tokens, width] = hidden.dims();
    let [vocab, _] = decoder.dims();
    assert_eq!(decoder.dims(), [vocab, width], "decoder is [vocab, hidden]");
    assert_eq!(bias.dims(), [vocab], "bias is [vocab]");
    assert_eq!(
        lengths.iter().sum::<usize>(),
        tokens,
        "documents are all of the rows"
    );
    Tensor::from_dispatch(<Dispatch as SparseHeadOps>::sparse_head(
        hidden.into_dispatch(),
        decoder.into_dispatch(),
        bias.into_dispatch(),
        lengths.to_vec(),
        activation.logarithms(),
    ))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::ops::check::{Draws, assert_close, flex_floats, floats};

    /// Hidden width, vocabulary, and the documents' lengths.
    const CASES: [([usize; 2], &[usize]); 7] = [
        ([3, 1], &[1]),
        ([8, 300], &[7]),
        ([4, 11], &[5, 1, 3]),
        ([6, 257], &[4, 1]),
        ([16, 513], &[9, 2, 8, 1]),
        ([4, 20], &[3, 0]),
        ([400, 700], &[33, 1, 15]),
    ];

    struct Case {
        hidden: Tensor<2>,
        decoder: Tensor<2>,
        bias: Tensor<1>,
        upstream: Tensor<2>,
        lengths: Vec<usize>,
    }

    impl Case {
        fn new([width, vocab]: [usize; 2], lengths: &[usize], device: &Device) -> Self {
            let mut draws = Draws::new(device);
            let tokens = lengths.iter().sum();
            Self {
                hidden: draws.next([tokens, width]).require_grad(),
                decoder: draws.next([vocab, width]).require_grad(),
                bias: draws.next([vocab]).require_grad(),
                upstream: draws.next([lengths.len(), vocab]),
                lengths: lengths.to_vec(),
            }
        }

        /// Output, then the gradients of hidden, decoder and bias.
        fn run(&self, op: Head, activation: Activation) -> [Vec<f32>; 4] {
            let weights = op(
                self.hidden.clone(),
                self.decoder.clone(),
                self.bias.clone(),
                &self.lengths,
                activation,
            );
            let grads = (weights.clone() * self.upstream.clone()).sum().backward();
            [
                floats(weights.inner()),
                floats(self.hidden.grad(&grads).expect("hidden has a gradient")),
                floats(self.decoder.grad(&grads).expect("decoder has a gradient")),
                floats(self.bias.grad(&grads).expect("bias has a gradient")),
            ]
        }
    }

    type Head = fn(Tensor<2>, Tensor<2>, Tensor<1>, &[usize], Activation) -> Tensor<2>;

    const ACTIVATIONS: [Activation; 4] = [
        Activation::Relu,
        Activation::L1Relu,
        Activation::L2Relu,
        Activation::L3Relu,
    ];

    #[test]
    fn values_and_gradients_match_plain_tensor_operations() {
        let device = Device::flex().autodiff();
        for (shape, lengths) in CASES {
            for activation in ACTIVATIONS {
                let case = Case::new(shape, lengths, &device);
                let found = case.run(sparse_head, activation);
                let expected = case.run(reference::sparse_head, activation);
                let names = ["weights", "d hidden", "d decoder", "d bias"];
                for (part, name) in names.iter().enumerate() {
                    let what = format!("{shape:?} {activation:?} {name}");
                    assert_close(&found[part], &expected[part], 2e-5, &what);
                }
            }
        }
    }

    /// Without autodiff no positions are kept: the weights are the same.
    #[test]
    fn inference_gives_the_weights_of_training() {
        let device = Device::flex().autodiff();
        for (shape, lengths) in CASES {
            let Case {
                hidden,
                decoder,
                bias,
                ..
            } = Case::new(shape, lengths, &device);
            let inner = (
                hidden.clone().inner(),
                decoder.clone().inner(),
                bias.clone().inner(),
            );
            let l1 = Activation::L1Relu;
            let trained = sparse_head(hidden, decoder, bias, lengths, l1);
            let (hidden, decoder, bias) = inner;
            let inferred = sparse_head(hidden, decoder, bias, lengths, l1);
            assert_eq!(floats(trained), floats(inferred), "{shape:?}");
        }
    }

    /// The bodies that GPUs run, on the CPU, against its kernel.
    #[test]
    fn the_default_bodies_agree_with_the_kernel() {
        use burn_flex::FlexTensor;
        let device = Device::flex().autodiff();
        for ([width, vocab], lengths) in CASES {
            let case = Case::new([width, vocab], lengths, &device);
            let hidden = FlexTensor::from_data(case.hidden.into_data());
            let decoder = FlexTensor::from_data(case.decoder.into_data());
            let bias = FlexTensor::from_data(case.bias.into_data());
            let args = || (hidden.clone(), decoder.clone(), bias.clone());
            let (h, d, b) = args();
            let (found, at) = forward::pool_by_document::<Flex>(h, d, b, lengths);
            let (h, d, b) = args();
            let (expected, _) = Flex::pool_logits(h, d, b, lengths);
            assert_close(
                &flex_floats(found.clone()),
                &flex_floats(expected),
                2e-5,
                "pooled",
            );

            let active = flex_floats(found).into_iter().zip(floats(case.upstream));
            let grad: Vec<f32> = active.map(|(m, g)| if m > 0.0 { g } else { 0.0 }).collect();
            let shape = [lengths.len(), vocab];
            let grad = FlexTensor::from_data(burn::tensor::TensorData::new(grad, shape));
            let (h, d, _) = args();
            let found = backward::pool_by_document_backward::<Flex>(
                grad.clone(),
                at.clone(),
                h,
                d,
                lengths,
            );
            let (h, d, _) = args();
            let expected = Flex::pool_logits_backward(grad, at, h, d, lengths);
            for (found, expected) in found.into_iter().zip(expected) {
                assert_close(
                    &flex_floats(found),
                    &flex_floats(expected),
                    2e-5,
                    "gradient",
                );
            }
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let device = Device::flex().autodiff();
        let case = Case::new([4, 9], &[3, 2], &device);
        let [_, gradient, ..] = case.run(sparse_head, Activation::L1Relu);
        let start = floats(case.hidden.clone().inner());
        let objective = |hidden: &[f32]| -> f32 {
            let hidden = Tensor::<1>::from_floats(hidden, &device).reshape([5, 4]);
            let weights = sparse_head(
                hidden,
                case.decoder.clone(),
                case.bias.clone(),
                &case.lengths,
                Activation::L1Relu,
            );
            (weights * case.upstream.clone()).sum().into_scalar::<f32>()
        };
        let step = 2e-3;
        for index in 0..start.len() {
            let (mut above, mut below) = (start.clone(), start.clone());
            above[index] += step;
            below[index] -= step;
            let slope = (objective(&above) - objective(&below)) / (2.0 * step);
            let error = (slope - gradient[index]).abs();
            assert!(error < 2e-2, "{index}: {slope} {}", gradient[index]);
        }
    }

    #[test]
    fn nothing_positive_means_no_weight_and_no_gradient() {
        let device = Device::flex().autodiff();
        let mut case = Case::new([4, 9], &[3, 1], &device);
        case.bias = Tensor::full([9], -100.0, &device).require_grad();
        for part in case.run(sparse_head, Activation::L1Relu) {
            assert!(part.iter().all(|&value| value == 0.0));
        }
    }

    #[test]
    fn ties_go_to_the_first_position() {
        let device = Device::flex().autodiff();
        let mut case = Case::new([2, 5], &[3], &device);
        case.hidden = Tensor::ones([3, 2], &device).require_grad();
        case.decoder = Tensor::ones([5, 2], &device).require_grad();
        case.upstream = Tensor::ones([1, 5], &device);
        case.bias = Tensor::zeros([5], &device).require_grad();
        let [_, hidden, ..] = case.run(sparse_head, Activation::Relu);
        assert!(hidden[..2].iter().all(|&g| g > 0.0) && hidden[2..].iter().all(|&g| g == 0.0));
    }
}
