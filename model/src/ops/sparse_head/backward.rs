//! The hand-written backward pass.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{IndexingUpdateOp, Shape, Slice};

use super::SparseHeadOps;
use super::forward::{PoolLogits, logarithms};
use crate::ops::register;

#[derive(Debug)]
struct SparseHeadBackward;

/// What the backward pass needs: nothing of the size `[docs, seq, vocab]`.
#[derive(Debug, Clone)]
struct State<B: Backend> {
    hidden: FloatTensor<B>,
    decoder: FloatTensor<B>,
    pooled: FloatTensor<B>,
    positions: IntTensor<B>,
    lengths: Vec<usize>,
    logarithms: usize,
}

impl<B: PoolLogits> Backward<B, 3> for SparseHeadBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let state = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let grad = logarithms_backward::<B>(grad, state.pooled, state.logarithms);
        let gradients = B::pool_logits_backward(
            grad,
            state.positions,
            state.hidden,
            state.decoder,
            &state.lengths,
        );
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, 3>(grads, parents, gradients);
    }
}

impl<B: PoolLogits + SparseHeadOps, C: CheckpointStrategy> SparseHeadOps for Autodiff<B, C> {
    fn sparse_head(
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        lengths: Vec<usize>,
        count: usize,
    ) -> FloatTensor<Self> {
        let nodes = [hidden.node(), decoder.node(), bias.node()];
        let (hidden, decoder) = (hidden.into_primitive(), decoder.into_primitive());
        let (pooled, positions) = B::pool_logits(
            hidden.clone(),
            decoder.clone(),
            bias.into_primitive(),
            &lengths,
        );
        let weights = logarithms::<B>(pooled.clone(), count);
        match SparseHeadBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(
                State {
                    hidden,
                    decoder,
                    pooled,
                    positions,
                    lengths,
                    logarithms: count,
                },
                weights,
            ),
            OpsKind::UnTracked(prep) => prep.finish(weights),
        }
    }
}

/// d/dm of `log1p^count(relu(m))`: the product of `1 / (1 + y_k)` over `y_0 = m, y_1 = log1p(m), ...`, and 0 where
/// `m` is 0.
fn logarithms_backward<B: Backend>(
    grad: FloatTensor<B>,
    pooled: FloatTensor<B>,
    count: usize,
) -> FloatTensor<B> {
    let active = B::float_sign(pooled.clone()); // 1 or 0: pooled logits are never negative
    let (grad, _) = (0..count).fold((grad, pooled), |(grad, inner), _| {
        let grad = B::float_div(grad, B::float_add_scalar(inner.clone(), 1.0.into()));
        (grad, B::float_log1p(inner))
    });
    B::float_mul(grad, active)
}

/// One document at a time: every (document, token) pair sends its gradient to the decoder's row of that token and
/// to the hidden state of the position that won.
pub(super) fn pool_by_document_backward<B: Backend>(
    grad: FloatTensor<B>,
    positions: IntTensor<B>,
    hidden: FloatTensor<B>,
    decoder: FloatTensor<B>,
    lengths: &[usize],
) -> [FloatTensor<B>; 3] {
    let [_, width] = hidden.shape().dims();
    let [vocab, _] = decoder.shape().dims();
    let device = hidden.device();
    let dtype = hidden.dtype().into();
    let grad_bias = B::float_reshape(B::float_sum_dim(grad.clone(), 0), Shape::new([vocab]));
    let mut grad_decoder = B::float_zeros(Shape::new([vocab, width]), &device, dtype);
    let mut grad_hidden = Vec::with_capacity(lengths.len());
    let mut first = 0;
    for (doc, &length) in lengths
        .iter()
        .enumerate()
        .filter(|(_, length)| **length > 0)
    {
        let row = [Slice::from(doc..doc + 1)];
        let states = B::float_slice(hidden.clone(), &[Slice::from(first..first + length)]);
        first += length;
        let positions = B::int_reshape(B::int_slice(positions.clone(), &row), Shape::new([vocab]));
        let grad = B::float_reshape(B::float_slice(grad.clone(), &row), Shape::new([vocab, 1]));
        let winners = B::float_select(states, 0, positions.clone()); // [vocab, hidden]
        grad_decoder = B::float_add(grad_decoder, B::float_mul(winners, grad.clone()));
        grad_hidden.push(B::float_select_assign(
            B::float_zeros(Shape::new([length, width]), &device, dtype),
            0,
            positions,
            B::float_mul(decoder.clone(), grad),
            IndexingUpdateOp::Add,
        ));
    }
    [B::float_cat(grad_hidden, 0), grad_decoder, grad_bias]
}
