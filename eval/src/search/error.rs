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
    /// A document that the index has already.
    #[error(
        "document id `{id}` is in the index already, as document {indexed}; it is document {place} of the input: leave \
         it out, or build the index anew"
    )]
    IndexedId {
        /// The id.
        id: String,
        /// Position in the index, from 1.
        indexed: usize,
        /// Position in the input, from 1.
        place: usize,
    },
    /// No score can be made of this.
    #[error(
        "document `{id}`: token number {token} weighs {weight}; weights are positive and finite"
    )]
    Weight {
        /// The document's id.
        id: String,
        /// The token's number.
        token: u32,
        /// Its weight.
        weight: f32,
    },
    /// Appending with another numbering of tokens.
    #[error(
        "{path}: token number {number} of the index is `{expected}`, of what is appended `{found}`: use the same \
         vocabulary, or build the index anew",
        path = path.display()
    )]
    OtherTokens {
        /// The index folder.
        path: PathBuf,
        /// Number of the token.
        number: usize,
        /// Its name in the index.
        expected: String,
        /// Its name in what is appended.
        found: String,
    },
    /// Two at the same time.
    #[error("{path}: another process is writing an index into this folder: wait until it is done", path = path.display())]
    InUse {
        /// The index folder.
        path: PathBuf,
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
