//! The sparse head: decoder, maximum over the sequence and activation as one op.
//!
//! `w[d, v] = log1p^L(relu(max over s < length[d] of (hidden[d, s] · decoder[v] + bias[v])))`
//!
//! (arXiv 2504.14839, sections 2 and 3.) The logits `[docs, seq, vocab]` never exist as a whole. relu and log1p
//! are monotone, so taking the maximum first is exact, and only one position per (document, token) receives a
//! gradient: the first that holds the maximum, and none where the maximum is not positive.
//!
//! Padding needs no mask: a row's tokens are its first `length` positions. The reference multiplies padded logits
//! by 0 instead, which a relu cannot tell from leaving them out.

mod backward;
mod forward;
mod kernel;
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
        let (pooled, _) = Self::pool_logits(hidden, decoder, bias, &lengths);
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
        let (pooled, _) = Self::pool_logits(hidden, decoder, bias, &lengths);
        forward::logarithms::<Self>(pooled, logarithms)
    }
}

/// Document weights over the vocabulary.
///
/// # Shapes
///
/// - hidden: `[docs, seq, hidden]`, after the masked-LM transform
/// - decoder: `[vocab, hidden]`
/// - bias: `[vocab]`
/// - lengths: one per document, each at most `seq`; positions from there on are padding
/// - output: `[docs, vocab]`, non-negative
///
/// # Panics
///
/// If the shapes do not fit together.
pub fn sparse_head(
    hidden: Tensor<3>,
    decoder: Tensor<2>,
    bias: Tensor<1>,
    lengths: &[usize],
    activation: Activation,
) -> Tensor<2> {
    let [docs, seq, width] = hidden.dims();
    let [vocab, _] = decoder.dims();
    assert_eq!(decoder.dims(), [vocab, width], "decoder is [vocab, hidden]");
    assert_eq!(bias.dims(), [vocab], "bias is [vocab]");
    assert_eq!(lengths.len(), docs, "one length per document");
    assert!(
        lengths.iter().all(|&length| length <= seq),
        "a length exceeds the sequence"
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

    /// [docs, seq, hidden, vocab] and the documents' lengths.
    const CASES: [([usize; 4], &[usize]); 6] = [
        ([1, 1, 3, 1], &[1]),
        ([1, 7, 8, 300], &[7]),
        ([3, 5, 4, 11], &[5, 1, 3]),
        ([2, 4, 6, 257], &[4, 1]),
        ([4, 9, 16, 513], &[9, 2, 8, 1]),
        ([2, 3, 4, 20], &[3, 0]),
    ];

    struct Case {
        hidden: Tensor<3>,
        decoder: Tensor<2>,
        bias: Tensor<1>,
        upstream: Tensor<2>,
        lengths: Vec<usize>,
    }

    impl Case {
        fn new([docs, seq, width, vocab]: [usize; 4], lengths: &[usize], device: &Device) -> Self {
            // Not the device's generator: its seed is shared by tests that run side by side.
            let mut draws = (1..).map(|n: i32| (n as f32 * 78.233).sin() * 43_758.547);
            let mut draw = |count: usize| -> Tensor<1> {
                let values: Vec<f32> = draws.by_ref().take(count).collect();
                let values: Vec<f32> = values.iter().map(|x| 3.0 * (x - x.floor()) - 1.5).collect();
                Tensor::from_floats(values.as_slice(), device)
            };
            Self {
                hidden: draw(docs * seq * width)
                    .reshape([docs, seq, width])
                    .detach()
                    .require_grad(),
                decoder: draw(vocab * width)
                    .reshape([vocab, width])
                    .detach()
                    .require_grad(),
                bias: draw(vocab).require_grad(),
                upstream: draw(docs * vocab).reshape([docs, vocab]),
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

    type Head = fn(Tensor<3>, Tensor<2>, Tensor<1>, &[usize], Activation) -> Tensor<2>;

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (index, (a, b)) in found.iter().zip(expected).enumerate() {
            let bound = tolerance * (1.0 + b.abs());
            assert!(
                (a - b).abs() <= bound,
                "{what}[{index}]: {a} instead of {b}"
            );
        }
    }

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
                for (part, name) in ["weights", "d hidden", "d decoder", "d bias"]
                    .iter()
                    .enumerate()
                {
                    let what = format!("{shape:?} {activation:?} {name}");
                    assert_close(&found[part], &expected[part], 1e-5, &what);
                }
            }
        }
    }

    /// The bodies that GPUs run, on the CPU, against its kernel.
    #[test]
    fn the_default_bodies_agree_with_the_kernel() {
        use burn_flex::FlexTensor;
        let flex = |tensor: Tensor<2>| FlexTensor::from_data(tensor.into_data());
        let values = |tensor: FlexTensor| tensor.into_data().iter::<f32>().collect::<Vec<_>>();
        let device = Device::flex().autodiff();
        for ([docs, seq, width, vocab], lengths) in CASES {
            let case = Case::new([docs, seq, width, vocab], lengths, &device);
            let hidden = FlexTensor::from_data(case.hidden.into_data());
            let decoder = flex(case.decoder);
            let bias = FlexTensor::from_data(case.bias.into_data());
            let inputs = (hidden.clone(), decoder.clone(), bias);
            let (found, at) = forward::pool_by_document::<Flex>(
                inputs.0.clone(),
                inputs.1.clone(),
                inputs.2.clone(),
                lengths,
            );
            let (expected, _) = Flex::pool_logits(inputs.0, inputs.1, inputs.2, lengths);
            assert_close(&values(found.clone()), &values(expected), 1e-5, "pooled");

            let active = values(found).into_iter().zip(values(flex(case.upstream)));
            let grad: Vec<f32> = active.map(|(m, g)| if m > 0.0 { g } else { 0.0 }).collect();
            let grad = FlexTensor::from_data(burn::tensor::TensorData::new(grad, [docs, vocab]));
            let found = backward::pool_by_document_backward::<Flex>(
                grad.clone(),
                at.clone(),
                hidden.clone(),
                decoder.clone(),
            );
            let expected = Flex::pool_logits_backward(grad, at, hidden, decoder);
            for (found, expected) in found.into_iter().zip(expected) {
                assert_close(&values(found), &values(expected), 1e-5, "gradient");
            }
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let device = Device::flex().autodiff();
        let case = Case::new([2, 3, 4, 9], &[3, 2], &device);
        let [_, gradient, ..] = case.run(sparse_head, Activation::L1Relu);
        let start = floats(case.hidden.clone().inner());
        let objective = |hidden: &[f32]| -> f32 {
            let hidden = Tensor::<1>::from_floats(hidden, &device).reshape([2, 3, 4]);
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
            assert!(
                (slope - gradient[index]).abs() < 2e-2,
                "{index}: {slope} {}",
                gradient[index]
            );
        }
    }

    #[test]
    fn nothing_positive_means_no_weight_and_no_gradient() {
        let device = Device::flex().autodiff();
        let mut case = Case::new([2, 3, 4, 9], &[3, 1], &device);
        case.bias = Tensor::full([9], -100.0, &device).require_grad();
        for part in case.run(sparse_head, Activation::L1Relu) {
            assert!(part.iter().all(|&value| value == 0.0));
        }
    }

    #[test]
    fn ties_go_to_the_first_position() {
        let device = Device::flex().autodiff();
        let mut case = Case::new([1, 3, 2, 5], &[3], &device);
        case.hidden = Tensor::ones([1, 3, 2], &device).require_grad();
        case.decoder = Tensor::ones([5, 2], &device).require_grad();
        case.upstream = Tensor::ones([1, 5], &device);
        case.bias = Tensor::zeros([5], &device).require_grad();
        let [_, hidden, ..] = case.run(sparse_head, Activation::Relu);
        assert!(hidden[..2].iter().all(|&g| g > 0.0) && hidden[2..].iter().all(|&g| g == 0.0));
    }
}
