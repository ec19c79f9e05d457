//! The scores of a whole data set, row by row, so that a killed run can continue.

use std::borrow::Cow;
use std::fs::Metadata;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use data::convert::{self, ConvertError};
use data::output::{AtomicFile, OutputError};
use data::partial::PartialFile;
use data::{Dataset, DatasetError, RowForm, TrainRow};
use serde::{Deserialize, Serialize};

use super::cache::ScoreCache;
use super::{Ensemble, QueryDocuments, TeacherError, Text};

/// Pairs scored at a time, or those of one row where that has more.
const CHUNK_PAIRS: usize = 1024;

/// What to score, by whom, and where to.
pub struct ScoreJob<'a> {
    /// Who scores.
    pub ensemble: &'a Ensemble,
    /// Rows of any form that training reads.
    pub input: &'a Path,
    /// Receives kd rows: JSON lines, Parquet or a directory, as its name says; `-` is standard output.
    pub output: &'a Path,
    /// The run ends after the rows at hand when this becomes true.
    pub stop: &'a AtomicBool,
}

/// How far scoring is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScoreProgress {
    /// Rows of the input.
    pub total: usize,
    /// Rows of the input that are done.
    pub done: usize,
    /// Rows written.
    pub written: usize,
    /// Of those, the ones that an earlier run wrote.
    pub resumed: usize,
    /// Rows left out because a text, score or id is null, or there is no document.
    pub skipped: usize,
}

/// How scoring ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreOutcome {
    /// All rows are written.
    Finished(ScoreProgress),
    /// It was asked to stop; the same job goes on from there.
    Stopped(ScoreProgress),
}

/// Why scoring failed.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A teacher.
    #[error(transparent)]
    Teacher(#[from] TeacherError),
    /// The rows cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The rows cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The rows have no place in the form of the output.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The rows cannot be written on.
    #[error(transparent)]
    Write(#[from] io::Error),
    /// The columns are those of no form.
    #[error(
        "{path}: expected rows {{query, docs}}, {{query, pos, negs}} or {{query, positive_passages, \
         negative_passages}}; there are: {columns}",
        path = path.display()
    )]
    Form {
        /// The input.
        path: PathBuf,
        /// Its columns.
        columns: String,
    },
    /// The unfinished output of an earlier run is of other rows.
    #[error(
        "{path}: row {row} has other texts than the input has there: the input has changed since; remove {path} to \
         start anew",
        path = path.display()
    )]
    OtherInput {
        /// The partial file.
        path: PathBuf,
        /// Row number, from 1.
        row: usize,
    },
    /// Nothing to score.
    #[error(
        "{path}: no row of it can be scored ({rows} rows, all with a null or without documents)",
        path = path.display()
    )]
    Empty {
        /// The input.
        path: PathBuf,
        /// Its rows.
        rows: usize,
    },
}

/// A row that is written.
#[derive(Serialize)]
struct Scored<'a> {
    query: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    q_id: Option<&'a str>,
    docs: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    d_ids: Option<&'a [String]>,
    scores: &'a [f32],
    #[serde(skip_serializing_if = "Option::is_none")]
    first_rank: Option<i64>,
}

/// The texts of a row that was written.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    query: Cow<'a, str>,
    #[serde(borrow)]
    docs: Vec<Cow<'a, str>>,
}

/// The rows that can be scored, in stored order.
struct Rows<'a> {
    dataset: &'a Dataset,
    form: RowForm,
    state: ScoreProgress,
}

impl<'a> Rows<'a> {
    fn next_row(&mut self) -> Result<Option<TrainRow<'a>>, DatasetError> {
        while self.state.done < self.state.total {
            let row = self.dataset.train_row(self.state.done, self.form)?;
            self.state.done += 1;
            match row {
                Some(row) if !row.docs.is_empty() => return Ok(Some(row)),
                _ => self.state.skipped += 1,
            }
        }
        Ok(None)
    }

    /// The next rows to be scored together; none at the end.
    fn chunk(&mut self) -> Result<Vec<TrainRow<'a>>, DatasetError> {
        let (mut rows, mut pairs) = (Vec::new(), 0);
        while pairs < CHUNK_PAIRS {
            let Some(row) = self.next_row()? else {
                break;
            };
            pairs += row.docs.len();
            rows.push(row);
        }
        Ok(rows)
    }
}

