//! Sparse vectors as JSON lines: `{"id":"...","vector":{"token":weight,...}}`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use data::input::{self, InputError, Lines};
use model::SparseVector;
use serde::Deserialize;
use serde::ser::{SerializeMap, Serializer};

/// A row of a vector file.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorRow {
    /// Of the document or query.
    pub id: String,
    /// Positive weights by token.
    pub vector: BTreeMap<String, f32>,
}

/// Why vectors cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VectorError {
    /// The file cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A line is not a vector.
    #[error("{path}:{line}: {reason}; expected {{\"id\":\"...\",\"vector\":{{\"token\":weight,...}}}}", path = path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Iterator over the rows of a vector file.
pub struct VectorRows {
    lines: Lines,
}

/// Opens a vector file; weights of 0 are left out.
///
/// # Errors
///
/// If the file cannot be opened.
pub fn read(path: &Path) -> Result<VectorRows, VectorError> {
    Ok(VectorRows {
        lines: input::open_lines(path)?,
    })
}

impl Iterator for VectorRows {
    type Item = Result<VectorRow, VectorError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.lines.next()? {
                Err(error) => return Some(Err(error.into())),
                Ok(line) if line.text.trim().is_empty() => {}
                Ok(line) => {
                    return Some(parse(&line.text).map_err(|reason| VectorError::Row {
                        path: self.lines.path().to_owned(),
                        line: line.number,
                        reason,
                    }));
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct RawRow {
    #[serde(alias = "_id")]
    id: String,
    vector: BTreeMap<String, f32>,
}

fn parse(line: &str) -> Result<VectorRow, String> {
    let RawRow { id, mut vector } = serde_json::from_str(line).map_err(|error| describe(&error))?;
    vector.retain(|_, weight| *weight != 0.0);
    match vector
        .iter()
        .find(|(_, weight)| !(weight.is_finite() && **weight > 0.0))
    {
        Some((token, weight)) => Err(format!(
            "token `{token}` weighs {weight}, not a positive number"
        )),
        None => Ok(VectorRow { id, vector }),
    }
}

/// The error with its column; the line it counts is always the first.
fn describe(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.split_once(" at line ") {
        Some((reason, _)) => format!("{reason} (column {})", error.column()),
        None => message,
    }
}

/// Writes one row, tokens in ascending order of their ids, weights with as many digits as a float32 needs.
///
/// `token` names them; ids without a name, the padding rows of some models' vocabularies, are left out.
///
/// # Errors
///
/// If writing fails.
pub fn write_row<'a>(
    out: &mut dyn Write,
    id: &str,
    vector: &SparseVector,
    token: impl Fn(u32) -> Option<&'a str>,
) -> io::Result<()> {
    struct Weights<'v, F>(&'v SparseVector, F);
    impl<'a, F: Fn(u32) -> Option<&'a str>> serde::Serialize for Weights<'_, F> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let named = |(id, weight)| Some(((self.1)(id)?, weight));
            serializer.collect_map(self.0.iter().filter_map(named))
        }
    }
    let mut json = serde_json::Serializer::new(&mut *out);
    let mut row = json.serialize_map(Some(2))?;
    row.serialize_entry("id", id)?;
    row.serialize_entry("vector", &Weights(vector, token))?;
    row.end()?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back() {
        let tokens = ["plain", "qu\"ote", "é"];
        let vector: SparseVector = [(0, 0.1), (1, 1.0e-7), (2, 3.0), (9, 1.0)]
            .into_iter()
            .collect();
        let mut bytes = Vec::new();
        write_row(&mut bytes, "d\t1", &vector, |id| {
            tokens.get(id as usize).copied()
        })
        .expect("memory");
        let line = String::from_utf8(bytes).expect("JSON");
        assert_eq!(
            line,
            "{\"id\":\"d\\t1\",\"vector\":{\"plain\":0.1,\"qu\\\"ote\":1e-7,\"é\":3.0}}\n"
        );
        let row = parse(&line).expect("valid");
        assert_eq!(row.id, "d\t1");
        for ((id, weight), token) in vector.iter().zip(tokens) {
            assert_eq!(row.vector[token], weight, "{id}");
        }
    }

    #[test]
    fn bad_rows_are_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("v.jsonl");
        let cases = [
            ("{\"id\":\"a\"}", "missing field `vector`"),
            (
                "{\"id\":\"a\",\"vector\":{\"x\":-1}}",
                "token `x` weighs -1",
            ),
            (
                "{\"id\":\"a\",\"vector\":{\"x\":1e60}}",
                "number out of range (column 28)",
            ),
            ("{\"id\":\"a\",\"vector\":{\"x\":", "EOF"),
        ];
        for (line, expected) in cases {
            std::fs::write(
                &path,
                format!("{{\"_id\":\"ok\",\"vector\":{{\"x\":0}}}}\n\n{line}\n"),
            )
            .expect("writable");
            let rows: Vec<_> = read(&path).expect("opens").collect();
            assert!(rows[0].as_ref().is_ok_and(|row| row.vector.is_empty()));
            let message = rows[1].as_ref().expect_err("broken").to_string();
            assert!(
                message.contains("v.jsonl:3") && message.contains(expected),
                "{message}"
            );
        }
    }
}
