//! A few documents with the weights of their tokens, for people to look at.

use std::collections::{BTreeMap, HashSet};

use model::SparseVector;
use model::sparse::SparseError;
use serde::{Deserialize, Serialize};

use crate::text_encoder::{TextEncoder, TokenSpan};

/// Documents of a sample.
const DOCUMENTS: usize = 6;
/// Bytes of a document's text that are kept.
const TEXT_BYTES: usize = 1500;
/// Bytes of a text that are tokenized: more than any encoder sees of it.
const SEEN_BYTES: usize = 1 << 16;
/// Tokens kept that are not in the text.
const EXPANSION_TOKENS: usize = 40;

/// A document and its vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentSample {
    /// Its id.
    pub id: String,
    /// Title and text, or their beginning.
    pub text: String,
    /// Whether that is not all of it.
    pub is_cut: bool,
    /// Tokens of the text in order: first byte, end, and weight, 0 where the vector has none.
    pub spans: Vec<(usize, usize, f32)>,
    /// Tokens of the vector that the text lacks, heaviest first, with their weights.
    pub expansion: Vec<(String, f32)>,
    /// Number of tokens of the vector.
    pub tokens: usize,
}

/// Draws documents while they pass by: those whose ids have the smallest checksums, so that the same corpus in any
/// order gives the same sample.
#[derive(Default)]
pub struct Sampler {
    /// By checksum and id.
    kept: BTreeMap<(u32, String), (String, SparseVector)>,
}

impl Sampler {
    /// Shows it a document.
    pub fn offer(&mut self, id: &str, text: &str, vector: &SparseVector) {
        let checksum = crc32fast::hash(id.as_bytes());
        let last = self.kept.last_key_value();
        let is_full = self.kept.len() == DOCUMENTS;
        if is_full && last.is_some_and(|((largest, _), _)| checksum >= *largest) {
            return;
        }
        let document = (text.to_owned(), vector.clone());
        self.kept.insert((checksum, id.to_owned()), document);
        if self.kept.len() > DOCUMENTS {
            self.kept.pop_last();
        }
    }

    /// The documents drawn, with their weights by token.
    ///
    /// # Errors
    ///
    /// If a text cannot be tokenized.
    pub fn finish(self, encoder: &dyn TextEncoder) -> Result<Vec<DocumentSample>, SparseError> {
        let names = match self.kept.is_empty() {
            true => Vec::new(),
            false => encoder.token_names(),
        };
        let sample = |((_, id), (text, vector)): ((u32, String), (String, SparseVector))| {
            let seen = &text[..text.floor_char_boundary(SEEN_BYTES)];
            let spans = encoder.token_spans(seen)?;
            Ok(describe(id, text, &vector, &spans, &names))
        };
        self.kept.into_iter().map(sample).collect()
    }
}

fn describe(
    id: String,
    mut text: String,
    vector: &SparseVector,
    spans: &[TokenSpan],
    names: &[String],
) -> DocumentSample {
    let whole = text.len();
    text.truncate(text.floor_char_boundary(TEXT_BYTES));
    let in_text: HashSet<u32> = spans.iter().map(|&(token, _)| token).collect();
    let mut expansion: Vec<(u32, f32)> = vector
        .iter()
        .filter(|(token, _)| !in_text.contains(token))
        .collect();
    expansion.sort_by(|left, right| right.1.total_cmp(&left.1));
    expansion.truncate(EXPANSION_TOKENS);
    let name = |token: u32| names.get(token as usize).cloned().unwrap_or_default();
    let weight = |token: u32| match vector.ids.binary_search(&token) {
        Ok(place) => vector.weights[place],
        Err(_) => 0.0,
    };
    DocumentSample {
        id,
        is_cut: text.len() < whole,
        spans: spans
            .iter()
            .filter(|(_, span)| span.end <= text.len() && !span.is_empty())
            .map(|(token, span)| (span.start, span.end, weight(*token)))
            .collect(),
        expansion: expansion
            .into_iter()
            .map(|(token, weight)| (name(token), weight))
            .collect(),
        tokens: vector.len(),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every letter is a token.
    struct Letters;

    impl TextEncoder for Letters {
        fn encode_documents(&self, _: &[String]) -> Result<Vec<SparseVector>, SparseError> {
            Ok(Vec::new())
        }

        fn encode_queries(&self, _: &[String]) -> Result<Vec<SparseVector>, SparseError> {
            Ok(Vec::new())
        }

        fn token_names(&self) -> Vec<String> {
            ('a'..='z').map(String::from).collect()
        }

        fn token_spans(&self, text: &str) -> Result<Vec<TokenSpan>, SparseError> {
            let letters = text.char_indices().filter(|(_, c)| c.is_ascii_lowercase());
            Ok(letters.map(|(at, c)| (c as u32 - 97, at..at + 1)).collect())
        }
    }

    fn drawn(ids: impl Iterator<Item = u32>) -> Vec<DocumentSample> {
        let mut sampler = Sampler::default();
        let vector: SparseVector = [(0, 0.5), (2, 1.0), (25, 2.0)].into_iter().collect();
        for id in ids {
            sampler.offer(&format!("d{id}"), "é abba", &vector);
        }
        sampler.finish(&Letters).expect("nothing fails")
    }

    #[test]
    fn the_order_of_the_corpus_does_not_matter() {
        let forward = drawn(0..100);
        assert_eq!(forward.len(), DOCUMENTS);
        assert_eq!(forward, drawn((0..100).rev()));
        assert_eq!(drawn(0..2).len(), 2);
        assert_eq!(drawn(0..0), []);
    }

    #[test]
    fn tokens_are_in_the_text_or_expand_it() {
        let sample = drawn(0..1).remove(0);
        let spans = [(3, 4, 0.5), (4, 5, 0.0), (5, 6, 0.0), (6, 7, 0.5)];
        assert_eq!(sample.spans, spans);
        assert_eq!(
            sample.expansion,
            [("z".to_owned(), 2.0), ("c".to_owned(), 1.0)]
        );
        assert_eq!((sample.tokens, sample.is_cut), (3, false));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "é".repeat(TEXT_BYTES);
        let spans = [(0, 0..2), (1, TEXT_BYTES * 2 - 2..TEXT_BYTES * 2)];
        let sample = describe("d".into(), text, &SparseVector::default(), &spans, &[]);
        assert!(sample.is_cut && sample.text.len() <= TEXT_BYTES);
        assert_eq!(sample.spans, [(0, 2, 0.0)]);
    }
}
