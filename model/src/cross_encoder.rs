//! Cross-encoders: a score for a query and a document that are read together.

use std::path::Path;

use burn::tensor::Device;
use data::{BatchLimit, PairTokens, TokenBatch, Tokenizer, bucket};

use crate::classifier::SequenceClassifier;
use crate::device;
use crate::hf;
use crate::inference::{CpuClassifier, Segments};
use crate::masked_lm::TokenTensors;
use crate::precision::{Precision, PrecisionError};
use crate::vocabulary::VocabularyMismatch;

/// Longest sequence where neither the caller nor the model's files name one.
const MAX_LEN: usize = 512;

/// How a cross-encoder's directory is to be used; the defaults follow the model's own files.
#[derive(Debug, Clone, Default)]
pub struct CrossEncoderOptions {
    /// Longest pair in tokens, specials included; by default what the files say, or else 512. Never beyond the model's
    /// positions.
    pub max_len: Option<usize>,
    /// How exactly pairs are encoded.
    pub precision: Precision,
}

/// A sequence classifier with one logit, and its tokenizer (Nogueira and Cho 2019).
///
/// A score is the logit itself. The activation that sentence-transformers' `CrossEncoder.predict` puts on it (a sigmoid
/// or none, as `config.json` says) is monotone: it changes no ranking, and would squeeze the margins that losses compare.
pub struct CrossEncoder {
    model: Model,
    tokenizer: Tokenizer,
    max_len: usize,
}

/// What computes.
enum Model {
    Cpu(Box<CpuClassifier>),
    Gpu(Box<SequenceClassifier>, Device),
}

/// Why a cross-encoder cannot be used or a pair cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum CrossEncoderError {
    /// Weights or config.json.
    #[error(transparent)]
    Import(#[from] hf::ImportError),
    /// Tokenizer files or tokenization.
    #[error(transparent)]
    Tokenize(#[from] data::TokenizeError),
    /// The device cannot compute in the precision asked for.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// The tokenizer and the model disagree.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyMismatch),
}

impl CrossEncoder {
    /// Loads a model directory.
    ///
    /// # Errors
    ///
    /// If a file is missing, broken or of the wrong shape, or the model has another number of labels than one; the
    /// error names it.
    pub fn load(
        dir: &Path,
        options: &CrossEncoderOptions,
        device: &Device,
    ) -> Result<Self, CrossEncoderError> {
        options.precision.check(device)?;
        let device = device.clone().inner();
        let tokenizer = Tokenizer::from_dir(dir)?;
        let stored = hf::stored_max_len(dir)?;
        let (model, config, _) = hf::load_classifier(dir, &device)?;
        VocabularyMismatch::check(dir, &tokenizer, &config)?;
        let max_len = options.max_len.or(stored).unwrap_or(MAX_LEN);
        let max_len = max_len.min(config.max_positions);
        Ok(Self {
            model: match device::is_cpu(&device) {
                true => Model::Cpu(Box::new(CpuClassifier::pack(&model, options.precision))),
                false => Model::Gpu(Box::new(model), device),
            },
            tokenizer,
            max_len,
        })
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Longest pair in tokens, specials included. What is longer is cut as transformers' `longest_first` does.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// The logit of each pair of a query and a document, in the order of `pairs`; `limit` bounds a batch, on the CPU
    /// what a thread has in hand.
    ///
    /// On the CPU a pair's score does not depend, bit for bit, on what is scored with it; on GPUs up to the rounding of
    /// float32 sums.
    ///
    /// # Errors
    ///
    /// If a text cannot be tokenized.
    pub fn score<S: AsRef<str> + Sync, T: AsRef<str> + Sync>(
        &self,
        pairs: &[(S, T)],
        limit: BatchLimit,
    ) -> Result<Vec<f32>, CrossEncoderError> {
        let pairs = self.tokenizer.encode_pairs(pairs, self.max_len)?;
        Ok(match &self.model {
            Model::Cpu(model) => {
                let texts: Vec<Segments> = pairs.iter().map(Segments::from).collect();
                model.logits(&texts, limit)
            }
            Model::Gpu(model, device) => {
                let lengths: Vec<usize> = pairs.iter().map(|pair| pair.ids.len()).collect();
                let mut scores = vec![0.0; pairs.len()];
                for members in bucket(&lengths, limit) {
                    let batch: Vec<&PairTokens> =
                        members.iter().map(|&pair| &pairs[pair]).collect();
                    for (pair, logit) in members.into_iter().zip(logits(model, &batch, device)) {
                        scores[pair] = logit;
                    }
                }
                scores
            }
        })
    }
}

/// The logits of a batch, through tensors.
fn logits(model: &SequenceClassifier, batch: &[&PairTokens], device: &Device) -> Vec<f32> {
    let ids: Vec<&[u32]> = batch.iter().map(|pair| pair.ids.as_slice()).collect();
    let first: Vec<usize> = batch.iter().map(|pair| pair.first).collect();
    let tokens = TokenTensors::new(&TokenBatch::new(&ids), device).with_second_type(&first);
    let logits = model.logits(&tokens).into_data().convert::<f32>();
    logits.iter::<f32>().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::HeadActivation;
    use crate::config::Family;
    use crate::hf::fixture::random_model;
    use crate::ops::check::assert_close;

    /// What GPUs compute, on the CPU.
    #[test]
    fn tensors_give_the_scores_of_slices() {
        let (dir, _, config) = random_model(Family::Bert);
        let device = Device::flex();
        let classifier = config.init_classifier(HeadActivation::Tanh, &device);
        let encoder = |model| CrossEncoder {
            model,
            tokenizer: Tokenizer::from_dir(dir.path()).unwrap(),
            max_len: config.max_positions,
        };
        let slices = CpuClassifier::pack(&classifier, Precision::Float32);
        let slices = encoder(Model::Cpu(Box::new(slices)));
        let tensors = encoder(Model::Gpu(Box::new(classifier), device));
        let pairs = [
            ("sun", "moon tide"),
            ("moonlight", ""),
            ("tide tide", "sun moon moonlight sun"),
        ];
        for limit in [BatchLimit::Rows(3), BatchLimit::Tokens(5)] {
            let expected = slices.score(&pairs, limit).unwrap();
            let found = tensors.score(&pairs, limit).unwrap();
            assert_ne!(found[0], found[2]);
            assert_close(&found, &expected, 1e-5, "scores");
        }
    }
}
