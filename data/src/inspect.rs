//! What a data set looks like: columns, rows, lengths.

use std::collections::BTreeMap;
use std::fmt;

use rayon::prelude::*;
use serde_json::Value;

use crate::convert::ordered_json;
use crate::dataset::{Dataset, DatasetError};

/// Rows looked at together.
const CHUNK_ROWS: usize = 4096;
/// Characters of a row that are shown.
const SHOWN_CHARS: usize = 300;

/// Figures about a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// What the rows are good for, going by their columns.
    pub kind: &'static str,
    /// Number of rows.
    pub rows: usize,
    /// Columns and what is in them.
    pub columns: Vec<(String, ColumnFigures)>,
    /// The first rows as JSON, cut to a readable length.
    pub first_rows: Vec<String>,
    /// What text lengths are counted in.
    pub unit: &'static str,
}

/// How often each value occurs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    counts: BTreeMap<usize, u64>,
}

impl Histogram {
    fn add(&mut self, value: usize) {
        *self.counts.entry(value).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        for (value, count) in other.counts {
            *self.counts.entry(value).or_default() += count;
        }
    }

    /// Number of values.
    pub fn len(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The smallest value that at least this share of all values does not exceed.
    pub fn quantile(&self, share: f64) -> Option<usize> {
        let wanted = (share * self.len() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.counts.iter().find_map(|(&value, &count)| {
            seen += count;
            (seen >= wanted).then_some(value)
        })
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [min, median, high, max] = [0.0, 0.5, 0.99, 1.0].map(|q| self.quantile(q).unwrap_or(0));
        write!(f, "min {min}, median {median}, 99 % {high}, max {max}")
    }
}

/// What is in a column; the items of lists count like values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnFigures {
    /// Nulls.
    pub nulls: u64,
    /// Lengths of the texts.
    pub texts: Histogram,
    /// Lengths of the lists.
    pub lists: Histogram,
    /// Number, sum, smallest and largest of the numbers.
    pub numbers: Option<(u64, f64, f64, f64)>,
    /// Booleans and objects.
    pub others: u64,
}

impl ColumnFigures {
    fn add(&mut self, value: &Value, length: &(impl Fn(&str) -> usize + Sync)) {
        match value {
            Value::Null => self.nulls += 1,
            Value::String(text) => self.texts.add(length(text)),
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or(f64::NAN);
                self.merge_numbers((1, number, number, number));
            }
            Value::Array(items) => {
                self.lists.add(items.len());
                items.iter().for_each(|item| self.add(item, length));
            }
            Value::Bool(_) | Value::Object(_) => self.others += 1,
        }
    }

    fn merge_numbers(&mut self, (count, sum, min, max): (u64, f64, f64, f64)) {
        let merged = self.numbers.map_or((count, sum, min, max), |numbers| {
            (
                numbers.0 + count,
                numbers.1 + sum,
                numbers.2.min(min),
                numbers.3.max(max),
            )
        });
        self.numbers = Some(merged);
    }

    fn merge(&mut self, other: Self) {
        self.nulls += other.nulls;
        self.texts.merge(other.texts);
        self.lists.merge(other.lists);
        self.others += other.others;
        if let Some(numbers) = other.numbers {
            self.merge_numbers(numbers);
        }
    }
}

