//! Cross entropy over the vocabulary: decoder, softmax and the target's logarithm as one op.
//!
//! `loss[r] = log Σ_v exp(z[r, v]) - z[r, target[r]]`, with `z[r, v] = hidden[r] · decoder[v] + bias[v]`
//!
//! (The masked-LM objective of Devlin et al. 2019, section 3.1, of one token.) Rows are the tokens to guess alone. Their
//! logits never exist as a whole: the forward pass keeps three numbers of a row and a tile of the vocabulary, the
//! backward pass makes logits again, 16 MiB of them at a time (`CHUNK_LOGITS`; a tile for each thread where that is
//! more), and turns them into `softmax(z) - onehot(target)` where they are.

mod backward;
mod forward;
mod kernel;
pub mod reference;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};

use forward::CrossEntropyPasses;

/// Logits in memory at a time: 16 MiB.
const CHUNK_LOGITS: usize = 4 << 20;

/// Backends that have the op. Called through [`cross_entropy`].
#[backend_extension(Autodiff, Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")))]
pub trait CrossEntropyOps: Backend {
    /// See [`cross_entropy`].
    fn cross_entropy(
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> (FloatTensor<Self>, IntTensor<Self>);
}

impl CrossEntropyOps for Flex {
    fn cross_entropy(
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        let found = Self::losses(hidden, decoder, bias, targets);
        (found.losses, found.guesses)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl CrossEntropyOps for burn::backend::Cube {
    fn cross_entropy(
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        let found = Self::losses(hidden, decoder, bias, targets);
        (found.losses, found.guesses)
    }
}

/// What [`cross_entropy`] finds of each row.
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    /// `[rows]`: minus the logarithm of the target's probability.
    pub losses: Tensor<1>,
    /// `[rows]`: the vocabulary entry with the largest logit, the first of several.
    pub guesses: Tensor<1, Int>,
}

/// The cross entropy of each row with its target.
///
/// # Shapes
///
/// - hidden: `[rows, hidden]`, after the masked-LM transform
/// - decoder: `[vocab, hidden]`
/// - bias: `[vocab]`
/// - targets: `[rows]`, vocabulary entries
///
/// # Panics
///
/// If the shapes do not fit together, or there is no row.
pub fn cross_entropy(
    hidden: Tensor<2>,
    decoder: Tensor<2>,
    bias: Tensor<1>,
    targets: Tensor<1, Int>,
) -> CrossEntropy {
    let [rows, width] = hidden.dims();
    let [vocab, _] = decoder.dims();
    assert!(rows > 0, "there is a row");
    assert_eq!(decoder.dims(), [vocab, width], "decoder is [vocab, hidden]");
    assert_eq!(bias.dims(), [vocab], "bias is [vocab]");
    assert_eq!(targets.dims(), [rows], "a target for each row");
    let (losses, guesses) = <Dispatch as CrossEntropyOps>::cross_entropy(
        hidden.into_dispatch(),
        decoder.into_dispatch(),
        bias.into_dispatch(),
        targets.into_dispatch(),
    );
    CrossEntropy {
        losses: Tensor::from_dispatch(losses),
        guesses: Tensor::from_dispatch(guesses),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use burn_flex::FlexTensor;

    use super::*;
    use crate::ops::check::{Draws, assert_close, flex_floats, floats};

    /// Rows, hidden width and vocabulary.
    const CASES: [[usize; 3]; 7] = [
        [1, 3, 1],
        [7, 8, 300],
        [9, 4, 11],
        [130, 6, 257],
        [3, 16, 513],
        [113, 400, 700],
        [2, 400, 1025],
    ];
    const PARTS: [&str; 4] = ["losses", "d hidden", "d decoder", "d bias"];

    struct Case {
        hidden: Tensor<2>,
        decoder: Tensor<2>,
        bias: Tensor<1>,
        targets: Tensor<1, Int>,
        upstream: Tensor<1>,
    }

    impl Case {
        fn new([rows, width, vocab]: [usize; 3], device: &Device) -> Self {
            let mut draws = Draws::new(device);
            let targets: Vec<i32> = (0..rows).map(|row| (row * 37 % vocab) as i32).collect();
            Self {
                hidden: draws.next([rows, width]).require_grad(),
                decoder: draws.next([vocab, width]).require_grad(),
                bias: draws.next([vocab]).require_grad(),
                targets: Tensor::from_data(targets.as_slice(), device),
                upstream: draws.next([rows]),
            }
        }

        /// Losses, then the gradients of hidden, decoder and bias; and the guesses.
        fn run(&self, op: Loss) -> ([Vec<f32>; 4], Vec<i32>) {
            let found = op(
                self.hidden.clone(),
                self.decoder.clone(),
                self.bias.clone(),
                self.targets.clone(),
            );
            let grads = (found.losses.clone() * self.upstream.clone())
                .sum()
                .backward();
            let parts = [
                floats(found.losses.inner()),
                floats(self.hidden.grad(&grads).expect("hidden has a gradient")),
                floats(self.decoder.grad(&grads).expect("decoder has a gradient")),
                floats(self.bias.grad(&grads).expect("bias has a gradient")),
            ];
            (parts, found.guesses.into_data().iter::<i32>().collect())
        }

        fn on_flex(&self) -> [FlexTensor; 5] {
            let targets: Vec<i32> = self.targets.to_data().iter::<i32>().collect();
            let shape = [targets.len()];
            [
                FlexTensor::from_data(self.hidden.to_data()),
                FlexTensor::from_data(self.decoder.to_data()),
                FlexTensor::from_data(self.bias.to_data()),
                FlexTensor::from_data(TensorData::new(targets, shape)),
                FlexTensor::from_data(self.upstream.to_data()),
            ]
        }
    }

    type Loss = fn(Tensor<2>, Tensor<2>, Tensor<1>, Tensor<1, Int>) -> CrossEntropy;

    #[test]
    fn values_and_gradients_match_plain_tensor_operations() {
        let device = Device::flex().autodiff();
        for shape in CASES {
            let case = Case::new(shape, &device);
            let (found, guesses) = case.run(cross_entropy);
            let (expected, best) = case.run(reference::cross_entropy);
            for (part, name) in PARTS.iter().enumerate() {
                let what = format!("{shape:?} {name}");
                assert_close(&found[part], &expected[part], 2e-5, &what);
            }
            assert_eq!(guesses, best, "{shape:?}");
        }
    }

    /// The bodies that GPUs run, on the CPU, against its kernel, in chunks of every size.
    #[test]
    fn the_default_bodies_agree_with_the_kernel() {
        let device = Device::flex().autodiff();
        for [rows, width, vocab] in CASES {
            let case = Case::new([rows, width, vocab], &device);
            let [hidden, decoder, bias, targets, grad] = case.on_flex();
            let expected = Flex::losses(
                hidden.clone(),
                decoder.clone(),
                bias.clone(),
                targets.clone(),
            );
            let kept = || forward::Kept::<Flex> {
                hidden: hidden.clone(),
                decoder: decoder.clone(),
                bias: bias.clone(),
                targets: targets.clone(),
                log_sums: expected.log_sums.clone(),
            };
            let slopes = Flex::losses_backward(grad.clone(), kept(), true);
            for columns in [3, 100, vocab] {
                let what = format!("{rows} {width} {vocab} by {columns}");
                let found = forward::by_chunks::<Flex>(
                    hidden.clone(),
                    decoder.clone(),
                    bias.clone(),
                    targets.clone(),
                    columns,
                );
                for (found, expected) in [
                    (found.losses, &expected.losses),
                    (found.log_sums, &expected.log_sums),
                ] {
                    let expected = flex_floats(expected.clone());
                    assert_close(&flex_floats(found), &expected, 2e-5, &what);
                }
                let ints =
                    |tensor: FlexTensor| -> Vec<i32> { tensor.into_data().iter::<i32>().collect() };
                assert_eq!(
                    ints(found.guesses),
                    ints(expected.guesses.clone()),
                    "{what}"
                );
                let found = backward::by_chunks::<Flex>(grad.clone(), kept(), true, columns);
                assert_slopes(&found, &slopes, &what);
            }
            // The kernel itself, a few tiles at a time.
            let found = kernel::slopes(grad, &kept(), true, 1);
            assert_slopes(&found, &slopes, "one tile for each thread");
        }
    }

    /// Logits of 400 products, summed in another order, and exponentials of those.
    fn assert_slopes(
        (hidden, decoder, bias): &forward::Slopes<Flex>,
        expected: &forward::Slopes<Flex>,
        what: &str,
    ) {
        let decoders = [decoder, &expected.1].map(|decoder| decoder.clone().expect("asked for"));
        let [found, wanted] = decoders;
        for (found, expected) in [
            (hidden.clone(), expected.0.clone()),
            (found, wanted),
            (bias.clone(), expected.2.clone()),
        ] {
            assert_close(&flex_floats(found), &flex_floats(expected), 1e-4, what);
        }
    }

    #[test]
    fn a_frozen_decoder_changes_no_other_gradient() {
        let device = Device::flex().autodiff();
        let mut case = Case::new([113, 400, 700], &device);
        let (expected, _) = case.run(cross_entropy);
        case.decoder = case.decoder.set_require_grad(false);
        let found = cross_entropy(
            case.hidden.clone(),
            case.decoder.clone(),
            case.bias.clone(),
            case.targets.clone(),
        );
        let grads = (found.losses * case.upstream.clone()).sum().backward();
        assert!(case.decoder.grad(&grads).is_none());
        let hidden = floats(case.hidden.grad(&grads).expect("hidden has a gradient"));
        let bias = floats(case.bias.grad(&grads).expect("bias has a gradient"));
        assert_eq!((&hidden, &bias), (&expected[1], &expected[3]));
    }

    #[test]
    fn inference_gives_the_losses_of_training() {
        let device = Device::flex().autodiff();
        let case = Case::new([130, 6, 257], &device);
        let (trained, _) = case.run(cross_entropy);
        let inferred = cross_entropy(
            case.hidden.inner(),
            case.decoder.inner(),
            case.bias.inner(),
            case.targets.inner(),
        );
        assert_eq!(floats(inferred.losses), trained[0]);
    }

    #[test]
    fn gradients_match_finite_differences() {
        let device = Device::flex().autodiff();
        let case = Case::new([3, 4, 9], &device);
        let ([_, gradient, ..], _) = case.run(cross_entropy);
        let start = floats(case.hidden.clone().inner());
        let objective = |hidden: &[f32]| -> f32 {
            let hidden = Tensor::<1>::from_floats(hidden, &device).reshape([3, 4]);
            let (decoder, bias) = (case.decoder.clone(), case.bias.clone());
            let found = cross_entropy(hidden, decoder, bias, case.targets.clone());
            (found.losses * case.upstream.clone())
                .sum()
                .into_scalar::<f32>()
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

    /// Logits of thousands: no exponential may overflow, and a hopeless target costs what it is short of the best.
    #[test]
    fn large_logits_stay_finite() {
        let device = Device::flex().autodiff();
        let mut case = Case::new([2, 2, 40], &device);
        let mut bias = vec![-5000.0; 40];
        bias[7] = 3000.0;
        case.hidden = Tensor::zeros([2, 2], &device).require_grad();
        case.bias = Tensor::<1>::from_floats(bias.as_slice(), &device).require_grad();
        case.targets = Tensor::from_data([7, 8], &device);
        case.upstream = Tensor::ones([2], &device);
        let ([losses, _, _, bias], guesses) = case.run(cross_entropy);
        assert_eq!(losses, [0.0, 8000.0]);
        assert_eq!((bias[7], bias[8]), (1.0, -1.0));
        assert_eq!(guesses, [7, 7]);
    }
}
