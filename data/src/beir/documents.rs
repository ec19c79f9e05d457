//! Documents, and the rows that they are read from.

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;

use super::BeirError;
use crate::dataset::{Dataset, DatasetError};
use crate::input::{self, Lines};
use crate::jsonl::describe;
use crate::seen::SeenTexts;

/// Rows of columns read before their memory is given back to the system.
const RELEASE_ROWS: usize = 4096;

/// A passage of the corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its `_id` (or `id`).
    pub id: String,
    /// Its title; empty where there is none.
    pub title: String,
    /// Its text.
    pub text: String,
}

impl Document {
    /// # Errors
    /// What is wrong with the line.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let row: Row = serde_json::from_str(line).map_err(|error| describe(&error))?;
        Ok(row.into_document()?)
    }

    /// A row of any data set.
    ///
    /// # Errors
    /// [`DatasetError`], naming file and row, where it is no document.
    pub(crate) fn of_row(dataset: &Dataset, row: usize) -> Result<Self, DatasetError> {
        let json = match dataset {
            Dataset::JsonLines(lines) => Cow::Borrowed(lines.line(row)?),
            Dataset::Hf(_) => dataset.json(row)?,
        };
        Self::parse(&json).map_err(|reason| dataset.row_error(row, reason))
    }

    /// What is encoded: title and text joined by one space, trimmed.
    pub fn contents(&self) -> String {
        contents(&self.title, &self.text)
    }
}

/// Title and text joined by one space, trimmed.
pub(crate) fn contents(title: &str, text: &str) -> String {
    format!("{title} {text}").trim().to_owned()
}

/// Iterator over the documents (or queries) of a file, ids checked to be unique.
pub struct Documents {
    source: Source,
    /// `None` where ids need not be unique.
    seen: Option<SeenTexts>,
    failed: bool,
}

/// Where rows come from.
enum Source {
    /// JSON lines, read as a stream.
    Lines(Lines),
    /// Columns, and the next row of them.
    Columns(Dataset, usize),
}

impl Documents {
    /// Opens any file with BEIR's document rows `{"_id" or "id", "title"?, "text"}`: JSON lines (`.gz`, `.zst` and `-`
    /// work too), a Parquet file or a folder of them, or a `save_to_disk` directory.
    ///
    /// # Errors
    /// [`BeirError`] when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, BeirError> {
        let source = match Dataset::is_columnar(path) {
            true => Source::Columns(Dataset::open(path)?, 0),
            false => Source::Lines(input::open_lines(path)?),
        };
        Ok(Self {
            source,
            seen: Some(SeenTexts::default()),
            failed: false,
        })
    }

    /// Leaves out the check that ids are unique, and its memory.
    pub fn ids_unchecked(mut self) -> Self {
        self.seen = None;
        self
    }

    fn read(&mut self) -> Result<Option<Document>, BeirError> {
        let seen = &mut self.seen;
        let mut is_new = |id: &str| seen.as_mut().is_none_or(|seen| seen.insert(id));
        match &mut self.source {
            Source::Lines(lines) => read_line(lines, &mut is_new),
            Source::Columns(rows, next) => read_row(rows, next, &mut is_new),
        }
    }
}

fn read_line(
    lines: &mut Lines,
    is_new: &mut dyn FnMut(&str) -> bool,
) -> Result<Option<Document>, BeirError> {
    for line in lines.by_ref() {
        let line = line?;
        if line.text.trim().is_empty() {
            continue;
        }
        let error = |reason| BeirError::Line {
            path: lines.path().to_path_buf(),
            line: line.number,
            reason,
        };
        let document = Document::parse(&line.text).map_err(error)?;
        if !is_new(&document.id) {
            return Err(BeirError::DuplicateId {
                path: lines.path().to_path_buf(),
                line: line.number,
                id: document.id,
            });
        }
        return Ok(Some(document));
    }
    Ok(None)
}

