//! Writes directories that `datasets.load_from_disk` reads.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use serde_json::Value;

use crate::convert::ConvertError;
use crate::dataset::Dataset;
use crate::output::{AtomicDir, OutputError, write_file};
use crate::record_batches::RecordBatches;

/// `datasets` writes shards of this many bytes.
const SHARD_BYTES: usize = 500_000_000;

/// Writes all rows as a `save_to_disk` directory. The rows are read twice: for the columns' types, and to write.
///
/// # Errors
/// [`ConvertError`], naming row and key, or the path that cannot be written.
pub(crate) fn write(
    dataset: &Dataset,
    output: &Path,
    on_row: &mut dyn FnMut(),
) -> Result<(), ConvertError> {
    let folder = AtomicDir::create(output)?;
    let mut batches = RecordBatches::new(dataset)?;
    let shards = write_shards(&mut batches, folder.path(), output, on_row)?;
    let files: Vec<Value> = shard_names(shards)
        .map(|name| serde_json::json!({"filename": name}))
        .collect();
    let state = serde_json::json!({
        "_data_files": files,
        "_fingerprint": format!("{:016x}", batches.fingerprint()),
        "_format_columns": null,
        "_format_kwargs": {},
        "_format_type": null,
        "_output_all_columns": false,
        "_split": null,
    });
    let features = batches.features_json();
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

/// Returns the number of shards.
fn write_shards(
    batches: &mut RecordBatches<'_>,
    folder: &Path,
    output: &Path,
    on_row: &mut dyn FnMut(),
) -> Result<usize, ConvertError> {
    let error = |cause: ArrowError| write_error(output, cause);
    let mut shards = 0;
    // A data set without rows has one shard without batches.
    while !batches.is_at_end() || shards == 0 {
        let path = folder.join(format!("{shards}.arrow"));
        let file = File::create(path).map_err(|cause| error(cause.into()))?;
        let writer = StreamWriter::try_new(BufWriter::new(file), batches.schema());
        let mut writer = writer.map_err(error)?;
        let mut bytes = 0;
        while bytes < SHARD_BYTES
            && let Some(batch) = batches.next_batch()?
        {
            bytes += batch.get_array_memory_size();
            writer.write(&batch).map_err(error)?;
            (0..batch.num_rows()).for_each(|_| on_row());
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
    Ok(shards)
}

fn shard_names(shards: usize) -> impl Iterator<Item = String> {
    (0..shards).map(move |shard| format!("data-{shard:05}-of-{shards:05}.arrow"))
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
