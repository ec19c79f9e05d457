//! The encoder for inference on the CPU: weights are rounded and packed once, and each thread carries a few texts at a
//! time through all layers, in memory that is used again for the next.
//!
//! No tensor is made here. Values are those of [`MaskedLm::document_weights`] up to the rounding of sums, and a text's
//! do not depend on what else is encoded with it.

mod decoder;
mod layer;
mod projection;
mod rotation;

use std::sync::{Arc, Mutex, PoisonError};

use burn::module::Param;
use burn::tensor::Tensor;
use data::{BatchLimit, bucket};
use rayon::prelude::*;

use crate::kernel::vectorised;
use crate::masked_lm::MaskedLm;
use crate::precision::Precision;
use decoder::Decoder;
use layer::Layer;
use projection::{Norm, Projection, gelu_of};
use rotation::Rotation;

/// Tokens that a thread carries along: enough to read the weights seldom, few enough to share out a small batch.
pub(crate) const GROUP_TOKENS: usize = 1024;

/// Rows whose feed-forward is finished before the next rows' begins: what is between its two products stays in cache.
pub(crate) const BLOCK_ROWS: usize = 126;

/// A masked-LM model as the CPU wants it.
pub struct CpuEncoder {
    /// `[vocab, hidden]`
    words: Arc<Vec<f32>>,
    /// `[max_positions, hidden]`, the first token type included; `[1, hidden]` where positions are rotary.
    places: Vec<f32>,
    /// From the place of a position to the next: 0 where all are the same.
    place_step: usize,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    transform: Projection,
    head_norm: Norm,
    decoder: Decoder,
    /// Hidden width.
    width: usize,
    /// Memory that waits for the next texts.
    idle: Mutex<Vec<Scratch>>,
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

impl CpuEncoder {
    /// Copies, rounds and packs a model's weights.
    ///
    /// # Panics
    ///
    /// If the processor cannot compute in `precision` ([`Precision::check`]).
    pub fn pack(model: &MaskedLm, precision: Precision) -> Self {
        let embeddings = &model.encoder.embeddings;
        let words = Arc::new(floats(&embeddings.word.weight));
        let width = embeddings.word.weight.shape()[1];
        let (mut places, place_step) = match &embeddings.position {
            Some(table) => (floats(&table.weight), width),
            None => (vec![0.0; width], 0),
        };
        if let Some(table) = &embeddings.token_type {
            let first = &floats(&table.weight)[..width];
            for place in places.chunks_exact_mut(width) {
                place.iter_mut().zip(first).for_each(|(p, t)| *p += t);
            }
        }
        let table = match &model.head.decoder {
            Some(decoder) => Arc::new(floats(decoder)),
            None => Arc::clone(&words),
        };
        let rotary = model.encoder.rotary.as_ref();
        let rotation =
            rotary.map(|rotary| Arc::new(Rotation::new(rotary, model.encoder.max_positions)));
        let epsilon = embeddings.norm_eps;
        Self {
            embedding_norm: Norm::new(&embeddings.norm, epsilon),
            layers: model
                .encoder
                .layers
                .iter()
                .map(|layer| Layer::pack(layer, rotation.clone(), precision))
                .collect(),
            transform: Projection::pack(&[&model.head.transform], precision),
            head_norm: Norm::new(&model.head.norm, epsilon),
            decoder: Decoder::pack(table, floats(&model.head.bias), precision),
            words,
            places,
            place_step,
            width,
            idle: Mutex::default(),
        }
    }

    /// Encodes texts on all threads; `limit` bounds what a thread has in hand.
    ///
    /// `vector` is given each text's pooled logits, `relu(max over its tokens of the logits)`, `[vocab]`; its results
    /// come in the order of the texts.
    ///
    /// # Panics
    ///
    /// If a text has more tokens than the model has positions, or a token is not in the vocabulary.
    pub fn encode<R: Send>(
        &self,
        texts: &[&[u32]],
        limit: BatchLimit,
        vector: impl Fn(&[f32]) -> R + Sync,
    ) -> Vec<R> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let limit = match limit {
            BatchLimit::Tokens(tokens) => BatchLimit::Tokens(tokens.min(GROUP_TOKENS)),
            rows => rows,
        };
        let groups = bucket(&lengths, limit);
        let mut results: Vec<(usize, R)> = groups
            .par_iter()
            .with_max_len(1)
            .flat_map_iter(|members| {
                let group: Vec<&[u32]> = members.iter().map(|&text| texts[text]).collect();
                let mut scratch = self.idle().pop().unwrap_or_default();
                self.pool(&group, &mut scratch);
                let rows = scratch.pooled.chunks_exact(self.decoder.vocab());
                let rows: Vec<R> = rows.map(&vector).collect();
                self.idle().push(scratch);
                members.iter().copied().zip(rows)
            })
            .collect();
        results.sort_unstable_by_key(|(text, _)| *text);
        results.into_iter().map(|(_, result)| result).collect()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Scratch>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the texts' pooled logits in `scratch`.
    fn pool(&self, texts: &[&[u32]], scratch: &mut Scratch) {
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let tokens: usize = lengths.iter().sum();
        let hidden = sized(&mut scratch.hidden, tokens * self.width);
        self.embed(texts, hidden);
        for layer in &self.layers {
            layer.forward(hidden, &lengths, &mut scratch.layer);
        }
        for rows in hidden.chunks_mut(BLOCK_ROWS * self.width) {
            let inner = sized(&mut scratch.layer.inner, rows.len());
            self.transform
                .apply(rows, inner, &mut scratch.layer.rounded);
            gelu_of(inner);
            self.head_norm.apply(inner, rows);
        }
        let pooled = sized(&mut scratch.pooled, texts.len() * self.decoder.vocab());
        self.decoder
            .pool(hidden, &lengths, pooled, &mut scratch.layer.rounded);
    }

    /// Embeddings of the texts' tokens.
    fn embed(&self, texts: &[&[u32]], hidden: &mut [f32]) {
        let width = self.width;
        let mut sum = vec![0.0; width];
        let tokens = texts.iter().flat_map(|text| text.iter().enumerate());
        for (row, (position, &id)) in hidden.chunks_exact_mut(width).zip(tokens) {
            let word = &self.words[id as usize * width..][..width];
            let place = &self.places[position * self.place_step..][..width];
            let parts = sum.iter_mut().zip(word).zip(place);
            vectorised(
                #[inline(always)]
                || parts.for_each(|((sum, word), place)| *sum = word + place),
            );
            self.embedding_norm.apply(&sum, row);
        }
    }
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
