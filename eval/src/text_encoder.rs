//! Whatever turns texts into sparse vectors, neural or not.

use std::ops::Range;

use data::{Idf, Tokenizer};
use model::sparse::SparseError;
use model::sparse::idf_query;
use model::{SparseEncoder, SparseVector};
use rayon::prelude::*;

/// A token and the bytes of the text that it stands for.
pub type TokenSpan = (u32, Range<usize>);

/// Texts in, sparse vectors over one vocabulary out, in input order.
pub trait TextEncoder {
    /// Vectors of documents.
    ///
    /// # Errors
    ///
    /// If a text cannot be tokenized.
    fn encode_documents(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError>;

    /// Vectors of queries.
    ///
    /// # Errors
    ///
    /// If a text cannot be tokenized.
    fn encode_queries(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError>;

    /// The names of the numbers that vectors are over, from 0.
    fn token_names(&self) -> Vec<String>;

    /// The tokens of a text in its order, each with the bytes that it stands for; none where that is not known.
    ///
    /// # Errors
    ///
    /// If the text cannot be tokenized.
    fn token_spans(&self, _text: &str) -> Result<Vec<TokenSpan>, SparseError> {
        Ok(Vec::new())
    }
}

impl TextEncoder for SparseEncoder {
    fn encode_documents(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
        SparseEncoder::encode_documents(self, texts)
    }

    fn encode_queries(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
        SparseEncoder::encode_queries(self, texts)
    }

    fn token_names(&self) -> Vec<String> {
        names_of(self.tokenizer())
    }

    fn token_spans(&self, text: &str) -> Result<Vec<TokenSpan>, SparseError> {
        Ok(self.tokenizer().spans(text)?)
    }
}

impl<T: TextEncoder + ?Sized> TextEncoder for &T {
    fn encode_documents(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
        (**self).encode_documents(texts)
    }

    fn encode_queries(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
        (**self).encode_queries(texts)
    }

    fn token_names(&self) -> Vec<String> {
        (**self).token_names()
    }

    fn token_spans(&self, text: &str) -> Result<Vec<TokenSpan>, SparseError> {
        (**self).token_spans(text)
    }
}

/// What retrieval is worth without any model: documents weigh `log1p(tf)` of each token, queries their IDF.
pub struct LexicalEncoder<'a> {
    /// Splits the texts.
    pub tokenizer: &'a Tokenizer,
    /// Weighs the queries' tokens.
    pub idf: &'a Idf,
}

impl LexicalEncoder<'_> {
    fn map_tokens(
        &self,
        texts: &[String],
        vector: impl Fn(Vec<u32>) -> SparseVector + Sync,
    ) -> Result<Vec<SparseVector>, SparseError> {
        texts
            .par_iter()
            .map(|text| Ok(vector(self.tokenizer.encode_content(text)?)))
            .collect()
    }
}

impl TextEncoder for LexicalEncoder<'_> {
    fn encode_documents(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
        self.map_tokens(texts, |tokens| {
            log1p_counts(tokens, self.tokenizer.special_ids())
        })
    }

    fn encode_queries(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
        let special = self.tokenizer.special_ids();
        self.map_tokens(texts, |tokens| {
            idf_query(&tokens, &self.idf.weights, special)
        })
    }

    fn token_names(&self) -> Vec<String> {
        names_of(self.tokenizer)
    }

    fn token_spans(&self, text: &str) -> Result<Vec<TokenSpan>, SparseError> {
        Ok(self.tokenizer.spans(text)?)
    }
}

/// A number that the vocabulary leaves out gets a name that no token has.
fn names_of(tokenizer: &Tokenizer) -> Vec<String> {
    let ids = 0..tokenizer.vocab_size() as u32;
    ids.map(|id| {
        tokenizer
            .token(id)
            .map_or_else(|| format!("\0{id}"), str::to_owned)
    })
    .collect()
}

fn log1p_counts(mut tokens: Vec<u32>, excluded: &[u32]) -> SparseVector {
    tokens.sort_unstable();
    tokens
        .chunk_by(|a, b| a == b)
        .filter(|run| excluded.binary_search(&run[0]).is_err())
        .map(|run| (run[0], (run.len() as f32).ln_1p()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_tokens_and_drops_specials() {
        let vector = log1p_counts(vec![7, 3, 7, 1], &[1]);
        assert_eq!(
            vector.iter().collect::<Vec<_>>(),
            [(3, 1f32.ln_1p()), (7, 2f32.ln_1p())]
        );
    }
}
