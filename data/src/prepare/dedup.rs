//! Each text once.

use std::path::Path;

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::near::{self, BandIndex, Bands};
use super::{CHUNK_ROWS, PrepareError};
use crate::dataset::{Dataset, DatasetError};
use crate::output::AtomicFile;
use crate::seen::SeenTexts;

/// The columns whose texts are compared where none are named: the first set whose last column is there.
const COLUMNS: [&[&str]; 4] = [
    &["title", "text"],
    &["query", "pos"],
    &["query", "docs"],
    &["query", "positive_passages"],
];

/// What became of the rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DedupCounts {
    /// All rows.
    pub rows: usize,
    /// Rows left out because an earlier one has the same text.
    pub exact: usize,
    /// Rows left out because an earlier one has nearly the same text.
    pub near: usize,
}

/// Writes the first of the rows with the same text, as JSON lines in their order. Texts are the same if their words
/// are, in lower case, in all `columns` (where none are named: title and text, or query with pos or docs). With `near`
/// a row is also left out when the Jaccard similarity of its word triples with an earlier row's is 0.8 or more. Memory
/// holds a hash of each text, with `near` some 300 bytes. `on_row` is called after every row.
///
/// # Errors
/// [`PrepareError`], naming file and row, or the path that cannot be written.
pub fn dedup(
    input: &Path,
    output: &Path,
    columns: &[String],
    near: bool,
    on_row: &mut dyn FnMut(),
) -> Result<DedupCounts, PrepareError> {
    let dataset = Dataset::open(input)?;
    let columns = compared_columns(input, &dataset, columns)?;
    let mut file = AtomicFile::create(output)?;
    let mut counts = DedupCounts::default();
    let mut seen = SeenTexts::default();
    let mut index = near.then(BandIndex::default);
    for start in (0..dataset.len()).step_by(CHUNK_ROWS) {
        let end = dataset.len().min(start + CHUNK_ROWS);
        let texts: Vec<Result<ComparedText, DatasetError>> = (start..end)
            .into_par_iter()
            .map(|row| ComparedText::read(&dataset, row, &columns, near))
            .collect();
        for (row, compared) in (start..).zip(texts) {
            let compared = compared?;
            counts.rows += 1;
            if !seen.insert(&compared.text) {
                counts.exact += 1;
            } else if is_near(index.as_mut(), &compared, row, &dataset, &columns)? {
                counts.near += 1;
            } else {
                file.write_line(&dataset.json(row)?)?;
            }
            on_row();
        }
        dataset.release();
    }
    file.finish()?;
    Ok(counts)
}

fn compared_columns(
    path: &Path,
    dataset: &Dataset,
    named: &[String],
) -> Result<Vec<String>, PrepareError> {
    let nothing = |reason: String| PrepareError::Nothing {
        path: path.to_path_buf(),
        reason,
    };
    if u32::try_from(dataset.len()).is_err() {
        let rows = dataset.len();
        return Err(nothing(format!(
            "{rows} rows, at most {} are supported",
            u32::MAX
        )));
    }
    if !named.is_empty() || dataset.is_empty() {
        return Ok(named.to_vec());
    }
    let found = dataset.columns()?;
    let fits = |set: &&&[&str]| {
        set.last()
            .is_some_and(|last| found.iter().any(|name| name == last))
    };
    let columns = COLUMNS.iter().find(fits).ok_or_else(|| {
        nothing(format!(
            "it has no text, pos, docs or positive_passages; name the columns to compare (--columns) out of: {}",
            found.join(", ")
        ))
    })?;
    Ok(columns.iter().map(|&name| name.to_owned()).collect())
}

/// What rows are compared by.
struct ComparedText {
    text: String,
    /// Only where near duplicates are asked for.
    shingles: Vec<u64>,
    bands: Bands,
}

impl ComparedText {
    fn read(
        dataset: &Dataset,
        row: usize,
        columns: &[String],
        near: bool,
    ) -> Result<Self, DatasetError> {
        let text = normalized(&dataset.row(row)?, columns).ok_or_else(|| {
            let columns = columns.join(", ");
            dataset.row_error(
                row,
                format!("it has none of the columns to compare: {columns}"),
            )
        })?;
        let shingles = if near {
            near::shingles(&text)
        } else {
            Vec::new()
        };
        let bands = if near {
            near::bands(&shingles)
        } else {
            Bands::default()
        };
        Ok(Self {
            text,
            shingles,
            bands,
        })
    }
}

