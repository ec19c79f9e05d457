//! Models that score for others to learn from, against transformers and sentence-transformers.

mod bad_model;
pub mod cross_encoder;
pub mod dense_encoder;

use std::path::PathBuf;

use data::BatchLimit;

use crate::fixture;

/// The directories of `fixtures/teachers` that hold this file.
fn holders(file: &str) -> Vec<(String, PathBuf)> {
    let root = fixture::own("teachers");
    let names = fixture::folders_in(&root, |path| path.join(file).is_file());
    let place = |name: String| (name.clone(), root.join(name));
    names.into_iter().map(place).collect()
}

/// Batches of one, of some, and of all.
const LIMITS: [BatchLimit; 4] = [
    BatchLimit::Rows(1),
    BatchLimit::Rows(3),
    BatchLimit::Tokens(50),
    BatchLimit::Tokens(100_000),
];
