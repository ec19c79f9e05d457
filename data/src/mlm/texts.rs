//! Documents to learn from, read when asked for.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use configs::TrainSource;
use rayon::prelude::*;

use super::MlmError;
use crate::dataset::{Dataset, DatasetError};
use crate::sample::GroupId;
use crate::train_data::dataset_paths;

/// Rows looked at together while texts are counted.
const SCAN_ROWS: usize = 4096;
/// Texts read before their memory is given back to the system.
const RELEASE_READS: usize = 1024;

/// What became of the rows of a data set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TextCounts {
    /// All rows.
    pub rows: usize,
    /// Rows skipped because the text is null.
    pub null: usize,
    /// Rows skipped because title and text are empty.
    pub empty: usize,
}

impl std::fmt::Display for TextCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rows", self.rows)?;
        for (count, what) in [
            (self.null, "skipped for a null text"),
            (self.empty, "skipped for an empty text"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// The documents of one data set.
pub struct TextSet {
    path: PathBuf,
    dataset: Dataset,
    /// Rows that have a text.
    rows: Vec<u32>,
    counts: TextCounts,
    /// Texts read so far.
    reads: AtomicUsize,
}

/// The documents of all data sets: memory holds one number per document, no text.
pub struct Texts {
    sets: Vec<TextSet>,
}

impl Texts {
    /// Opens `train_file`, or every data set of `train_file_dir` in the order of their names, and looks at every row
    /// once, so that whatever is wrong with the data is told before training starts.
    ///
    /// # Errors
    /// [`MlmError`], naming file and line, or shard, row and column.
    pub fn open(source: &TrainSource) -> Result<Self, MlmError> {
        let paths = match source {
            TrainSource::File(path) => vec![path.clone()],
            TrainSource::Dir(path) => dataset_paths(path)?,
        };
        let sets = paths.into_iter().map(TextSet::open);
        Ok(Self {
            sets: sets.collect::<Result<_, _>>()?,
        })
    }

    /// The data sets.
    pub fn sets(&self) -> &[TextSet] {
        &self.sets
    }

    /// Number of texts of each data set.
    pub fn sizes(&self) -> Vec<usize> {
        self.sets.iter().map(TextSet::len).collect()
    }

    /// Reads one text: title and text of a document.
    ///
    /// # Errors
    /// [`DatasetError`] when the row cannot be read any more.
    ///
    /// # Panics
    /// When there is no such text.
    pub fn text(&self, id: GroupId) -> Result<String, DatasetError> {
        self.sets[id.set].text(id.group)
    }
}

impl TextSet {
    fn open(path: PathBuf) -> Result<Self, MlmError> {
        let dataset = Dataset::open(&path)?;
        if u32::try_from(dataset.len()).is_err() {
            let reason = format!("{} rows, at most {} are supported", dataset.len(), u32::MAX);
            return Err(DatasetError::File { path, reason }.into());
        }
        let mut set = Self {
            path,
            dataset,
            rows: Vec::new(),
            counts: TextCounts::default(),
            reads: AtomicUsize::new(0),
        };
        set.find_texts()?;
        if set.is_empty() {
            return Err(MlmError::NoText {
                path: set.path,
                counts: set.counts,
            });
        }
        Ok(set)
    }

    /// Reads every row once; the first faulty one ends it, whatever the number of threads.
    fn find_texts(&mut self) -> Result<(), DatasetError> {
        let rows = self.dataset.len();
        self.counts.rows = rows;
        for start in (0..rows).step_by(SCAN_ROWS) {
            let end = rows.min(start + SCAN_ROWS);
            let chunk: Vec<Result<Option<bool>, DatasetError>> = (start..end)
                .into_par_iter()
                .map(|row| Ok(self.dataset.document(row)?.map(|text| !text.is_empty())))
                .collect();
            for (row, has_text) in (start..).zip(chunk) {
                match has_text? {
                    Some(true) => self.rows.push(row as u32),
                    Some(false) => self.counts.empty += 1,
                    None => self.counts.null += 1,
                }
            }
            self.dataset.release();
        }
        Ok(())
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What became of its rows.
    pub fn counts(&self) -> TextCounts {
        self.counts
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn text(&self, index: usize) -> Result<String, DatasetError> {
        let text = self.dataset.document(self.rows[index] as usize)?;
        if self.reads.fetch_add(1, Ordering::Relaxed) % RELEASE_READS == RELEASE_READS - 1 {
            self.dataset.release();
        }
        Ok(text.expect("rows with null are no texts"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = concat!(
        r#"{"text": "one"}"#,
        "\n",
        r#"{"_id": "b", "title": "two", "text": "words"}"#,
        "\n",
        r#"{"text": " "}"#,
        "\n",
        r#"{"text": null}"#,
        "\n",
        r#"{"title": "three", "text": ""}"#,
    );

    fn open(rows: &str) -> Result<Texts, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("texts.jsonl");
        std::fs::write(&path, rows).unwrap();
        Texts::open(&TrainSource::File(path)).map_err(|error| error.to_string())
    }

    fn all(texts: &Texts) -> Vec<String> {
        let ids = (0..texts.sizes()[0]).map(|group| GroupId { set: 0, group });
        ids.map(|id| texts.text(id).unwrap()).collect()
    }

    #[test]
    fn rows_without_text_are_skipped_and_counted() {
        let texts = open(ROWS).unwrap();
        assert_eq!(all(&texts), ["one", "two words", "three"]);
        assert_eq!(
            texts.sets()[0].counts().to_string(),
            "5 rows, 1 skipped for a null text, 1 skipped for an empty text"
        );
    }

    #[test]
    fn columns_hold_the_same_texts_as_lines() {
        let dir = tempfile::tempdir().unwrap();
        let lines = dir.path().join("a.jsonl");
        // Every row has every key: columns know no other rows.
        let rows = ROWS.replace(r#"{"text""#, r#"{"title": null, "text""#);
        std::fs::write(&lines, rows.replace(r#""_id": "b", "#, "")).unwrap();
        for name in ["a.parquet", "a"] {
            let path = dir.path().join(name);
            crate::convert::convert(&lines, &path, &mut || ()).unwrap();
            let texts = Texts::open(&TrainSource::File(path)).unwrap();
            assert_eq!(all(&texts), ["one", "two words", "three"], "{name}");
        }
    }

    #[test]
    fn what_is_no_text_is_named() {
        let error = |rows: &str| open(rows).err().unwrap();
        let message = error("{\"text\": \"a\"}\n{\"query\": \"q\", \"docs\": []}");
        assert!(
            message.contains("texts.jsonl:2: no `text`, which a document has"),
            "{message}"
        );
        let message = error(r#"{"title": "", "text": " "}"#);
        assert!(
            message.contains("texts.jsonl: no text in it: 1 rows, 1 skipped for an empty text"),
            "{message}"
        );
        assert!(error("").contains("no text in it: 0 rows"));
    }

    #[test]
    fn a_folder_holds_several_sets() {
        let dir = tempfile::tempdir().unwrap();
        for (name, rows) in [("b.jsonl", ROWS), ("a.jsonl", r#"{"text": "x"}"#)] {
            std::fs::write(dir.path().join(name), rows).unwrap();
        }
        let texts = Texts::open(&TrainSource::Dir(dir.path().to_path_buf())).unwrap();
        assert_eq!(texts.sizes(), [1, 3]);
        let id = GroupId { set: 1, group: 2 };
        assert_eq!(texts.text(id).unwrap(), "three");
    }
}
