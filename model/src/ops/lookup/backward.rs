//! The hand-written backward pass.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::IndexingUpdateOp;

use super::LookupOps;

#[derive(Debug)]
struct LookupBackward;

#[derive(Debug, Clone)]
struct State<B: Backend> {
    /// Names the gradient that is added to.
    table: FloatTensor<Autodiff<B>>,
    ids: IntTensor<B>,
}

impl<B: Backend> Backward<B, 1> for LookupBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let State { table, ids } = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let [Some(parent)] = ops.parents else { return };
        let so_far = grads
            .remove::<B>(&table)
            .unwrap_or_else(|| B::float_zeros(table.shape(), &grad.device(), grad.dtype().into()));
        let sum = B::float_select_assign(so_far, 0, ids, grad, IndexingUpdateOp::Add);
        grads.register::<B>(parent.id, sum);
    }
}

impl<B: LookupOps, C: CheckpointStrategy> LookupOps for Autodiff<B, C> {
    fn lookup(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        let state = State {
            table: table.clone(),
            ids: ids.clone(),
        };
        let nodes = [table.node()];
        let rows = B::lookup(table.into_primitive(), ids);
        match LookupBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(state, rows),
            OpsKind::UnTracked(prep) => prep.finish(rows),
        }
    }
}