/// The words of all texts in the columns, in lower case; `None` where the row has no such column.
fn normalized(row: &Map<String, Value>, columns: &[String]) -> Option<String> {
    let mut text = String::new();
    let mut has_column = false;
    for value in columns.iter().filter_map(|column| row.get(column)) {
        has_column = true;
        push_words(value, &mut text);
    }
    has_column.then_some(text)
}

fn push_words(value: &Value, text: &mut String) {
    match value {
        Value::String(value) => {
            for word in value.to_lowercase().split_whitespace() {
                text.push_str(word);
                text.push(' ');
            }
        }
        Value::Array(items) => items.iter().for_each(|item| push_words(item, text)),
        Value::Object(passage) => {
            let texts = ["title", "text"].into_iter();
            texts
                .filter_map(|key| passage.get(key))
                .for_each(|value| push_words(value, text));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether an earlier row is like this one; if not, later ones are compared with it.
fn is_near(
    index: Option<&mut BandIndex>,
    compared: &ComparedText,
    row: usize,
    dataset: &Dataset,
    columns: &[String],
) -> Result<bool, DatasetError> {
    let Some(index) = index else {
        return Ok(false);
    };
    for candidate in index.candidates(&compared.bands) {
        let earlier = normalized(&dataset.row(candidate as usize)?, columns).unwrap_or_default();
        let similarity = near::jaccard(&compared.shingles, &near::shingles(&earlier));
        if similarity >= near::THRESHOLD {
            return Ok(true);
        }
    }
    index.insert(&compared.bands, row as u32);
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rows: &str, columns: &[&str], near: bool) -> Result<(DedupCounts, String), String> {
        let dir = tempfile::tempdir().unwrap();
        let [input, output] = ["a.jsonl", "b.jsonl"].map(|name| dir.path().join(name));
        std::fs::write(&input, rows).unwrap();
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        let counts = dedup(&input, &output, &columns, near, &mut || ());
        let counts = counts.map_err(|error| error.to_string())?;
        Ok((counts, std::fs::read_to_string(output).unwrap()))
    }

    #[test]
    fn the_first_of_the_same_words_is_kept() {
        let rows = concat!(
            r#"{"_id": "1", "title": "Red  fox", "text": "runs"}"#,
            "\n",
            r#"{"_id": "2", "text": "red fox\tRUNS "}"#,
            "\n",
            r#"{"_id": "3", "title": null, "text": "runs"}"#,
            "\n",
        );
        let (counts, kept) = run(rows, &[], false).unwrap();
        assert_eq!((counts.rows, counts.exact, counts.near), (3, 1, 0));
        let ids: Vec<&str> = kept.lines().map(|line| &line[9..10]).collect();
        assert_eq!(ids, ["1", "3"]);
        let (counts, _) = run(rows, &["text"], false).unwrap();
        assert_eq!(counts.exact, 1);
        let posnegs = concat!(
            r#"{"query": "q", "pos": "p", "negs": ["a"]}"#,
            "\n",
            r#"{"query": "Q", "pos": "P", "negs": ["b"]}"#,
        );
        assert_eq!(run(posnegs, &[], false).unwrap().0.exact, 1);
        assert_eq!(run("", &[], true).unwrap().0.rows, 0);
    }

    #[test]
    fn near_duplicates_share_most_word_triples() {
        let text = |skipped: usize| {
            let words = (0..40).filter(|&word| word != skipped);
            let words: Vec<String> = words.map(|word| format!("w{word}")).collect();
            format!("{{\"id\": {skipped}, \"text\": \"{}\"}}\n", words.join(" "))
        };
        // Without the last word 37 of 38 triples are left; without one in the middle 35 of 39 are common.
        let rows = [
            text(99),
            text(39),
            text(20),
            "{\"text\": \"w1 w2 w3 w4\"}\n".to_owned(),
        ];
        let (counts, kept) = run(&rows.concat(), &[], true).unwrap();
        assert_eq!((counts.exact, counts.near), (0, 2));
        assert_eq!(kept.lines().count(), 2);
        assert_eq!(run(&rows.concat(), &[], false).unwrap().0.near, 0);
    }

    #[test]
    fn columns_that_are_not_there_are_told() {
        let message = run("{\"a\": \"x\"}", &[], false).unwrap_err();
        assert!(
            message.contains("a.jsonl: it has no text, pos, docs"),
            "{message}"
        );
        assert!(message.ends_with("out of: a"), "{message}");
        let message = run("{\"a\": \"x\"}\n{\"b\": 1}", &["a"], false).unwrap_err();
        assert!(
            message.contains("a.jsonl:2: it has none of the columns to compare: a"),
            "{message}"
        );
    }
}
