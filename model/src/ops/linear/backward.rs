//! The hand-written backward pass.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::forward::{Kept, LinearPasses};
use super::{Gelu, LinearOps};
use crate::ops::register;

#[derive(Debug)]
struct LinearBackward;

#[derive(Debug, Clone)]
struct State<B: Backend> {
    kept: Kept<B>,
    gelu: Gelu,
}

impl<B: LinearPasses> Backward<B, 3> for LinearBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let State { kept, gelu } = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, 3>(grads, parents, B::backward(grad, kept, gelu));
    }
}

impl<B: LinearPasses + LinearOps, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gelu: Gelu,
    ) -> FloatTensor<Self> {
        let nodes = [input.node(), weight.node(), bias.node()];
        let (input, weight) = (input.into_primitive(), weight.into_primitive());
        let (output, sums) = B::forward(input.clone(), weight.clone(), bias.into_primitive(), gelu);
        match LinearBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(
                State {
                    kept: (input, weight, sums),
                    gelu,
                },
                output,
            ),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

/// With `h = x` or `gelu(x)` and `z = h W + b`: `dz = dy` or `dy gelu'(z)`, `dW = hᵀ dz`, `db = Σ over rows of dz`,
/// `dh = dz Wᵀ`, `dx = dh` or `dh gelu'(x)`.
pub(super) fn linear<B: Backend>(
    grad: FloatTensor<B>,
    (input, weight, sums): Kept<B>,
    gelu: Gelu,
) -> [FloatTensor<B>; 3] {
    let grad = match sums {
        Some(sums) => B::float_mul(grad, gelu_slope::<B>(sums)),
        None => grad,
    };
    let [_, columns] = weight.shape().dims();
    let grad_bias = B::float_reshape(B::float_sum_dim(grad.clone(), 0), Shape::new([columns]));
    let (inner, slope) = match gelu {
        Gelu::Before => (B::gelu(input.clone()), Some(gelu_slope::<B>(input))),
        Gelu::Nowhere | Gelu::After => (input, None),
    };
    let grad_weight = B::float_matmul(B::float_transpose(inner), grad.clone());
    let grad_inner = B::float_matmul(grad, B::float_transpose(weight));
    let grad_input = match slope {
        Some(slope) => B::float_mul(grad_inner, slope),
        None => grad_inner,
    };
    [grad_input, grad_weight, grad_bias]
}

/// `Φ(z) + z φ(z)`; Burn's own `gelu_backward` is that of the tanh approximation.
pub(in crate::ops) fn gelu_slope<B: Backend>(sums: FloatTensor<B>) -> FloatTensor<B> {
    let scaled = |tensor, factor: f64| B::float_mul_scalar(tensor, factor.into());
    let erf = B::float_erf(scaled(sums.clone(), std::f64::consts::FRAC_1_SQRT_2));
    let phi = B::float_add_scalar(scaled(erf, 0.5), 0.5.into());
    let square = B::float_mul(sums.clone(), sums.clone());
    let density = scaled(
        B::float_exp(scaled(square, -0.5)),
        (0.5 / std::f64::consts::PI).sqrt(),
    );
    B::float_add(phi, B::float_mul(sums, density))
}
