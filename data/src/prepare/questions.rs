//! Training data out of MS MARCO's question answering rows (v2.1): a question, the passages that were shown with it,
//! and which of them its answer was taken from.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::msmarco::repair;
use super::{CHUNK_ROWS, PosNegsRow, PrepareError};
use crate::dataset::Dataset;
use crate::output::AtomicFile;

/// What became of the questions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuestionCounts {
    /// Questions read.
    pub questions: usize,
    /// Rows written.
    pub rows: usize,
    /// Questions left out because all of their passages are selected, or none.
    pub without_pair: usize,
}

/// Writes a row `{query, pos, negs}` for every selected passage, the passages not selected as its negatives. Rows are
/// `{query, passages}`, and passages lists `{is_selected, passage_text}` (as on the Hugging Face Hub) or a list of such
/// objects. Passages are repaired (see [`repair`]). `on_row` is called after every question.
///
/// # Errors
/// [`PrepareError`], naming file and row, or [`PrepareError::Nothing`] when not a single row could be made.
pub fn pairs_from_questions(
    inputs: &[PathBuf],
    output: &Path,
    on_row: &mut dyn FnMut(),
) -> Result<QuestionCounts, PrepareError> {
    let mut file = AtomicFile::create(output)?;
    let mut counts = QuestionCounts::default();
    for input in inputs {
        let dataset = Dataset::open(input)?;
        for row in 0..dataset.len() {
            let question = Question::read(&dataset.row(row)?);
            let question = question.map_err(|reason| dataset.row_error(row, reason))?;
            counts.questions += 1;
            if question.positives.is_empty() || question.negatives.is_empty() {
                counts.without_pair += 1;
            } else {
                for pos in &question.positives {
                    let row = PosNegsRow {
                        query: &question.query,
                        pos,
                        negs: &question.negatives,
                    };
                    file.write_line(&row.line())?;
                    counts.rows += 1;
                }
            }
            on_row();
            if row % CHUNK_ROWS == CHUNK_ROWS - 1 {
                dataset.release();
            }
        }
    }
    if counts.rows == 0 {
        let questions = counts.questions;
        return Err(PrepareError::Nothing {
            path: inputs.first().cloned().unwrap_or_default(),
            reason: format!(
                "none of {questions} questions has both a selected passage and another"
            ),
        });
    }
    file.finish()?;
    Ok(counts)
}

struct Question {
    query: String,
    positives: Vec<String>,
    negatives: Vec<String>,
}

impl Question {
    fn read(row: &Map<String, Value>) -> Result<Self, String> {
        let query = row.get("query").and_then(Value::as_str);
        let query = query.ok_or("`query`: expected a text")?;
        let (positives, negatives): (Vec<_>, Vec<_>) = passages(row)?
            .into_iter()
            .partition(|&(is_selected, _)| is_selected);
        let texts = |passages: Vec<(bool, &str)>| {
            let texts = passages.into_iter();
            texts.map(|(_, text)| repair(text).into_owned()).collect()
        };
        Ok(Self {
            query: query.trim().to_owned(),
            positives: texts(positives),
            negatives: texts(negatives),
        })
    }
}

/// Whether each passage is selected, and its text.
fn passages(row: &Map<String, Value>) -> Result<Vec<(bool, &str)>, String> {
    match row.get("passages") {
        Some(Value::Object(columns)) => {
            let list = |key: &str| {
                let list = columns.get(key).and_then(Value::as_array);
                list.ok_or_else(|| format!("`passages`: expected a list `{key}` in it"))
            };
            let (selected, texts) = (list("is_selected")?, list("passage_text")?);
            if selected.len() != texts.len() {
                let (selected, texts) = (selected.len(), texts.len());
                return Err(format!(
                    "{texts} `passage_text` but {selected} `is_selected`"
                ));
            }
            let pairs = selected.iter().zip(texts);
            pairs
                .map(|(selected, text)| passage(selected, text))
                .collect()
        }
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| passage(&item["is_selected"], &item["passage_text"]))
            .collect(),
        _ => Err("`passages`: expected an object of lists or a list of objects".to_owned()),
    }
}