/// Looks at every row, on all threads. `length` measures a text in `unit`; the first `shown` rows are kept.
///
/// # Errors
/// [`DatasetError`] of the first row that cannot be read.
pub fn inspect(
    dataset: &Dataset,
    unit: &'static str,
    length: impl Fn(&str) -> usize + Sync,
    shown: usize,
) -> Result<Inspection, DatasetError> {
    let names = dataset.columns()?;
    let mut figures: BTreeMap<String, ColumnFigures> = BTreeMap::new();
    for start in (0..dataset.len()).step_by(CHUNK_ROWS) {
        let end = dataset.len().min(start + CHUNK_ROWS);
        let rows: Vec<Result<BTreeMap<String, ColumnFigures>, DatasetError>> = (start..end)
            .into_par_iter()
            .map(|row| {
                let mut figures: BTreeMap<String, ColumnFigures> = BTreeMap::new();
                for (name, value) in dataset.row(row)? {
                    figures.entry(name).or_default().add(&value, &length);
                }
                Ok(figures)
            })
            .collect();
        for row in rows {
            for (name, found) in row? {
                figures.entry(name).or_default().merge(found);
            }
        }
        dataset.release();
    }
    let mut columns = Vec::new();
    for name in &names {
        columns.push((name.clone(), figures.remove(name).unwrap_or_default()));
    }
    columns.extend(figures);
    let first_rows = (0..dataset.len().min(shown)).map(|row| {
        let json = ordered_json(&names, dataset.row(row)?);
        Ok(cut(&json))
    });
    Ok(Inspection {
        kind: kind(&columns),
        rows: dataset.len(),
        first_rows: first_rows.collect::<Result<_, DatasetError>>()?,
        columns,
        unit,
    })
}

fn kind(columns: &[(String, ColumnFigures)]) -> &'static str {
    let has = |names: &[&str]| {
        names
            .iter()
            .all(|name| columns.iter().any(|(column, _)| column == name))
    };
    if has(&["query", "docs", "scores"]) {
        "kd"
    } else if has(&["query", "docs"]) {
        "kd without scores"
    } else if has(&["query", "pos", "negs"])
        || has(&["query", "positive_passages", "negative_passages"])
    {
        "posnegs"
    } else if has(&["_id", "text"]) || has(&["id", "text"]) {
        "documents or queries"
    } else {
        "other"
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kind     {}", self.kind)?;
        writeln!(f, "rows     {}", self.rows)?;
        writeln!(f, "columns")?;
        for (name, figures) in &self.columns {
            let mut parts = Vec::new();
            if !figures.lists.is_empty() {
                parts.push(format!("{} lists ({})", figures.lists.len(), figures.lists));
            }
            if !figures.texts.is_empty() {
                let (texts, unit) = (&figures.texts, self.unit);
                parts.push(format!("{} texts ({unit}: {texts})", texts.len()));
            }
            if let Some((count, sum, min, max)) = figures.numbers {
                let mean = sum / count as f64;
                parts.push(format!(
                    "{count} numbers (min {min}, mean {mean:.4}, max {max})"
                ));
            }
            for (count, what) in [(figures.others, "other values"), (figures.nulls, "nulls")] {
                if count > 0 {
                    parts.push(format!("{count} {what}"));
                }
            }
            writeln!(f, "  {name:<12} {}", parts.join(", "))?;
        }
        if !self.first_rows.is_empty() {
            writeln!(f, "first rows")?;
        }
        for row in &self.first_rows {
            writeln!(f, "  {row}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_texts_lists_numbers_and_nulls() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kd.jsonl");
        let rows = concat!(
            r#"{"query": "a b", "docs": ["x", "y y y"], "scores": [1, 4.5]}"#,
            "\n",
            r#"{"query": "c", "docs": ["z z"], "scores": null, "ok": true}"#,
        );
        std::fs::write(&path, rows).unwrap();
        let dataset = Dataset::open(&path).unwrap();
        let words = |text: &str| text.split_whitespace().count();
        let found = inspect(&dataset, "words", words, 1).unwrap();
        assert_eq!((found.kind, found.rows), ("kd", 2));
        let names: Vec<&str> = found
            .columns
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["query", "docs", "scores", "ok"]);
        let text = found.to_string();
        for expected in [
            "docs         2 lists (min 1, median 1, 99 % 2, max 2), 3 texts (words: min 1, median 2, 99 % 3, max 3)",
            "scores       1 lists (min 2, median 2, 99 % 2, max 2), 2 numbers (min 1, mean 2.7500, max 4.5), 1 nulls",
            "ok           1 other values",
            r#"  {"query": "a b", "docs": ["x","y y y"], "scores": [1,4.5]}"#,
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }
}
