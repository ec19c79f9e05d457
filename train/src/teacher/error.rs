//! Why a teacher gives no scores.

use std::io;
use std::path::PathBuf;

use super::cache::CacheError;
use super::remote::RemoteError;

/// Why a teacher cannot be loaded or gives no scores.
#[derive(Debug, thiserror::Error)]
pub enum TeacherError {
    /// A sparse encoder.
    #[error(transparent)]
    Sparse(#[from] model::SparseError),
    /// A dense encoder.
    #[error(transparent)]
    Dense(#[from] model::DenseError),
    /// A cross-encoder.
    #[error(transparent)]
    CrossEncoder(#[from] model::CrossEncoderError),
    /// A monoT5.
    #[error(transparent)]
    MonoT5(#[from] model::MonoT5Error),
    /// The corpus of BM25.
    #[error(transparent)]
    Beir(#[from] data::beir::BeirError),
    /// Vectors.
    #[error(transparent)]
    Dataset(#[from] data::DatasetError),
    /// A server.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The scores that were kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    Read {
        /// File or directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// There is no such model.
    #[error("teacher {teacher}: there is no model directory {path}", path = path.display())]
    NoModel {
        /// Name of the teacher.
        teacher: String,
        /// What was looked for.
        path: PathBuf,
    },
    /// Queries were to come from a table that is not there.
    #[error(
        "teacher {teacher}: inf_free: true takes queries from an IDF table, and the model directory has no idf.json: \
         name one in idf_path, or leave inf_free out"
    )]
    NoTable {
        /// Name of the teacher.
        teacher: String,
    },
    /// The data has no ids.
    #[error(
        "teacher {teacher} finds texts by their ids, and the query {query:?} or one of its documents has none: use \
         data with q_id and d_ids (data_type: kd-ids)"
    )]
    NoIds {
        /// Name of the teacher.
        teacher: String,
        /// The beginning of the query.
        query: String,
    },
    /// A vector is missing.
    #[error("teacher {teacher}: {path} has no vector with the id {id:?}", path = path.display())]
    NoVector {
        /// Name of the teacher.
        teacher: String,
        /// Where it should be.
        path: PathBuf,
        /// Whose it is.
        id: String,
    },
    /// Vectors that cannot be multiplied.
    #[error(
        "teacher {teacher}: the vectors of queries have {queries} numbers and those of documents {documents}: they are \
         not of one model"
    )]
    Dimensions {
        /// Name of the teacher.
        teacher: String,
        /// Length of a query's vector.
        queries: usize,
        /// Length of a document's vector.
        documents: usize,
    },
    /// A number that is none.
    #[error(
        "teacher {teacher}: the score of a document for the query {query:?} is {score}, expected a number"
    )]
    NotFinite {
        /// Name of the teacher.
        teacher: String,
        /// The beginning of the query.
        query: String,
        /// NaN or an infinity.
        score: f32,
    },
}

/// The beginning of a text, for messages.
pub(super) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 80;
    text.chars().take(LONGEST).collect()
}
