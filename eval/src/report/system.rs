//! The results of a system on several data sets, and those that it is compared with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::NamedReport;
use crate::beir::{StoredError, StoredReport};
use crate::metric::Evaluation;

/// Why results cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There are none.
    #[error(
        "{}: no NAME.details.json in it; expected a folder that `beir` or `bm25` wrote with --output",
        dir.display()
    )]
    Nothing {
        /// The folder.
        dir: PathBuf,
    },
    /// A file of them is at fault.
    #[error(transparent)]
    Stored(#[from] StoredError),
}

/// A system's results.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemResults {
    /// What is evaluated, in words.
    pub name: String,
    /// One for each data set.
    pub reports: Vec<NamedReport>,
}

impl SystemResults {
    /// Reads the results in a folder; their name is that in results.json, or the folder's.
    ///
    /// # Errors
    ///
    /// If there is no finished data set, or one is damaged.
    pub fn read(dir: &Path) -> Result<Self, ReadError> {
        let names = StoredReport::names(dir);
        if names.is_empty() {
            return Err(ReadError::Nothing {
                dir: dir.to_owned(),
            });
        }
        let reports: Result<Vec<NamedReport>, StoredError> = names
            .into_iter()
            .map(|name| {
                let stored = StoredReport::read(dir, &name)?;
                Ok((name, stored.report))
            })
            .collect();
        let written = model_name(&dir.join("results.json"));
        let folder = dir.file_name().map(|name| name.to_string_lossy());
        Ok(Self {
            name: written.unwrap_or_else(|| folder.unwrap_or_default().into_owned()),
            reports: reports?,
        })
    }
}

fn model_name(path: &Path) -> Option<String> {
    let json: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    Some(json.get("model")?.as_str()?.to_owned())
}

/// What every query is compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// Its name.
    pub name: String,
    /// By data set.
    pub sets: BTreeMap<String, BaselineSet>,
}

/// A baseline on one data set.
#[derive(Debug, Clone, PartialEq)]
pub struct BaselineSet {
    /// Values by query.
    pub evaluation: Evaluation,
    /// Mean number of multiplications for one query and one document, where that is known.
    pub flops: Option<f64>,
}

impl Baseline {
    /// The results of another system.
    pub fn of_reports(name: &str, reports: &[NamedReport]) -> Self {
        let set = |(name, report): &NamedReport| {
            let set = BaselineSet {
                evaluation: report.details.evaluation.clone(),
                flops: Some(report.flops),
            };
            (name.clone(), set)
        };
        Self {
            name: name.to_owned(),
            sets: reports.iter().map(set).collect(),
        }
    }

    /// A judged run, of which nothing else is known.
    pub fn of_run(name: &str, set: &str, evaluation: Evaluation) -> Self {
        let set = (
            set.to_owned(),
            BaselineSet {
                evaluation,
                flops: None,
            },
        );
        Self {
            name: name.to_owned(),
            sets: [set].into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beir::DatasetReport;

    #[test]
    fn results_are_read_with_their_name() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = dir.path().join("mine");
        fs::create_dir(&folder).expect("a folder");
        let error = SystemResults::read(&folder).expect_err("nothing");
        assert!(
            error.to_string().contains("mine: no NAME.details.json"),
            "{error}"
        );
        let stored = StoredReport {
            fingerprint: String::new(),
            report: DatasetReport {
                flops: 2.5,
                ..DatasetReport::default()
            },
        };
        stored.write(&folder, "set").expect("written");
        let results = SystemResults::read(&folder).expect("read");
        assert_eq!((results.name.as_str(), results.reports.len()), ("mine", 1));
        fs::write(folder.join("results.json"), "{\"model\": \"org/m\"}").expect("written");
        let results = SystemResults::read(&folder).expect("read");
        assert_eq!(results.name, "org/m");
        let baseline = Baseline::of_reports("b", &results.reports);
        assert_eq!(baseline.sets["set"].flops, Some(2.5));
    }
}
