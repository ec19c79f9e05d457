//! `metrics.jsonl`: one row per logged step and per evaluation.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use data::output::write_file;
use eval::beir::DatasetReport;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::figures::Figures;
use crate::masked_lm::MaskedLmScore;

/// The figures of one step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepRow {
    /// Steps done, this one included.
    pub step: usize,
    /// Passes over the data so far.
    pub epoch: f64,
    /// The loss and what it is made of.
    #[serde(flatten)]
    pub figures: Figures,
    /// Learning rate.
    pub lr: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Duration in seconds.
    pub step_s: f64,
    /// Tokens that the model encoded per second, padding not counted.
    pub tokens_per_s: f64,
    /// Most memory that the process ever held, in MiB; null where the system does not say.
    pub peak_memory_mib: Option<f64>,
}

impl StepRow {
    /// A row with the figures of the objective; the rest is 0.
    pub fn new(step: usize, figures: Figures) -> Self {
        Self {
            step,
            epoch: 0.0,
            figures,
            lr: 0.0,
            grad_norm: 0.0,
            step_s: 0.0,
            tokens_per_s: 0.0,
            peak_memory_mib: None,
        }
    }
}

/// The results of one evaluation; step 0 is the model before training.
#[derive(Debug, Clone, Serialize)]
pub struct EvalRow<'a, F> {
    /// Steps done.
    pub step: usize,
    /// Passes over the data so far.
    pub epoch: f64,
    /// By data set, then by name.
    pub eval: BTreeMap<&'a str, F>,
    /// Duration of the evaluation in seconds.
    pub eval_s: f64,
}

impl<'a> EvalRow<'a, BTreeMap<&'static str, f64>> {
    /// The row of an evaluation on BEIR directories, by the names that results.json uses.
    pub fn new(
        step: usize,
        epoch: f64,
        reports: &'a BTreeMap<String, DatasetReport>,
        eval_s: f64,
    ) -> Self {
        let figures =
            |(name, report): (&'a String, &DatasetReport)| (name.as_str(), report.figures().into());
        Self {
            step,
            epoch,
            eval: reports.iter().map(figures).collect(),
            eval_s,
        }
    }
}

impl<'a> EvalRow<'a, MaskedLmScore> {
    /// The row of an evaluation of guesses on the data set `name`.
    pub fn of_guesses(
        step: usize,
        epoch: f64,
        name: &'a str,
        score: &MaskedLmScore,
        eval_s: f64,
    ) -> Self {
        Self {
            step,
            epoch,
            eval: BTreeMap::from([(name, *score)]),
            eval_s,
        }
    }
}

/// nDCG@10 and sizes of one evaluation, as a row of `metrics.jsonl` has them.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct EvalFigures {
    /// nDCG@10.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// Mean number of multiplications for one query and one document.
    pub flops: f64,
    /// Non-zero weights per document.
    pub d_length: f64,
}

impl From<&DatasetReport> for EvalFigures {
    fn from(report: &DatasetReport) -> Self {
        Self {
            ndcg_at_10: report.ndcg_at_10,
            flops: report.flops,
            d_length: report.d_length,
        }
    }
}

#[derive(Deserialize)]
struct StoredRow {
    step: usize,
}

#[derive(Deserialize)]
struct StoredEvaluation<F> {
    step: usize,
    eval: BTreeMap<String, F>,
}

/// The open file.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    file: File,
}

impl MetricsFile {
    /// Opens the file for a run that goes on after `step` steps: rows of later steps, which an interrupted run
    /// left, are removed.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn open(path: &Path, step: usize) -> Result<Self, TrainError> {
        let text = read(path)?;
        let kept: Vec<&str> = text
            .lines()
            .filter(|line| {
                serde_json::from_str::<StoredRow>(line).is_ok_and(|row| row.step <= step)
            })
            .collect();
        if kept.len() < text.lines().count() {
            let kept: String = kept.iter().flat_map(|line| [line, "\n"]).collect();
            write_file(path, kept.as_bytes())?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self {
            file: file.map_err(TrainError::io(path))?,
            path: path.to_path_buf(),
        })
    }

    /// Appends one row, all of it at once.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn append<R: Serialize>(&mut self, row: &R) -> Result<(), TrainError> {
        let mut line = serde_json::to_vec(row).expect("rows are plain numbers under text keys");
        line.push(b'\n');
        self.file
            .write_all(&line)
            .map_err(TrainError::io(&self.path))
    }
}

