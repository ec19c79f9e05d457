//! Data sets of rows, whatever they are stored in: JSON lines, Parquet or a Hugging Face `save_to_disk` directory.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use configs::DataKind;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::convert::ordered_json;
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
    /// kd: the candidates. posnegs: the positives, then the negatives.
    pub docs: Vec<Cow<'a, str>>,
    /// posnegs: how many of `docs` are positives; 0 in kd.
    pub positives: usize,
    /// kd: the teacher's scores, one per candidate, where the row has any.
    pub scores: Option<Vec<f32>>,
    /// kd: rank of the first relevant candidate, where the row has one.
    pub first_rank: Option<i64>,
    /// kd-ids: what the texts are called.
    pub ids: Option<RowIds>,
}

/// Ids of the texts of a row or of a group of it; numbers are written as texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowIds {
    /// Of the query.
    pub query: String,
    /// Of the documents, in their order.
    pub docs: Vec<String>,
}

/// How training rows are laid out in columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowForm {
    /// `{query, docs, scores?, first_rank?}`.
    Kd,
    /// kd with ids: `{query, q_id, docs, d_ids, scores?, first_rank?}`.
    KdIds,
    /// `{query, pos, negs}`.
    PosNegs,
    /// posnegs as MIRACL, Mr.TyDi and Tevatron have them: `{query, positive_passages, negative_passages}`, each passage
    /// `{docid, title, text}`.
    Passages,
}

impl RowForm {
    /// The form in which a data set with these columns holds data of a kind.
    pub fn of(kind: DataKind, columns: &[String]) -> Self {
        let has_passages = || columns.iter().any(|column| column == "positive_passages");
        match kind {
            DataKind::Kd => Self::Kd,
            DataKind::KdIds => Self::KdIds,
            DataKind::PosNegs if has_passages() => Self::Passages,
            DataKind::PosNegs => Self::PosNegs,
        }
    }

    /// The form that a data set with these columns has, for those who take any.
    pub fn detect(columns: &[String]) -> Option<Self> {
        let forms = [Self::KdIds, Self::Kd, Self::PosNegs, Self::Passages];
        forms.into_iter().find(|form| {
            let mut required = form.required_columns().iter();
            required.all(|key| columns.iter().any(|column| column == key))
        })
    }

    /// The columns that every row needs.
    pub(crate) fn required_columns(self) -> &'static [&'static str] {
        match self {
            Self::Kd => &["query", "docs"],
            Self::KdIds => &["query", "q_id", "docs", "d_ids"],
            Self::PosNegs => &["query", "pos", "negs"],
            Self::Passages => &["query", "positive_passages", "negative_passages"],
        }
    }

    /// Its name in recipes.
    fn data_type(self) -> &'static str {
        match self {
            Self::Kd => "kd",
            Self::KdIds => "kd-ids",
            Self::PosNegs | Self::Passages => "posnegs",
        }
    }

    /// What to say when a row does not have the columns of its form.
    pub(crate) fn wrong_columns<'a>(
        self,
        missing: &str,
        found: impl Iterator<Item = &'a str>,
    ) -> String {
        let found: Vec<&str> = found.collect();
        let fits = |form: &Self| {
            let mut required = form.required_columns().iter();
            required.all(|key| found.contains(key)) && form.data_type() != self.data_type()
        };
        let other = [Self::KdIds, Self::Kd, Self::PosNegs, Self::Passages]
            .into_iter()
            .find(fits);
        let advice = other.map_or_else(String::new, |form| {
            format!("; this is data_type: {}", form.data_type())
        });
        format!(
            "no `{missing}`, which data_type: {} needs; there are: {}{advice}",
            self.data_type(),
            found.join(", ")
        )
    }
}

/// What to say of a row that is no document.
pub(crate) fn no_text<'a>(found: impl Iterator<Item = &'a str>) -> String {
    let found: Vec<&str> = found.collect();
    format!(
        "no `text`, which a document has, beside a `title` or not; there are: {}",
        found.join(", ")
    )
}

/// An open data set with random access to its rows.
pub enum Dataset {
    /// A JSON lines file.
    JsonLines(JsonLines),
    /// A `save_to_disk` directory, or a Parquet file unpacked into the same form.
    Hf(HfDataset),
}

impl Dataset {
    /// Opens a directory written by `save_to_disk`, a Parquet file (by its extension) or a folder of such files, which
    /// are one data set in the order of their names, or a JSON lines file (`.gz`, `.zst`, `-` included).
    ///
    /// # Errors
    /// [`DatasetError`], naming the file and the cause.
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        if path.is_dir() {
            let opened = match parquet_file::parts(path) {
                parts if parts.is_empty() => HfDataset::open(path),
                parts => parquet_file::open(path, &parts),
            };
            return opened.map(Self::Hf);
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("parquet") => parquet_file::open(path, &[path.to_path_buf()]).map(Self::Hf),
            Some("arrow") => Err(DatasetError::File {
                path: path.to_path_buf(),
                reason:
                    "a single Arrow file cannot be read: name the directory with its state.json"
                        .to_owned(),
            }),
            _ => JsonLines::open(path).map(Self::JsonLines),
        }
    }

    /// Whether a path is one of columns: a folder or a Parquet file. Others are lines, which can be read as a stream.
    pub fn is_columnar(path: &Path) -> bool {
        path.is_dir()
            || path
                .extension()
                .is_some_and(|extension| extension == "parquet")
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

    /// A row as a line of JSON: that of a JSON lines file as it is written, the columns of others in their order.
    ///
    /// # Errors
    /// [`DatasetError`], naming file and row.
    pub(crate) fn json(&self, row: usize) -> Result<Cow<'_, str>, DatasetError> {
        match self {
            Self::JsonLines(lines) => lines.json(row).map(Cow::Borrowed),
            Self::Hf(dataset) => Ok(Cow::Owned(ordered_json(
                &self.columns()?,
                dataset.row(row)?,
            ))),
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
        form: RowForm,
    ) -> Result<Option<TrainRow<'_>>, DatasetError> {
        match self {
            Self::JsonLines(lines) => lines.train_row(row, form),
            Self::Hf(dataset) => dataset.train_row(row, form),
        }
    }

    /// A row as a document: its title, where it has one, and its text, joined by one space and trimmed. `None` when the
    /// text is null.
    ///
    /// # Errors
    /// [`DatasetError`], naming file, row and column: there is no text, or it is none.
    pub fn document(&self, row: usize) -> Result<Option<String>, DatasetError> {
        match self {
            Self::JsonLines(lines) => lines.document(row),
            Self::Hf(dataset) => dataset.document(row),
        }
    }

    pub(crate) fn row_error(&self, row: usize, reason: impl Into<String>) -> DatasetError {
        DatasetError::Row {
            place: self.place(row),
            reason: reason.into(),
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
    pub fn release(&self) {
        match self {
            Self::JsonLines(lines) => lines.release(),
            Self::Hf(dataset) => dataset.release(),
        }
    }
}

/// An id, which may be a text or a number.
pub(crate) fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// Pairs a kd-ids row's ids with its documents; `None` where an id is null.
pub(crate) fn check_ids(
    docs: usize,
    query: Option<String>,
    ids: Option<Vec<Option<String>>>,
) -> Result<Option<RowIds>, String> {
    let (Some(query), Some(ids)) = (query, ids) else {
        return Ok(None);
    };
    if ids.len() != docs {
        return Err(format!("{docs} docs but {} d_ids", ids.len()));
    }
    let docs: Option<Vec<String>> = ids.into_iter().collect();
    Ok(docs.map(|docs| RowIds { query, docs }))
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