fn read_row(
    rows: &Dataset,
    next: &mut usize,
    is_new: &mut dyn FnMut(&str) -> bool,
) -> Result<Option<Document>, BeirError> {
    let row = *next;
    if row == rows.len() {
        return Ok(None);
    }
    *next += 1;
    if next.is_multiple_of(RELEASE_ROWS) {
        rows.release();
    }
    let document = Document::of_row(rows, row)?;
    match is_new(&document.id) {
        true => Ok(Some(document)),
        false => {
            let id = &document.id;
            let reason = format!("the id {id:?} occurs a second time; ids must be unique");
            Err(rows.row_error(row, reason).into())
        }
    }
}

impl Iterator for Documents {
    type Item = Result<Document, BeirError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let document = self.read().transpose();
        self.failed = !matches!(document, Some(Ok(_)));
        document
    }
}

#[derive(Deserialize)]
struct Row {
    _id: Option<Id>,
    id: Option<Id>,
    title: Option<String>,
    #[serde(default, deserialize_with = "present")]
    text: Option<Option<String>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "an id must be a string or a number")]
enum Id {
    Text(String),
    Number(serde_json::Number),
}

/// Tells `"text": null` (empty) from no `text` at all (an error).
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Row {
    fn into_document(self) -> Result<Document, &'static str> {
        let id = match self._id.or(self.id) {
            Some(Id::Text(id)) => id,
            Some(Id::Number(id)) => id.to_string(),
            None => return Err("missing key `_id`"),
        };
        Ok(Document {
            id,
            title: self.title.unwrap_or_default(),
            text: self.text.ok_or("missing key `text`")?.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::convert::convert;

    const ROWS: [&str; 2] = [
        "{\"_id\": \"a\", \"title\": \"T\", \"text\": \"x\"}\n{\"_id\": \"b\", \"title\": null, \"text\": \"y\"}\n",
        "{\"_id\": \"c\", \"title\": \"\", \"text\": \"z\"}\n",
    ];

    fn all(path: &Path) -> Result<Vec<Document>, String> {
        let documents = Documents::open(path).map_err(|error| error.to_string())?;
        documents
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())
    }

    /// A Parquet file, a folder with the parts of one, and a `save_to_disk` directory.
    #[test]
    fn columns_hold_the_same_documents_as_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("parts")).unwrap();
        fs::write(path("parts/README.md"), "about").unwrap();
        fs::write(path("all.jsonl"), ROWS.concat()).unwrap();
        for (number, rows) in ROWS.iter().enumerate() {
            fs::write(path("part.jsonl"), rows).unwrap();
            let part = format!("parts/corpus-0000{number}-of-00002.parquet");
            convert(&path("part.jsonl"), &path(&part), &mut || ()).unwrap();
        }
        for name in ["all.parquet", "all"] {
            convert(&path("all.jsonl"), &path(name), &mut || ()).unwrap();
        }
        let expected = all(&path("all.jsonl")).unwrap();
        assert_eq!(expected.len(), 3);
        for name in ["all.parquet", "all", "parts"] {
            assert_eq!(all(&path(name)).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn rows_that_are_no_documents_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (rows, expected) in [
            (
                "{\"_id\": \"a\", \"text\": \"\"}\n{\"_id\": \"a\", \"text\": \"\"}\n",
                "c.parquet: row 1 of the data set: the id \"a\" occurs a second time",
            ),
            (
                "{\"query\": \"a\"}\n",
                "c.parquet: row 0 of the data set: missing key `_id`",
            ),
        ] {
            fs::write(path("c.jsonl"), rows).unwrap();
            convert(&path("c.jsonl"), &path("c.parquet"), &mut || ()).unwrap();
            let message = all(&path("c.parquet")).unwrap_err();
            assert!(message.contains(expected), "{message}");
            let unchecked = Documents::open(&path("c.parquet")).unwrap().ids_unchecked();
            let is_duplicate = expected.contains("second");
            assert_eq!(
                unchecked.filter(Result::is_err).count(),
                usize::from(!is_duplicate)
            );
        }
        let empty = tempfile::tempdir().unwrap();
        let message = all(empty.path()).unwrap_err();
        assert!(message.contains("no state.json in it"), "{message}");
    }
}
