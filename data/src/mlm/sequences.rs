//! Token ids to learn from.

use rayon::prelude::*;

use configs::Preprocess;

use super::MlmError;
use super::packing::Packing;
use super::texts::Texts;
use crate::preprocess::preprocess;
use crate::sample::GroupId;
use crate::tokenize::Tokenizer;

/// Makes token ids of texts: the text of an id alone, cut at the end, or, where they are packed, the tokens of the
/// sequence of that id.
#[derive(Clone, Copy)]
pub struct Sequences<'a> {
    /// Where the texts are.
    pub texts: &'a Texts,
    /// Splits them.
    pub tokenizer: &'a Tokenizer,
    /// Rewrites every text first.
    pub preprocess: Option<Preprocess>,
    /// Longest sequence, specials included.
    pub max_seq_len: usize,
    /// Where sequences begin and end; `None` where every text is one.
    pub packing: Option<&'a Packing>,
}

impl Sequences<'_> {
    /// Number of sequences of each data set, as [`BatchSampler::new`](crate::BatchSampler::new) wants them.
    pub fn sizes(&self) -> Vec<usize> {
        match self.packing {
            None => self.texts.sizes(),
            Some(packing) => packing.sizes(),
        }
    }

    /// Token ids of sequences, special tokens included, on all threads.
    ///
    /// # Errors
    /// The first sequence's error: a text cannot be read or tokenized.
    pub fn read(&self, ids: &[GroupId]) -> Result<Vec<Vec<u32>>, MlmError> {
        ids.par_iter().map(|&id| self.read_one(id)).collect()
    }

    fn read_one(&self, id: GroupId) -> Result<Vec<u32>, MlmError> {
        if let Some(packing) = self.packing {
            let content = packing.content(id, |text| self.content(text))?;
            return Ok(self.tokenizer.frame(&content));
        }
        let text = self.texts.text(id)?;
        let text = preprocess(self.preprocess, &text);
        Ok(self.tokenizer.encode(&text, self.max_seq_len)?)
    }

    /// Token ids of a whole text, with the separator that keeps it from the next.
    pub(super) fn content(&self, id: GroupId) -> Result<Vec<u32>, MlmError> {
        let text = self.texts.text(id)?;
        let mut ids = self
            .tokenizer
            .encode_content(&preprocess(self.preprocess, &text))?;
        ids.extend_from_slice(self.tokenizer.suffix());
        Ok(ids)
    }
}
