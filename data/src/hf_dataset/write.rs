//! Writes directories that `datasets.load_from_disk` reads.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, NullArray, RecordBatch,
    RecordBatchOptions, StringArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use serde_json::{Map, Value};

use crate::convert::{ConvertError, ordered_json};
use crate::dataset::DatasetError;
use crate::jsonl::JsonLines;
use crate::output::{AtomicDir, OutputError, write_file};

/// `datasets` writes record batches of this many rows and shards of this many bytes.
const BATCH_ROWS: usize = 1000;
const SHARD_BYTES: usize = 500_000_000;
/// Bounds the memory of a batch of long rows.
const BATCH_BYTES: usize = 64 << 20;

/// Type of a column, as far as JSON tells it.
#[derive(Debug, Clone, PartialEq)]
enum ColumnType {
    Null,
    Bool,
    Int,
    Float,
    Text,
    List(Box<ColumnType>),
}

impl ColumnType {
    /// # Errors
    /// What `value` is, where a column cannot hold it.
    fn of(value: &Value) -> Result<Self, String> {
        Ok(match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_i64() => Self::Int,
            Value::Number(_) => Self::Float,
            Value::String(_) => Self::Text,
            Value::Array(items) => {
                let mut item_type = Self::Null;
                for item in items {
                    let found = Self::of(item)?;
                    item_type = item_type.clone().merge(found.clone()).ok_or_else(|| {
                        format!("a list of both {} and {}", item_type.name(), found.name())
                    })?;
                }
                Self::List(Box::new(item_type))
            }
            Value::Object(_) => return Err("an object".to_owned()),
        })
    }

    /// The type that holds the values of both.
    fn merge(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Null, other) => Some(other),
            (this, Self::Null) => Some(this),
            (Self::Int, Self::Float) | (Self::Float, Self::Int) => Some(Self::Float),
            (Self::List(this), Self::List(other)) => {
                Some(Self::List(Box::new(this.merge(*other)?)))
            }
            (this, other) => (this == other).then_some(this),
        }
    }

    /// As `datasets` names it; lists in words.
    fn name(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Bool => "bool".into(),
            Self::Int => "int64".into(),
            Self::Float => "float64".into(),
            Self::Text => "string".into(),
            Self::List(item) => format!("a list of {}", item.name()),
        }
    }

    fn arrow(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::List(item) => DataType::List(Arc::new(item_field(item))),
        }
    }

    /// The form of `Features` in JSON.
    fn feature(&self) -> Value {
        match self {
            Self::List(item) => serde_json::json!({"feature": item.feature(), "_type": "List"}),
            other => serde_json::json!({"dtype": other.name(), "_type": "Value"}),
        }
    }

    fn array(&self, values: &[&Value]) -> ArrayRef {
        match self {
            Self::Null => Arc::new(NullArray::new(values.len())),
            Self::Bool => Arc::new(values.iter().map(|v| v.as_bool()).collect::<BooleanArray>()),
            Self::Int => Arc::new(values.iter().map(|v| v.as_i64()).collect::<Int64Array>()),
            Self::Float => Arc::new(values.iter().map(|v| v.as_f64()).collect::<Float64Array>()),
            Self::Text => Arc::new(values.iter().map(|v| v.as_str()).collect::<StringArray>()),
            Self::List(item) => {
                let lists: Vec<Option<&Vec<Value>>> = values.iter().map(|v| v.as_array()).collect();
                let lengths = lists.iter().map(|list| list.map_or(0, Vec::len));
                let items: Vec<&Value> = lists.iter().flatten().copied().flatten().collect();
                Arc::new(ListArray::new(
                    Arc::new(item_field(item)),
                    OffsetBuffer::from_lengths(lengths),
                    item.array(&items),
                    Some(lists.iter().map(Option::is_some).collect::<NullBuffer>()),
                ))
            }
        }
    }
}

fn item_field(item: &ColumnType) -> Field {
    Field::new("item", item.arrow(), true)
}

type Columns = Vec<(String, ColumnType)>;

/// Writes all rows as a `save_to_disk` directory. The rows are read twice: for the columns' types, and to write.
///
/// # Errors
/// [`ConvertError`], naming file, line and key, or the path that cannot be written.
pub(crate) fn write(
    lines: &JsonLines,
    output: &Path,
    on_row: &mut dyn FnMut(),
) -> Result<(), ConvertError> {
    let folder = AtomicDir::create(output)?;
    let columns = column_types(lines)?;
    let features = features_json(&columns);
    let fingerprint = write_shards(lines, &columns, &features, folder.path(), output, on_row)?;
    let names = shard_names(fingerprint.shards);
    let files: Vec<Value> = names
        .map(|name| serde_json::json!({"filename": name}))
        .collect();
    let state = serde_json::json!({
        "_data_files": files,
        "_fingerprint": format!("{:016x}", fingerprint.hash),
        "_format_columns": null,
        "_format_kwargs": {},
        "_format_type": null,
        "_output_all_columns": false,
        "_split": null,
    });
    let info = format!(
        "{{\"citation\": \"\", \"description\": \"\", \"features\": {features}, \"homepage\": \"\", \"license\": \"\"}}\n"
    );
    write_file(
        &folder.path().join("state.json"),
        format!("{state:#}\n").as_bytes(),
    )?;
    write_file(&folder.path().join("dataset_info.json"), info.as_bytes())?;
    Ok(folder.finish()?)
}

