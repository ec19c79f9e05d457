//! Dense vectors that were made before, looked up by id: one number and one hash a vector in memory, no vector.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use crate::dataset::{Dataset, DatasetError, id_text};
use crate::random::hash;

/// Rows read one after the other, after which memory is given back to the system.
const CHUNK_ROWS: usize = 4096;

/// The rows `{"id" or "_id", "vector": [numbers]}` of a data set (JSON lines, Parquet, or a `save_to_disk` directory).
pub struct DenseVectors {
    path: PathBuf,
    dataset: Dataset,
    /// Hash of an id and its row, sorted.
    rows: Vec<(u64, u32)>,
    dimensions: usize,
}

impl DenseVectors {
    /// Reads every row once, so that whatever is wrong with it is told before it is needed.
    ///
    /// # Errors
    /// [`DatasetError`], naming file and row: a row has no id or no vector, a number is not finite, vectors differ in
    /// length, or an id occurs twice.
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let dataset = Dataset::open(path)?;
        let file_error = |reason: String| DatasetError::File {
            path: path.to_path_buf(),
            reason,
        };
        if dataset.is_empty() {
            let reason = "there is no vector in it; expected rows {\"id\", \"vector\": [numbers]}";
            return Err(file_error(reason.to_owned()));
        }
        if u32::try_from(dataset.len()).is_err() {
            let reason = format!("{} rows, at most {} are supported", dataset.len(), u32::MAX);
            return Err(file_error(reason));
        }
        let dimensions = read(&dataset, 0)?.1.len();
        let mut rows = Vec::with_capacity(dataset.len());
        for start in (0..dataset.len()).step_by(CHUNK_ROWS) {
            let chunk: Vec<Result<(u64, u32), DatasetError>> = (start
                ..dataset.len().min(start + CHUNK_ROWS))
                .into_par_iter()
                .map(|row| {
                    let (id, vector) = read(&dataset, row)?;
                    if vector.len() != dimensions {
                        let found = vector.len();
                        let reason = format!(
                            "`vector` has {found} numbers, that of the first row {dimensions}"
                        );
                        return Err(dataset.row_error(row, reason));
                    }
                    Ok((hash(0, id.as_bytes()), row as u32))
                })
                .collect();
            for row in chunk {
                rows.push(row?);
            }
            dataset.release();
        }
        rows.par_sort_unstable();
        let vectors = Self {
            path: path.to_path_buf(),
            dataset,
            rows,
            dimensions,
        };
        vectors.check_unique()?;
        Ok(vectors)
    }

    fn check_unique(&self) -> Result<(), DatasetError> {
        let same_hash = self.rows.chunk_by(|a, b| a.0 == b.0);
        for rows in same_hash.filter(|rows| rows.len() > 1) {
            let mut ids = Vec::new();
            for &(_, row) in rows {
                let (id, _) = read(&self.dataset, row as usize)?;
                if ids.contains(&id) {
                    let reason = format!("the id {id:?} occurs a second time; ids must be unique");
                    return Err(self.dataset.row_error(row as usize, reason));
                }
                ids.push(id);
            }
        }
        Ok(())
    }

    /// The vector with that id, where there is one.
    ///
    /// # Errors
    /// [`DatasetError`] when the row cannot be read any more.
    pub fn get(&self, id: &str) -> Result<Option<Vec<f32>>, DatasetError> {
        let wanted = hash(0, id.as_bytes());
        let first = self.rows.partition_point(|&(hash, _)| hash < wanted);
        let same_hash = self.rows[first..].iter();
        for &(_, row) in same_hash.take_while(|&&(hash, _)| hash == wanted) {
            let (found, vector) = read(&self.dataset, row as usize)?;
            if found == id {
                return Ok(Some(vector));
            }
        }
        Ok(None)
    }

    /// Where they were read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length of every vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Gives the memory of vectors read so far back to the system.
    pub fn release(&self) {
        self.dataset.release();
    }
}

/// Id and vector of a row.
fn read(dataset: &Dataset, row: usize) -> Result<(String, Vec<f32>), DatasetError> {
    let mut values = dataset.row(row)?;
    let id = values.get("id").or_else(|| values.get("_id"));
    let id = id.and_then(id_text).ok_or_else(|| {
        let reason = "`id`: expected a text or a number, as in {\"id\", \"vector\": [numbers]}";
        dataset.row_error(row, reason)
    })?;
    let Some(Value::Array(numbers)) = values.remove("vector") else {
        return Err(dataset.row_error(row, "`vector`: expected a list of numbers"));
    };
    let number = |(index, value): (usize, &Value)| {
        let number = value.as_f64().map(|number| number as f32);
        number.filter(|number| number.is_finite()).ok_or_else(|| {
            let reason = format!("vector[{index}] is {value}, which is no finite float32 number");
            dataset.row_error(row, reason)
        })
    };
    let vector: Result<Vec<f32>, DatasetError> = numbers.iter().enumerate().map(number).collect();
    Ok((id, vector?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(rows: &str) -> Result<DenseVectors, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vectors.jsonl");
        std::fs::write(&path, rows).unwrap();
        DenseVectors::open(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn vectors_are_found_by_id_in_every_form() {
        let rows = concat!(
            r#"{"id": "a", "vector": [1, -2.5]}"#,
            "\n",
            r#"{"id": "7", "vector": [0.25, 3]}"#,
            "\n",
        );
        let dir = tempfile::tempdir().unwrap();
        let [lines, packed, folder] =
            ["v.jsonl", "v.parquet", "v"].map(|name| dir.path().join(name));
        std::fs::write(&lines, rows).unwrap();
        for path in [&packed, &folder] {
            crate::convert::convert(&lines, path, &mut || ()).unwrap();
        }
        for path in [lines, packed, folder] {
            let vectors = DenseVectors::open(&path).unwrap();
            assert_eq!(vectors.dimensions(), 2);
            assert_eq!(vectors.get("a").unwrap(), Some(vec![1.0, -2.5]));
            assert_eq!(vectors.get("7").unwrap(), Some(vec![0.25, 3.0]));
            assert_eq!(vectors.get("b").unwrap(), None);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_row() {
        let good = r#"{"id": "a", "vector": [1, 2]}"#;
        for (row, expected) in [
            (
                r#"{"vector": [1, 2]}"#,
                "vectors.jsonl:2: `id`: expected a text or a number",
            ),
            (
                r#"{"id": "b"}"#,
                "vectors.jsonl:2: `vector`: expected a list of numbers",
            ),
            (
                r#"{"id": "b", "vector": [1]}"#,
                "vectors.jsonl:2: `vector` has 1 numbers, that of the first row 2",
            ),
            (
                r#"{"id": "b", "vector": [1, 1e99]}"#,
                "vectors.jsonl:2: vector[1] is 1e+99, which is no finite",
            ),
            (
                r#"{"id": "b", "vector": [1, null]}"#,
                "vectors.jsonl:2: vector[1] is null",
            ),
            (good, "the id \"a\" occurs a second time"),
        ] {
            let message = open(&format!("{good}\n{row}\n")).err().unwrap();
            assert!(message.contains(expected), "{message}");
        }
        assert!(open("").err().unwrap().contains("there is no vector in it"));
    }
}
