//! The weights' files of a model directory: which tensors they hold, and reading one at a time.
//!
//! Files are read with plain reads, a block at a time, rather than through a memory map: pages of a map count
//! as the process's own memory while they are in use, and a file that shrinks under a map ends the process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pytorch_reader::PytorchReader;
use safetensors::tensor::Metadata;
use serde_json::Value;

use super::settings::read_object;
use super::stored_tensor::{BLOCK, Place, StoredTensor};
use super::{ImportError, WeightType};

/// The longest header that the safetensors format allows.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A function that lists the tensors of one file.
type Scan = fn(&Path) -> Result<Vec<(String, StoredTensor)>, ImportError>;

/// Every tensor of a checkpoint, whatever files it is spread over.
pub(super) struct Checkpoint {
    /// The weights' file, or the index of its parts.
    pub path: PathBuf,
    pub tensors: BTreeMap<String, StoredTensor>,
}

impl Checkpoint {
    /// Lists the tensors of `model.safetensors`, or else of its index, or of `pytorch_model.bin`, or of its
    /// index, whichever is there first.
    pub fn open(dir: &Path) -> Result<Self, ImportError> {
        let candidates: [(&str, bool, Scan); 4] = [
            ("model.safetensors", false, scan_safetensors),
            ("model.safetensors.index.json", true, scan_safetensors),
            ("pytorch_model.bin", false, scan_torch),
            ("pytorch_model.bin.index.json", true, scan_torch),
        ];
        for (name, is_index, scan) in candidates {
            let path = dir.join(name);
            if path.exists() {
                let tensors = match is_index {
                    true => scan_parts(&path, scan)?,
                    false => scan(&path)?.into_iter().collect(),
                };
                return Ok(Self { path, tensors });
            }
        }
        Err(ImportError::NoWeights(dir.to_path_buf()))
    }

    /// Whether two tensors hold the same values, bit for bit.
    pub fn same(&self, left: &str, right: &str) -> Result<bool, ImportError> {
        let (left_tensor, right_tensor) = (&self.tensors[left], &self.tensors[right]);
        if left_tensor.shape != right_tensor.shape {
            return Ok(false);
        }
        let total: usize = left_tensor.shape.iter().product();
        let mut left_blocks = left_tensor.blocks(left, 0..total)?;
        let mut right_blocks = right_tensor.blocks(right, 0..total)?;
        while let Some((_, left)) = left_blocks.next(BLOCK)? {
            let Some((_, right)) = right_blocks.next(BLOCK)? else {
                return Ok(false);
            };
            let mut pairs = left.iter().zip(right);
            if !pairs.all(|(left, right)| left.to_bits() == right.to_bits()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The tensors that an index names, from the files it names them in.
fn scan_parts(index: &Path, scan: Scan) -> Result<BTreeMap<String, StoredTensor>, ImportError> {
    let values = read_object(index)?;
    let parts = values.get("weight_map").and_then(Value::as_object);
    let Some(parts) = parts.filter(|parts| !parts.is_empty()) else {
        let found = values.get("weight_map").map(Value::to_string);
        return Err(setting(
            index,
            "weight_map",
            found,
            "an object of key: file name",
        ));
    };
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, file) in parts {
        files
            .entry(part_name(index, key, file)?)
            .or_default()
            .push(key);
    }
    let mut tensors = BTreeMap::new();
    for (file, keys) in files {
        let path = index.with_file_name(file);
        let mut held: BTreeMap<_, _> = scan(&path)?.into_iter().collect();
        for key in keys {
            let tensor = held.remove(key).ok_or_else(|| {
                let reason = format!("{} places key `{key}` here, but it is not", index.display());
                bad(&path, reason)
            })?;
            tensors.insert(key.to_owned(), tensor);
        }
    }
    Ok(tensors)
}

/// The name of a part: a file beside the index and nowhere else.
fn part_name<'a>(index: &Path, key: &str, file: &'a Value) -> Result<&'a str, ImportError> {
    file.as_str()
        .filter(|file| Path::new(file).file_name() == Some(file.as_ref()))
        .ok_or_else(|| {
            setting(
                index,
                key,
                Some(file.to_string()),
                "the name of a file beside it",
            )
        })
}

fn scan_safetensors(path: &Path) -> Result<Vec<(String, StoredTensor)>, ImportError> {
    let (metadata, data_start) = read_header(path)?;
    let file: Arc<Path> = path.into();
    Ok(metadata
        .tensors()
        .into_iter()
        .map(|(key, info)| {
            let tensor = StoredTensor {
                file: file.clone(),
                shape: info.shape.clone(),
                weight_type: WeightType::from_safetensors(info.dtype)
                    .ok_or_else(|| info.dtype.to_string()),
                place: Place::Safetensors(data_start + info.data_offsets.0 as u64),
            };
            (key, tensor)
        })
        .collect())
}

/// The header of a safetensors file, and where its data begins.
fn read_header(path: &Path) -> Result<(Metadata, u64), ImportError> {
    let io_error = || ImportError::io(path);
    let mut file = BufReader::new(File::open(path).map_err(io_error())?);
    let file_bytes = fs::metadata(path).map_err(io_error())?.len();
    if file_bytes == 0 {
        return Err(bad(path, "the file is empty"));
    }
    let mut header_bytes = [0; 8];
    let not_safetensors = |reason: String| bad(path, format!("not a safetensors file: {reason}"));
    file.read_exact(&mut header_bytes)
        .map_err(|_| not_safetensors(format!("{file_bytes} bytes are too few")))?;
    let header_bytes = u64::from_le_bytes(header_bytes);
    if header_bytes > MAX_HEADER_BYTES {
        return Err(not_safetensors(format!(
            "its first 8 bytes announce a header of {header_bytes} bytes"
        )));
    }
    let truncated = |needed: u64| {
        let reason = format!("the file is truncated: found {file_bytes} bytes, expected {needed}");
        bad(path, reason)
    };
    let data_start = 8 + header_bytes;
    if file_bytes < data_start {
        return Err(truncated(data_start));
    }
    let mut header = vec![0; header_bytes as usize];
    file.read_exact(&mut header).map_err(io_error())?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| not_safetensors(error.to_string()))?;
    let expected = data_start + metadata.data_len() as u64;
    match file_bytes.cmp(&expected) {
        std::cmp::Ordering::Less => Err(truncated(expected)),
        std::cmp::Ordering::Greater => {
            let reason = format!("the file has {file_bytes} bytes, expected {expected}");
            Err(bad(path, reason))
        }
        std::cmp::Ordering::Equal => Ok((metadata, data_start)),
    }
}

