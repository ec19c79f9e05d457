//! A BEIR directory put together of what is elsewhere: the Hub has documents and judgements in two repositories, and
//! the documents as Parquet.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{CHUNK_ROWS, PrepareError};
use crate::beir::{BeirError, Document};
use crate::dataset::{Dataset, id_text};
use crate::output::{AtomicDir, AtomicFile, OutputError};
use crate::qrels::{Qrels, read_qrels};

/// Endings of files with rows.
const ROWS: [&str; 4] = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"];
/// Endings of files with judgements.
const JUDGEMENTS: [&str; 4] = [".tsv", ".tsv.gz", ".tsv.zst", ".parquet"];

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
/// folder `qrels`, or as Parquet, named as the Hub does. `on_row` is called after every document and query.
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
    for (split, files) in splits {
        let mut qrels = Qrels::new();
        for file in files {
            read_judgements(&file, &mut qrels)?;
        }
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
    if files.is_empty() {
        let mut beside = ROWS.iter().map(|end| data.join(format!("{name}{end}")));
        files.extend(beside.find(|file| file.is_file()));
    }
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
fn splits(qrels: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>, PrepareError> {
    let mut files = files_ending(&qrels.join("qrels"), &JUDGEMENTS);
    if files.is_empty() {
        files = files_ending(qrels, &JUDGEMENTS);
    }
    let mut splits: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        splits.entry(split_of(&name)).or_default().push(file);
    }
    if splits.is_empty() {
        return Err(PrepareError::Nothing {
            path: qrels.to_path_buf(),
            reason: "expected judgements, SPLIT.tsv or .parquet, in it or in its folder qrels"
                .to_owned(),
        });
    }
    Ok(splits)
}

/// The split that a file belongs to: `test` for `test.tsv.gz`, `test.parquet` and `test-00000-of-00001.parquet`.
fn split_of(file: &str) -> String {
    let name = file.split_once('.').map_or(file, |(name, _)| name);
    let is_part = |part: &str| {
        let mut numbers = part.split("-of-");
        numbers.all(|number| number.len() == 5 && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let part = name.len().checked_sub("-00000-of-00001".len());
    match part.and_then(|part| name.split_at_checked(part)) {
        Some((split, part)) if !split.is_empty() && is_part(&part[1..]) => split.to_owned(),
        _ => name.to_owned(),
    }
}

/// Adds the judgements of one file: BEIR's or TREC's lines, or Parquet with the columns `query-id`, `corpus-id` and
/// `score`; where there is no `score`, every judgement is 1.
fn read_judgements(path: &Path, qrels: &mut Qrels) -> Result<(), PrepareError> {
    if path
        .extension()
        .is_none_or(|extension| extension != "parquet")
    {
        qrels.extend(read_qrels(path).map_err(BeirError::from)?);
        return Ok(());
    }
    let dataset = Dataset::open(path)?;
    for row in 0..dataset.len() {
        let (query, document, grade) =
            judgement(&dataset.row(row)?).map_err(|reason| dataset.row_error(row, reason))?;
        let judgements = qrels.entry(query.clone()).or_default();
        if let Some(earlier) = judgements.insert(document.clone(), grade)
            && earlier != grade
        {
            let reason = format!(
                "query {query:?} and document {document:?} have grade {grade} here and {earlier} further up"
            );
            return Err(dataset.row_error(row, reason).into());
        }
    }
    Ok(())
}

fn judgement(row: &Map<String, Value>) -> Result<(String, String, i32), String> {
    let id = |key: &str| {
        let value = row.get(key).unwrap_or(&Value::Null);
        id_text(value).ok_or_else(|| format!("{key} is {value}, expected a text or a number"))
    };
    let grade = match row.get("score") {
        None => 1,
        Some(score) => score
            .as_i64()
            .and_then(|score| i32::try_from(score).ok())
            .ok_or_else(|| format!("score is {score}, expected a whole number"))?,
    };
    Ok((id("query-id")?, id("corpus-id")?, grade))
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

    /// As NanoBEIR has them: all splits are called train, and a judgement has no grade.
    #[test]
    fn parquet_judgements() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let parquet = |rows: &str, name: &str| {
            write(&path("rows.jsonl"), rows);
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            convert(&path("rows.jsonl"), &path(name), &mut || ()).unwrap();
        };
        parquet(
            "{\"_id\": \"007\", \"text\": \"x\"}\n",
            "set/corpus/train-00000-of-00001.parquet",
        );
        parquet(
            "{\"_id\": \"1e3\", \"text\": \"y\"}\n",
            "set/queries/train-00000-of-00001.parquet",
        );
        // A file beside the folder is another form of the same rows.
        write(
            &path("set/corpus.jsonl"),
            "{\"_id\": \"007\", \"text\": \"x\"}\n",
        );
        let judged = "{\"query-id\": \"1e3\", \"corpus-id\": \"007\"}\n";
        parquet(judged, "set/qrels/train-00000-of-00002.parquet");
        parquet(
            &judged.replace("007", "8"),
            "set/qrels/train-00001-of-00002.parquet",
        );
        let made = path("made");
        let counts = collection(&path("set"), &path("set"), &made, &mut || ()).unwrap();
        assert_eq!(
            counts.to_string(),
            "1 documents, 1 queries, 2 judgements of train"
        );
        let qrels = BeirDir::open(&made).unwrap().qrels("train").unwrap();
        assert_eq!(
            qrels["1e3"],
            BTreeMap::from([("007".into(), 1), ("8".into(), 1)])
        );

        parquet(
            &format!("{judged}{{\"query-id\": \"q\"}}\n"),
            "bad/qrels/test.parquet",
        );
        let made = collection(&path("set"), &path("bad"), &path("not"), &mut || ());
        let message = made.unwrap_err().to_string();
        assert!(
            message.contains("test.parquet") && message.contains("corpus-id"),
            "{message}"
        );
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
