//! A finished evaluation as two files: `NAME.details.json` and `NAME.run.trec`. Reports are drawn from them, and a run
//! that is given again need not compute what they hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use data::output::{self, OutputError};
use serde::{Deserialize, Serialize};

use super::{DatasetReport, Details, DocumentSample};
use crate::metric::{Evaluation, UnknownMeasure};
use crate::ranking::Run;
use crate::run_file::{self, RunFileError};

/// Ending of the files with details.
const ENDING: &str = ".details.json";
/// The last column of the runs.
const TAG: &str = "ellzero";

/// Why a finished evaluation cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {reason}; evaluate the data set again", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The run.
    #[error(transparent)]
    Run(#[from] RunFileError),
    /// A file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// A finished evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReport {
    /// What it was computed from, in a checksum.
    pub fingerprint: String,
    /// Its results.
    pub report: DatasetReport,
}

#[derive(Serialize, Deserialize)]
struct Content {
    fingerprint: String,
    figures: DatasetReport,
    measures: Vec<String>,
    /// Values by query, in the order of `measures`.
    per_query: BTreeMap<String, Vec<f64>>,
    queries: BTreeMap<String, String>,
    /// Pairs of a number of tokens and how many documents have it.
    document_lengths: Vec<(u32, u64)>,
    samples: Vec<DocumentSample>,
    notes: Vec<String>,
}

impl StoredReport {
    /// Writes the files of data set `name` into `dir`.
    ///
    /// # Errors
    ///
    /// If an id does not fit into a run, or the system refuses.
    pub fn write(&self, dir: &Path, name: &str) -> Result<(), StoredError> {
        let details = &self.report.details;
        run_file::write(&run_path(dir, name), &details.run, TAG)?;
        let measures = details.evaluation.measures.iter();
        let content = Content {
            fingerprint: self.fingerprint.clone(),
            figures: self.report.clone(),
            measures: measures.map(ToString::to_string).collect(),
            per_query: details.evaluation.per_query.clone(),
            queries: details.queries.clone(),
            document_lengths: details.document_lengths.clone().into_iter().collect(),
            samples: details.samples.clone(),
            notes: details.notes.clone(),
        };
        let path = details_path(dir, name);
        let json = serde_json::to_vec(&content).map_err(|cause| StoredError::Content {
            path: path.clone(),
            reason: cause.to_string(),
        })?;
        Ok(output::write_file(&path, &json)?)
    }

    /// Reads the files of data set `name` in `dir`.
    ///
    /// # Errors
    ///
    /// If one is not there, or not as this version writes it.
    pub fn read(dir: &Path, name: &str) -> Result<Self, StoredError> {
        let path = details_path(dir, name);
        let json = fs::read(&path).map_err(|cause| StoredError::Read {
            path: path.clone(),
            cause,
        })?;
        let bad = |reason: String| StoredError::Content {
            path: path.clone(),
            reason,
        };
        let content: Content = serde_json::from_slice(&json).map_err(|e| bad(e.to_string()))?;
        let measures: Result<Vec<_>, UnknownMeasure> =
            content.measures.iter().map(|name| name.parse()).collect();
        let measures = measures.map_err(|error| bad(error.to_string()))?;
        let rows = || content.per_query.values();
        if let Some(row) = rows().find(|row| row.len() != measures.len()) {
            let (found, expected) = (row.len(), measures.len());
            return Err(bad(format!(
                "a query has {found} values, expected {expected}"
            )));
        }
        let count = rows().len().max(1) as f64;
        let sum = |index: usize| rows().fold(0.0, |sum, row| sum + row[index]);
        let mean = (0..measures.len()).map(|index| sum(index) / count);
        let evaluation = Evaluation {
            mean: mean.collect(),
            measures,
            per_query: content.per_query.clone(),
        };
        let details = Details {
            run: read_run(dir, name)?,
            evaluation,
            queries: content.queries,
            document_lengths: content.document_lengths.into_iter().collect(),
            samples: content.samples,
            notes: content.notes,
        };
        Ok(Self {
            fingerprint: content.fingerprint,
            report: DatasetReport {
                details,
                ..content.figures
            },
        })
    }

    /// The data sets with a finished evaluation in `dir`, by name; none where there is no such folder.
    pub fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some(name.strip_suffix(ENDING)?.to_owned())
            })
            .collect();
        names.sort();
        names
    }
}

/// An evaluation that found nothing leaves a run without a line.
fn read_run(dir: &Path, name: &str) -> Result<Run, RunFileError> {
    match run_file::read(&run_path(dir, name)) {
        Err(RunFileError::Empty { .. }) => Ok(Run::new()),
        result => result,
    }
}

fn details_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}{ENDING}"))
}

fn run_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.run.trec"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Measure;
    use crate::ranking::Hit;

    fn report() -> StoredReport {
        let hit = |id: &str, score: f32| Hit {
            id: id.to_owned(),
            score,
        };
        let sample = DocumentSample {
            id: "d".into(),
            text: "é".into(),
            is_cut: true,
            spans: vec![(0, 2, 0.1)],
            expansion: vec![("x".into(), 0.3)],
            tokens: 2,
        };
        let details = Details {
            run: Run::from([("q".into(), vec![hit("d", 0.1 + 0.2), hit("e", 0.1)])]),
            evaluation: Evaluation {
                measures: vec![Measure::Ndcg(Some(10)), Measure::Mrr(None)],
                per_query: [("q", vec![1.0 / 3.0, 0.5]), ("r", vec![0.0, 0.1])]
                    .map(|(query, row)| (query.to_owned(), row))
                    .into(),
                mean: vec![1.0 / 3.0 / 2.0, 0.3],
            },
            queries: [("q".to_owned(), "a \"b\"".to_owned())].into(),
            document_lengths: [(0, 1), (17, 3)].into(),
            samples: vec![sample],
            notes: vec!["a note".into()],
        };
        StoredReport {
            fingerprint: "0badcafe".into(),
            report: DatasetReport {
                ndcg_at_10: 1.0 / 3.0,
                docs: 4,
                details,
                ..DatasetReport::default()
            },
        }
    }

    #[test]
    fn what_is_written_is_read_back_exactly() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut stored = report();
        stored.write(dir.path(), "a.b").expect("written");
        assert_eq!(StoredReport::names(dir.path()), ["a.b"]);
        assert_eq!(StoredReport::read(dir.path(), "a.b").expect("read"), stored);
        stored.report.details.run.clear();
        stored.write(dir.path(), "a.b").expect("written");
        assert_eq!(StoredReport::read(dir.path(), "a.b").expect("read"), stored);
    }

    #[test]
    fn what_is_missing_or_damaged_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let message = || {
            StoredReport::read(dir.path(), "x")
                .expect_err("bad")
                .to_string()
        };
        assert!(message().contains("x.details.json"), "{}", message());
        report().write(dir.path(), "x").expect("written");
        let path = dir.path().join("x.details.json");
        let json = fs::read_to_string(&path).expect("readable");
        for (from, to, expected) in [
            ("\"mrr\"", "\"bpref\"", "bpref"),
            ("0.5]", "0.5, 1]", "3 values, expected 2"),
            ("\"fingerprint\"", "\"print\"", "fingerprint"),
        ] {
            assert!(json.contains(from), "{json}");
            fs::write(&path, json.replace(from, to)).expect("writable");
            let message = message();
            assert!(
                message.contains(expected) && message.contains("x.details.json"),
                "{message}"
            );
        }
    }
}
