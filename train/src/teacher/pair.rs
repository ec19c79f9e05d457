//! `cross-encoder` and `monot5`: models that read a query and a document together.

use configs::teachers::Prefixes;
use data::BatchLimit;
use model::{CrossEncoder, MonoT5};

use super::bi_encoder::prefixed;
use super::{QueryDocuments, Teacher, TeacherError};

/// A model that scores pairs.
pub trait PairModel: Send + Sync {
    /// A score for each pair of a query and a document, in their order; `limit` bounds what is read at a time.
    ///
    /// # Errors
    ///
    /// If a text cannot be tokenized.
    fn score_pairs(
        &self,
        pairs: &[(&str, &str)],
        limit: BatchLimit,
    ) -> Result<Vec<f32>, TeacherError>;
}

impl PairModel for CrossEncoder {
    fn score_pairs(
        &self,
        pairs: &[(&str, &str)],
        limit: BatchLimit,
    ) -> Result<Vec<f32>, TeacherError> {
        Ok(self.score(pairs, limit)?)
    }
}

impl PairModel for MonoT5 {
    fn score_pairs(
        &self,
        pairs: &[(&str, &str)],
        limit: BatchLimit,
    ) -> Result<Vec<f32>, TeacherError> {
        Ok(self.score(pairs, limit)?)
    }
}

/// Scores with a model that reads both texts.
pub struct PairScorer<M> {
    name: String,
    model: M,
    prefixes: Prefixes,
    limit: BatchLimit,
}

impl<M: PairModel> PairScorer<M> {
    /// A teacher with that name; `limit` bounds what is read at a time.
    pub fn new(name: String, model: M, prefixes: Prefixes, limit: BatchLimit) -> Self {
        Self {
            name,
            model,
            prefixes,
            limit,
        }
    }
}

impl<M: PairModel> Teacher for PairScorer<M> {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&self, queries: &[QueryDocuments]) -> Result<Vec<Vec<f32>>, TeacherError> {
        let (before_query, before_document) = (
            self.prefixes.query_prefix.as_deref(),
            self.prefixes.document_prefix.as_deref(),
        );
        let rows = queries.iter().map(|row| {
            let documents = row.documents.iter();
            let documents = documents.map(|text| prefixed(before_document, text.text));
            let documents: Vec<String> = documents.collect();
            (prefixed(before_query, row.query.text), documents)
        });
        let rows: Vec<(String, Vec<String>)> = rows.collect();
        let pairs = rows.iter().flat_map(|(query, documents)| {
            let documents = documents.iter();
            documents.map(|document| (query.as_str(), document.as_str()))
        });
        let pairs: Vec<(&str, &str)> = pairs.collect();
        let mut scores = match pairs.is_empty() {
            true => Vec::new(),
            false => self.model.score_pairs(&pairs, self.limit)?,
        }
        .into_iter();
        let row = |(_, documents): &(String, Vec<String>)| {
            scores.by_ref().take(documents.len()).collect()
        };
        Ok(rows.iter().map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teacher::double::candidates;

    /// Scores a pair by the length of both texts.
    struct Lengths;

    impl PairModel for Lengths {
        fn score_pairs(
            &self,
            pairs: &[(&str, &str)],
            _limit: BatchLimit,
        ) -> Result<Vec<f32>, TeacherError> {
            let score =
                |(query, document): &(&str, &str)| (100 * query.len() + document.len()) as f32;
            Ok(pairs.iter().map(score).collect())
        }
    }

    #[test]
    fn scores_go_back_to_their_rows() {
        let prefixes = Prefixes {
            query_prefix: Some("q:".to_owned()),
            document_prefix: None,
        };
        let limit = BatchLimit::Tokens(8);
        let teacher = PairScorer::new("lengths".to_owned(), Lengths, prefixes, limit);
        let rows = [
            candidates("a", &["b", "cc"]),
            candidates("dd", &[]),
            candidates("", &["e"]),
        ];
        let scores = teacher.score(&rows).unwrap();
        assert_eq!(scores, [vec![301.0, 302.0], vec![], vec![201.0]]);
    }
}
