//! A masked-LM model: the encoder, the head's transform, and the decoder with the maximum over each text's tokens.

use std::sync::Arc;

use data::BatchLimit;

use super::decoder::Decoder;
use super::projection::{Norm, Projection, gelu_of};
use super::{BLOCK_ROWS, CpuEncoder, Group, Segments, floats, sized};
use crate::masked_lm::MaskedLm;
use crate::precision::Precision;

/// A masked-LM model as the CPU wants it. Its values are those of [`MaskedLm::document_weights`] before the logarithms.
pub struct CpuMaskedLm {
    encoder: CpuEncoder,
    transform: Projection,
    norm: Norm,
    decoder: Decoder,
}

impl CpuMaskedLm {
    /// Copies, rounds and packs a model's weights.
    ///
    /// # Panics
    ///
    /// If the processor cannot compute in `precision` ([`Precision::check`]).
    pub fn pack(model: &MaskedLm, precision: Precision) -> Self {
        let encoder = CpuEncoder::pack(&model.encoder, precision);
        let head = &model.head;
        let table = match &head.decoder {
            Some(decoder) => Arc::new(floats(decoder)),
            None => Arc::clone(&encoder.words),
        };
        Self {
            encoder,
            transform: Projection::pack(&[&head.transform], precision),
            norm: Norm::new(&head.norm, model.encoder.embeddings.norm_eps),
            decoder: Decoder::pack(table, floats(&head.bias), precision),
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
        let texts: Vec<Segments> = texts.iter().map(|&text| text.into()).collect();
        self.encoder.in_groups(&texts, limit, |group| {
            let rows = self.pool(group).chunks_exact(self.decoder.vocab());
            rows.map(&vector).collect()
        })
    }

    /// The texts' pooled logits.
    fn pool<'a>(&self, group: Group<'a>) -> &'a [f32] {
        for rows in group.hidden.chunks_mut(BLOCK_ROWS * self.encoder.width) {
            let inner = sized(&mut group.layer.inner, rows.len());
            self.transform.apply(rows, inner, &mut group.layer.rounded);
            gelu_of(inner);
            self.norm.apply(inner, rows);
        }
        let texts = group.lengths.len();
        let pooled = sized(group.pooled, texts * self.decoder.vocab());
        self.decoder.pool(
            group.hidden,
            group.lengths,
            pooled,
            &mut group.layer.rounded,
        );
        pooled
    }
}
