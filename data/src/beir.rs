//! BEIR directories: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.

mod documents;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::dataset::DatasetError;
use crate::hub;
use crate::input::InputError;
use crate::passages::Passages;
use crate::qrels;

pub use crate::qrels::{Qrels, QrelsError};
pub(crate) use documents::contents;
pub use documents::{Document, Documents};

/// Why a BEIR directory could not be read.
#[derive(Debug, Error)]
pub enum BeirError {
    /// A file that belongs to the layout is not there.
    #[error(
        "{}: no {name} (nor {name}.gz or {name}.zst); a BEIR directory holds corpus.jsonl, queries.jsonl and \
         qrels/SPLIT.tsv{found}",
        dir.display()
    )]
    MissingFile {
        /// Folder asked for.
        dir: PathBuf,
        /// File missing from it.
        name: String,
        /// What is there instead, as the end of a sentence.
        found: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A line is not what it should be.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// File at fault.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What was found, and what was expected.
        reason: String,
    },
    /// An id occurs twice.
    #[error("{}:{line}: the id {id:?} occurs a second time; ids must be unique", path.display())]
    DuplicateId {
        /// File at fault.
        path: PathBuf,
        /// Line of the second occurrence, from 1.
        line: usize,
        /// The id.
        id: String,
    },
    /// A corpus cannot be mapped, or a row of it is no document.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The judgements are at fault.
    #[error(transparent)]
    Qrels(#[from] QrelsError),
}

/// A search request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Its `_id` (or `id`).
    pub id: String,
    /// Its text.
    pub text: String,
}

/// A BEIR directory.
#[derive(Debug, Clone)]
pub struct BeirDir {
    dir: PathBuf,
    corpus: PathBuf,
    queries: PathBuf,
}

impl BeirDir {
    /// Finds the files; each may also end in `.gz` or `.zst`.
    ///
    /// # Errors
    /// [`BeirError::MissingFile`] without a corpus or without queries.
    pub fn open(dir: &Path) -> Result<Self, BeirError> {
        Ok(Self {
            corpus: find(dir, "corpus.jsonl")?,
            queries: find(dir, "queries.jsonl")?,
            dir: dir.to_path_buf(),
        })
    }

    /// Whether there is such a directory here: one with a corpus in it.
    pub fn is_at(dir: &Path) -> bool {
        find(dir, "corpus.jsonl").is_ok()
    }

    /// Where the documents are.
    pub fn corpus_path(&self) -> &Path {
        &self.corpus
    }

    /// Where the queries are.
    pub fn queries_path(&self) -> &Path {
        &self.queries
    }

    /// The directory's own name, for reports; that of its repository for a snapshot of the Hub.
    pub fn name(&self) -> String {
        let absolute = std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone());
        let own_name = || absolute.file_name();
        hub::snapshot_name(&absolute).unwrap_or_else(|| {
            own_name().map_or_else(|| "data".into(), |name| name.to_string_lossy().into_owned())
        })
    }

    /// Streams the corpus in file order.
    ///
    /// # Errors
    /// [`BeirError`] when the file cannot be opened; the iterator's items are errors where a line is not a
    /// document or its id occurred before, and it ends there.
    pub fn documents(&self) -> Result<Documents, BeirError> {
        Documents::open(&self.corpus)
    }

    /// The corpus by number, in file order.
    ///
    /// # Errors
    /// [`BeirError`] when the file cannot be mapped.
    pub fn passages(&self) -> Result<Passages, BeirError> {
        Passages::open(&self.corpus)
    }

    /// Reads all queries, in file order.
    ///
    /// # Errors
    /// [`BeirError`], naming file and line.
    pub fn queries(&self) -> Result<Vec<Query>, BeirError> {
        let documents = Documents::open(&self.queries)?;
        documents
            .map(|query| {
                let Document { id, text, .. } = query?;
                Ok(Query { id, text })
            })
            .collect()
    }

    /// Reads the judgements of a split (`train`, `dev`, `test`).
    ///
    /// # Errors
    /// [`BeirError`], naming the splits that are there, or file and line.
    pub fn qrels(&self, split: &str) -> Result<Qrels, BeirError> {
        Ok(qrels::read_qrels(&self.qrels_path(split)?)?)
    }

    /// Where the judgements of a split are.
    ///
    /// # Errors
    /// [`BeirError::MissingFile`], naming the splits that are there.
    pub fn qrels_path(&self, split: &str) -> Result<PathBuf, BeirError> {
        let name = format!("qrels/{split}.tsv");
        find(&self.dir, &name).map_err(|_| BeirError::MissingFile {
            dir: self.dir.clone(),
            found: format!("; its splits are: {}", self.splits().join(", ")),
            name,
        })
    }

    /// Names of the splits with judgements, sorted.
    pub fn splits(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.join("qrels"));
        let mut splits: Vec<String> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some(name.split_once(".tsv")?.0.to_owned())
            })
            .collect();
        splits.sort();
        splits
    }
}

