//! `sparse` and `bm25`: dot products of sparse vectors.

use configs::teachers::Prefixes;
use eval::text_encoder::TextEncoder;
use model::SparseVector;

use super::bi_encoder::{self, Side};
use super::{QueryDocuments, Teacher, TeacherError};

/// Scores with an encoder of sparse vectors, neural or not.
pub struct SparseScorer<E> {
    name: String,
    encoder: E,
    prefixes: Prefixes,
    /// Whether queries are encoded as documents are.
    siamese: bool,
}

impl<E: TextEncoder + Send + Sync> SparseScorer<E> {
    /// A teacher with that name; `siamese` has it encode queries as documents.
    pub fn new(name: String, encoder: E, prefixes: Prefixes, siamese: bool) -> Self {
        Self {
            name,
            encoder,
            prefixes,
            siamese,
        }
    }
}

impl<E: TextEncoder + Send + Sync> Teacher for SparseScorer<E> {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&self, queries: &[QueryDocuments]) -> Result<Vec<Vec<f32>>, TeacherError> {
        let encode = |side, texts: &[String]| match side {
            Side::Query if !self.siamese => Ok(self.encoder.encode_queries(texts)?),
            Side::Query | Side::Document => Ok(self.encoder.encode_documents(texts)?),
        };
        bi_encoder::score(queries, &self.prefixes, encode, SparseVector::dot)
    }
}

#[cfg(test)]
mod tests {
    use eval::bm25::{Bm25Encoder, Bm25Params};

    use super::*;
    use crate::teacher::double::candidates;

    #[test]
    fn bm25_scores_are_the_formula() {
        let document = |(id, text): (&str, &str)| {
            Ok(data::beir::Document {
                id: id.to_owned(),
                title: String::new(),
                text: text.to_owned(),
            })
        };
        let corpus = [("a", "cats cat dog"), ("b", "dog")].map(document);
        let encoder = Bm25Encoder::fit_documents(corpus.into_iter(), Bm25Params::default());
        let teacher = SparseScorer::new(
            "bm25".to_owned(),
            encoder.unwrap(),
            Prefixes::default(),
            false,
        );
        let queries = [candidates("cat, cat, bird", &["cats cat dog", "nothing"])];
        let scores = teacher.score(&queries).unwrap();
        // Two occurrences in the query times idf, saturated: two documents, one with the term, of 2 terms on average.
        let idf = (1.0f32 + 1.5 / 1.5).ln();
        let expected = 2.0 * idf * 2.0 / (2.0 + 0.9 * (0.6 + 0.4 * 3.0 / 2.0));
        assert!((scores[0][0] - expected).abs() < 1e-6, "{scores:?}");
        assert_eq!(scores[0][1], 0.0);
    }
}
