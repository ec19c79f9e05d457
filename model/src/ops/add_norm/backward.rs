//! The hand-written backward pass.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::AddNormOps;
use super::forward::{AddNormPasses, Saved};
use crate::ops::register;

#[derive(Debug)]
struct AddNormBackward;

#[derive(Debug, Clone)]
struct State<B: Backend> {
    gamma: FloatTensor<B>,
    saved: Saved<B>,
}

impl<B: AddNormPasses> Backward<B, 4> for AddNormBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let State { gamma, saved } = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let [sum, gamma, beta] = B::backward(grad, gamma, saved);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, 4>(grads, parents, [sum.clone(), sum, gamma, beta]);
    }
}

impl<B: AddNormPasses + AddNormOps, C: CheckpointStrategy> AddNormOps for Autodiff<B, C> {
    fn add_norm(
        input: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let nodes = [input.node(), residual.node(), gamma.node(), beta.node()];
        let gamma = gamma.into_primitive();
        let passed = B::forward(
            input.into_primitive(),
            residual.into_primitive(),
            gamma.clone(),
            beta.into_primitive(),
            epsilon,
        );
        let state = State {
            gamma,
            saved: passed.saved,
        };
        match AddNormBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(state, passed.output),
            OpsKind::UnTracked(prep) => prep.finish(passed.output),
        }
    }
}

/// With `n = (s - mean) / deviation` and `g = γ dy`:
/// `ds = (g - mean(g) - n mean(g n)) / deviation`, `dγ = Σ over rows of dy n`, `dβ = Σ over rows of dy`.
pub(super) fn add_norm<B: Backend>(
    grad: FloatTensor<B>,
    gamma: FloatTensor<B>,
    saved: Saved<B>,
) -> [FloatTensor<B>; 3] {
    let [width] = gamma.shape().dims();
    let normal = B::float_mul(
        B::float_sub(saved.sum, saved.mean),
        saved.inverse_deviation.clone(),
    );
    let over_rows = |tensor| B::float_reshape(B::float_sum_dim(tensor, 0), Shape::new([width]));
    let grad_gamma = over_rows(B::float_mul(grad.clone(), normal.clone()));
    let grad_beta = over_rows(grad.clone());
    let scaled = B::float_mul(grad, B::float_reshape(gamma, Shape::new([1, width])));
    let mean = B::float_mean_dim(scaled.clone(), 1);
    let share = B::float_mean_dim(B::float_mul(scaled.clone(), normal.clone()), 1);
    let centred = B::float_sub(B::float_sub(scaled, mean), B::float_mul(normal, share));
    [
        B::float_mul(centred, saved.inverse_deviation),
        grad_gamma,
        grad_beta,
    ]
}
