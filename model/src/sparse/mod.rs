//! Sparse vectors: the one form in which representations leave the model.

mod encoder;
mod query;
mod vector;

pub use encoder::{LoadNotes, QueryWeights, SparseEncoder, SparseError, SparseOptions};
pub use query::idf_query;
pub use vector::SparseVector;