/// The evaluation after `step` steps, by data set, if the file has one; `F` are the figures of the run's task:
/// [`EvalFigures`] or [`MaskedLmScore`].
///
/// # Errors
///
/// If the file cannot be read.
pub fn stored_evaluation<F: DeserializeOwned>(
    path: &Path,
    step: usize,
) -> Result<Option<BTreeMap<String, F>>, TrainError> {
    Ok(read(path)?
        .lines()
        .filter_map(|line| serde_json::from_str::<StoredEvaluation<F>>(line).ok())
        .find(|row| row.step == step)
        .map(|row| row.eval))
}

fn read(path: &Path) -> Result<String, TrainError> {
    match std::fs::read_to_string(path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        result => result.map_err(TrainError::io(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{MaskedLmFigures, StepFigures};

    fn row(step: usize) -> StepRow {
        let figures = StepFigures {
            loss: 1.5,
            ranking_loss: 1.0,
            flops_loss: 0.5,
            d_flops: 5.0,
            q_flops: None,
            lambda_d: 0.1,
            d_length: 40.0,
            q_length: 3.0,
        };
        StepRow::new(step, Figures::Ranking(figures))
    }

    #[test]
    fn rows_have_the_keys_that_scripts_rely_on() {
        let keys = [
            "step",
            "epoch",
            "loss",
            "ranking_loss",
            "flops_loss",
            "d_flops",
            "q_flops",
            "lambda_d",
            "d_length",
            "q_length",
            "lr",
            "grad_norm",
            "step_s",
            "tokens_per_s",
            "peak_memory_mib",
        ];
        assert_keys(&row(3), &keys);
    }

    #[test]
    fn rows_of_guesses_have_their_own_keys() {
        let figures = MaskedLmFigures {
            loss: 4.5,
            mlm_loss: 4.5,
            mlm_accuracy: 0.25,
            masked_tokens: 80,
        };
        let keys = [
            "step",
            "epoch",
            "loss",
            "mlm_loss",
            "mlm_accuracy",
            "masked_tokens",
            "lr",
            "grad_norm",
            "step_s",
            "tokens_per_s",
            "peak_memory_mib",
        ];
        assert_keys(&StepRow::new(3, Figures::MaskedLm(figures)), &keys);
    }

    /// These keys in this order, and no other.
    fn assert_keys(row: &StepRow, keys: &[&str]) {
        let json = serde_json::to_string(row).unwrap();
        let positions: Vec<usize> = keys
            .iter()
            .map(|key| {
                json.find(&format!("\"{key}\":"))
                    .unwrap_or_else(|| panic!("{key}: {json}"))
            })
            .collect();
        assert!(positions.is_sorted(), "{json}");
        assert_eq!(json.matches("\":").count(), keys.len(), "{json}");
    }

    #[test]
    fn resuming_drops_the_rows_of_steps_to_come() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path, 0).unwrap();
        for step in 1..=4 {
            file.append(&row(step)).unwrap();
        }
        std::fs::write(&path, read(&path).unwrap() + "{\"step\":5,\"lo").unwrap();
        let mut file = MetricsFile::open(&path, 2).unwrap();
        file.append(&row(3)).unwrap();
        let steps: Vec<usize> = read(&path)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<StoredRow>(line).unwrap().step)
            .collect();
        assert_eq!(steps, [1, 2, 3]);
    }

    #[test]
    fn a_stored_evaluation_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        assert_eq!(stored_evaluation::<EvalFigures>(&path, 0).unwrap(), None);
        let line =
            r#"{"step":0,"epoch":0.0,"eval":{"tiny":{"ndcg@10":0.5,"flops":1.5,"d_length":30.0}}}"#;
        std::fs::write(&path, line).unwrap();
        let found = stored_evaluation::<EvalFigures>(&path, 0).unwrap().unwrap();
        assert_eq!(found["tiny"].ndcg_at_10, 0.5);
        assert_eq!(stored_evaluation::<EvalFigures>(&path, 1).unwrap(), None);
    }

    /// Resuming a masked-LM run keeps its evaluations too.
    #[test]
    fn an_evaluation_of_guesses_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let score = MaskedLmScore {
            mlm_loss: 2.0,
            perplexity: 2.0f64.exp(),
            mlm_accuracy: 0.5,
            masked_tokens: 70,
        };
        let mut file = MetricsFile::open(&path, 0).unwrap();
        file.append(&EvalRow::of_guesses(4, 0.5, "t.jsonl", &score, 1.0))
            .unwrap();
        MetricsFile::open(&path, 4).unwrap();
        let found = stored_evaluation::<MaskedLmScore>(&path, 4).unwrap();
        assert_eq!(found.unwrap()["t.jsonl"], score);
    }
}
