//! The hand-written backward pass.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::forward::LinearPasses;
use super::{LinearOps, Then};
use crate::ops::register;
use crate::precision::Precision;

#[derive(Debug)]
struct LinearBackward;

#[derive(Debug, Clone)]
struct State<B: Backend> {
    input: FloatTensor<B>,
    weight: FloatTensor<B>,
    sums: Option<FloatTensor<B>>,
}

impl<B: LinearPasses> Backward<B, 3> for LinearBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let State {
            input,
            weight,
            sums,
        } = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, 3>(grads, parents, B::backward(grad, input, weight, sums));
    }
}

impl<B: LinearPasses + LinearOps, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        then: Then,
        _precision: Precision,
    ) -> FloatTensor<Self> {
        let nodes = [input.node(), weight.node(), bias.node()];
        let (input, weight) = (input.into_primitive(), weight.into_primitive());
        let (output, sums) = B::forward(input.clone(), weight.clone(), bias.into_primitive(), then);
        match LinearBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(
                State {
                    input,
                    weight,
                    sums,
                },
                output,
            ),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

/// With `z = x W + b`: `dz = dy gelu'(z)`, `dx = dz Wᵀ`, `dW = xᵀ dz`, `db = Σ over rows of dz`.
pub(super) fn linear<B: Backend>(
    grad: FloatTensor<B>,
    input: FloatTensor<B>,
    weight: FloatTensor<B>,
    sums: Option<FloatTensor<B>>,
) -> [FloatTensor<B>; 3] {
    let grad = match sums {
        Some(sums) => B::float_mul(grad, gelu_slope::<B>(sums)),
        None => grad,
    };
    let [_, columns] = weight.shape().dims();
    let grad_bias = B::float_reshape(B::float_sum_dim(grad.clone(), 0), Shape::new([columns]));
    let grad_weight = B::float_matmul(B::float_transpose(input), grad.clone());
    let grad_input = B::float_matmul(grad, B::float_transpose(weight));
    [grad_input, grad_weight, grad_bias]
}

/// `Φ(z) + z φ(z)`; Burn's own `gelu_backward` is that of the tanh approximation.
fn gelu_slope<B: Backend>(sums: FloatTensor<B>) -> FloatTensor<B> {
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
