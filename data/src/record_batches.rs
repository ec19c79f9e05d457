//! The rows of any data set as Arrow record batches, for the forms that are written in columns.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use serde_json::{Map, Value};

use crate::column_type::{self, ColumnType, Columns};
use crate::convert::ConvertError;
use crate::dataset::{Dataset, DatasetError};

/// Rows of a batch, as `datasets` writes them.
const BATCH_ROWS: usize = 1000;
/// Bounds the memory of a batch of long rows.
const BATCH_BYTES: usize = 64 << 20;

/// A data set whose columns' types are known.
pub(crate) struct RecordBatches<'a> {
    dataset: &'a Dataset,
    columns: Columns,
    schema: SchemaRef,
    next_row: usize,
    hasher: DefaultHasher,
}

impl<'a> RecordBatches<'a> {
    /// Reads all rows once, for the columns' types.
    ///
    /// # Errors
    /// [`ConvertError::Type`], naming row and key of a value that has no place in its column.
    pub(crate) fn new(dataset: &'a Dataset) -> Result<Self, ConvertError> {
        let columns = column_types(dataset)?;
        let features = column_type::features_json(&columns);
        let metadata = format!("{{\"info\": {{\"features\": {features}}}}}");
        let metadata = HashMap::from([("huggingface".to_owned(), metadata)]);
        let fields = column_type::fields(&columns);
        Ok(Self {
            dataset,
            columns,
            schema: Arc::new(Schema::new_with_metadata(fields, metadata)),
            next_row: 0,
            hasher: DefaultHasher::new(),
        })
    }

    /// The columns, with `Features` of `datasets` among the metadata.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// `Features` of `datasets` in JSON.
    pub(crate) fn features_json(&self) -> String {
        column_type::features_json(&self.columns)
    }

    /// Whether all rows were read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.next_row == self.dataset.len()
    }

    /// Identifies the rows read so far.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.hasher.finish()
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// [`ConvertError`] when a row cannot be read any more or a column of this batch grows too long.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>, ConvertError> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        while !self.is_at_end() && rows.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let row = self.dataset.row(self.next_row)?;
            row.hash(&mut self.hasher);
            bytes += row.values().map(text_bytes).sum::<usize>();
            rows.push(row);
            self.next_row += 1;
        }
        self.dataset.release();
        if rows.is_empty() {
            return Ok(None);
        }
        let batch = record_batch(&self.schema, &self.columns, &rows);
        let batch = batch.map_err(|cause| DatasetError::Row {
            place: self.dataset.place(self.next_row - 1),
            reason: cause.to_string(),
        })?;
        Ok(Some(batch))
    }
}

fn column_types(dataset: &Dataset) -> Result<Columns, ConvertError> {
    let names = dataset.columns()?.into_iter();
    let mut columns: Columns = names.map(|key| (key, ColumnType::Null)).collect();
    for row in 0..dataset.len() {
        for (key, value) in dataset.row(row)? {
            let column = column_type::column_mut(&mut columns, key.clone());
            let found = ColumnType::of(&value);
            let merged = found
                .clone()
                .ok()
                .and_then(|found| column.clone().merge(found));
            *column = merged.ok_or_else(|| ConvertError::Type {
                place: dataset.place(row),
                column: key,
                found: found.map_or_else(|what| what, |found| found.name()),
                earlier: column.name(),
            })?;
        }
        if row % BATCH_ROWS == BATCH_ROWS - 1 {
            dataset.release();
        }
    }
    Ok(columns)
}

/// Roughly what a value takes in memory.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(members) => members.values().map(text_bytes).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => size_of::<Value>(),
    }
}

fn record_batch(
    schema: &SchemaRef,
    columns: &Columns,
    rows: &[Map<String, Value>],
) -> Result<RecordBatch, ArrowError> {
    let rows: Vec<Option<&Map<String, Value>>> = rows.iter().map(Some).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let arrays = column_type::arrays(columns, &rows);
    RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
}
