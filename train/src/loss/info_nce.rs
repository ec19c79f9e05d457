//! `infonce`: contrastive cross entropy.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata};
use burn::tensor::Tensor;

use super::Candidates;
use super::ops::LossOps;

/// Mean over the queries of `-log softmax(scores / T)[positive]` (van den Oord et al. 2018).
///
/// In a batch a query is set against the negatives of every query, but not against the other queries' positives.
/// The reference ignores the temperature here; at T = 1 both are the same.
///
/// # Shapes
///
/// - scores: `[queries, candidates]`
/// - output: `[1]`
pub fn info_nce(scores: Tensor<2>, candidates: Candidates, temperature: f64) -> Tensor<1> {
    let (shape, device) = (scores.dims(), scores.device());
    let positives = candidates.positives(shape, &device);
    let exclusions = candidates.exclusions(shape, &device);
    Tensor::from_dispatch(<Dispatch as LossOps>::info_nce(
        scores.into_dispatch(),
        positives.into_dispatch(),
        exclusions.into_dispatch(),
        temperature,
    ))
}

/// The loss and its gradient with respect to the scores: `(softmax - one-hot) / (T B)`.
pub(super) fn forward<B: Backend>(
    scores: FloatTensor<B>,
    positives: FloatTensor<B>,
    exclusions: FloatTensor<B>,
    temperature: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let rows = scores.shape()[0] as f64;
    let logits = B::float_add(B::float_div_scalar(scores, temperature.into()), exclusions);
    let log_q = B::log_softmax(logits, 1);
    let likelihood = B::float_sum(B::float_mul(log_q.clone(), positives.clone()));
    let loss = B::float_div_scalar(likelihood, (-rows).into());
    let difference = B::float_sub(B::float_exp(log_q), positives);
    let gradient = B::float_div_scalar(difference, (temperature * rows).into());
    (loss, gradient)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::gradient_check::{assert_same, assert_slopes, random};
    use super::super::reference;
    use super::*;

    #[test]
    fn matches_plain_operations_and_finite_differences() {
        let device = Device::flex().autodiff();
        device.seed(3);
        for (shape, candidates, temperature) in [
            ([1, 1], Candidates::Own, 1.0),
            ([1, 3], Candidates::Own, 1.0),
            ([4, 3], Candidates::Own, 2.5),
            ([1, 3], Candidates::InBatch, 1.0),
            ([3, 6], Candidates::InBatch, 0.5),
        ] {
            let scores = random(shape, 1.0, &device);
            let op = |x| info_nce(x, candidates, temperature);
            let plain = |x| reference::info_nce(x, candidates, temperature);
            let what = format!("{shape:?} {candidates:?} at {temperature}");
            assert_same(&op, &plain, &scores, &what);
            assert_slopes(&op, &scores, &what);
        }
    }

    #[test]
    fn other_positives_do_not_count() {
        let device = Device::flex();
        let low = Tensor::<2>::from_floats([[1.0, 0.0, -9.0, 2.0], [-9.0, 2.0, 1.0, 0.0]], &device);
        let high =
            Tensor::<2>::from_floats([[1.0, 0.0, 99.0, 2.0], [99.0, 2.0, 1.0, 0.0]], &device);
        let loss = |scores| info_nce(scores, Candidates::InBatch, 1.0).into_scalar::<f32>();
        assert_eq!(loss(low), loss(high));
    }
}
