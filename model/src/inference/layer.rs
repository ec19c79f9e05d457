//! One transformer layer over the texts of a thread.

use std::sync::Arc;

use super::projection::{Norm, Projection, gelu_of};
use super::rotation::Rotation;
use super::{BLOCK_ROWS, sized};
use crate::config::FeedForward;
use crate::encoder;
use crate::kernel::reduced::Rows;
use crate::ops::attention::{Head, head_of};
use crate::ops::geglu::gate_rows;
use crate::precision::Precision;

/// As [`encoder::Layer`].
pub(super) struct Layer {
    /// Queries, keys and values, side by side.
    inputs: Projection,
    /// Where positions are rotary.
    rotation: Option<Arc<Rotation>>,
    attention_output: Projection,
    attention_norm: Norm,
    intermediate: Projection,
    feed_forward: FeedForward,
    output: Projection,
    output_norm: Norm,
    num_heads: usize,
}

/// What a layer computes in.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[tokens, 3 * hidden]`
    inputs: Vec<f32>,
    /// `[tokens, hidden]`
    context: Vec<f32>,
    /// Attention weights of some queries of one head.
    weights: Vec<f32>,
    /// `[block, intermediate]`, or twice as wide where it is gated
    pub(super) inner: Vec<f32>,
    /// `[block, intermediate]` where it is gated
    gated: Vec<f32>,
    /// `[block, hidden]`
    output: Vec<f32>,
    pub(super) rounded: Rows,
}

impl Layer {
    pub(super) fn pack(
        layer: &encoder::Layer,
        rotation: Option<Arc<Rotation>>,
        precision: Precision,
    ) -> Self {
        let attention = &layer.attention;
        let pack = |layer| Projection::pack(&[layer], precision);
        Self {
            inputs: Projection::pack(
                &[&attention.query, &attention.key, &attention.value],
                precision,
            ),
            rotation,
            attention_output: pack(&attention.output),
            attention_norm: Norm::new(&layer.attention_norm, layer.norm_eps),
            intermediate: pack(&layer.intermediate),
            feed_forward: layer.feed_forward,
            output: pack(&layer.output),
            output_norm: Norm::new(&layer.output_norm, layer.norm_eps),
            num_heads: attention.num_heads,
        }
    }

    /// # Shapes
    ///
    /// - hidden: `[tokens, hidden]`, the layer's input and then its output
    pub(super) fn forward(&self, hidden: &mut [f32], lengths: &[usize], scratch: &mut Scratch) {
        let width = self.output.columns();
        let inputs = sized(&mut scratch.inputs, 3 * hidden.len());
        let blocks = inputs.chunks_mut(BLOCK_ROWS * 3 * width);
        let mut positions = lengths.iter().flat_map(|&length| 0..length);
        for (to, rows) in blocks.zip(hidden.chunks(BLOCK_ROWS * width)) {
            self.inputs.apply(rows, to, &mut scratch.rounded);
            if let Some(rotation) = &self.rotation {
                // Queries and keys, not values.
                rotation.apply(to, [3 * width, 2 * width], &mut positions);
            }
        }
        let context = sized(&mut scratch.context, hidden.len());
        self.attend(inputs, context, lengths, &mut scratch.weights);
        let blocks = hidden.chunks_mut(BLOCK_ROWS * width);
        for (hidden, context) in blocks.zip(context.chunks(BLOCK_ROWS * width)) {
            let rows = hidden.len() / width;
            let output = sized(&mut scratch.output, hidden.len());
            let inner = sized(&mut scratch.inner, rows * self.intermediate.columns());
            let rounded = &mut scratch.rounded;
            self.attention_output.apply(context, output, rounded);
            self.attention_norm.add(output, hidden);
            self.intermediate.apply(hidden, inner, rounded);
            let inner = match self.feed_forward {
                FeedForward::Plain => {
                    gelu_of(inner);
                    inner
                }
                FeedForward::Gated => {
                    let gated = sized(&mut scratch.gated, inner.len() / 2);
                    gate_rows(inner, gated, self.intermediate.columns() / 2);
                    gated
                }
            };
            self.output.apply(inner, output, rounded);
            self.output_norm.add(output, hidden);
        }
    }

    fn attend(
        &self,
        inputs: &[f32],
        context: &mut [f32],
        lengths: &[usize],
        weights: &mut Vec<f32>,
    ) {
        let width = self.output.columns();
        let per_head = width / self.num_heads;
        let mut first = 0;
        for &length in lengths.iter().filter(|length| **length > 0) {
            for column in (0..width).step_by(per_head) {
                let [query, key, value] = [0, width, 2 * width].map(|start| {
                    head_of(
                        inputs,
                        [first, start + column],
                        [length, per_head],
                        3 * width,
                    )
                });
                let context = &mut context[first * width + column..];
                Head::new(query, key, value).forward(context, width, weights);
            }
            first += length;
        }
    }
}