fn column_types(lines: &JsonLines) -> Result<Columns, ConvertError> {
    let mut columns: Columns = lines
        .columns()?
        .into_iter()
        .map(|key| (key, ColumnType::Null))
        .collect();
    for row in 0..lines.len() {
        for (key, value) in lines.row(row)? {
            let known = columns.iter().position(|(name, _)| *name == key);
            let known = known.unwrap_or_else(|| {
                columns.push((key, ColumnType::Null));
                columns.len() - 1
            });
            let (key, column) = &mut columns[known];
            let found = ColumnType::of(&value);
            let merged = found
                .clone()
                .ok()
                .and_then(|found| column.clone().merge(found));
            *column = merged.ok_or_else(|| ConvertError::Type {
                place: lines.place(row),
                column: key.clone(),
                found: found.map_or_else(|what| what, |found| found.name()),
                earlier: column.name(),
            })?;
        }
    }
    lines.release();
    Ok(columns)
}

/// `Features` as JSON, in the columns' order.
fn features_json(columns: &Columns) -> String {
    let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
    let features = columns
        .iter()
        .map(|(name, column)| (name.clone(), column.feature()));
    ordered_json(&names, features.collect())
}

fn arrow_schema(columns: &Columns, features: &str) -> SchemaRef {
    let fields = columns
        .iter()
        .map(|(name, column)| Field::new(name, column.arrow(), true));
    let metadata = format!("{{\"info\": {{\"features\": {features}}}}}");
    let metadata = HashMap::from([("huggingface".to_owned(), metadata)]);
    Arc::new(Schema::new_with_metadata(
        fields.collect::<Vec<_>>(),
        metadata,
    ))
}

/// What identifies the written rows.
struct Fingerprint {
    shards: usize,
    hash: u64,
}

fn write_shards(
    lines: &JsonLines,
    columns: &Columns,
    features: &str,
    folder: &Path,
    output: &Path,
    on_row: &mut dyn FnMut(),
) -> Result<Fingerprint, ConvertError> {
    let schema = arrow_schema(columns, features);
    let error = |cause: ArrowError| write_error(output, cause);
    let mut hasher = DefaultHasher::new();
    let mut shards = 0;
    let mut row = 0;
    // A data set without rows has one shard without batches.
    while row < lines.len() || shards == 0 {
        let path = folder.join(format!("{shards}.arrow"));
        let file = File::create(path).map_err(|cause| error(cause.into()))?;
        let mut writer = StreamWriter::try_new(BufWriter::new(file), &schema).map_err(error)?;
        let mut bytes = 0;
        while row < lines.len() && bytes < SHARD_BYTES {
            let rows = read_batch(lines, row, &mut hasher)?;
            let batch = record_batch(&schema, columns, &rows).map_err(error)?;
            bytes += batch.get_array_memory_size();
            writer.write(&batch).map_err(error)?;
            row += rows.len();
            rows.iter().for_each(|_| on_row());
            lines.release();
        }
        let buffered = writer.into_inner().map_err(error)?;
        let file = buffered
            .into_inner()
            .map_err(|cause| error(cause.into_error().into()))?;
        file.sync_all().map_err(|cause| error(cause.into()))?;
        shards += 1;
    }
    for (number, name) in shard_names(shards).enumerate() {
        let from = folder.join(format!("{number}.arrow"));
        std::fs::rename(from, folder.join(name)).map_err(|cause| error(cause.into()))?;
    }
    let hash = hasher.finish();
    Ok(Fingerprint { shards, hash })
}

fn shard_names(shards: usize) -> impl Iterator<Item = String> {
    (0..shards).map(move |shard| format!("data-{shard:05}-of-{shards:05}.arrow"))
}

fn read_batch(
    lines: &JsonLines,
    start: usize,
    hasher: &mut DefaultHasher,
) -> Result<Vec<Map<String, Value>>, DatasetError> {
    let mut rows = Vec::new();
    let mut bytes = 0;
    for row in start..lines.len().min(start + BATCH_ROWS) {
        let line = lines.line(row)?;
        line.hash(hasher);
        bytes += line.len();
        rows.push(lines.row(row)?);
        if bytes > BATCH_BYTES {
            break;
        }
    }
    Ok(rows)
}

fn record_batch(
    schema: &SchemaRef,
    columns: &Columns,
    rows: &[Map<String, Value>],
) -> Result<RecordBatch, ArrowError> {
    let arrays = columns.iter().map(|(name, column)| {
        let values: Vec<&Value> = rows
            .iter()
            .map(|row| row.get(name).unwrap_or(&Value::Null))
            .collect();
        column.array(&values)
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema.clone(), arrays.collect(), &options)
}

fn write_error(output: &Path, cause: ArrowError) -> ConvertError {
    let cause = match cause {
        ArrowError::IoError(_, cause) => cause,
        other => io::Error::other(other),
    };
    ConvertError::Output(OutputError::Write {
        path: output.to_path_buf(),
        cause,
    })
}
