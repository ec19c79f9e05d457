//! The last step of every layer of T5.

use super::config::FeedForwardKind;
use super::parameter::{Parameter, Part, Place};
use super::projection::{Norm, Projection, add};
use crate::hf::{ImportError, T5Weights};
use crate::inference::{BLOCK_ROWS, sized};
use crate::kernel::math::gelu_tanh;
use crate::kernel::product::Matrix;
use crate::kernel::vectorised;

/// `x + act(norm(x) W) U`, or gated, `x + (act(norm(x) W) * norm(x) V) U`.
pub(super) struct FeedForward {
    norm: Norm,
    /// W, or W and V side by side.
    input: Projection,
    output: Projection,
    kind: FeedForwardKind,
}

/// What the rows of a block are computed in.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[block, hidden]`
    pub(super) normed: Vec<f32>,
    /// `[block, intermediate]`, or twice as many columns where gated.
    inner: Vec<f32>,
    /// `[block, hidden]`
    pub(super) output: Vec<f32>,
}

impl FeedForward {
    pub(super) fn load(weights: &T5Weights, place: Place) -> Result<Self, ImportError> {
        let kind = weights.config().feed_forward;
        let inputs: &[Part] = match kind {
            FeedForwardKind::Relu => &[Part::Inner],
            FeedForwardKind::GatedGelu => &[Part::Inner, Part::Factor],
        };
        Ok(Self {
            norm: Norm::load(weights, Parameter::Layer(place, Part::Norm))?,
            input: Projection::load(weights, place, inputs)?,
            output: Projection::load(weights, place, &[Part::Output])?,
            kind,
        })
    }

    /// Finishes a block of rows before the next.
    ///
    /// # Shapes
    ///
    /// - hidden: `[rows, hidden]`, the input and then the output
    pub(super) fn add_to(&self, hidden: &mut [f32], scratch: &mut Scratch) {
        let width = self.norm.width();
        let columns = self.input.columns();
        for hidden in hidden.chunks_mut(BLOCK_ROWS * width) {
            let rows = hidden.len() / width;
            let normed = sized(&mut scratch.normed, hidden.len());
            let inner = sized(&mut scratch.inner, rows * columns);
            let output = sized(&mut scratch.output, hidden.len());
            self.input.apply(self.norm.apply(hidden, normed), inner);
            let used = match self.kind {
                FeedForwardKind::Relu => {
                    relu_of(inner);
                    columns
                }
                FeedForwardKind::GatedGelu => {
                    gate(inner, columns);
                    columns / 2
                }
            };
            let inner = Matrix::strided(inner, [rows, used], columns);
            self.output.apply(inner, output);
            add(hidden, output);
        }
    }
}

fn relu_of(values: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || values.iter_mut().for_each(|x| *x = x.max(0.0)),
    );
}

/// The left half of each row becomes its gelu times the right half.
fn gate(values: &mut [f32], columns: usize) {
    vectorised(
        #[inline(always)]
        || {
            for row in values.chunks_exact_mut(columns) {
                let (inner, factor) = row.split_at_mut(columns / 2);
                for (x, factor) in inner.iter_mut().zip(factor) {
                    *x = gelu_tanh(*x) * *factor;
                }
            }
        },
    );
}
