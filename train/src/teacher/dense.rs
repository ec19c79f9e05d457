//! `dense`: dot products of dense vectors, of a bi-encoder.

use configs::teachers::Prefixes;
use data::BatchLimit;
use model::DenseEncoder;

use super::bi_encoder::{self, Side, dense_dot};
use super::{QueryDocuments, Teacher, TeacherError};

/// Scores with a dense encoder, which knows what comes before its texts.
pub struct DenseScorer {
    name: String,
    encoder: DenseEncoder,
    limit: BatchLimit,
}

impl DenseScorer {
    /// A teacher with that name; `limit` bounds what is encoded at a time.
    pub fn new(name: String, encoder: DenseEncoder, limit: BatchLimit) -> Self {
        Self {
            name,
            encoder,
            limit,
        }
    }
}

impl Teacher for DenseScorer {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&self, queries: &[QueryDocuments]) -> Result<Vec<Vec<f32>>, TeacherError> {
        let encode = |side, texts: &[String]| match side {
            Side::Query => Ok(self.encoder.encode_queries(texts, self.limit)?),
            Side::Document => Ok(self.encoder.encode_documents(texts, self.limit)?),
        };
        let none = Prefixes::default();
        bi_encoder::score(queries, &none, encode, |a, b| dense_dot(a, b))
    }
}