fn passage<'a>(selected: &Value, text: &'a Value) -> Result<(bool, &'a str), String> {
    let is_selected = match selected {
        Value::Bool(is_selected) => Some(*is_selected),
        number => number.as_i64().map(|number| number != 0),
    };
    let is_selected = is_selected.ok_or("`passages`: expected 0 or 1 in `is_selected`")?;
    let text = text.as_str();
    Ok((
        is_selected,
        text.ok_or("`passages`: expected texts in `passage_text`")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rows: &str, name: &str) -> Result<(QuestionCounts, String), String> {
        let dir = tempfile::tempdir().unwrap();
        let [lines, input, output] =
            ["q.jsonl", name, "out.jsonl"].map(|name| dir.path().join(name));
        std::fs::write(&lines, rows).unwrap();
        if input != lines {
            crate::convert::convert(&lines, &input, &mut || ()).unwrap();
        }
        let counts = pairs_from_questions(&[input], &output, &mut || ());
        let counts = counts.map_err(|error| error.to_string())?;
        Ok((counts, std::fs::read_to_string(output).unwrap()))
    }

    #[test]
    fn selected_passages_are_positives() {
        let expected = concat!(
            r#"{"query":"q","pos":"b","negs":["a","café"]}"#,
            "\n",
            r#"{"query":"q","pos":"d","negs":["a","café"]}"#,
            "\n",
        );
        let lists = concat!(
            r#"{"query": " q", "query_id": 1, "passages": {"is_selected": [0, 1, 0, 1], "#,
            r#""passage_text": ["a", "b", "cafÃ©", "d"], "url": ["u", "u", "u", "u"]}}"#,
            "\n",
            r#"{"query": "none", "query_id": 2, "passages": {"is_selected": [0], "passage_text": ["a"], "url": []}}"#,
        );
        let objects = concat!(
            r#"{"query": "q", "passages": [{"is_selected": 0, "passage_text": "a"}, "#,
            r#"{"is_selected": 1, "passage_text": "b"}, {"is_selected": 0, "passage_text": "café"}, "#,
            r#"{"is_selected": 1, "passage_text": "d"}]}"#,
            "\n",
            r#"{"query": "all", "passages": [{"is_selected": 1, "passage_text": "a"}]}"#,
        );
        for (rows, name) in [
            (lists, "q.jsonl"),
            (lists, "q.parquet"),
            (objects, "q.jsonl"),
            (objects, "q.parquet"),
        ] {
            let (counts, written) = run(rows, name).unwrap();
            assert_eq!(
                (counts.questions, counts.rows, counts.without_pair),
                (2, 2, 1)
            );
            assert_eq!(written, expected);
        }
    }

    #[test]
    fn errors_name_row_and_key() {
        for (rows, expected) in [
            ("", "q.jsonl: none of 0 questions"),
            (r#"{"passages": []}"#, "q.jsonl:1: `query`: expected a text"),
            (
                r#"{"query": "q"}"#,
                "q.jsonl:1: `passages`: expected an object of lists",
            ),
            (
                r#"{"query": "q", "passages": {"is_selected": [1]}}"#,
                "q.jsonl:1: `passages`: expected a list `passage_text`",
            ),
            (
                r#"{"query": "q", "passages": {"is_selected": [1], "passage_text": []}}"#,
                "q.jsonl:1: 0 `passage_text` but 1 `is_selected`",
            ),
            (
                r#"{"query": "q", "passages": [{"passage_text": "a"}]}"#,
                "q.jsonl:1: `passages`: expected 0 or 1",
            ),
            (
                r#"{"query": "q", "passages": [{"is_selected": 1, "passage_text": 3}]}"#,
                "q.jsonl:1: `passages`: expected texts",
            ),
        ] {
            let message = run(rows, "q.jsonl").unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
