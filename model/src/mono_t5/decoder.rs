//! The first step of T5's decoder: one token, the same for all texts, that looks at what the encoder made of each.
//!
//! Attention to a single token is that token's value. And a single query need not have the encoder's states projected
//! to keys and values: `q · (K e) = (Kᵀ q) · e` and `Σ p (V e) = V (Σ p e)`, so that per head one vector is projected
//! instead of every token.

use super::attention::Attended;
use super::feed_forward::{self, FeedForward};
use super::parameter::{Parameter, Part, Place, Stack, Sublayer};
use super::projection::{Norm, Projection, add};
use crate::hf::{ImportError, T5Weights};
use crate::inference::sized;
use crate::kernel::product::{Matrix, Panels, multiply_here};
use crate::kernel::{sum_of, vectorised};

/// Layers, and what two tokens' logits are made with.
pub(super) struct Decoder {
    /// Embedding of the token that the decoder begins with. `[hidden]`
    start: Vec<f32>,
    layers: Vec<Layer>,
    norm: Norm,
    /// Rows of the head for the two answers, scaled as the output would be. `[2, hidden]`
    answers: [Vec<f32>; 2],
}

/// What a thread computes in.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[texts, hidden]`
    hidden: Vec<f32>,
    layer: LayerScratch,
}

/// What a layer computes in.
#[derive(Default)]
struct LayerScratch {
    /// `[texts, heads]`
    query: Vec<f32>,
    /// `[texts, heads]`
    context: Vec<f32>,
    /// What each head looks for, then what it finds, in the encoder's terms. `[texts, heads, hidden]`
    wanted: Vec<f32>,
    found: Vec<f32>,
    /// Attention weights of the heads of one text.
    weights: Vec<f32>,
    block: feed_forward::Scratch,
}

impl Decoder {
    /// # Shapes
    ///
    /// - start: `[hidden]`, answers: the head's rows, `[hidden]` each
    pub(super) fn load(
        weights: &T5Weights,
        start: &[f32],
        mut answers: [Vec<f32>; 2],
    ) -> Result<Self, ImportError> {
        let config = weights.config();
        if config.scales_output {
            let scale = (config.hidden_size as f32).powf(-0.5);
            for weight in answers.iter_mut().flatten() {
                *weight *= scale;
            }
        }
        let layers = 0..config.decoder_layers;
        Ok(Self {
            start: start.to_vec(),
            layers: layers
                .map(|layer| Layer::load(weights, layer))
                .collect::<Result<_, _>>()?,
            norm: Norm::load(weights, Parameter::FinalNorm(Stack::Decoder))?,
            answers,
        })
    }

    /// The logits of the two answers, text by text.
    ///
    /// # Shapes
    ///
    /// - states: the encoder's, `[tokens, hidden]`; no text is empty
    pub(super) fn answers(
        &self,
        states: &[f32],
        lengths: &[usize],
        scratch: &mut Scratch,
    ) -> Vec<[f32; 2]> {
        let width = self.norm.width();
        let mut rest = states;
        let texts: Vec<Attended> = lengths
            .iter()
            .map(|&length| {
                let (text, tail) = rest.split_at(length * width);
                rest = tail;
                let text = Matrix::new(text, [length, width]);
                Attended::new(text, text)
            })
            .collect();
        let hidden = sized(&mut scratch.hidden, lengths.len() * width);
        for row in hidden.chunks_exact_mut(width) {
            row.copy_from_slice(&self.start);
        }
        for layer in &self.layers {
            layer.forward(hidden, &texts, &mut scratch.layer);
        }
        let output = sized(&mut scratch.layer.block.output, hidden.len());
        self.norm.apply(hidden, output);
        let logits = output.chunks_exact(width).map(|state| {
            let product = |row: &Vec<f32>| {
                vectorised(
                    #[inline(always)]
                    || sum_of(width, |i| state[i] * row[i]),
                )
            };
            self.answers.each_ref().map(product)
        });
        logits.collect()
    }
}

struct Layer {
    own_norm: Norm,
    own_value: Projection,
    own_output: Projection,
    cross_norm: Norm,
    query: Projection,
    heads: Vec<CrossHead>,
    cross_output: Projection,
    feed_forward: FeedForward,
}

