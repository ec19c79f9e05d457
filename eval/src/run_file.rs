//! Runs in TREC format: `query Q0 document rank score tag` on each line.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use data::input::{self, InputError};
use data::output::{AtomicFile, OutputError};

use crate::ranking::{Hit, Run, rank_order};

/// Why a run cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RunFileError {
    /// The file cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A line is not a row of a run.
    #[error("{path}:{line}: {found}, expected `query Q0 document rank score tag`", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is there instead.
        found: String,
    },
    /// A document is ranked twice for one query.
    #[error("{path}: document `{document}` occurs twice for query `{query}`", path = path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// Query id.
        query: String,
        /// Document id.
        document: String,
    },
    /// There is no row.
    #[error("{path}: the run is empty", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// An id that the format cannot hold.
    #[error("id `{0}` is empty or has white space in it, which a TREC run cannot hold")]
    Id(String),
    /// The file cannot be written.
    #[error("{0}")]
    Output(#[from] OutputError),
    /// The file cannot be written on.
    #[error("{0}")]
    Write(#[from] io::Error),
}

/// Reads a run. Ranks are ignored: the order is that of [`rank_order`].
///
/// # Errors
///
/// If the file cannot be read, is empty, or a line is not a row of a run; the error names file and line.
pub fn read(path: &Path) -> Result<Run, RunFileError> {
    let mut run = Run::new();
    for line in input::open_lines(path)? {
        let line = line?;
        if line.text.trim().is_empty() {
            continue;
        }
        let (query, hit) = parse(&line.text).map_err(|found| RunFileError::Line {
            path: path.to_owned(),
            line: line.number,
            found,
        })?;
        match run.get_mut(query) {
            Some(hits) => hits.push(hit),
            None => {
                run.insert(query.to_owned(), vec![hit]);
            }
        }
    }
    if run.is_empty() {
        return Err(RunFileError::Empty {
            path: path.to_owned(),
        });
    }
    for (query, hits) in &run {
        if let Some(document) = repeated(hits) {
            return Err(RunFileError::Duplicate {
                path: path.to_owned(),
                query: query.clone(),
                document: document.to_owned(),
            });
        }
    }
    Ok(run)
}

fn parse(line: &str) -> Result<(&str, Hit), String> {
    let columns: Vec<&str> = line.split_ascii_whitespace().collect();
    let [query, _, document, _, score, _] = columns[..] else {
        return Err(format!("found {} columns", columns.len()));
    };
    // Through float64, as trec_eval reads it.
    match score.parse::<f64>() {
        Ok(value) if !value.is_nan() => Ok((
            query,
            Hit {
                id: document.to_owned(),
                score: value as f32,
            },
        )),
        _ => Err(format!("the score is `{score}`, not a number")),
    }
}

fn repeated(hits: &[Hit]) -> Option<&str> {
    let mut ids: Vec<&str> = hits.iter().map(|hit| hit.id.as_str()).collect();
    ids.sort_unstable();
    ids.windows(2)
        .find(|pair| pair[0] == pair[1])
        .map(|pair| pair[0])
}

/// Writes a run, best first, ranks from 1, scores with as many digits as a float32 needs.
///
/// # Errors
///
/// If an id has white space in it or the file cannot be written.
pub fn write(path: &Path, run: &Run, tag: &str) -> Result<(), RunFileError> {
    let mut file = AtomicFile::create(path)?;
    for (query, hits) in run {
        refuse_white_space(query)?;
        let mut ranked: Vec<&Hit> = hits.iter().collect();
        ranked.sort_by(|left, right| rank_order(left, right));
        for (index, hit) in ranked.into_iter().enumerate() {
            refuse_white_space(&hit.id)?;
            writeln!(
                file,
                "{query} Q0 {} {} {} {tag}",
                hit.id,
                index + 1,
                hit.score
            )?;
        }
    }
    Ok(file.finish()?)
}

fn refuse_white_space(id: &str) -> Result<(), RunFileError> {
    if id.is_empty() || id.contains(|c: char| c.is_ascii_whitespace()) {
        return Err(RunFileError::Id(id.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(id: &str, score: f32) -> Hit {
        Hit {
            id: id.to_owned(),
            score,
        }
    }

    #[test]
    fn what_is_written_is_read_back_exactly() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("x.trec");
        let hits = vec![
            hit("dé", 1.0e-12),
            hit("b", 0.1 + 0.2),
            hit("a", 16_777_217.0),
        ];
        let run = Run::from([("q".to_owned(), hits.clone())]);
        write(&path, &run, "test").expect("written");
        let back = read(&path).expect("read");
        assert_eq!(back["q"], hits.into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn bad_lines_are_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("x.trec");
        let cases = [
            ("q Q0 d 1 2.0 t\nq d 1\n", "x.trec:2: found 3 columns"),
            ("q Q0 d 1 high t\n", "x.trec:1: the score is `high`"),
            ("q Q0 d 1 NaN t\n", "x.trec:1: the score is `NaN`"),
            (
                "q Q0 d 1 2 t\nq Q0 d 2 1 t\n",
                "`d` occurs twice for query `q`",
            ),
            ("\n", "the run is empty"),
        ];
        for (text, expected) in cases {
            std::fs::write(&path, text).expect("writable");
            let message = read(&path).expect_err("broken").to_string();
            assert!(message.contains(expected), "{message}");
        }
        let spaced = Run::from([("q".to_owned(), vec![hit("a b", 1.0)])]);
        assert!(
            write(&path, &spaced, "t")
                .expect_err("refused")
                .to_string()
                .contains("`a b`")
        );
    }
}
