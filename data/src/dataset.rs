//! Data sets of rows, whatever they are stored in: JSON lines, Parquet or a Hugging Face `save_to_disk` directory.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use configs::DataKind;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::hf_dataset::HfDataset;
use crate::input::InputError;
use crate::jsonl::JsonLines;
use crate::parquet_file;

/// Why a data set could not be read.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// A text file could not be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A file or directory is missing, damaged, or of another kind.
    #[error("{}: {reason}", path.display())]
    File {
        /// File or directory at fault.
        path: PathBuf,
        /// What was found, what was expected, what to do.
        reason: String,
    },
    /// A row is not what it should be.
    #[error("{place}: {reason}")]
    Row {
        /// `file:line`, or file and row number.
        place: String,
        /// What was found, and what was expected.
        reason: String,
    },
}

impl DatasetError {
    pub(crate) fn open(path: &Path, cause: io::Error) -> Self {
        Self::Input(InputError::Open {
            path: path.to_path_buf(),
            cause,
        })
    }
}

/// A file that is not laid out for reading in any order was to be unpacked beside others of its kind, in vain.
pub(crate) fn unpack_error(path: &Path, cause: &dyn Display) -> DatasetError {
    DatasetError::File {
        path: path.to_path_buf(),
        reason: format!(
            "cannot unpack it into a temporary file in {} (TMPDIR names another folder): {cause}",
            std::env::temp_dir().display()
        ),
    }
}

/// A training row before it is cut into groups; texts point into the file where that is possible.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainRow<'a> {
    /// The query.
    pub query: Cow<'a, str>,
    /// kd: the candidates. posnegs: the positive, then the negatives.
    pub docs: Vec<Cow<'a, str>>,
    /// kd: the teacher's scores, one per candidate, where the row has any.
    pub scores: Option<Vec<f32>>,
    /// kd: rank of the first relevant candidate, where the row has one.
    pub first_rank: Option<i64>,
}

/// An open data set with random access to its rows.
pub enum Dataset {
    /// A JSON lines file.
    JsonLines(JsonLines),
    /// A `save_to_disk` directory, or a Parquet file unpacked into the same form.
    Hf(HfDataset),
}

impl Dataset {
    /// Opens a directory written by `save_to_disk`, a Parquet file (by its extension), or a JSON lines file (`.gz`,
    /// `.zst`, `-` included).
    ///
    /// # Errors
    /// [`DatasetError`], naming the file and the cause.
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        if path.is_dir() {
            return HfDataset::open(path).map(Self::Hf);
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("parquet") => parquet_file::open(path).map(Self::Hf),
            Some("arrow") => Err(DatasetError::File {
                path: path.to_path_buf(),
                reason:
                    "a single Arrow file cannot be read: name the directory with its state.json"
                        .to_owned(),
            }),
            _ => JsonLines::open(path).map(Self::JsonLines),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::JsonLines(lines) => lines.len(),
            Self::Hf(dataset) => dataset.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the columns in their order; of JSON lines the keys of the first row.
    ///
    /// # Errors
    /// [`DatasetError`] when the first line is no JSON object.
    pub fn columns(&self) -> Result<Vec<String>, DatasetError> {
        match self {
            Self::JsonLines(lines) => lines.columns(),
            Self::Hf(dataset) => {
                let fields = dataset.schema().fields().iter();
                Ok(fields.map(|field| field.name().clone()).collect())
            }
        }
    }

    /// All columns of a row, as JSON.
    ///
    /// # Errors
    /// [`DatasetError`], naming file and row.
    pub fn row(&self, row: usize) -> Result<Map<String, Value>, DatasetError> {
        match self {
            Self::JsonLines(lines) => lines.row(row),
            Self::Hf(dataset) => dataset.row(row),
        }
    }

    /// A row as training data. `None` when a text or score of it is null.
    ///
    /// # Errors
    /// [`DatasetError`], naming file, row and column: a column is missing or of the wrong type, there are more or
    /// fewer scores than documents, or a score is not finite.
    pub fn train_row(
        &self,
        row: usize,
        kind: DataKind,
    ) -> Result<Option<TrainRow<'_>>, DatasetError> {
        match self {
            Self::JsonLines(lines) => lines.train_row(row, kind),
            Self::Hf(dataset) => dataset.train_row(row, kind),
        }
    }

    /// Where a row is stored, for messages.
    pub fn place(&self, row: usize) -> String {
        match self {
            Self::JsonLines(lines) => lines.place(row),
            Self::Hf(dataset) => dataset.place(row),
        }
    }

    /// Gives the memory of rows read so far back to the system.
    pub(crate) fn release(&self) {
        match self {
            Self::JsonLines(lines) => lines.release(),
            Self::Hf(dataset) => dataset.release(),
        }
    }
}

/// The columns that training data of a kind needs.
pub(crate) fn required_columns(kind: DataKind) -> &'static [&'static str] {
    match kind {
        DataKind::Kd => &["query", "docs"],
        DataKind::PosNegs => &["query", "pos", "negs"],
    }
}

/// What to say when a row does not have the columns of its kind.
pub(crate) fn wrong_columns<'a>(
    kind: DataKind,
    missing: &str,
    found: impl Iterator<Item = &'a str>,
) -> String {
    let found: Vec<&str> = found.collect();
    let other = match kind {
        DataKind::Kd => DataKind::PosNegs,
        DataKind::PosNegs => DataKind::Kd,
    };
    let advice = if required_columns(other)
        .iter()
        .all(|key| found.contains(key))
    {
        format!("; this is data_type: {}", data_type(other))
    } else {
        String::new()
    };
    format!(
        "no `{missing}`, which data_type: {} needs; there are: {}{advice}",
        data_type(kind),
        found.join(", ")
    )
}

fn data_type(kind: DataKind) -> &'static str {
    match kind {
        DataKind::Kd => "kd",
        DataKind::PosNegs => "posnegs",
    }
}

/// Checks a kd row's scores against its documents and turns them into float32.
pub(crate) fn check_scores(docs: usize, scores: &[f64]) -> Result<Vec<f32>, String> {
    if scores.len() != docs {
        return Err(format!("{docs} docs but {} scores", scores.len()));
    }
    let finite = |(index, &score): (usize, &f64)| {
        let narrowed = score as f32;
        if narrowed.is_finite() {
            Ok(narrowed)
        } else {
            Err(format!(
                "scores[{index}] is {score:?}, which is no finite float32 number"
            ))
        }
    };
    scores.iter().enumerate().map(finite).collect()
}
