//! How well a model guesses, on texts and a masking that are the same in every run.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use configs::{TrainConfig, TrainSource};
use data::mlm::{Masking, Occasion, Sequences, Texts};
use data::{GroupId, Tokenizer};
use serde::{Deserialize, Serialize};

use super::guess;
use crate::batch::BatchError;
use crate::error::TrainError;
use crate::step::Trainable;

/// What the guesses on a file are worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MaskedLmScore {
    /// Mean cross entropy of the tokens to guess.
    pub mlm_loss: f64,
    /// `exp(mlm_loss)`: the number of tokens among which a uniform guess would be as uncertain.
    pub perplexity: f64,
    /// Share of the tokens that are guessed right.
    pub mlm_accuracy: f64,
    /// Tokens to guess.
    pub masked_tokens: usize,
}

/// Texts to measure on (`mlm_eval_file`), each a sequence of its own.
pub struct EvalTexts {
    name: String,
    texts: Texts,
}

impl EvalTexts {
    /// Opens a data set of documents.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or has no text.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            texts: Texts::open(&TrainSource::File(path.to_path_buf()))?,
        })
    }

    /// Name of the file or directory, for reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Measures the model as it stands, without dropout.
    ///
    /// # Errors
    ///
    /// If a text cannot be read or tokenized.
    pub fn score(
        &self,
        trainable: &Trainable,
        config: &TrainConfig,
        tokenizer: &Tokenizer,
        masking: &Masking,
        device: &Device,
    ) -> Result<MaskedLmScore, BatchError> {
        let model = trainable.model.valid();
        let device = device.clone().inner();
        let sequences = Sequences {
            texts: &self.texts,
            tokenizer,
            preprocess: config.model.preprocess,
            max_seq_len: config.data.eval_max_seq_len,
            packing: None,
        };
        let size = self.texts.sizes().iter().sum();
        let ids: Vec<GroupId> = (0..size).map(|group| GroupId { set: 0, group }).collect();
        let (mut loss, mut right, mut masked) = (0.0, 0, 0);
        for ids in ids.chunks(config.run.eval_batch_docs) {
            let batch = masking.mask(ids, sequences.read(ids)?, Occasion::Evaluation);
            if batch.positions.is_empty() {
                continue;
            }
            let guessed = guess(&model, &batch, &device);
            loss += f64::from(guessed.loss.into_scalar::<f32>());
            right += guessed.right;
            masked += batch.positions.len();
        }
        let per_token = 1.0 / masked.max(1) as f64;
        Ok(MaskedLmScore {
            mlm_loss: loss * per_token,
            perplexity: (loss * per_token).exp(),
            mlm_accuracy: right as f64 * per_token,
            masked_tokens: masked,
        })
    }
}