fn scan_torch(path: &Path) -> Result<Vec<(String, StoredTensor)>, ImportError> {
    let file_bytes = fs::metadata(path).map_err(ImportError::io(path))?.len();
    if file_bytes == 0 {
        return Err(bad(path, "the file is empty"));
    }
    let reader = PytorchReader::new(path).map_err(|error| match error {
        pytorch_reader::PytorchError::Io(source)
            if source.kind() != io::ErrorKind::UnexpectedEof =>
        {
            ImportError::io(path)(source)
        }
        error => bad(
            path,
            format!("truncated, damaged, or not a PyTorch file ({error})"),
        ),
    })?;
    let file: Arc<Path> = path.into();
    Ok(reader
        .into_tensors()
        .into_iter()
        .map(|(key, tensor)| {
            let tensor = StoredTensor {
                file: file.clone(),
                shape: tensor.shape().to_vec(),
                weight_type: WeightType::from_torch(tensor.dtype())
                    .ok_or_else(|| format!("{:?}", tensor.dtype())),
                place: Place::Torch(tensor),
            };
            (key, tensor)
        })
        .collect())
}

fn bad(path: &Path, reason: impl Into<String>) -> ImportError {
    ImportError::BadWeights {
        path: path.to_path_buf(),
        reason: reason.into(),
    }
}

fn setting(path: &Path, key: &str, found: Option<String>, expected: &str) -> ImportError {
    ImportError::Setting {
        path: path.to_path_buf(),
        key: key.to_owned(),
        found: found.unwrap_or_else(|| "no such key".to_owned()),
        expected: expected.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::write_weights;
    use super::*;

    fn open_error(files: &[(&str, &[u8])]) -> String {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        match Checkpoint::open(dir.path()) {
            Ok(_) => panic!("{files:?} is not a checkpoint"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn damaged_files_are_named_with_their_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let weights = [("w".to_owned(), (vec![2, 3], vec![0.5; 6]))];
        write_weights(&path, &weights.into_iter().collect());
        let whole = fs::read(&path).unwrap();
        let cut = &whole[..whole.len() - 5];
        let mut longer = whole.clone();
        longer.push(0);

        let name = "model.safetensors";
        let index = "model.safetensors.index.json";
        let table: [(&str, &[u8], &str); 9] = [
            (name, b"", "the file is empty"),
            (name, b"PK", "not a safetensors file"),
            (
                name,
                b"version https://git-lfs.github.com/spec/v1",
                "not a safetensors file",
            ),
            (name, &whole[..20], "truncated"),
            (name, cut, "truncated"),
            (name, &longer, "bytes, expected"),
            ("pytorch_model.bin", b"", "the file is empty"),
            ("pytorch_model.bin", b"hello", "not a PyTorch file"),
            (
                index,
                br#"{"weight_map": {"w": "../w"}}"#,
                "the name of a file beside it",
            ),
        ];
        for (name, content, expected) in table {
            let error = open_error(&[(name, content)]);
            assert!(
                error.contains(name) && error.contains(expected),
                "{expected}: {error}"
            );
        }
        let wrong_index = br#"{"weight_map": {"v": "part"}}"#;
        let error = open_error(&[(index, wrong_index), ("part", &whole)]);
        assert!(
            error.contains("places key `v` here, but it is not"),
            "{error}"
        );
        assert!(open_error(&[]).contains("holds no weights"));
    }
}
