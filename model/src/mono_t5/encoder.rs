//! T5's encoder over the texts of a thread, one after the other without padding.

use super::attention::Attended;
use super::feed_forward::{self, FeedForward};
use super::parameter::{Parameter, Part, Place, Stack, Sublayer};
use super::position_bias::{PositionBias, Spread};
use super::projection::{Norm, Projection, add};
use crate::hf::{ImportError, T5Weights};
use crate::inference::{BLOCK_ROWS, sized};
use crate::kernel::product::Matrix;
use crate::ops::attention::head_of;

/// Token embeddings and layers; positions are known to attention alone.
pub(super) struct Encoder {
    /// `[vocab, hidden]`
    words: Vec<f32>,
    bias: PositionBias,
    layers: Vec<Layer>,
    norm: Norm,
}

/// What a thread computes in.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[tokens, hidden]`
    hidden: Vec<f32>,
    /// `[tokens, hidden]`
    states: Vec<f32>,
    /// `[heads, distances]`
    bias: Vec<f32>,
    layer: LayerScratch,
}

impl Encoder {
    pub(super) fn load(weights: &T5Weights) -> Result<Self, ImportError> {
        let layers = 0..weights.config().encoder_layers;
        Ok(Self {
            words: weights.read(Parameter::Embeddings)?,
            bias: PositionBias::load(weights)?,
            layers: layers
                .map(|layer| Layer::load(weights, layer))
                .collect::<Result<_, _>>()?,
            norm: Norm::load(weights, Parameter::FinalNorm(Stack::Encoder))?,
        })
    }

    /// The embedding of a token. `[hidden]`
    ///
    /// # Panics
    ///
    /// If it is not in the vocabulary.
    pub(super) fn word(&self, token: u32) -> &[f32] {
        let width = self.norm.width();
        &self.words[token as usize * width..][..width]
    }

    /// The texts' hidden states after the last norm. `[tokens, hidden]`
    pub(super) fn forward<'a>(&self, texts: &[&[u32]], scratch: &'a mut Scratch) -> &'a [f32] {
        let width = self.norm.width();
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let tokens: usize = lengths.iter().sum();
        let hidden = sized(&mut scratch.hidden, tokens * width);
        let ids = texts.iter().flat_map(|text| text.iter());
        for (row, &id) in hidden.chunks_exact_mut(width).zip(ids) {
            row.copy_from_slice(self.word(id));
        }
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let bias = self.bias.spread(longest, &mut scratch.bias);
        for layer in &self.layers {
            layer.forward(hidden, &lengths, bias, &mut scratch.layer);
        }
        let states = sized(&mut scratch.states, hidden.len());
        self.norm.apply(hidden, states);
        states
    }
}

/// `x + attention(norm(x))`, and then the feed-forward step.
struct Layer {
    norm: Norm,
    /// Queries, keys and values, side by side.
    inputs: Projection,
    output: Projection,
    feed_forward: FeedForward,
    num_heads: usize,
}

/// What a layer computes in.
#[derive(Default)]
struct LayerScratch {
    /// `[tokens, 3 * heads]`
    inputs: Vec<f32>,
    /// `[tokens, heads]`
    context: Vec<f32>,
    /// Attention weights of some queries of one head.
    weights: Vec<f32>,
    block: feed_forward::Scratch,
}

impl Layer {
    fn load(weights: &T5Weights, layer: usize) -> Result<Self, ImportError> {
        let at = |sublayer| Place {
            stack: Stack::Encoder,
            layer,
            sublayer,
        };
        let attention = at(Sublayer::SelfAttention);
        let inputs = [Part::Query, Part::Key, Part::Value];
        Ok(Self {
            norm: Norm::load(weights, Parameter::Layer(attention, Part::Norm))?,
            inputs: Projection::load(weights, attention, &inputs)?,
            output: Projection::load(weights, attention, &[Part::Output])?,
            feed_forward: FeedForward::load(weights, at(Sublayer::FeedForward))?,
            num_heads: weights.config().num_heads,
        })
    }

    /// # Shapes
    ///
    /// - hidden: `[tokens, hidden]`, the layer's input and then its output
    fn forward(
        &self,
        hidden: &mut [f32],
        lengths: &[usize],
        bias: Spread,
        scratch: &mut LayerScratch,
    ) {
        let width = self.norm.width();
        let tokens = hidden.len() / width;
        let columns = self.inputs.columns();
        let inputs = sized(&mut scratch.inputs, tokens * columns);
        let blocks = inputs.chunks_mut(BLOCK_ROWS * columns);
        for (to, rows) in blocks.zip(hidden.chunks(BLOCK_ROWS * width)) {
            let normed = sized(&mut scratch.block.normed, rows.len());
            self.inputs.apply(self.norm.apply(rows, normed), to);
        }
        let heads_width = columns / 3;
        let context = sized(&mut scratch.context, tokens * heads_width);
        self.attend(inputs, context, lengths, bias, &mut scratch.weights);
        let blocks = hidden.chunks_mut(BLOCK_ROWS * width);
        for (hidden, context) in blocks.zip(context.chunks(BLOCK_ROWS * heads_width)) {
            let rows = hidden.len() / width;
            let output = sized(&mut scratch.block.output, hidden.len());
            let context = Matrix::new(context, [rows, heads_width]);
            self.output.apply(context, output);
            add(hidden, output);
            self.feed_forward.add_to(hidden, &mut scratch.block);
        }
    }

    fn attend(
        &self,
        inputs: &[f32],
        context: &mut [f32],
        lengths: &[usize],
        bias: Spread,
        weights: &mut Vec<f32>,
    ) {
        let width = self.inputs.columns() / 3;
        let per_head = width / self.num_heads;
        let mut first = 0;
        for &length in lengths.iter().filter(|length| **length > 0) {
            for head in 0..self.num_heads {
                let column = head * per_head;
                let [query, key, value] = [0, width, 2 * width].map(|start| {
                    let place = [first, start + column];
                    head_of(inputs, place, [length, per_head], 3 * width)
                });
                let context = &mut context[first * width + column..];
                let bias = Some(bias.head(head));
                Attended::new(key, value).attend(query, bias, context, width, weights);
            }
            first += length;
        }
    }
}
