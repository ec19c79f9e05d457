//! Parquet files: read by way of an Arrow stream in a temporary file, written in row groups of bounded size.

use std::fs::File;
use std::io::{self, BufWriter, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::caught;
use crate::convert::ConvertError;
use crate::dataset::{Dataset, DatasetError, unpack_error};
use crate::hf_dataset::HfDataset;
use crate::output::{AtomicFile, OutputError};
use crate::record_batches::RecordBatches;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 1000;
/// A row group is encoded in memory before it is written.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// The Parquet files of a folder, by name: the parts of one data set. None in a folder of `save_to_disk`.
pub(crate) fn parts(dir: &Path) -> Vec<PathBuf> {
    let is_saved = |name: &&str| dir.join(name).is_file();
    if ["state.json", "dataset_dict.json"].iter().any(is_saved) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut parts: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && path.extension().is_some_and(|end| end == "parquet"))
        .collect();
    parts.sort();
    parts
}

/// Unpacks the Parquet files that `path` consists of, each into an unnamed temporary file, because rows are read in any
/// order and Parquet packs them in groups of up to a million.
///
/// # Errors
/// [`DatasetError`], naming the file: it is no Parquet file, cut short, damaged, packed in an unknown way, or has other
/// columns than the first.
pub(crate) fn open(path: &Path, parts: &[PathBuf]) -> Result<HfDataset, DatasetError> {
    let unpacked = parts.iter().map(|part| {
        // The `parquet` crate has panics left that a damaged page header leads to.
        let file = caught::catch(|| unpack(part));
        let file = file.unwrap_or_else(|| Err(unreadable(part, &"it is damaged")))?;
        Ok((part.clone(), file))
    });
    HfDataset::from_streams(path, unpacked)
}

fn unpack(path: &Path) -> Result<File, DatasetError> {
    let reader = reader(path)?;
    let write = |cause: ArrowError| unpack_error(path, &cause);
    let write_io = |cause: io::Error| unpack_error(path, &cause);
    let file = tempfile::tempfile().map_err(write_io)?;
    let schema = reader.schema();
    let mut writer = StreamWriter::try_new(BufWriter::new(file), &schema).map_err(write)?;
    for batch in reader {
        let batch: RecordBatch = batch.map_err(|cause| unreadable(path, &cause))?;
        writer.write(&batch).map_err(write)?;
    }
    let buffered = writer.into_inner().map_err(write)?;
    let mut file = buffered
        .into_inner()
        .map_err(|e| write_io(e.into_error()))?;
    file.rewind().map_err(write_io)?;
    Ok(file)
}

fn reader(path: &Path) -> Result<ParquetRecordBatchReader, DatasetError> {
    let file = File::open(path).map_err(|cause| DatasetError::open(path, cause))?;
    // What is stored of Arrow's types is passed over: plain strings and lists are what the rest of the crate reads.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
        .map_err(|cause| unreadable(path, &cause))
}

fn unreadable(path: &Path, cause: &dyn std::fmt::Display) -> DatasetError {
    let cause = cause.to_string();
    let advice = if cause.contains("Disabled feature") {
        "only Snappy and Zstandard are supported: write it again with one of these"
    } else {
        "it is no complete Parquet file: copy or write it again"
    };
    DatasetError::File {
        path: path.to_path_buf(),
        reason: format!("{cause}; {advice}"),
    }
}

/// Writes all rows as a Parquet file, packed with Zstandard. The rows are read twice: for the columns' types, and to
/// write.
///
/// # Errors
/// [`ConvertError`], naming row and key, or the path that cannot be written.
pub(crate) fn write(
    dataset: &Dataset,
    output: &Path,
    on_row: &mut dyn FnMut(),
) -> Result<(), ConvertError> {
    let mut batches = RecordBatches::new(dataset)?;
    let error = |cause| write_error(output, cause);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .build();
    let file = AtomicFile::create(output)?;
    let mut writer = ArrowWriter::try_new(file, Arc::clone(batches.schema()), Some(properties))
        .map_err(error)?;
    while let Some(batch) = batches.next_batch()? {
        writer.write(&batch).map_err(error)?;
        (0..batch.num_rows()).for_each(|_| on_row());
    }
    Ok(writer.into_inner().map_err(error)?.finish()?)
}

fn write_error(output: &Path, cause: ParquetError) -> ConvertError {
    let cause = match cause {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(cause) => *cause,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    };
    ConvertError::Output(OutputError::Write {
        path: output.to_path_buf(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::convert::convert;

    const ROWS: &str = concat!(
        r#"{"query": "é", "docs": ["a", null], "scores": [1, 2.5], "n": {"x": 1}}"#,
        "\n",
        r#"{"query": null, "docs": null, "scores": [], "n": {"x": null, "y": [true]}}"#,
        "\n",
    );

    fn write_rows(dir: &Path) -> Vec<u8> {
        let [lines, packed] = ["a.jsonl", "a.parquet"].map(|name| dir.join(name));
        fs::write(&lines, ROWS).unwrap();
        assert_eq!(convert(&lines, &packed, &mut || ()).unwrap(), 2);
        fs::read(packed).unwrap()
    }

    #[test]
    fn there_and_back() {
        let dir = tempfile::tempdir().unwrap();
        write_rows(dir.path());
        let path = |name: &str| dir.path().join(name);
        convert(&path("a.parquet"), &path("set"), &mut || ()).unwrap();
        convert(&path("set"), &path("b.parquet"), &mut || ()).unwrap();
        convert(&path("b.parquet"), &path("b.jsonl"), &mut || ()).unwrap();
        let expected = concat!(
            r#"{"query": "é", "docs": ["a",null], "scores": [1.0,2.5], "n": {"x":1,"y":null}}"#,
            "\n",
            r#"{"query": null, "docs": null, "scores": [], "n": {"x":null,"y":[true]}}"#,
            "\n",
        );
        assert_eq!(fs::read_to_string(path("b.jsonl")).unwrap(), expected);
        fs::write(path("none.jsonl"), "").unwrap();
        convert(&path("none.jsonl"), &path("none.parquet"), &mut || ()).unwrap();
        assert!(Dataset::open(&path("none.parquet")).unwrap().is_empty());
    }

    /// Cut or damaged: an error that names the file, or other values, but never a panic.
    #[test]
    fn damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let whole = write_rows(dir.path());
        let path = dir.path().join("damaged.parquet");
        let open_bytes = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let opened = open(&path, std::slice::from_ref(&path)).map(|_| ());
            opened.map_err(|error| error.to_string())
        };
        assert_eq!(open_bytes(&whole), Ok(()));
        for length in (0..whole.len()).step_by(5) {
            let message = open_bytes(&whole[..length]).unwrap_err();
            assert!(message.contains("damaged.parquet: "), "{message}");
            assert!(message.contains("copy or write it again"), "{message}");
        }
        for position in (0..whole.len()).step_by(11) {
            for value in [0, 0xff, whole[position].wrapping_add(1)] {
                let mut bytes = whole.clone();
                bytes[position] = value;
                let _ = open_bytes(&bytes);
            }
        }
        let missing = dir.path().join("nowhere.parquet");
        let missing = Dataset::open(&missing).err().unwrap();
        assert!(missing.to_string().contains("nowhere.parquet"), "{missing}");
    }
}
