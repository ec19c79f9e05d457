//! The hand-written backward pass.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{IndexingUpdateOp, Shape, Slice};

use super::CrossEntropyOps;
use super::forward::{CrossEntropyPasses, Kept, Slopes, chunks, logits};
use crate::ops::register;

#[derive(Debug)]
struct CrossEntropyBackward;

impl<B: CrossEntropyPasses> Backward<B, 3> for CrossEntropyBackward {
    type State = Kept<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let [hidden, decoder, bias] = ops.parents.map(|parent| parent.map(|node| node.id));
        let slopes = B::losses_backward(grad, ops.state, decoder.is_some());
        let (grad_hidden, grad_decoder, grad_bias) = slopes;
        register::<B, 2>(grads, [hidden, bias], [grad_hidden, grad_bias]);
        if let Some(grad_decoder) = grad_decoder {
            register::<B, 1>(grads, [decoder], [grad_decoder]);
        }
    }
}

impl<B: CrossEntropyPasses + CrossEntropyOps, C: CheckpointStrategy> CrossEntropyOps
    for Autodiff<B, C>
{
    fn cross_entropy(
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        let nodes = [hidden.node(), decoder.node(), bias.node()];
        let (hidden, decoder) = (hidden.into_primitive(), decoder.into_primitive());
        let bias = bias.into_primitive();
        let found = B::losses(
            hidden.clone(),
            decoder.clone(),
            bias.clone(),
            targets.clone(),
        );
        let kept = Kept {
            hidden,
            decoder,
            bias,
            targets,
            log_sums: found.log_sums,
        };
        let losses = match CrossEntropyBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(kept, found.losses),
            OpsKind::UnTracked(prep) => prep.finish(found.losses),
        };
        (losses, found.guesses)
    }
}

/// `dz = dloss (softmax(z) - onehot(target))`, `dhidden = dz · decoder`, `ddecoder = dzᵀ · hidden`, `dbias = Σ over rows
/// of dz`: the softmax's part chunk by chunk, then that of the targets.
pub(super) fn by_chunks<B: Backend>(
    grad: FloatTensor<B>,
    kept: Kept<B>,
    has_decoder_gradient: bool,
    columns: usize,
) -> Slopes<B> {
    let Kept {
        hidden,
        decoder,
        bias,
        targets,
        log_sums,
    } = kept;
    let [rows, _] = hidden.shape().dims();
    let [vocab] = bias.shape().dims();
    let column = Shape::new([rows, 1]);
    let log_sums = B::float_reshape(log_sums, column.clone());
    let scale = B::float_reshape(grad.clone(), column);

    let of_targets = B::float_select(decoder.clone(), 0, targets.clone()); // [rows, hidden]
    let minus_scale = B::float_neg(scale.clone());
    let mut grad_hidden = B::float_mul(of_targets, minus_scale.clone());
    let (mut grad_decoder, mut grad_bias) = (Vec::new(), Vec::new());
    for range in chunks(vocab, columns) {
        let part = B::float_slice(decoder.clone(), &[Slice::from(range.clone())]);
        let size = Shape::new([range.len()]);
        let logits = logits::<B>(&hidden, part.clone(), &bias, range);
        let probabilities = B::float_exp(B::float_sub(logits, log_sums.clone()));
        let slopes = B::float_mul(probabilities, scale.clone()); // [rows, columns]
        grad_bias.push(B::float_reshape(B::float_sum_dim(slopes.clone(), 0), size));
        grad_hidden = B::float_add(grad_hidden, B::float_matmul(slopes.clone(), part));
        if has_decoder_gradient {
            let transposed = B::float_transpose(slopes);
            grad_decoder.push(B::float_matmul(transposed, hidden.clone()));
        }
    }
    let subtract = |gradient, values| {
        B::float_select_assign(gradient, 0, targets.clone(), values, IndexingUpdateOp::Add)
    };
    let grad_bias = subtract(B::float_cat(grad_bias, 0), B::float_neg(grad));
    let grad_decoder = has_decoder_gradient.then(|| {
        let rows_of_targets = B::float_mul(hidden, minus_scale);
        subtract(B::float_cat(grad_decoder, 0), rows_of_targets)
    });
    (grad_hidden, grad_decoder, grad_bias)
}
