//! What can go wrong with an index.

use std::io;
use std::path::PathBuf;

/// Why an index cannot be built, written, or opened.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Two documents with one id.
    #[error(
        "document id `{id}` occurs twice: documents {first} and {second} of the input; ids must be unique"
    )]
    DuplicateId {
        /// The id.
        id: String,
        /// Position of the first, from 1.
        first: usize,
        /// Position of the second, from 1.
        second: usize,
    },
    /// More documents than 32-bit numbers.
    #[error("an index holds at most 2^32 documents: split the collection")]
    TooManyDocuments,
    /// Reading or mapping failed.
    #[error("{path}: {cause}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A block could not be put aside.
    #[error("cannot write into {path}: {cause}", path = path.display())]
    Write {
        /// The index folder.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The index file could not be written.
    #[error("{0}")]
    Output(#[from] io::Error),
    /// The folder holds no index.
    #[error(
        "{path}: not an ellzero index; build one with `ellzero-eval index --input vectors.jsonl --output DIR`",
        path = path.display()
    )]
    NotAnIndex {
        /// The file.
        path: PathBuf,
    },
    /// Written by another version of this program.
    #[error("{path}: index format {found}, this version reads {expected}: build the index anew", path = path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// The bytes are not those that were written.
    #[error("{path}: the index is damaged ({what}): build it anew", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Which check failed.
        what: String,
    },
}

/// Why a search failed.
#[derive(Debug, thiserror::Error)]
#[error("search failed: {0}")]
pub struct SearchError(pub String);
