//! Data sets from one form into another.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use thiserror::Error;

use crate::dataset::{Dataset, DatasetError};
use crate::hf_dataset;
use crate::output::{AtomicFile, OutputError};
use crate::parquet_file;

/// Rows between two releases of the memory of the input.
const RELEASE_ROWS: usize = 4096;

/// Why a data set could not be converted.
#[derive(Debug, Error)]
pub enum ConvertError {
    /// The input cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A value has no place in a column.
    #[error(
        "{place}: `{column}` is {found} here and {earlier} in earlier rows; a column has one type"
    )]
    Type {
        /// `file:line` of the row.
        place: String,
        /// Key of the value.
        column: String,
        /// Its type.
        found: String,
        /// Type of the column so far.
        earlier: String,
    },
    /// Input and output are of the same form, or of a form that cannot be written.
    #[error("{}: {reason}", path.display())]
    Unsupported {
        /// File or directory at fault.
        path: PathBuf,
        /// What to do instead.
        reason: &'static str,
    },
}

/// Converts between JSON lines, Parquet and `save_to_disk` directories and returns the number of rows. What `output`
/// becomes follows from its name: `.jsonl` and `.json` (also with `.gz` or `.zst`) and `-` are JSON lines, `.parquet`
/// is Parquet, a name without extension is a directory. `on_row` is called after every row.
///
/// # Errors
/// [`ConvertError`], naming file and row, or the path that cannot be written.
pub fn convert(
    input: &Path,
    output: &Path,
    on_row: &mut dyn FnMut(),
) -> Result<usize, ConvertError> {
    let extension = output.extension().and_then(|extension| extension.to_str());
    let to_lines = is_json_lines(output);
    let to_parquet = extension == Some("parquet");
    check_form(output)?;
    if input.is_dir() && !to_lines && !to_parquet {
        let reason =
            "it is a `save_to_disk` directory already; name a .jsonl or .parquet file as output";
        return Err(unsupported(input, reason));
    }
    let dataset = Dataset::open(input)?;
    if to_lines {
        write_json_lines(&dataset, output, on_row)?;
    } else if to_parquet {
        parquet_file::write(&dataset, output, on_row)?;
    } else {
        hf_dataset::write(&dataset, output, on_row)?;
    }
    Ok(dataset.len())
}

fn unsupported(path: &Path, reason: &'static str) -> ConvertError {
    let path = path.to_path_buf();
    ConvertError::Unsupported { path, reason }
}

/// Says whether a data set of this name can be written, before anything is done for it.
///
/// # Errors
/// [`ConvertError`] when its form cannot be written, or a directory of that name is there already.
pub fn check_output(output: &Path) -> Result<(), ConvertError> {
    check_form(output)?;
    let is_full = || std::fs::read_dir(output).is_ok_and(|mut found| found.next().is_some());
    if output.is_dir() && (output.extension().is_some() || is_full()) {
        let path = output.to_path_buf();
        return Err(OutputError::Exists { path }.into());
    }
    Ok(())
}

fn check_form(output: &Path) -> Result<(), ConvertError> {
    match output.extension().and_then(|extension| extension.to_str()) {
        Some("arrow" | "csv" | "tsv") => {
            let reason =
                "this form cannot be written; name a .jsonl or .parquet file, or a directory";
            Err(unsupported(output, reason))
        }
        _ => Ok(()),
    }
}

/// Whether a data set of this name is JSON lines.
pub fn is_json_lines(output: &Path) -> bool {
    let extension = output.extension().and_then(|extension| extension.to_str());
    output == Path::new("-") || matches!(extension, Some("jsonl" | "json" | "gz" | "zst"))
}

fn write_json_lines(
    dataset: &Dataset,
    output: &Path,
    on_row: &mut dyn FnMut(),
) -> Result<(), ConvertError> {
    let columns = dataset.columns()?;
    let mut file = AtomicFile::create(output)?;
    for row in 0..dataset.len() {
        file.write_line(&ordered_json(&columns, dataset.row(row)?))?;
        on_row();
        if row % RELEASE_ROWS == RELEASE_ROWS - 1 {
            dataset.release();
        }
    }
    Ok(file.finish()?)
}

/// A row as a JSON object with its keys in the order of `columns`, further keys after them.
pub(crate) fn ordered_json(columns: &[String], mut row: Map<String, Value>) -> String {
    let mut members = Vec::with_capacity(row.len());
    let member = |key: &str, value: Value| format!("{}: {value}", Value::from(key));
    for column in columns {
        if let Some(value) = row.remove(column) {
            members.push(member(column, value));
        }
    }
    members.extend(row.into_iter().map(|(key, value)| member(&key, value)));
    format!("{{{}}}", members.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = concat!(
        r#"{"query": "q\n1", "docs": ["é", null], "scores": [1.5, -2.0], "id": 7}"#,
        "\n",
        r#"{"query": "r", "docs": [], "scores": null, "id": 8, "extra": [[true]]}"#,
        "\n",
        r#"{"query": null, "docs": null, "scores": [0.1]}"#,
        "\n",
    );

    #[test]
    fn there_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("a.jsonl"), ROWS).unwrap();
        let mut seen = 0;
        let rows = convert(&path("a.jsonl"), &path("set"), &mut || seen += 1).unwrap();
        assert_eq!((rows, seen), (3, 3));
        convert(&path("set"), &path("b.jsonl.zst"), &mut || ()).unwrap();
        convert(&path("b.jsonl.zst"), &path("c.jsonl"), &mut || ()).unwrap();

        let text = std::fs::read_to_string(path("c.jsonl")).unwrap();
        let first = r#"{"query": "q\n1", "docs": ["é",null], "scores": [1.5,-2.0], "id": 7, "extra": null}"#;
        assert_eq!(text.lines().next(), Some(first));
        let [a, set] = ["a.jsonl", "set"].map(|name| Dataset::open(&path(name)).unwrap());
        assert_eq!(
            set.columns().unwrap(),
            ["query", "docs", "scores", "id", "extra"]
        );
        for row in 0..3 {
            let mut found = set.row(row).unwrap();
            let expected = a.row(row).unwrap();
            found.retain(|key, value| !value.is_null() || expected.contains_key(key));
            assert_eq!(found, expected);
        }
        let info = std::fs::read(path("set").join("dataset_info.json")).unwrap();
        let info: Value = serde_json::from_slice(&info).unwrap();
        assert_eq!(info["features"]["scores"]["feature"]["dtype"], "float64");
    }

    #[test]
    fn refusals_name_the_place_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let message = |rows: &str, output: &str| {
            std::fs::write(path("a.jsonl"), rows).unwrap();
            let result = convert(&path("a.jsonl"), &path(output), &mut || ());
            result.unwrap_err().to_string()
        };
        let mixed = message("{\"a\": 1}\n\n{\"a\": [\"x\"]}", "set");
        assert!(
            mixed.contains("a.jsonl:3: `a` is a list of string here and int64"),
            "{mixed}"
        );
        assert!(message("{\"a\": {}}", "set").contains("a.jsonl:1: `a` is an empty object"));
        assert!(message("", "x.csv").contains("x.csv: this form cannot be written"));
        std::fs::write(path("full"), "a file").unwrap();
        assert!(message("{\"a\": 1}", "full").contains("already exists"));
        let names = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 2);
    }
}
