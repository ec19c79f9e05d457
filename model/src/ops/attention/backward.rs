//! The hand-written backward pass.

use burn::backend::Backend;
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::forward::{AttentionPasses, Saved, scale};
use super::padded::Padded;
use super::{AttentionOps, Heads};
use crate::ops::register;

#[derive(Debug)]
struct AttentionBackward;

#[derive(Debug, Clone)]
struct State<B: Backend> {
    inputs: [FloatTensor<B>; 3],
    saved: Saved<B>,
    heads: Heads,
}

impl<B: AttentionPasses> Backward<B, 3> for AttentionBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let State {
            inputs,
            saved,
            heads,
        } = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, 3>(grads, parents, B::backward(grad, inputs, saved, &heads));
    }
}

impl<B: AttentionPasses + AttentionOps, C: CheckpointStrategy> AttentionOps for Autodiff<B, C> {
    fn attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        let nodes = [query.node(), key.node(), value.node()];
        let inputs = [query, key, value].map(|input| input.into_primitive());
        let [query, key, value] = inputs.clone();
        let (output, saved) = B::forward(query, key, value, &heads);
        let state = State {
            inputs,
            saved,
            heads,
        };
        match AttentionBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(state, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

/// With weights P, dropout's factors M and output `(P M) V`: `dV = (P M)ᵀ dy`, `dP = M (dy Vᵀ)`,
/// `dS = P (dP - Σ over keys of dP P)`, `dQ = dS K / √d`, `dK = dSᵀ Q / √d`.
pub(super) fn attention<B: Backend>(
    grad: FloatTensor<B>,
    inputs: [FloatTensor<B>; 3],
    saved: Saved<B>,
    heads: &Heads,
) -> [FloatTensor<B>; 3] {
    let Saved::Weights(weights, kept) = saved else {
        unreachable!("the forward pass of these bodies saves the weights");
    };
    let thin = |tensor| match &kept {
        Some(kept) => B::float_mul(tensor, kept.clone()),
        None => tensor,
    };
    let transposed = |tensor| B::float_swap_dims(tensor, 2, 3);
    let padded = Padded::new(heads);
    let grad = padded.pad::<B>(grad);
    let [query, key, value] = inputs.map(|packed| padded.pad::<B>(packed));
    let scale = scale::<B>(&query);
    let grad_value = B::float_matmul(transposed(thin(weights.clone())), grad.clone());
    let grad_weights = thin(B::float_matmul(grad, transposed(value)));
    let weighted = B::float_mul(grad_weights.clone(), weights.clone());
    let mean = B::float_sum_dim(weighted, 3);
    let grad_scores = B::float_mul(weights, B::float_sub(grad_weights, mean));
    let grad_scores = B::float_mul_scalar(grad_scores, scale.into());
    let grad_query = B::float_matmul(grad_scores.clone(), key);
    let grad_key = B::float_matmul(transposed(grad_scores), query);
    [grad_query, grad_key, grad_value].map(|gradient| padded.unpad::<B>(gradient))
}
