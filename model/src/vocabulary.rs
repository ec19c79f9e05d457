//! A tokenizer and a model that belong together.

use std::path::{Path, PathBuf};

use data::Tokenizer;

use crate::config::EncoderConfig;

/// The tokenizer and the model disagree.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path}: the tokenizer has {tokenizer} entries but the model's vocabulary has {model}: \
     they do not belong together"
)]
pub struct VocabularyMismatch {
    /// Model directory.
    pub path: PathBuf,
    /// Entries of the tokenizer.
    pub tokenizer: usize,
    /// Rows of the word embeddings.
    pub model: usize,
}

impl VocabularyMismatch {
    /// Refuses a tokenizer with tokens that the model does not know; the model may have more, for a rounder number.
    pub(crate) fn check(
        path: &Path,
        tokenizer: &Tokenizer,
        config: &EncoderConfig,
    ) -> Result<(), Self> {
        if tokenizer.vocab_size() > config.vocab_size {
            return Err(Self {
                path: path.to_owned(),
                tokenizer: tokenizer.vocab_size(),
                model: config.vocab_size,
            });
        }
        Ok(())
    }
}
