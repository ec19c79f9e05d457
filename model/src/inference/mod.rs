//! The models for inference on the CPU: weights are rounded and packed once, and each thread carries a few texts at a
//! time through all layers, in memory that is used again for the next.
//!
//! No tensor is made here. Values are those of the models that are packed up to the rounding of sums, and a text's do
//! not depend on what else is encoded with it.

mod classifier;
mod decoder;
mod layer;
mod masked_lm;
mod projection;
mod rotation;

pub use classifier::CpuClassifier;
pub use masked_lm::CpuMaskedLm;

use std::sync::{Arc, Mutex, PoisonError};

use burn::module::Param;
use burn::tensor::Tensor;
use data::{BatchLimit, PairTokens, bucket};
use rayon::prelude::*;

use crate::encoder::Encoder;
use crate::kernel::vectorised;
use crate::precision::Precision;
use layer::Layer;
use projection::Norm;
use rotation::Rotation;

/// Tokens that a thread carries along: enough to read the weights seldom, few enough to share out a small batch.
pub(crate) const GROUP_TOKENS: usize = 1024;

/// Rows whose feed-forward is finished before the next rows' begins: what is between its two products stays in cache.
pub(crate) const BLOCK_ROWS: usize = 126;

/// An encoder as the CPU wants it.
pub struct CpuEncoder {
    /// `[vocab, hidden]`
    words: Arc<Vec<f32>>,
    /// `[token types, positions, hidden]`: sums of position and token type; one type where the model has none, one
    /// position where they are rotary.
    places: Vec<f32>,
    /// How many of them a token type has.
    places_per_type: usize,
    /// Most tokens of a text.
    max_positions: usize,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    /// Hidden width.
    width: usize,
    /// Memory that waits for the next texts.
    idle: Mutex<Vec<Scratch>>,
}

/// A text in tokens.
#[derive(Debug, Clone, Copy)]
pub struct Segments<'a> {
    /// Token ids, specials included.
    pub ids: &'a [u32],
    /// How many of them have token type 0; those that follow have type 1, where the model has types.
    pub first: usize,
}

impl<'a> From<&'a [u32]> for Segments<'a> {
    fn from(ids: &'a [u32]) -> Self {
        let first = ids.len();
        Self { ids, first }
    }
}

impl<'a> From<&'a PairTokens> for Segments<'a> {
    fn from(pair: &'a PairTokens) -> Self {
        Self {
            ids: &pair.ids,
            first: pair.first,
        }
    }
}

/// What a thread computes in.
#[derive(Default)]
struct Scratch {
    /// `[tokens, hidden]`
    hidden: Vec<f32>,
    /// `[docs, vocab]`
    pooled: Vec<f32>,
    layer: layer::Scratch,
}

/// The texts that a thread has in hand, after the last layer.
struct Group<'a> {
    /// `[tokens, hidden]`
    hidden: &'a mut [f32],
    /// Number of tokens of each text.
    lengths: &'a [usize],
    /// For what is made of them.
    pooled: &'a mut Vec<f32>,
    layer: &'a mut layer::Scratch,
}

impl CpuEncoder {
    /// Copies, rounds and packs a model's weights.
    ///
    /// # Panics
    ///
    /// If the processor cannot compute in `precision` ([`Precision::check`]).
    pub fn pack(encoder: &Encoder, precision: Precision) -> Self {
        let embeddings = &encoder.embeddings;
        let width = embeddings.word.weight.shape()[1];
        let mut places = match &embeddings.position {
            Some(table) => floats(&table.weight),
            None => vec![0.0; width],
        };
        let places_per_type = places.len() / width;
        let rotary = encoder.rotary.as_ref();
        let rotation = rotary.map(|rotary| Arc::new(Rotation::new(rotary, encoder.max_positions)));
        if let Some(table) = &embeddings.token_type {
            let types = floats(&table.weight);
            places = types
                .chunks_exact(width)
                .flat_map(|of_type| sums_with(of_type, &places))
                .collect();
        }
        Self {
            words: Arc::new(floats(&embeddings.word.weight)),
            places,
            places_per_type,
            max_positions: encoder.max_positions,
            embedding_norm: Norm::new(&embeddings.norm, embeddings.norm_eps),
            layers: encoder
                .layers
                .iter()
                .map(|layer| Layer::pack(layer, rotation.clone(), precision))
                .collect(),
            width,
            idle: Mutex::default(),
        }
    }

