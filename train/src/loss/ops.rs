//! The losses as backend operations, with hand-written backward passes.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::Shape;

use super::flops::{self, FlopsPenalty};
use super::{info_nce, kldiv, margin_mse};

/// Backends that have the losses. Called through the functions of [`crate::loss`].
#[backend_extension(Autodiff, Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")))]
pub trait LossOps: Backend {
    /// See [`super::kl_divergence()`].
    fn kl_divergence(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        temperature: f64,
    ) -> FloatTensor<Self> {
        kldiv::forward::<Self>(student, teacher, temperature).0
    }

    /// See [`super::margin_mse()`]; `positives` is 1 at each row's positive, 0 elsewhere.
    fn margin_mse(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        positives: FloatTensor<Self>,
        temperature: f64,
    ) -> FloatTensor<Self> {
        margin_mse::forward::<Self>(student, teacher, positives, temperature).0
    }

    /// See [`super::info_nce()`]; `exclusions` is added to the scores.
    fn info_nce(
        scores: FloatTensor<Self>,
        positives: FloatTensor<Self>,
        exclusions: FloatTensor<Self>,
        temperature: f64,
    ) -> FloatTensor<Self> {
        info_nce::forward::<Self>(scores, positives, exclusions, temperature).0
    }

    /// See [`super::flops()`].
    fn flops(weights: FloatTensor<Self>, penalty: FlopsPenalty) -> FloatTensor<Self> {
        flops::forward::<Self>(weights, penalty).0
    }
}

impl LossOps for Flex {}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl LossOps for burn::backend::Cube {}

impl<B: LossOps, C: CheckpointStrategy> LossOps for Autodiff<B, C> {
    fn kl_divergence(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        temperature: f64,
    ) -> FloatTensor<Self> {
        let (student, node) = student.into_parts();
        let computed = kldiv::forward::<B>(student, teacher.into_primitive(), temperature);
        with_known_gradient::<B, C>(node, computed)
    }

    fn margin_mse(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        positives: FloatTensor<Self>,
        temperature: f64,
    ) -> FloatTensor<Self> {
        let (student, node) = student.into_parts();
        let (teacher, positives) = (teacher.into_primitive(), positives.into_primitive());
        let computed = margin_mse::forward::<B>(student, teacher, positives, temperature);
        with_known_gradient::<B, C>(node, computed)
    }

    fn info_nce(
        scores: FloatTensor<Self>,
        positives: FloatTensor<Self>,
        exclusions: FloatTensor<Self>,
        temperature: f64,
    ) -> FloatTensor<Self> {
        let (scores, node) = scores.into_parts();
        let (positives, exclusions) = (positives.into_primitive(), exclusions.into_primitive());
        let computed = info_nce::forward::<B>(scores, positives, exclusions, temperature);
        with_known_gradient::<B, C>(node, computed)
    }

    fn flops(weights: FloatTensor<Self>, penalty: FlopsPenalty) -> FloatTensor<Self> {
        let (weights, node) = weights.into_parts();
        let (loss, state) = flops::forward::<B>(weights, penalty);
        match FlopsBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((state, penalty), loss),
            OpsKind::UnTracked(prep) => prep.finish(loss),
        }
    }
}

/// A scalar whose gradient was computed with it: scores are small, and both share the softmax.
#[derive(Debug)]
struct KnownGradient;

impl<B: Backend> Backward<B, 1> for KnownGradient {
    type State = FloatTensor<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = grads.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            let rank = ops.state.shape().num_dims();
            let upstream = B::float_reshape(upstream, Shape::from(vec![1; rank]));
            grads.register::<B>(parent.id, B::float_mul(ops.state, upstream));
        }
    }
}

fn with_known_gradient<B: Backend, C: CheckpointStrategy>(
    node: NodeGuard,
    (loss, gradient): (FloatTensor<B>, FloatTensor<B>),
) -> FloatTensor<Autodiff<B, C>> {
    match KnownGradient
        .prepare::<C>([node])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish(gradient, loss),
        OpsKind::UnTracked(prep) => prep.finish(loss),
    }
}

#[derive(Debug)]
struct FlopsBackward;

impl<B: Backend> Backward<B, 1> for FlopsBackward {
    type State = (flops::State<B>, FlopsPenalty);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = grads.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            let (state, penalty) = ops.state;
            grads.register::<B>(parent.id, flops::backward::<B>(upstream, state, penalty));
        }
    }
}
