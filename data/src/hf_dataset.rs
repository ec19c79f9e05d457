//! Directories written by `datasets.Dataset.save_to_disk`: Arrow IPC streams listed in state.json.
//!
//! The streams stay on disk: they are mapped into memory, checked once when opened (lengths, offsets, UTF-8), and
//! the arrays point into the mapping, so that a data set takes memory for its list of record batches only.

mod cells;
mod columns;
mod stream;
mod write;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_schema::{Schema, SchemaRef};
use memmap2::Mmap;
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::dataset::{DatasetError, RowForm, TrainRow};
use crate::mapped;

use columns::{Columns, document};
pub(crate) use write::write;

/// A `save_to_disk` directory.
pub struct HfDataset {
    dir: PathBuf,
    schema: SchemaRef,
    shards: Vec<Shard>,
    /// All record batches of all shards.
    batches: Vec<Batch>,
    /// Row numbers in stored order after `shuffle` or `select`, where an indices file says so.
    indices: Option<Vec<u64>>,
    rows: usize,
}

struct Shard {
    path: PathBuf,
    map: Arc<Mmap>,
}

struct Batch {
    shard: usize,
    /// Number of stored rows before this batch.
    start: usize,
    records: RecordBatch,
}

/// The parts of state.json that say where the rows are.
#[derive(Deserialize)]
struct State {
    _data_files: Vec<DataFile>,
    /// Written by versions of `datasets` that did not resolve shuffles when saving.
    #[serde(default, alias = "_indices_files")]
    _indices_data_files: Option<Vec<DataFile>>,
}

#[derive(Deserialize)]
struct DataFile {
    filename: String,
}

impl HfDataset {
    /// Opens a data set, or the `train` split of a `DatasetDict`, and checks every byte of it.
    ///
    /// # Errors
    /// [`DatasetError`], naming the file and what is wrong with it: a missing state.json or shard, a shard that is
    /// not an Arrow stream, cut short, damaged, or with other columns than the first.
    pub fn open(dir: &Path) -> Result<Self, DatasetError> {
        let dir = &train_split(dir)?;
        let state = read_state(dir)?;
        let count = state._data_files.len();
        let opened: Vec<(Shard, SchemaRef, Vec<RecordBatch>)> = state
            ._data_files
            .par_iter()
            .enumerate()
            .map(|(number, file)| open_shard(dir, &file.filename, number, count))
            .collect::<Vec<Result<_, _>>>()
            .into_iter()
            .collect::<Result<_, _>>()?;
        let schema = opened.first().map_or_else(
            || Arc::new(Schema::empty()),
            |(_, schema, _)| schema.clone(),
        );
        let mut dataset = Self::new(dir.clone(), schema);
        for (shard, schema, batches) in opened {
            dataset.push(shard, &schema, batches)?;
        }
        dataset.apply_indices(&state)?;
        Ok(dataset)
    }

    /// Arrow streams that were unpacked from the parts of `path`, whose names errors have.
    pub(crate) fn from_streams(
        path: &Path,
        parts: impl Iterator<Item = Result<(PathBuf, File), DatasetError>>,
    ) -> Result<Self, DatasetError> {
        let mut dataset = Self::new(path.to_path_buf(), Arc::new(Schema::empty()));
        for part in parts {
            let (part, file) = part?;
            let (shard, schema, batches) = map_shard(part, &file)?;
            if dataset.shards.is_empty() {
                dataset.schema = schema.clone();
            }
            dataset.push(shard, &schema, batches)?;
        }
        Ok(dataset)
    }

    /// Without rows so far.
    fn new(dir: PathBuf, schema: SchemaRef) -> Self {
        Self {
            dir,
            schema,
            shards: Vec::new(),
            batches: Vec::new(),
            indices: None,
            rows: 0,
        }
    }

