//! From raw text to training data: data sets made of others, and vocabularies.

mod collection;
mod dedup;
mod msmarco;
mod near;
mod questions;
mod split;
mod subset;
mod texts;
mod titles;
mod wordpiece;

use std::path::PathBuf;

use serde::Serialize;
use thiserror::Error;

use crate::beir::BeirError;
use crate::dataset::{DatasetError, id_text};
use crate::output::OutputError;

pub use collection::{CollectionCounts, collection};
pub use dedup::{DedupCounts, dedup};
pub use msmarco::{JoinCounts, JoinKind, join_id_lists, repair};
pub use near::NearDuplicates;
pub use questions::{QuestionCounts, pairs_from_questions};
pub use split::{Parts, PartsError, split};
pub use subset::{SampleCounts, sample};
pub use titles::{TitleCounts, title_collection, title_pairs};
pub use wordpiece::{WordPieceCounts, WordPieceOptions, train_wordpiece};

/// Rows read one after the other, after which memory is given back to the system.
const CHUNK_ROWS: usize = 4096;
/// Rows read here and there, after which it is given back: each may bring 64 KiB along.
const SCATTERED_ROWS: usize = 1024;

/// A row of posnegs data.
#[derive(Serialize)]
struct PosNegsRow<'a> {
    query: &'a str,
    pos: &'a str,
    negs: &'a [String],
}

impl PosNegsRow<'_> {
    fn line(&self) -> String {
        serde_json::to_string(self).expect("texts have a form in JSON")
    }
}

/// Why a data set could not be made.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// A data set cannot be read, or a row of it is not what it should be.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A BEIR directory or a file of documents cannot be read.
    #[error(transparent)]
    Beir(#[from] BeirError),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Nothing can be made of the input.
    #[error("{}: {reason}", path.display())]
    Nothing {
        /// Input at fault.
        path: PathBuf,
        /// What was found, and what was expected.
        reason: String,
    },
}
