//! Teachers: models whose scores a student learns.
//!
//! A [`Teacher`] scores queries with their documents, an [`Ensemble`] makes one score of those of several, a
//! [`ScoreCache`] remembers what was asked, [`score_file`] writes the scores of a whole data set and [`online`] gives
//! those of a batch in training. [`load()`] makes teachers of what a file of teachers says; nobody else knows of their
//! types.

mod bi_encoder;
pub mod cache;
mod dense;
mod ensemble;
mod error;
pub mod fingerprint;
mod load;
pub mod online;
mod pair;
mod remote;
pub mod score_file;
mod sparse;
mod vectors;

pub use cache::ScoreCache;
pub use dense::DenseScorer;
pub use ensemble::{Ensemble, Member, min_max};
pub use error::TeacherError;
pub use load::load;
pub use online::OnlineTeachers;
pub use pair::{PairModel, PairScorer};
pub use remote::{RemoteError, RemoteScorer};
pub use score_file::{ScoreError, ScoreJob, ScoreOutcome};
pub use sparse::SparseScorer;
pub use vectors::VectorScorer;

/// A text that a teacher may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// What the data calls it, where it has ids.
    pub id: Option<&'a str>,
    /// The text.
    pub text: &'a str,
}

/// A query and its candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryDocuments<'a> {
    /// The query.
    pub query: Text<'a>,
    /// The documents to score.
    pub documents: Vec<Text<'a>>,
}

/// Whatever tells how relevant documents are to a query.
///
/// A score depends on its query and its document alone, not on what is scored with them.
pub trait Teacher: Send + Sync {
    /// What errors call it.
    fn name(&self) -> &str;

    /// Whether it finds texts by their ids and never looks at them.
    fn by_id(&self) -> bool {
        false
    }

    /// A score for each document of each query, in their order; the larger, the more relevant.
    ///
    /// # Errors
    ///
    /// If a text cannot be encoded or found, or a server does not answer as it should.
    fn score(&self, queries: &[QueryDocuments]) -> Result<Vec<Vec<f32>>, TeacherError>;
}

#[cfg(test)]
mod double {
    //! A teacher whose scores are known, and which counts what it is asked.

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Scores a document by its first byte times `factor`.
    #[derive(Default)]
    pub struct FirstByte {
        pub factor: f32,
        pub pairs: AtomicUsize,
    }

    impl FirstByte {
        pub fn asked(&self) -> usize {
            self.pairs.load(Ordering::Relaxed)
        }
    }

    impl Teacher for std::sync::Arc<FirstByte> {
        fn name(&self) -> &str {
            "first byte"
        }

        fn score(&self, queries: &[QueryDocuments]) -> Result<Vec<Vec<f32>>, TeacherError> {
            let score = |text: &Text| self.factor * f32::from(text.text.as_bytes()[0]);
            let rows = queries.iter();
            let rows = rows.map(|row| {
                self.pairs.fetch_add(row.documents.len(), Ordering::Relaxed);
                row.documents.iter().map(score).collect()
            });
            Ok(rows.collect())
        }
    }

    pub fn candidates<'a>(query: &'a str, documents: &[&'a str]) -> QueryDocuments<'a> {
        let text = |text| Text { id: None, text };
        QueryDocuments {
            query: text(query),
            documents: documents.iter().copied().map(text).collect(),
        }
    }
}