    fn push(
        &mut self,
        shard: Shard,
        schema: &Schema,
        batches: Vec<RecordBatch>,
    ) -> Result<(), DatasetError> {
        let columns = |schema: &Schema| {
            let fields = schema.fields().iter();
            let columns = fields.map(|field| format!("{}: {}", field.name(), field.data_type()));
            columns.collect::<Vec<_>>().join(", ")
        };
        let (found, expected) = (columns(schema), columns(&self.schema));
        if found != expected {
            let reason = format!("its columns are {found}; the first shard has {expected}");
            return Err(file_error(&shard.path, reason));
        }
        for records in batches {
            let start = self.rows;
            self.rows += records.num_rows();
            self.batches.push(Batch {
                shard: self.shards.len(),
                start,
                records,
            });
        }
        self.shards.push(shard);
        Ok(())
    }

    fn apply_indices(&mut self, state: &State) -> Result<(), DatasetError> {
        let files = state._indices_data_files.as_deref().unwrap_or_default();
        if files.is_empty() {
            return Ok(());
        }
        let mut indices = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let (shard, _, batches) = open_shard(&self.dir, &file.filename, number, files.len())?;
            for batch in batches {
                let column = batch
                    .columns()
                    .first()
                    .and_then(|c| c.as_primitive_opt::<UInt64Type>());
                let column = column.ok_or_else(|| {
                    let reason = "expected one column `indices` of type uint64".to_owned();
                    file_error(&shard.path, reason)
                })?;
                indices.extend_from_slice(column.values());
            }
            if let Some(&row) = indices.iter().find(|&&row| row >= self.rows as u64) {
                let reason = format!("it names row {row}, but there are {} rows", self.rows);
                return Err(file_error(&shard.path, reason));
            }
        }
        self.rows = indices.len();
        self.indices = Some(indices);
        Ok(())
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Names and types of the columns; none for a data set without data files.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// All columns of a row, as JSON.
    ///
    /// # Errors
    /// [`DatasetError`] when a value has no form in JSON.
    pub fn row(&self, row: usize) -> Result<Map<String, Value>, DatasetError> {
        let (batch, offset) = self.locate(row);
        let columns = self.schema.fields().iter().zip(batch.records.columns());
        columns
            .map(|(field, column)| {
                let value = cells::json(column, offset).map_err(|reason| {
                    self.error(row, format!("column `{}`: {reason}", field.name()))
                })?;
                Ok((field.name().clone(), value))
            })
            .collect()
    }

    /// A row as training data; see [`Dataset::train_row`](crate::dataset::Dataset::train_row).
    ///
    /// # Errors
    /// [`DatasetError`], naming shard, row and column.
    pub fn train_row(
        &self,
        row: usize,
        form: RowForm,
    ) -> Result<Option<TrainRow<'_>>, DatasetError> {
        let (batch, offset) = self.locate(row);
        let columns = Columns {
            records: &batch.records,
            form,
        };
        let converted = match form {
            RowForm::Kd => columns.kd_row(offset),
            RowForm::KdIds => columns.kd_ids_row(offset),
            RowForm::PosNegs => columns.pos_negs_row(offset),
            RowForm::Passages => columns.passages_row(offset),
        };
        converted.map_err(|reason| self.error(row, reason))
    }

    /// A row as a document; see [`Dataset::document`](crate::dataset::Dataset::document).
    ///
    /// # Errors
    /// [`DatasetError`], naming shard, row and column.
    pub fn document(&self, row: usize) -> Result<Option<String>, DatasetError> {
        let (batch, offset) = self.locate(row);
        document(&batch.records, offset).map_err(|reason| self.error(row, reason))
    }

    /// Shard and row number, for messages.
    pub fn place(&self, row: usize) -> String {
        let (batch, _) = self.locate(row);
        format!(
            "{}: row {row} of the data set",
            self.shards[batch.shard].path.display()
        )
    }

    /// Gives the memory of rows read so far back to the system.
    pub(crate) fn release(&self) {
        for shard in &self.shards {
            mapped::release(&shard.map, 0, shard.map.len());
        }
    }

    /// The batch that holds a row, and the row's position in it.
    fn locate(&self, row: usize) -> (&Batch, usize) {
        let stored = self
            .indices
            .as_ref()
            .map_or(row, |indices| indices[row] as usize);
        let next = self.batches.partition_point(|batch| batch.start <= stored);
        let batch = &self.batches[next - 1];
        (batch, stored - batch.start)
    }

    fn error(&self, row: usize, reason: String) -> DatasetError {
        DatasetError::Row {
            place: self.place(row),
            reason,
        }
    }
}

