//! A data set in parts, such as train and dev.

use std::path::Path;
use std::str::FromStr;

use serde_json::{Map, Value};
use thiserror::Error;

use super::{CHUNK_ROWS, PrepareError, id_text};
use crate::dataset::Dataset;
use crate::output::{AtomicDir, AtomicFile};
use crate::random::hash;

/// What identifies a row, the first that it has. The rows of a query stay together.
const KEYS: [&str; 5] = ["_id", "id", "query_id", "qid", "query"];
/// How far from 1 the shares' sum may be.
const SUM_TOLERANCE: f64 = 1e-6;

/// Why a list of parts cannot be used.
#[derive(Debug, Error, PartialEq)]
pub enum PartsError {
    /// An item is not `NAME=SHARE`.
    #[error("expected NAME=SHARE, such as train=0.9, found {found:?}")]
    Form {
        /// The item.
        found: String,
    },
    /// A name that is none for a file.
    #[error("{name:?} cannot be the name of a file; use letters, digits, - and _, each name once")]
    Name {
        /// The name.
        name: String,
    },
    /// The shares are not those of a whole.
    #[error("the shares add up to {sum}; expected 1, and each above 0")]
    Sum {
        /// Their sum.
        sum: f64,
    },
}

/// Names and shares of the parts; the shares add up to 1. Written `train=0.9,dev=0.1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts(Vec<(String, f64)>);

impl FromStr for Parts {
    type Err = PartsError;

    fn from_str(text: &str) -> Result<Self, PartsError> {
        let mut parts: Vec<(String, f64)> = Vec::new();
        for item in text.split(',') {
            let form = || PartsError::Form {
                found: item.to_owned(),
            };
            let (name, share) = item.split_once('=').ok_or_else(form)?;
            let share = share.trim().parse().map_err(|_| form())?;
            let name = name.trim();
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            let is_taken = parts.iter().any(|(taken, _)| taken == name);
            if name.is_empty() || !name.chars().all(is_plain) || is_taken {
                return Err(PartsError::Name {
                    name: name.to_owned(),
                });
            }
            parts.push((name.to_owned(), share));
        }
        let sum: f64 = parts.iter().map(|(_, share)| share).sum();
        // Written so that NaN fails too.
        let is_whole = (sum - 1.0).abs() <= SUM_TOLERANCE;
        if !is_whole || !parts.iter().all(|&(_, share)| share > 0.0) {
            return Err(PartsError::Sum { sum });
        }
        Ok(Self(parts))
    }
}

impl Parts {
    /// The part of a row, by a hash of its key: it depends on nothing else, so that added rows move no other.
    fn part(&self, seed: u64, key: &str) -> usize {
        let position = hash(seed, key.as_bytes()) as f64 / 2_f64.powi(64);
        let mut end = 0.0;
        let found = self.0.iter().position(|(_, share)| {
            end += share;
            position < end
        });
        found.unwrap_or(self.0.len() - 1)
    }
}

/// Writes each row of a data set to `output_dir/PART.jsonl`, in the data set's order, and returns how many rows each
/// part got. The part follows from a hash of `seed` and the row's `key` column; without one, of the first that it has
/// of `_id`, `id`, `query_id`, `qid` and `query`, else of the whole row. `on_row` is called after every row.
///
/// # Errors
/// [`PrepareError`], naming file and row, or the path that cannot be written.
pub fn split(
    input: &Path,
    output_dir: &Path,
    parts: &Parts,
    key: Option<&str>,
    seed: u64,
    on_row: &mut dyn FnMut(),
) -> Result<Vec<(String, usize)>, PrepareError> {
    let folder = AtomicDir::create(output_dir)?;
    let dataset = Dataset::open(input)?;
    let mut files = Vec::new();
    for (name, _) in &parts.0 {
        let file = AtomicFile::create(&folder.path().join(format!("{name}.jsonl")))?;
        files.push((name.clone(), 0, file));
    }
    for row in 0..dataset.len() {
        let line = dataset.json(row)?;
        let value = key_of(&dataset.row(row)?, key);
        let value = match (value, key) {
            (Some(value), _) => value,
            (None, None) => line.to_string(),
            (None, Some(key)) => {
                let reason = format!("no text or number in `{key}`, by which rows are to be split");
                return Err(dataset.row_error(row, reason).into());
            }
        };
        let (_, rows, file) = &mut files[parts.part(seed, &value)];
        file.write_line(&line)?;
        *rows += 1;
        on_row();
        if row % CHUNK_ROWS == CHUNK_ROWS - 1 {
            dataset.release();
        }
    }
    let mut counts = Vec::new();
    for (name, rows, file) in files {
        file.finish()?;
        counts.push((name, rows));
    }
    folder.finish()?;
    Ok(counts)
}

fn key_of(row: &Map<String, Value>, key: Option<&str>) -> Option<String> {
    let text = |key: &str| id_text(row.get(key)?);
    match key {
        Some(key) => text(key),
        None => KEYS.into_iter().find_map(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_one() {
        let parts: Parts = "train=0.9, dev=0.1".parse().unwrap();
        assert_eq!(parts.0[1], ("dev".to_owned(), 0.1));
        let message = |text: &str| text.parse::<Parts>().unwrap_err().to_string();
        assert!(message("train=0.9,dev").contains("NAME=SHARE, such as train=0.9, found \"dev\""));
        assert!(message("train=0.9,dev=x").contains("found \"dev=x\""));
        assert!(message("train=0.5,dev=0.4").contains("add up to 0.9"));
        for bad in ["a=1.5,b=-0.5", "a=NaN", "a=0,b=1"] {
            assert!(message(bad).contains("each above 0"), "{bad}");
        }
        for bad in ["a/b=1", "=1", "a=0.5,a=0.5", "..=1"] {
            assert!(message(bad).contains("name of a file"), "{bad}");
        }
    }

    #[test]
    fn added_rows_move_no_other_and_queries_stay_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let parts: Parts = "train=0.8,dev=0.2".parse().unwrap();
        let run = |rows: usize, output: &str, seed| {
            let rows: String = (0..rows)
                .map(|row| format!("{{\"query\": \"q{}\", \"pos\": {row}}}\n", row / 2))
                .collect();
            std::fs::write(path("a.jsonl"), rows).unwrap();
            let (input, output) = (path("a.jsonl"), path(output));
            let counts = split(&input, &output, &parts, None, seed, &mut || ()).unwrap();
            let text = ["train", "dev"]
                .map(|name| std::fs::read_to_string(output.join(format!("{name}.jsonl"))).unwrap());
            let lines = text.each_ref().map(|text| text.lines().count());
            assert_eq!(counts.iter().map(|part| part.1).collect::<Vec<_>>(), lines);
            text
        };
        let few = run(1000, "few", 1);
        let many = run(2000, "many", 1);
        assert!(many[0].starts_with(&few[0]) && many[1].starts_with(&few[1]));
        assert!((150..250).contains(&few[1].lines().count()));
        assert_eq!(run(1000, "again", 1), few);
        assert_ne!(run(1000, "other", 2), few);
        assert_eq!(few[1].lines().count() % 2, 0);
    }

    #[test]
    fn a_missing_key_names_the_row_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let [input, output] = ["a.jsonl", "out"].map(|name| dir.path().join(name));
        std::fs::write(&input, "{\"a\": 1}\n{\"b\": 1}\n").unwrap();
        let parts = "x=1".parse().unwrap();
        let error = split(&input, &output, &parts, Some("a"), 0, &mut || ()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("a.jsonl:2: no text or number in `a`"),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
