//! A BEIR directory put together of what is elsewhere: the Hub has documents and judgements in two repositories, and
//! the documents as Parquet.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{CHUNK_ROWS, PrepareError};
use crate::beir::{BeirError, Document};
use crate::dataset::Dataset;
use crate::output::{AtomicDir, AtomicFile, OutputError};
use crate::qrels::{Qrels, read_qrels};

/// Endings of files with rows.
const ROWS: [&str; 4] = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"];
/// Endings of files with judgements.
const JUDGEMENTS: [&str; 3] = [".tsv", ".tsv.gz", ".tsv.zst"];

/// What a collection holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectionCounts {
    /// Documents of the corpus.
    pub documents: usize,
    /// Queries.
    pub queries: usize,
    /// Names of the splits, and how many judgements each has.
    pub splits: Vec<(String, usize)>,
}

impl fmt::Display for CollectionCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} documents, {} queries", self.documents, self.queries)?;
        for (split, judgements) in &self.splits {
            write!(f, ", {judgements} judgements of {split}")?;
        }
        Ok(())
    }
}

/// Writes the BEIR directory `output`. `data` is a folder with corpus and queries, each as one file (`corpus.jsonl`,
/// `.gz`, `.zst` or `.parquet`) or as a folder of such files; `qrels` is a folder with `SPLIT.tsv`, in itself or in its
/// folder `qrels`. `on_row` is called after every document and query.
///
/// # Errors
/// [`PrepareError`], naming file and row, or [`PrepareError::Nothing`] when something of it is not there.
pub fn collection(
    data: &Path,
    qrels: &Path,
    output: &Path,
    on_row: &mut dyn FnMut(),
) -> Result<CollectionCounts, PrepareError> {
    let splits = splits(qrels)?;
    let folder = AtomicDir::create(output)?;
    let path = |name: &str| folder.path().join(name);
    let mut counts = CollectionCounts {
        documents: write_rows(data, "corpus", &path("corpus.jsonl"), on_row)?,
        queries: write_rows(data, "queries", &path("queries.jsonl"), on_row)?,
        splits: Vec::new(),
    };
    std::fs::create_dir(path("qrels")).map_err(|cause| OutputError::Write {
        path: output.to_path_buf(),
        cause,
    })?;
    for (split, file) in splits {
        let qrels = read_qrels(&file).map_err(BeirError::from)?;
        let judgements = write_qrels(&qrels, &path(&format!("qrels/{split}.tsv")))?;
        counts.splits.push((split, judgements));
    }
    folder.finish()?;
    Ok(counts)
}

/// Writes the rows of all files called `name`, in the order of their names; their number.
fn write_rows(
    data: &Path,
    name: &str,
    output: &Path,
    on_row: &mut dyn FnMut(),
) -> Result<usize, PrepareError> {
    let mut files = files_ending(&data.join(name), &ROWS);
    let beside = ROWS.iter().map(|ending| format!("{name}{ending}"));
    files.extend(
        beside
            .map(|file| data.join(file))
            .find(|file| file.is_file()),
    );
    if files.is_empty() {
        return Err(PrepareError::Nothing {
            path: data.to_path_buf(),
            reason: format!(
                "expected {name}.jsonl, .jsonl.gz, .jsonl.zst or .parquet, or a folder {name} of such files"
            ),
        });
    }
    let mut file = AtomicFile::create(output)?;
    let mut rows = 0;
    for path in files {
        let dataset = Dataset::open(&path)?;
        for row in 0..dataset.len() {
            let Document { id, title, text } = Document::of_row(&dataset, row)?;
            file.write_line(&json!({"_id": id, "title": title, "text": text}).to_string())?;
            on_row();
            if row % CHUNK_ROWS == CHUNK_ROWS - 1 {
                dataset.release();
            }
        }
        rows += dataset.len();
    }
    file.finish()?;
    Ok(rows)
}

fn write_qrels(qrels: &Qrels, output: &Path) -> Result<usize, OutputError> {
    let mut file = AtomicFile::create(output)?;
    file.write_line("query-id\tcorpus-id\tscore")?;
    let mut judgements = 0;
    for (query, documents) in qrels {
        for (document, grade) in documents {
            file.write_line(&format!("{query}\t{document}\t{grade}"))?;
            judgements += 1;
        }
    }
    file.finish()?;
    Ok(judgements)
}

/// Names of splits, and the files with their judgements.
fn splits(qrels: &Path) -> Result<Vec<(String, PathBuf)>, PrepareError> {
    let mut files = files_ending(&qrels.join("qrels"), &JUDGEMENTS);
    if files.is_empty() {
        files = files_ending(qrels, &JUDGEMENTS);
    }
    let split = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.split_once(".tsv")?.0.to_owned();
        Some((name, path))
    };
    let splits: Vec<_> = files.into_iter().filter_map(split).collect();
    if splits.is_empty() {
        return Err(PrepareError::Nothing {
            path: qrels.to_path_buf(),
            reason: "expected judgements, SPLIT.tsv, in it or in its folder qrels".to_owned(),
        });
    }
    Ok(splits)
}

/// The files of a folder with one of these endings, by name; none where there is no folder.
fn files_ending(dir: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.is_file() && endings.iter().any(|ending| name.ends_with(ending))
        })
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::beir::BeirDir;
    use crate::convert::convert;

    fn write(path: &Path, content: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn documents_and_judgements_come_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let row = |id: &str| format!(r#"{{"_id": "{id}", "title": "", "text": "x {id}"}}"#);
        fs::create_dir_all(path("data/corpus")).unwrap();
        for (number, id) in ["b", "a"].iter().enumerate() {
            write(&path("rows.jsonl"), &row(id));
            let part = format!("data/corpus/corpus-0000{number}-of-00002.parquet");
            convert(&path("rows.jsonl"), &path(&part), &mut || ()).unwrap();
        }
        write(&path("data/queries.jsonl"), &row("q"));
        write(
            &path("qrels/test.tsv"),
            "query-id\tcorpus-id\tscore\nq\ta\t2\n",
        );
        write(&path("qrels/train.tsv"), "q\tb\t1\nq\ta\t0\n");
        let output = path("set");
        let counts = collection(&path("data"), &path("qrels"), &output, &mut || ()).unwrap();
        assert_eq!(
            counts.to_string(),
            "2 documents, 1 queries, 1 judgements of test, 2 judgements of train"
        );
        let beir = BeirDir::open(&output).unwrap();
        let ids = beir.documents().unwrap().map(|row| row.unwrap().id);
        assert_eq!(ids.collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(beir.splits(), ["test", "train"]);
        assert_eq!(beir.qrels("test").unwrap()["q"]["a"], 2);
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let message = || {
            let made = collection(dir.path(), dir.path(), &path("set"), &mut || ());
            made.unwrap_err().to_string()
        };
        assert!(message().contains("SPLIT.tsv"));
        write(&path("qrels/test.tsv"), "q\ta\t1\n");
        assert!(message().contains("expected corpus.jsonl"));
        write(&path("corpus.jsonl"), "{\"_id\": \"a\"}\n");
        let bad = message();
        assert!(bad.contains("corpus.jsonl:1: missing key `text`"), "{bad}");
        assert!(!path("set").exists());
    }
}
