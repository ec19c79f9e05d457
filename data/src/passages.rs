//! A corpus by number: its file is mapped, and a document is read again whenever it is asked for.

use std::path::{Path, PathBuf};

use crate::beir::{BeirError, Document};
use crate::jsonl::JsonLines;

/// The documents of a corpus in file order, at 8 bytes of memory each.
pub struct Passages {
    path: PathBuf,
    lines: JsonLines,
}

impl Passages {
    /// Maps a file of BEIR's document rows. A compressed one is unpacked into an unnamed temporary file first.
    ///
    /// # Errors
    /// [`BeirError::Dataset`], naming the file, or the folder for temporary files where that is full.
    pub fn open(path: &Path) -> Result<Self, BeirError> {
        Ok(Self {
            path: path.to_path_buf(),
            lines: JsonLines::open(path)?,
        })
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Document number `index`, from 0.
    ///
    /// # Errors
    /// [`BeirError`], naming the line, when it is not a document.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn get(&self, index: usize) -> Result<Document, BeirError> {
        Document::parse(self.lines.line(index)?).map_err(|reason| BeirError::Line {
            path: self.path.clone(),
            line: self.lines.line_number(index),
            reason,
        })
    }

    /// Gives the memory of documents read so far back to the system.
    pub fn release(&self) {
        self.lines.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::write_file;

    #[test]
    fn documents_come_by_number_and_errors_name_the_line() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["corpus.jsonl", "corpus.jsonl.gz"] {
            let path = dir.path().join(name);
            let rows = "{\"_id\": \"a\", \"text\": \"x\"}\n\n{\"id\": 7, \"title\": \"t\", \"text\": \"y\"}\n{\"_id\": \"b\"}\n";
            write_file(&path, rows.as_bytes()).unwrap();
            let passages = Passages::open(&path).unwrap();
            assert_eq!((passages.len(), passages.is_empty()), (3, false));
            passages.release();
            let document = passages.get(1).unwrap();
            assert_eq!(
                (document.id.as_str(), document.contents().as_str()),
                ("7", "t y")
            );
            let message = passages.get(2).unwrap_err().to_string();
            assert!(message.contains(&format!("{name}:4: ")), "{message}");
        }
    }
}
