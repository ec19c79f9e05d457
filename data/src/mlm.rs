//! Data of masked-LM training: documents, sequences of token ids, and what of them is to be guessed.
//!
//! [`Texts`] are the documents of the data sets. [`Sequences`] makes token ids of them: each a sequence of its own, or
//! all joined and cut into sequences of equal length ([`Packing`]). [`Masking`] decides which tokens are hidden, as a
//! pure function of the seed, the epoch and the sequence.

mod masking;
mod packing;
mod sequences;
mod texts;

use std::path::PathBuf;

use thiserror::Error;

use crate::dataset::DatasetError;
use crate::tokenize::TokenizeError;
use crate::train_data::TrainDataError;

pub use masking::{MaskedTexts, Masking, Occasion};
pub use packing::Packing;
pub use sequences::Sequences;
pub use texts::{TextCounts, TextSet, Texts};

/// Why there is nothing to guess.
#[derive(Debug, Error)]
pub enum MlmError {
    /// A data set is missing or damaged, or a row of it is no document.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A folder holds no data sets.
    #[error(transparent)]
    Folder(#[from] TrainDataError),
    /// A text cannot be tokenized.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// A data set has no text.
    #[error("{}: no text in it: {counts}", path.display())]
    NoText {
        /// Data set at fault.
        path: PathBuf,
        /// What became of its rows.
        counts: TextCounts,
    },
    /// The documents of a data set do not fill one sequence.
    #[error(
        "{}: {tokens} tokens in all, which do not fill one sequence of {max_seq_len}: lower max_seq_length, or set \
         mlm_packed: false",
        path.display()
    )]
    TooShort {
        /// Data set at fault.
        path: PathBuf,
        /// Tokens of its documents, a separator after each.
        tokens: u64,
        /// Length of a sequence, specials included.
        max_seq_len: usize,
    },
    /// There is nothing to put in the place of a token.
    #[error(
        "the tokenizer in {} has no mask token: add [MASK] to its vocabulary, or name it in tokenizer_config.json \
         (mask_token)",
        dir.display()
    )]
    NoMaskToken {
        /// Folder of the tokenizer.
        dir: PathBuf,
    },
    /// Words have no pieces.
    #[error(
        "mlm_whole_word: no token of the tokenizer in {} continues a word with ##, so that every token is a word; \
         remove the key",
        dir.display()
    )]
    NoPieces {
        /// Folder of the tokenizer.
        dir: PathBuf,
    },
}