impl ScoreJob<'_> {
    /// Scores the data set. Rows go to `OUTPUT.partial-FINGERPRINT`, which takes the output's name when complete; a run
    /// that finds such a file of the same teachers continues after its last row.
    ///
    /// # Errors
    ///
    /// If the input cannot be read, a teacher gives no scores or the output cannot be written; what was done by then
    /// stays for the next run.
    pub fn run(
        &self,
        cache: &mut ScoreCache,
        progress: &mut dyn FnMut(ScoreProgress),
    ) -> Result<ScoreOutcome, ScoreError> {
        convert::check_output(self.output)?;
        let dataset = Dataset::open(self.input)?;
        let mut rows = self.rows(&dataset)?;
        if is_stream(self.output) {
            let mut out = AtomicFile::create(self.output)?;
            let finished = self.write_rows(&mut rows, &mut out, cache, progress)?;
            self.refuse_empty(&rows.state)?;
            out.finish()?;
            return Ok(outcome(finished, rows.state));
        }
        let fingerprint = crc32fast::hash(&self.ensemble.fingerprint().0);
        let mut partial = PartialFile::open(self.output, fingerprint)?;
        self.skip_done(&mut rows, &mut partial)?;
        let finished = self.write_rows(&mut rows, &mut partial, cache, progress)?;
        if finished {
            if let Err(error) = self.refuse_empty(&rows.state) {
                partial.remove()?;
                return Err(error);
            }
            partial.finish_as_dataset(self.output)?;
        }
        Ok(outcome(finished, rows.state))
    }

    fn rows<'d>(&self, dataset: &'d Dataset) -> Result<Rows<'d>, ScoreError> {
        let columns = dataset.columns()?;
        if dataset.is_empty() {
            return Err(ScoreError::Empty {
                path: self.input.to_owned(),
                rows: 0,
            });
        }
        let form = RowForm::detect(&columns).ok_or_else(|| ScoreError::Form {
            path: self.input.to_owned(),
            columns: columns.join(", "),
        })?;
        let state = ScoreProgress {
            total: dataset.len(),
            ..ScoreProgress::default()
        };
        Ok(Rows {
            dataset,
            form,
            state,
        })
    }

    /// Passes over the rows that an earlier run has written.
    fn skip_done(&self, rows: &mut Rows, partial: &mut PartialFile) -> Result<(), ScoreError> {
        let path = partial.path().to_owned();
        let resumed = partial.keep_whole_chunks(1, |number, line| {
            let same = match (serde_json::from_str::<Written>(&line), rows.next_row()?) {
                (Ok(found), Some(row)) => found.query == row.query && found.docs == row.docs,
                _ => false,
            };
            match same {
                true => Ok(()),
                false => Err(ScoreError::OtherInput {
                    path: path.clone(),
                    row: number,
                }),
            }
        })?;
        rows.state.resumed = resumed;
        rows.state.written = resumed;
        Ok(())
    }

    /// Whether all rows are written; false where it was asked to stop.
    fn write_rows(
        &self,
        rows: &mut Rows,
        out: &mut dyn Write,
        cache: &mut ScoreCache,
        progress: &mut dyn FnMut(ScoreProgress),
    ) -> Result<bool, ScoreError> {
        progress(rows.state);
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let chunk = rows.chunk()?;
            if chunk.is_empty() {
                progress(rows.state);
                return Ok(true);
            }
            let queries: Vec<QueryDocuments> = chunk.iter().map(query_documents).collect();
            let scores = self.ensemble.score(&queries, cache)?;
            for (row, scores) in chunk.iter().zip(&scores) {
                write_row(out, row, scores)?;
            }
            out.flush()?;
            rows.state.written += chunk.len();
            rows.dataset.release();
            progress(rows.state);
        }
    }

    fn refuse_empty(&self, state: &ScoreProgress) -> Result<(), ScoreError> {
        match state.written {
            0 => Err(ScoreError::Empty {
                path: self.input.to_owned(),
                rows: state.total,
            }),
            _ => Ok(()),
        }
    }
}

impl ScoreError {
    /// Whether the reader of the output went away, which is no failure of ours.
    pub fn is_broken_pipe(&self) -> bool {
        match self {
            Self::Output(error) => error.is_broken_pipe(),
            Self::Write(error) => error.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }
}

/// Whether an output is standard output or a pipe, beside which nothing can be kept.
pub fn is_stream(output: &Path) -> bool {
    let is_special = |meta: Metadata| !meta.is_file() && !meta.is_dir();
    output == Path::new("-") || output.metadata().is_ok_and(is_special)
}

fn outcome(finished: bool, state: ScoreProgress) -> ScoreOutcome {
    match finished {
        true => ScoreOutcome::Finished(state),
        false => ScoreOutcome::Stopped(state),
    }
}

fn query_documents<'r>(row: &'r TrainRow<'_>) -> QueryDocuments<'r> {
    let id = |document: usize| row.ids.as_ref().map(|ids| ids.docs[document].as_str());
    let documents = row.docs.iter().enumerate().map(|(index, text)| Text {
        id: id(index),
        text,
    });
    QueryDocuments {
        query: Text {
            id: row.ids.as_ref().map(|ids| ids.query.as_str()),
            text: &row.query,
        },
        documents: documents.collect(),
    }
}

fn write_row(out: &mut dyn Write, row: &TrainRow, scores: &[f32]) -> io::Result<()> {
    let scored = Scored {
        query: &row.query,
        q_id: row.ids.as_ref().map(|ids| ids.query.as_str()),
        docs: &row.docs,
        d_ids: row.ids.as_ref().map(|ids| ids.docs.as_slice()),
        scores,
        first_rank: row.first_rank,
    };
    serde_json::to_writer(&mut *out, &scored)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests;
