//! The FLOPS penalty, with the l0 mask.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata};
use burn::tensor::{Shape, Tensor};
use configs::{FlopsConfig, FlopsReduction};

use super::ops::LossOps;

/// The form of the penalty; its weight lambda is the schedule's business.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlopsPenalty {
    /// Groups of rows with a mean of their own, summed: row r belongs to group `r % groups`.
    pub groups: usize,
    /// Rows with no more non-zero weights than this are left out (the l0 mask of arXiv 2504.14839).
    pub threshold: Option<f64>,
    /// Apply log1p once more to the weights, inside the penalty only.
    pub decouple_activation: bool,
}

impl FlopsPenalty {
    /// The penalty a recipe asks for, for rows that come `rows_per_query` to a query.
    pub fn new(config: &FlopsConfig, rows_per_query: usize) -> Self {
        Self {
            groups: match config.reduction {
                FlopsReduction::Slots => rows_per_query,
                FlopsReduction::Documents => 1,
            },
            threshold: config.threshold,
            decouple_activation: config.decouple_activation,
        }
    }
}

/// `Σ over groups g and tokens v of (mean over the rows of g of mask · |w|)²` (Paria et al. 2020).
///
/// The mask is 1 where a row has more non-zero weights than the threshold, carries no gradient, and does not change
/// the divisor: the mean is over all rows of the group.
///
/// Gradient: `2 · mean[g, v] / rows · mask · sign(w)`, divided by `1 + |w|` where the activation is decoupled.
///
/// # Shapes
///
/// - weights: `[rows, vocab]`, `rows` a multiple of `groups`
/// - output: `[1]`
pub fn flops(weights: Tensor<2>, penalty: FlopsPenalty) -> Tensor<1> {
    let rows = weights.dims()[0];
    assert!(
        rows.is_multiple_of(penalty.groups),
        "{rows} rows in {} groups",
        penalty.groups
    );
    Tensor::from_dispatch(<Dispatch as LossOps>::flops(
        weights.into_dispatch(),
        penalty,
    ))
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
pub(super) struct State<B: Backend> {
    /// `[rows / groups, groups, vocab]`
    weights: FloatTensor<B>,
    /// `[rows / groups, groups, 1]`
    mask: Option<FloatTensor<B>>,
    /// `[1, groups, vocab]`
    mean: FloatTensor<B>,
}

pub(super) fn forward<B: Backend>(
    weights: FloatTensor<B>,
    penalty: FlopsPenalty,
) -> (FloatTensor<B>, State<B>) {
    let [rows, vocab] = weights.shape().dims();
    let per_group = rows / penalty.groups;
    let weights = B::float_reshape(weights, Shape::new([per_group, penalty.groups, vocab]));
    let mut size = B::float_abs(weights.clone());
    let mask = penalty.threshold.map(|threshold| {
        let nonzero = B::float_sum_dim(B::float_sign(size.clone()), 2); // [per_group, groups, 1]
        // Counts are whole numbers, so that a count above the threshold exceeds its floor by 1 or more.
        let excess = B::float_sub_scalar(nonzero, threshold.floor().into());
        B::float_clamp(excess, 0.0.into(), 1.0.into())
    });
    if penalty.decouple_activation {
        size = B::float_log1p(size);
    }
    if let Some(mask) = &mask {
        size = B::float_mul(size, mask.clone());
    }
    let mean = B::float_div_scalar(B::float_sum_dim(size, 0), (per_group as f64).into());
    let loss = B::float_sum(B::float_mul(mean.clone(), mean.clone()));
    (
        loss,
        State {
            weights,
            mask,
            mean,
        },
    )
}

/// The gradient of the weights, given the gradient of the loss `[1]`.
pub(super) fn backward<B: Backend>(
    upstream: FloatTensor<B>,
    state: State<B>,
    penalty: FlopsPenalty,
) -> FloatTensor<B> {
    let [per_group, groups, vocab] = state.weights.shape().dims();
    let upstream = B::float_reshape(upstream, Shape::new([1, 1, 1]));
    let upstream = B::float_mul_scalar(upstream, (2.0 / per_group as f64).into());
    let slope = B::float_mul(state.mean, upstream); // [1, groups, vocab]
    let mut gradient = B::float_mul(B::float_sign(state.weights.clone()), slope);
    if let Some(mask) = state.mask {
        gradient = B::float_mul(gradient, mask);
    }
    if penalty.decouple_activation {
        let inner = B::float_add_scalar(B::float_abs(state.weights), 1.0.into());
        gradient = B::float_div(gradient, inner);
    }
    B::float_reshape(gradient, Shape::new([per_group * groups, vocab]))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::gradient_check::{assert_same, assert_slopes, floats, random};
    use super::super::reference;
    use super::*;

    fn penalty(groups: usize, threshold: Option<f64>, decouple_activation: bool) -> FlopsPenalty {
        FlopsPenalty {
            groups,
            threshold,
            decouple_activation,
        }
    }

    #[test]
    fn matches_plain_operations_and_finite_differences() {
        let device = Device::flex().autodiff();
        device.seed(4);
        for (shape, groups) in [([1, 7], 1), ([2, 7], 2), ([6, 9], 3), ([6, 9], 1)] {
            // Away from 0, where |w| has no derivative.
            let weights = random(shape, 1.0, &device);
            let weights = weights.clone() + weights.sign() * 0.1;
            for threshold in [None, Some(0.0), Some(6.5), Some(100.0)] {
                for decouple in [false, true] {
                    let penalty = penalty(groups, threshold, decouple);
                    let what = format!("{shape:?} {penalty:?}");
                    let plain = |x| reference::flops(x, penalty);
                    assert_same(&|x| flops(x, penalty), &plain, &weights, &what);
                    assert_slopes(&|x| flops(x, penalty), &weights, &what);
                }
            }
        }
    }

    #[test]
    fn a_masked_row_counts_in_the_divisor_but_gets_no_gradient() {
        let device = Device::flex().autodiff();
        let rows = [[1.0, 1.0, 1.0], [4.0, 0.0, 0.0]];
        let weights = Tensor::<2>::from_floats(rows, &device).require_grad();
        let loss = flops(weights.clone(), penalty(1, Some(1.0), false));
        let gradient = weights
            .grad(&loss.backward())
            .expect("weights have a gradient");
        assert_eq!(loss.into_scalar::<f32>(), 0.75);
        assert_eq!(floats(gradient), [0.5, 0.5, 0.5, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn slots_are_summed_and_documents_are_averaged() {
        let device = Device::flex();
        let weights = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 3.0]], &device);
        let loss =
            |groups| flops(weights.clone(), penalty(groups, None, false)).into_scalar::<f32>();
        assert_eq!(loss(2), 10.0);
        assert_eq!(loss(1), 2.5);
    }
}
