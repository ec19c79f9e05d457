//! The hand-written backward pass.

use burn::backend::Backend;
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::GegluOps;
use super::forward::{GegluPasses, halves};
use crate::ops::linear::gelu_slope;
use crate::ops::register;

#[derive(Debug)]
struct GegluBackward;

impl<B: GegluPasses> Backward<B, 1> for GegluBackward {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, 1>(grads, parents, [B::backward(grad, ops.state)]);
    }
}

impl<B: GegluPasses + GegluOps, C: CheckpointStrategy> GegluOps for Autodiff<B, C> {
    fn geglu(input: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [input.node()];
        let input = input.into_primitive();
        let output = B::forward(input.clone());
        match GegluBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(input, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

/// `du = dy gelu(g)`, `dg = dy u gelu'(g)`.
pub(super) fn geglu<B: Backend>(grad: FloatTensor<B>, input: FloatTensor<B>) -> FloatTensor<B> {
    let [up, gate] = halves::<B>(input);
    let grad_up = B::float_mul(grad.clone(), B::gelu(gate.clone()));
    let grad_gate = B::float_mul(B::float_mul(grad, up), gelu_slope::<B>(gate));
    B::float_cat(vec![grad_up, grad_gate], 1)
}