    /// Encodes texts on all threads; `limit` bounds what a thread has in hand.
    ///
    /// `of_text` is given each text's last hidden states, `[tokens, hidden]`; its results come in the order of the
    /// texts.
    ///
    /// # Panics
    ///
    /// If a text has more tokens than the model has positions, or a token is not in the vocabulary.
    pub fn encode<R: Send>(
        &self,
        texts: &[Segments],
        limit: BatchLimit,
        of_text: impl Fn(&[f32]) -> R + Sync,
    ) -> Vec<R> {
        self.in_groups(texts, limit, |group| {
            let mut rest = &*group.hidden;
            let hidden = |&length: &usize| {
                let (text, tail) = rest.split_at(length * self.width);
                rest = tail;
                of_text(text)
            };
            group.lengths.iter().map(hidden).collect()
        })
    }

    /// Carries texts through the layers, some at a time, and `finish`es them: one result for each text, which come in
    /// the order of the texts.
    fn in_groups<R: Send>(
        &self,
        texts: &[Segments],
        limit: BatchLimit,
        finish: impl Fn(Group) -> Vec<R> + Sync,
    ) -> Vec<R> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
        let limit = match limit {
            BatchLimit::Tokens(tokens) => BatchLimit::Tokens(tokens.min(GROUP_TOKENS)),
            rows => rows,
        };
        let groups = bucket(&lengths, limit);
        let mut results: Vec<(usize, R)> = groups
            .par_iter()
            .with_max_len(1)
            .flat_map_iter(|members| {
                let group: Vec<Segments> = members.iter().map(|&text| texts[text]).collect();
                let mut scratch = self.idle().pop().unwrap_or_default();
                let finished = self.forward(&group, &mut scratch, &finish);
                self.idle().push(scratch);
                members.iter().copied().zip(finished)
            })
            .collect();
        results.sort_unstable_by_key(|(text, _)| *text);
        results.into_iter().map(|(_, result)| result).collect()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Scratch>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forward<R>(
        &self,
        texts: &[Segments],
        scratch: &mut Scratch,
        finish: impl Fn(Group) -> Vec<R>,
    ) -> Vec<R> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
        let tokens: usize = lengths.iter().sum();
        let hidden = sized(&mut scratch.hidden, tokens * self.width);
        self.embed(texts, hidden);
        for layer in &self.layers {
            layer.forward(hidden, &lengths, &mut scratch.layer);
        }
        finish(Group {
            hidden,
            lengths: &lengths,
            pooled: &mut scratch.pooled,
            layer: &mut scratch.layer,
        })
    }

    /// Embeddings of the texts' tokens.
    fn embed(&self, texts: &[Segments], hidden: &mut [f32]) {
        let width = self.width;
        let last_type = self.places.len() / (self.places_per_type * width) - 1;
        let mut sum = vec![0.0; width];
        let mut rows = hidden.chunks_exact_mut(width);
        for text in texts {
            assert!(text.ids.len() <= self.max_positions, "a text is too long");
            for ((position, &id), row) in text.ids.iter().enumerate().zip(&mut rows) {
                let token_type = usize::from(position >= text.first).min(last_type);
                let position = position.min(self.places_per_type - 1);
                let place = token_type * self.places_per_type + position;
                let word = &self.words[id as usize * width..][..width];
                let place = &self.places[place * width..][..width];
                let parts = sum.iter_mut().zip(word).zip(place);
                vectorised(
                    #[inline(always)]
                    || parts.for_each(|((sum, word), place)| *sum = word + place),
                );
                self.embedding_norm.apply(&sum, row);
            }
        }
    }
}

/// Every row of a table plus `row`.
fn sums_with(row: &[f32], table: &[f32]) -> Vec<f32> {
    let mut sums = table.to_vec();
    for sum in sums.chunks_exact_mut(row.len()) {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    sums
}

/// The first `len` values of a buffer that grows as needed; what they are is left over.
pub(crate) fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(len, 0.0);
    buffer
}

/// The values of a parameter.
fn floats<const D: usize>(parameter: &Param<Tensor<D>>) -> Vec<f32> {
    let data = parameter.val().into_data().convert::<f32>();
    data.iter::<f32>().collect()
}

#[cfg(test)]
mod tests;