fn find(dir: &Path, name: &str) -> Result<PathBuf, BeirError> {
    ["", ".gz", ".zst"]
        .iter()
        .map(|suffix| dir.join(format!("{name}{suffix}")))
        .find(|path| path.is_file())
        .ok_or_else(|| BeirError::MissingFile {
            dir: dir.to_path_buf(),
            name: name.to_owned(),
            found: if dir.is_dir() {
                String::new()
            } else {
                "; there is no such directory".to_owned()
            },
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(content: &str) -> Result<Vec<Document>, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("corpus.jsonl"), content).unwrap();
        std::fs::write(dir.path().join("queries.jsonl"), "").unwrap();
        let beir = BeirDir::open(dir.path()).unwrap();
        let documents = beir.documents().unwrap();
        documents
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())
    }

    #[test]
    fn reads_what_occurs_in_the_wild() {
        let rows = documents(concat!(
            "{\"_id\": \"a\", \"title\": \" T \", \"text\": \"x \", \"metadata\": {}}\r\n\n",
            "{\"_id\": 12, \"text\": \"y\"}\n",
            "{\"id\": \"b\", \"title\": null, \"text\": \"\"}",
        ))
        .unwrap();
        let contents: Vec<_> = rows.iter().map(|d| (d.id.as_str(), d.contents())).collect();
        let expected = [("a", "T  x"), ("12", "y"), ("b", "")];
        assert_eq!(contents, expected.map(|(id, text)| (id, text.to_owned())));
    }

    #[test]
    fn errors_name_file_line_and_key() {
        for (content, expected) in [
            (
                "{\"_id\": 1, \"text\": \"\"}\n{\"_id\": \"1\", \"text\": \"\"}",
                "corpus.jsonl:2: the id \"1\" occurs a second time",
            ),
            ("{\"text\": \"\"}", "corpus.jsonl:1: missing key `_id`"),
            ("{\"_id\": \"1\"}", "corpus.jsonl:1: missing key `text`"),
            ("{\"_id\": \"1\", \"text\": 3}", "corpus.jsonl:1: "),
            (
                "{\"_id\": [], \"text\": \"\"}",
                "an id must be a string or a number",
            ),
            ("\n{\"_id\": ", "corpus.jsonl:2: "),
        ] {
            let message = documents(content).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn missing_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let message = BeirDir::open(dir.path()).unwrap_err().to_string();
        assert!(message.contains("no corpus.jsonl"), "{message}");
        for name in ["corpus.jsonl", "queries.jsonl"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("qrels")).unwrap();
        std::fs::write(dir.path().join("qrels/dev.tsv"), "q\td\t1\n").unwrap();
        let beir = BeirDir::open(dir.path()).unwrap();
        let message = beir.qrels("test").unwrap_err().to_string();
        assert!(message.contains("qrels/test.tsv"), "{message}");
        assert!(message.ends_with("its splits are: dev"), "{message}");
        assert_eq!(beir.qrels("dev").unwrap()["q"]["d"], 1);
    }
}
