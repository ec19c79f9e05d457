//! BM25: the lexical baseline, as sparse vectors like any other.

mod analyzer;

use std::collections::BTreeMap;

use data::beir::{BeirDir, BeirError, Document};
use model::SparseVector;
use model::sparse::SparseError;
use rayon::prelude::*;

use crate::search::Vocabulary;
use crate::text_encoder::{TextEncoder, TokenSpan};

pub use analyzer::Analyzer;

/// Documents analyzed at a time.
const CHUNK: usize = 2048;

/// The two parameters of BM25; the defaults are Anserini's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bm25Params {
    /// How soon further occurrences of a term stop to count.
    pub k1: f32,
    /// How much long documents are held back: 0 not at all, 1 in proportion.
    pub b: f32,
}

impl Default for Bm25Params {
    fn default() -> Self {
        Self { k1: 0.9, b: 0.4 }
    }
}

/// BM25 over one collection, in Lucene's form:
///
/// `score = sum over the query's terms of ln(1 + (N - df + 0.5) / (df + 0.5)) · tf / (tf + k1·(1 - b + b·dl/avgdl))`
///
/// The document side is its vector's weight and a query's weight is its term frequency, so that the score is a
/// dot product. Document lengths are exact, where Lucene rounds them to one byte.
pub struct Bm25Encoder {
    analyzer: Analyzer,
    vocabulary: Vocabulary,
    idf: Vec<f32>,
    mean_length: f32,
    params: Bm25Params,
}

impl Bm25Encoder {
    /// Reads the statistics of a collection: title and text of each document as one field.
    ///
    /// # Errors
    ///
    /// If the collection cannot be read.
    pub fn fit(dir: &BeirDir, params: Bm25Params) -> Result<Self, BeirError> {
        Self::fit_documents(dir.documents()?, params)
    }

    /// As [`Self::fit`], with the documents at hand.
    ///
    /// # Errors
    ///
    /// The first one among the documents.
    pub fn fit_documents(
        mut rows: impl Iterator<Item = Result<Document, BeirError>>,
        params: Bm25Params,
    ) -> Result<Self, BeirError> {
        let analyzer = Analyzer::default();
        let mut vocabulary = Vocabulary::default();
        let mut document_frequencies: Vec<u32> = Vec::new();
        let (mut documents, mut length) = (0, 0);
        loop {
            let chunk: Vec<String> = rows
                .by_ref()
                .take(CHUNK)
                .map(|document| Ok(document?.contents()))
                .collect::<Result<_, BeirError>>()?;
            if chunk.is_empty() {
                break;
            }
            documents += chunk.len();
            let counted: Vec<BTreeMap<String, u32>> = chunk
                .par_iter()
                .map(|text| count(analyzer.terms(text)))
                .collect();
            for (term, frequency) in counted.into_iter().flatten() {
                let id = vocabulary.intern(&term) as usize;
                document_frequencies.resize(vocabulary.tokens().len(), 0);
                document_frequencies[id] += 1;
                length += frequency as usize;
            }
        }
        Ok(Self {
            analyzer,
            vocabulary,
            idf: document_frequencies
                .iter()
                .map(|&df| idf(documents, df))
                .collect(),
            mean_length: length as f32 / documents.max(1) as f32,
            params,
        })
    }

    /// The terms, by number.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn document(&self, text: &str) -> SparseVector {
        let terms = self.analyzer.terms(text);
        let Bm25Params { k1, b } = self.params;
        let norm = k1 * (1.0 - b + b * terms.len() as f32 / self.mean_length.max(1.0));
        let counts = self.vocabulary.vector(weights(count(terms)));
        counts
            .iter()
            .map(|(id, tf)| (id, self.idf[id as usize] * tf / (tf + norm)))
            .collect()
    }
}

/// Sorted, so that terms are numbered, and scores summed, in the same order on every run.
fn count(terms: Vec<String>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for term in terms {
        *counts.entry(term).or_insert(0) += 1;
    }
    counts
}

fn weights(counts: BTreeMap<String, u32>) -> impl Iterator<Item = (String, f32)> {
    counts
        .into_iter()
        .map(|(term, frequency)| (term, frequency as f32))
}

fn idf(documents: usize, df: u32) -> f32 {
    let (documents, df) = (documents as f64, f64::from(df));
    (1.0 + (documents - df + 0.5) / (df + 0.5)).ln() as f32
}

impl TextEncoder for Bm25Encoder {
    fn encode_documents(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
        Ok(texts.par_iter().map(|text| self.document(text)).collect())
    }

    fn encode_queries(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
        let query = |text: &String| {
            self.vocabulary
                .vector(weights(count(self.analyzer.terms(text))))
        };
        Ok(texts.par_iter().map(query).collect())
    }

    fn token_names(&self) -> Vec<String> {
        self.vocabulary.tokens().to_vec()
    }

    fn token_spans(&self, text: &str) -> Result<Vec<TokenSpan>, SparseError> {
        let spans = self.analyzer.spans(text).into_iter();
        Ok(spans
            .filter_map(|(term, span)| Some((self.vocabulary.id(&term)?, span)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_the_formula() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let corpus = "{\"_id\":\"a\",\"title\":\"cats\",\"text\":\"cat dog\"}\n\
                      {\"_id\":\"b\",\"title\":\"\",\"text\":\"dog\"}\n";
        std::fs::write(dir.path().join("corpus.jsonl"), corpus).expect("writable");
        std::fs::write(
            dir.path().join("queries.jsonl"),
            "{\"_id\":\"q\",\"text\":\"x\"}\n",
        )
        .expect("writable");
        let collection = BeirDir::open(dir.path()).expect("a collection");
        let bm25 = Bm25Encoder::fit(&collection, Bm25Params::default()).expect("readable");
        let documents = bm25
            .encode_documents(&["cats cat dog".into()])
            .expect("analyzed");
        let queries = bm25
            .encode_queries(&["cat, cat, bird".into()])
            .expect("analyzed");
        let idf = (1.0f32 + 1.5 / 1.5).ln();
        let expected = 2.0 * idf * 2.0 / (2.0 + 0.9 * (0.6 + 0.4 * 3.0 / 2.0));
        assert!((queries[0].dot(&documents[0]) - expected).abs() < 1e-6);
    }
}
