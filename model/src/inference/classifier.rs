//! A sequence classifier: the encoder, and a logit of each text's first hidden state.

use data::BatchLimit;

use super::projection::Projection;
use super::{CpuEncoder, Segments};
use crate::classifier::{HeadActivation, SequenceClassifier};
use crate::kernel::reduced::Rows;
use crate::precision::Precision;

/// A sequence classifier as the CPU wants it. Its values are those of [`SequenceClassifier::logits`].
pub struct CpuClassifier {
    encoder: CpuEncoder,
    dense: Projection,
    output: Projection,
    activation: HeadActivation,
}

impl CpuClassifier {
    /// Copies, rounds and packs a model's weights; the head stays in float32, since it costs next to nothing.
    ///
    /// # Panics
    ///
    /// If the processor cannot compute in `precision` ([`Precision::check`]).
    pub fn pack(model: &SequenceClassifier, precision: Precision) -> Self {
        let head = &model.classifier;
        Self {
            encoder: CpuEncoder::pack(&model.encoder, precision),
            dense: Projection::pack(&[&head.dense], Precision::Float32),
            output: Projection::pack(&[&head.output], Precision::Float32),
            activation: head.activation,
        }
    }

    /// The logit of each text, on all threads; `limit` bounds what a thread has in hand.
    ///
    /// # Panics
    ///
    /// If a text has no token or more than the model has positions, or a token is not in the vocabulary.
    pub fn logits(&self, texts: &[Segments], limit: BatchLimit) -> Vec<f32> {
        self.encoder.encode(texts, limit, |hidden| {
            let mut rounded = Rows::default();
            let mut inner = vec![0.0; self.dense.columns()];
            let first = &hidden[..self.encoder.width];
            self.dense.apply(first, &mut inner, &mut rounded);
            self.activation.apply(&mut inner);
            let mut logit = [0.0];
            self.output.apply(&inner, &mut logit, &mut rounded);
            logit[0]
        })
    }
}
