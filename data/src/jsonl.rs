//! Data sets as JSON lines: mapped into memory, one offset per row, rows parsed when asked for.

mod rows;

use std::fs::File;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use serde_json::{Map, Value};

use crate::dataset::{DatasetError, RowForm, TrainRow, no_text, unpack_error};
use crate::input::{self, InputError};
use crate::mapped;
use rows::{KdLine, Keys, Passage, PassagesLine, PosNegsLine};

/// Memory is given back to the system after this many bytes of a scan.
const RELEASE_BYTES: usize = 64 << 20;

/// A JSON lines file.
pub struct JsonLines {
    path: PathBuf,
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
    /// Where each row's line starts; blank lines are no rows.
    starts: Vec<u64>,
}

impl JsonLines {
    /// Maps the file and finds its lines. Compressed files and `-` are unpacked into an unnamed temporary file
    /// first, because rows are read in any order.
    ///
    /// # Errors
    /// [`DatasetError`], naming the file, or the folder for temporary files where that is full.
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let packed = matches!(
            path.extension().and_then(|extension| extension.to_str()),
            Some("gz" | "zst")
        );
        let file = if packed || path == Path::new("-") {
            unpack(path)?
        } else {
            File::open(path).map_err(|cause| DatasetError::open(path, cause))?
        };
        let length = file
            .metadata()
            .map_err(|cause| DatasetError::open(path, cause))?
            .len();
        let map = if length == 0 {
            None
        } else {
            Some(mapped::map(&file).map_err(|cause| DatasetError::open(path, cause))?)
        };
        let starts = map.as_ref().map_or_else(Vec::new, line_starts);
        Ok(Self {
            path: path.to_path_buf(),
            map,
            starts,
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The text of a row.
    ///
    /// # Errors
    /// [`InputError::NotUtf8`], naming file and line.
    pub fn line(&self, row: usize) -> Result<&str, InputError> {
        let start = self.starts[row] as usize;
        let end = self
            .starts
            .get(row + 1)
            .map_or(self.bytes().len(), |&end| end as usize);
        let bytes = &self.bytes()[start..end];
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let bytes = &bytes[..end.unwrap_or(bytes.len())];
        input::decode_line(bytes, start == 0, || self.line_number(row), &self.path)
    }

    /// All keys of a row.
    ///
    /// # Errors
    /// [`DatasetError`] when the line is no JSON object.
    pub fn row(&self, row: usize) -> Result<Map<String, Value>, DatasetError> {
        serde_json::from_str(self.line(row)?).map_err(|error| self.error(row, describe(&error)))
    }

    /// A row as it is written.
    ///
    /// # Errors
    /// [`DatasetError`] when the line is no JSON object.
    pub(crate) fn json(&self, row: usize) -> Result<&str, DatasetError> {
        self.keys(row)?;
        Ok(self.line(row)?)
    }

    fn keys(&self, row: usize) -> Result<Keys, DatasetError> {
        serde_json::from_str(self.line(row)?).map_err(|error| self.error(row, describe(&error)))
    }

    /// The keys of the first row, in their order.
    ///
    /// # Errors
    /// [`DatasetError`] when the line is no JSON object.
    pub fn columns(&self) -> Result<Vec<String>, DatasetError> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.keys(0)?.0)
    }