/// A head's projections of the encoder's states, the other way round.
struct CrossHead {
    /// `[per_head, hidden]`
    key: Panels,
    /// `[hidden, per_head]`
    value: Panels,
}

impl Layer {
    fn load(weights: &T5Weights, layer: usize) -> Result<Self, ImportError> {
        let at = |sublayer| Place {
            stack: Stack::Decoder,
            layer,
            sublayer,
        };
        let (own, cross) = (at(Sublayer::SelfAttention), at(Sublayer::CrossAttention));
        Ok(Self {
            own_norm: Norm::load(weights, Parameter::Layer(own, Part::Norm))?,
            own_value: Projection::load(weights, own, &[Part::Value])?,
            own_output: Projection::load(weights, own, &[Part::Output])?,
            cross_norm: Norm::load(weights, Parameter::Layer(cross, Part::Norm))?,
            query: Projection::load(weights, cross, &[Part::Query])?,
            heads: CrossHead::load(weights, cross)?,
            cross_output: Projection::load(weights, cross, &[Part::Output])?,
            feed_forward: FeedForward::load(weights, at(Sublayer::FeedForward))?,
        })
    }

    /// # Shapes
    ///
    /// - hidden: `[texts, hidden]`, the layer's input and then its output
    fn forward(&self, hidden: &mut [f32], texts: &[Attended], scratch: &mut LayerScratch) {
        let width = self.own_norm.width();
        let heads_width = self.query.columns();
        let rows = texts.len();
        let context = sized(&mut scratch.context, rows * heads_width);
        let normed = sized(&mut scratch.block.normed, hidden.len());
        let output = sized(&mut scratch.block.output, hidden.len());
        let value = self.own_norm.apply(hidden, normed);
        self.own_value.apply(value, context);
        let context = Matrix::new(context, [rows, heads_width]);
        self.own_output.apply(context, output);
        add(hidden, output);

        let query = sized(&mut scratch.query, rows * heads_width);
        self.query
            .apply(self.cross_norm.apply(hidden, normed), query);
        self.look(texts, width, scratch);
        let context = Matrix::new(&scratch.context, [rows, heads_width]);
        let output = sized(&mut scratch.block.output, hidden.len());
        self.cross_output.apply(context, output);
        add(hidden, output);
        self.feed_forward.add_to(hidden, &mut scratch.block);
    }

    /// From the scratch's queries to its contexts.
    fn look(&self, texts: &[Attended], width: usize, scratch: &mut LayerScratch) {
        let (count, heads_width) = (self.heads.len(), self.query.columns());
        let (rows, per_head) = (texts.len(), heads_width / count);
        let all = count * width;
        let wanted = sized(&mut scratch.wanted, rows * all);
        let found = sized(&mut scratch.found, rows * all);
        for (index, head) in self.heads.iter().enumerate() {
            let query = &scratch.query[index * per_head..];
            let query = Matrix::strided(query, [rows, per_head], heads_width);
            multiply_here(query, &head.key, &mut wanted[index * width..], all);
        }
        let pairs = wanted.chunks_exact(all).zip(found.chunks_exact_mut(all));
        for (text, (wanted, found)) in texts.iter().zip(pairs) {
            let wanted = Matrix::new(wanted, [count, width]);
            text.attend(wanted, None, found, width, &mut scratch.weights);
        }
        for (index, head) in self.heads.iter().enumerate() {
            let found = Matrix::strided(&found[index * width..], [rows, width], all);
            let context = &mut scratch.context[index * per_head..];
            multiply_here(found, &head.value, context, heads_width);
        }
    }
}

impl CrossHead {
    fn load(weights: &T5Weights, place: Place) -> Result<Vec<Self>, ImportError> {
        let config = weights.config();
        let shape = [config.head_size, config.hidden_size];
        let key = weights.read(Parameter::Layer(place, Part::Key))?;
        let value = weights.read(Parameter::Layer(place, Part::Value))?;
        let rows = key.chunks_exact(shape[0] * shape[1]);
        Ok(rows
            .zip(value.chunks_exact(shape[0] * shape[1]))
            .map(|(key, value)| Self {
                key: Panels::pack(Matrix::new(key, shape)),
                value: Panels::pack(Matrix::new(value, shape).transposed()),
            })
            .collect())
    }
}