fn file_error(path: &Path, reason: String) -> DatasetError {
    DatasetError::File {
        path: path.to_path_buf(),
        reason,
    }
}

/// The directory itself, or the `train` split of a `DatasetDict`.
fn train_split(dir: &Path) -> Result<PathBuf, DatasetError> {
    #[derive(Deserialize)]
    struct DatasetDict {
        splits: Vec<String>,
    }
    let path = dir.join("dataset_dict.json");
    if !path.is_file() {
        return Ok(dir.to_path_buf());
    }
    let dict: DatasetDict = read_json(&path)?;
    if dict.splits.iter().any(|split| split == "train") {
        return Ok(dir.join("train"));
    }
    let reason = format!(
        "it has no split `train`; name the directory of one of its splits: {}",
        dict.splits.join(", ")
    );
    Err(file_error(&path, reason))
}

fn read_state(dir: &Path) -> Result<State, DatasetError> {
    let path = dir.join("state.json");
    if !path.is_file() {
        let reason = "no state.json in it, so it is no directory written by `save_to_disk`";
        return Err(file_error(dir, reason.to_owned()));
    }
    read_json(&path)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, DatasetError> {
    let bytes = std::fs::read(path)
        .map_err(|cause| file_error(path, format!("cannot read it: {cause}")))?;
    serde_json::from_slice(&bytes).map_err(|cause| file_error(path, cause.to_string()))
}

/// Maps a shard and checks all of its record batches.
fn open_shard(
    dir: &Path,
    name: &str,
    number: usize,
    count: usize,
) -> Result<(Shard, SchemaRef, Vec<RecordBatch>), DatasetError> {
    let path = dir.join(name);
    let file = File::open(&path).map_err(|cause| {
        let shard = number + 1;
        file_error(
            &path,
            format!("cannot open shard {shard} of {count} that state.json lists: {cause}"),
        )
    })?;
    let is_empty = file.metadata().is_ok_and(|meta| meta.len() == 0);
    if is_empty {
        return Err(file_error(
            &path,
            "it is empty; copy or save the data set again".to_owned(),
        ));
    }
    map_shard(path, &file)
}

fn map_shard(
    path: PathBuf,
    file: &File,
) -> Result<(Shard, SchemaRef, Vec<RecordBatch>), DatasetError> {
    let map =
        mapped::map(file).map_err(|cause| file_error(&path, format!("cannot map it: {cause}")))?;
    let map = Arc::new(map);
    let (schema, batches) = stream::decode(&map).map_err(|reason| file_error(&path, reason))?;
    Ok((Shard { path, map }, schema, batches))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use arrow_array::types::Float32Type;
    use arrow_array::{
        ArrayRef, FixedSizeListArray, Int64Array, LargeListArray, LargeStringArray, UInt64Array,
    };
    use arrow_ipc::writer::StreamWriter;
    use arrow_schema::{DataType, Field};

    use super::*;

    fn write_stream(path: &Path, columns: Vec<(&str, ArrayRef)>) {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        fs::write(path, writer.into_inner().unwrap()).unwrap();
    }

    fn write_state(dir: &Path, files: &[&str], indices: &[&str]) {
        let list = |names: &[&str]| -> Vec<Value> {
            names
                .iter()
                .map(|name| serde_json::json!({"filename": name}))
                .collect()
        };
        let state =
            serde_json::json!({"_data_files": list(files), "_indices_data_files": list(indices)});
        fs::write(dir.join("state.json"), state.to_string()).unwrap();
    }

    /// Three rows with large strings, large lists and fixed-size lists of float32.
    fn kd_columns() -> Vec<(&'static str, ArrayRef)> {
        let queries = LargeStringArray::from(vec![Some("a"), Some("b"), None]);
        let docs = LargeStringArray::from(vec!["a1", "a2", "b1", "b2", "c1", "c2"]);
        let item = Arc::new(Field::new("item", DataType::LargeUtf8, true));
        let offsets = arrow_buffer::OffsetBuffer::from_lengths([2, 2, 2]);
        let docs = LargeListArray::new(item, offsets, Arc::new(docs), None);
        let scores = [[1.5, 1.0], [2.5, 2.0], [3.5, 3.0]].map(|row| Some(row.map(Some)));
        let scores = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(scores, 2);
        vec![
            ("query", Arc::new(queries) as ArrayRef),
            ("docs", Arc::new(docs)),
            ("scores", Arc::new(scores)),
            (
                "first_rank",
                Arc::new(Int64Array::from(vec![Some(1), None, Some(2)])),
            ),
        ]
    }

    #[test]
    fn reads_shards_of_any_width_through_an_indices_file() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0.arrow", "1.arrow"] {
            write_stream(&dir.path().join(name), kd_columns());
        }
        let indices: ArrayRef = Arc::new(UInt64Array::from(vec![4, 0, 5, 4]));
        write_stream(
            &dir.path().join("indices.arrow"),
            vec![("indices", indices)],
        );
        write_state(dir.path(), &["0.arrow", "1.arrow"], &["indices.arrow"]);
        let dataset = HfDataset::open(dir.path()).unwrap();
        assert_eq!(dataset.len(), 4);
        let row = dataset.train_row(0, RowForm::Kd).unwrap().unwrap();
        assert_eq!((&*row.query, row.first_rank), ("b", None));
        assert_eq!(row.docs, ["b1", "b2"]);
        assert_eq!(row.scores, Some(vec![2.5, 2.0]));
        assert_eq!(dataset.train_row(2, RowForm::Kd).unwrap(), None);
        assert_eq!(dataset.row(1).unwrap()["query"], "a");
        assert!(dataset.place(3).ends_with("1.arrow: row 3 of the data set"));
        let error = dataset
            .train_row(0, RowForm::PosNegs)
            .unwrap_err()
            .to_string();
        assert!(error.contains("no `pos`"), "{error}");
        assert!(error.contains("this is data_type: kd"), "{error}");
    }

    #[test]
    fn a_dict_gives_its_train_split_or_names_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let train = dir.path().join("train");
        fs::create_dir(&train).unwrap();
        write_stream(&train.join("0.arrow"), kd_columns());
        write_state(&train, &["0.arrow"], &[]);
        let dict = dir.path().join("dataset_dict.json");
        fs::write(&dict, r#"{"splits": ["test", "train"]}"#).unwrap();
        assert_eq!(HfDataset::open(dir.path()).unwrap().len(), 3);
        fs::write(&dict, r#"{"splits": ["test", "dev"]}"#).unwrap();
        let error = HfDataset::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("one of its splits: test, dev"), "{error}");
    }

    #[test]
    fn errors_name_file_and_cause() {
        let dir = tempfile::tempdir().unwrap();
        let message = || HfDataset::open(dir.path()).err().unwrap().to_string();
        assert!(message().contains("no state.json in it"));
        write_state(dir.path(), &["0.arrow", "1.arrow"], &[]);
        write_stream(&dir.path().join("0.arrow"), kd_columns());
        assert!(
            message().contains("1.arrow: cannot open shard 2 of 2"),
            "{}",
            message()
        );
        fs::write(dir.path().join("1.arrow"), "").unwrap();
        assert!(message().contains("1.arrow: it is empty"), "{}", message());
        write_stream(&dir.path().join("1.arrow"), kd_columns()[..1].to_vec());
        assert!(
            message().contains("1.arrow: its columns are query: LargeUtf8; the first shard has")
        );
        write_stream(&dir.path().join("1.arrow"), kd_columns());
        let indices: ArrayRef = Arc::new(UInt64Array::from(vec![6]));
        write_stream(&dir.path().join("i.arrow"), vec![("indices", indices)]);
        write_state(dir.path(), &["0.arrow", "1.arrow"], &["i.arrow"]);
        assert!(message().contains("i.arrow: it names row 6, but there are 6 rows"));
    }
}