    /// A row as training data; see [`Dataset::train_row`](crate::dataset::Dataset::train_row).
    ///
    /// # Errors
    /// [`DatasetError`], naming file, line and key.
    pub fn train_row(
        &self,
        row: usize,
        form: RowForm,
    ) -> Result<Option<TrainRow<'_>>, DatasetError> {
        let line = self.line(row)?;
        let parsed = match form {
            RowForm::Kd => serde_json::from_str(line).map(KdLine::into_row),
            RowForm::KdIds => serde_json::from_str(line).map(KdLine::into_row_with_ids),
            RowForm::PosNegs => {
                serde_json::from_str(line).map(|line: PosNegsLine| Ok(line.into_row()))
            }
            RowForm::Passages => {
                serde_json::from_str(line).map(|line: PassagesLine| Ok(line.into_row()))
            }
        };
        match parsed {
            Ok(converted) => converted.map_err(|reason| self.form_error(row, form, reason)),
            Err(error) => Err(self.form_error(row, form, describe(&error))),
        }
    }

    /// A row as a document; see [`Dataset::document`](crate::dataset::Dataset::document).
    ///
    /// # Errors
    /// [`DatasetError`], naming file, line and key.
    pub fn document(&self, row: usize) -> Result<Option<String>, DatasetError> {
        let error = match serde_json::from_str(self.line(row)?) {
            Ok(passage) => return Ok(Passage::into_contents(passage)),
            Err(error) => error,
        };
        let reason = match self.row(row) {
            Ok(keys) if !keys.contains_key("text") => no_text(keys.keys().map(String::as_str)),
            _ => describe(&error),
        };
        Err(self.error(row, reason))
    }

    /// `file:line` of a row.
    pub fn place(&self, row: usize) -> String {
        format!("{}:{}", self.path.display(), self.line_number(row))
    }

    /// Gives the memory of rows read so far back to the system.
    pub(crate) fn release(&self) {
        if let Some(map) = &self.map {
            mapped::release(map, 0, map.len());
        }
    }

    fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }

    /// Number of a row's line, from 1.
    pub(crate) fn line_number(&self, row: usize) -> usize {
        let before = &self.bytes()[..self.starts[row] as usize];
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    }

    pub(crate) fn error(&self, row: usize, reason: String) -> DatasetError {
        DatasetError::Row {
            place: self.place(row),
            reason,
        }
    }

    /// A missing key is told with the keys that are there; anything else as `reason` says it.
    fn form_error(&self, row: usize, form: RowForm, reason: String) -> DatasetError {
        let keys = self.row(row).ok();
        let missing = keys.as_ref().and_then(|keys| {
            let mut required = form.required_columns().iter();
            required.find(|key| !keys.contains_key(**key))
        });
        let reason = match (missing, keys.as_ref()) {
            (Some(missing), Some(keys)) => {
                form.wrong_columns(missing, keys.keys().map(String::as_str))
            }
            _ => reason,
        };
        self.error(row, reason)
    }
}

fn unpack(path: &Path) -> Result<File, DatasetError> {
    let mut reader = input::open(path)?;
    let unpacked = tempfile::tempfile().and_then(|mut file| {
        io::copy(&mut reader, &mut file)?;
        file.rewind()?;
        Ok(file)
    });
    unpacked.map_err(|cause| unpack_error(path, &cause))
}

/// Offsets of the lines that are not blank.
fn line_starts(map: &Mmap) -> Vec<u64> {
    let mut starts = Vec::new();
    let mut start = 0;
    let mut released = 0;
    while start < map.len() {
        let rest = &map[start..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let line = &rest[..end.unwrap_or(rest.len())];
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        if !line.trim_ascii().is_empty() {
            starts.push(start as u64);
        }
        start += end.map_or(rest.len(), |end| end + 1);
        if start - released > RELEASE_BYTES {
            mapped::release(map, released, start);
            released = start;
        }
    }
    mapped::release(map, released, map.len());
    starts
}

/// A parser's message with the column in the line, but not its idea of the line number.
pub(crate) fn describe(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rsplit_once(" at line ") {
        Some((reason, _)) => format!("{reason} (column {})", error.column()),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::io::Write;

    use super::*;
    use crate::output::AtomicFile;

    fn open(content: &str, name: &str) -> JsonLines {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.finish().unwrap();
        JsonLines::open(&path).unwrap()
    }

    const KD: &str = concat!(
        "\u{feff}{\"query\": \"q\", \"docs\": [\"a\", \"b\\n\"], \"scores\": [1, 2.5], \"first_rank\": 3}\r\n",
        "\n",
        "{\"query\": \"r\", \"docs\": [\"a\", null]}\n",
        "{\"query\": \"s\", \"docs\": [], \"scores\": null}",
    );

    #[test]
    fn reads_rows_of_plain_and_packed_files() {
        for name in ["kd.jsonl", "kd.jsonl.gz", "kd.jsonl.zst"] {
            let lines = open(KD, name);
            assert_eq!(lines.len(), 3);
            let row = lines.train_row(0, RowForm::Kd).unwrap().unwrap();
            assert_eq!((&*row.query, &*row.docs[1]), ("q", "b\n"));
            assert!(matches!(row.docs[0], Cow::Borrowed("a")));
            assert_eq!(row.scores, Some(vec![1.0, 2.5]));
            assert_eq!(row.first_rank, Some(3));
            assert_eq!(lines.train_row(1, RowForm::Kd).unwrap(), None);
            assert_eq!(lines.train_row(2, RowForm::Kd).unwrap(), None);
            assert!(lines.place(2).ends_with(":4"), "{}", lines.place(2));
        }
        assert!(open("", "empty.jsonl").is_empty());
    }

    #[test]
    fn reads_posnegs() {
        let lines = open(
            r#"{"query": "q", "pos": "p", "negs": ["n"], "x": {}}"#,
            "p.jsonl",
        );
        let row = lines.train_row(0, RowForm::PosNegs).unwrap().unwrap();
        assert_eq!(row.docs, ["p", "n"]);
        assert_eq!(lines.row(0).unwrap()["x"], Value::Object(Map::new()));
        assert_eq!(lines.columns().unwrap(), ["query", "pos", "negs", "x"]);
    }

    #[test]
    fn documents_are_titles_and_texts() {
        let rows = concat!(
            r#"{"text": " a "}"#,
            "\n",
            r#"{"_id": 1, "title": "T", "text": "b\n"}"#,
            "\n",
            r#"{"title": "T", "text": null}"#,
            "\n",
            r#"{"title": "T", "body": "b"}"#,
            "\n",
            r#"{"text": 5}"#,
        );
        let lines = open(rows, "c.jsonl");
        let found: Vec<_> = (0..3).map(|row| lines.document(row).unwrap()).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(found, [text("a"), text("T b"), None]);
        let message = |row| lines.document(row).unwrap_err().to_string();
        assert!(
            message(3).contains("c.jsonl:4: no `text`"),
            "{}",
            message(3)
        );
        assert!(
            message(3).ends_with("there are: body, title"),
            "{}",
            message(3)
        );
        assert!(
            message(4).contains("c.jsonl:5: invalid type"),
            "{}",
            message(4)
        );
    }

    #[test]
    fn reads_ids_as_texts_or_numbers() {
        let rows = concat!(
            r#"{"query": "q", "docs": ["a", "b"], "q_id": 7, "d_ids": ["x", 12], "scores": [1, 2]}"#,
            "\n",
            r#"{"query": "q", "docs": ["a"], "q_id": null, "d_ids": [1]}"#,
            "\n",
            r#"{"query": "q", "docs": ["a"], "q_id": 1, "d_ids": [null]}"#,
        );
        let lines = open(rows, "ids.jsonl");
        let row = lines.train_row(0, RowForm::KdIds).unwrap().unwrap();
        let ids = row.ids.unwrap();
        assert_eq!(
            (ids.query.as_str(), ids.docs),
            ("7", vec!["x".to_owned(), "12".to_owned()])
        );
        assert_eq!(lines.train_row(1, RowForm::KdIds).unwrap(), None);
        assert_eq!(lines.train_row(2, RowForm::KdIds).unwrap(), None);
        assert_eq!(lines.train_row(0, RowForm::Kd).unwrap().unwrap().ids, None);
        for (line, expected) in [
            (
                r#"{"query": "q", "docs": ["a"], "d_ids": [1]}"#,
                "ids.jsonl:1: no `q_id`, which data_type: kd-ids needs; there are: d_ids, docs, query; this is \
                 data_type: kd",
            ),
            (
                r#"{"query": "q", "docs": ["a"], "q_id": 1, "d_ids": [1, 2]}"#,
                "ids.jsonl:1: 1 docs but 2 d_ids",
            ),
            (
                r#"{"query": "q", "docs": ["a"], "q_id": [], "d_ids": [1]}"#,
                "`q_id`: expected a text or a number",
            ),
            (
                r#"{"query": "q", "docs": ["a"], "q_id": 1, "d_ids": 2}"#,
                "`d_ids`: expected a list of texts or numbers",
            ),
        ] {
            let lines = open(line, "ids.jsonl");
            let error = lines.train_row(0, RowForm::KdIds).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let kd = |line: &str| {
            let lines = open(&format!("\n{line}"), "kd.jsonl");
            lines.train_row(0, RowForm::Kd).unwrap_err().to_string()
        };
        for (line, expected) in [
            (
                r#"{"query": "q"}"#,
                "kd.jsonl:2: no `docs`, which data_type: kd needs; there are: query",
            ),
            (
                r#"{"query": "q", "pos": "p", "negs": []}"#,
                "this is data_type: posnegs",
            ),
            (
                r#"{"query": 1, "docs": []}"#,
                "kd.jsonl:2: invalid type: integer `1`",
            ),
            (
                r#"{"query": "q", "docs": ["a"], "scores": [1, 2]}"#,
                "1 docs but 2 scores",
            ),
            (
                r#"{"query": "q", "docs": ["a"], "scores": [1e99]}"#,
                "scores[0] is 1e99",
            ),
            (r#"{"query": "q", "#, "(column "),
        ] {
            let message = kd(line);
            assert!(message.contains(expected), "{message}");
        }
    }
}
