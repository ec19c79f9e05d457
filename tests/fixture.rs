//! Reading the golden data: nothing about its sizes is known beforehand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use data::TokenBatch;
use model::TokenTensors;
use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::Value;

/// The folder of golden data: `ELLZERO_GOLDEN`, by default the copy in this crate. A relative path counts from the
/// repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    match std::env::var_os("ELLZERO_GOLDEN").filter(|path| !path.is_empty()) {
        Some(path) => here.join("..").join(path),
        None => here.join("fixtures"),
    }
}

/// A file of the golden data.
pub fn path(name: &str) -> PathBuf {
    root().join(name)
}

/// A file of the fixtures that scripts beside them make: not part of the golden data.
pub fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// A file that the small copy leaves out; says so where it is not there.
pub fn optional(name: &str) -> Option<PathBuf> {
    let path = path(name);
    if !path.is_file() {
        println!("skipped: {name} is not in {}", root().display());
        return None;
    }
    Some(path)
}

/// A JSON file of the golden data.
pub fn json(name: &str) -> Value {
    json_at(&path(name))
}

/// Any JSON file.
pub fn json_at(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A JSON file that holds one object.
pub fn object(name: &str) -> serde_json::Map<String, Value> {
    match json(name) {
        Value::Object(object) => object,
        other => panic!("{name}: expected an object, found {other}"),
    }
}

/// A tensor of a safetensors file.
#[derive(Debug, Clone)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Values,
}

/// What golden tensors hold.
#[derive(Debug, Clone)]
pub enum Values {
    F32(Vec<f32>),
    I64(Vec<i64>),
    /// Float16 and other types: the bytes.
    Other,
}

impl Array {
    pub fn floats(&self) -> &[f32] {
        match &self.values {
            Values::F32(values) => values,
            other => panic!("expected float32, found {other:?}"),
        }
    }

    pub fn ints(&self) -> &[i64] {
        match &self.values {
            Values::I64(values) => values,
            other => panic!("expected int64, found {other:?}"),
        }
    }

    /// The shape, where the number of dimensions is known.
    pub fn dims<const D: usize>(&self) -> [usize; D] {
        let shape = self.shape.as_slice();
        shape
            .try_into()
            .unwrap_or_else(|_| panic!("expected {D} dimensions, found {shape:?}"))
    }

    /// The sub-array at `index` of the first dimension.
    pub fn at(&self, index: usize) -> Self {
        let shape = self.shape[1..].to_vec();
        let size: usize = shape.iter().product();
        let range = index * size..(index + 1) * size;
        let values = match &self.values {
            Values::F32(values) => Values::F32(values[range].to_vec()),
            Values::I64(values) => Values::I64(values[range].to_vec()),
            Values::Other => Values::Other,
        };
        Self { shape, values }
    }

    pub fn tensor<const D: usize>(&self, device: &Device) -> Tensor<D> {
        let data = TensorData::new(self.floats().to_vec(), self.dims::<D>());
        Tensor::from_data(data, device)
    }
}

/// The tensors of one file, by name.
pub struct Arrays {
    name: String,
    arrays: BTreeMap<String, Array>,
}

impl Arrays {
    /// A file of the golden data.
    pub fn read(name: &str) -> Self {
        Self::open(&path(name))
    }

    /// Any safetensors file.
    pub fn open(path: &Path) -> Self {
        let name = path.display().to_string();
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let file =
            SafeTensors::deserialize(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let arrays = file
            .iter()
            .map(|(key, view)| {
                let values = match view.dtype() {
                    Dtype::F32 => Values::F32(
                        view.data()
                            .as_chunks()
                            .0
                            .iter()
                            .map(|&bytes| f32::from_le_bytes(bytes))
                            .collect(),
                    ),
                    Dtype::I64 => Values::I64(
                        view.data()
                            .as_chunks()
                            .0
                            .iter()
                            .map(|&bytes| i64::from_le_bytes(bytes))
                            .collect(),
                    ),
                    _ => Values::Other,
                };
                let shape = view.shape().to_vec();
                (key.to_owned(), Array { shape, values })
            })
            .collect();
        Self { name, arrays }
    }

    pub fn get(&self, key: &str) -> &Array {
        let missing = || panic!("{}: no tensor `{key}`", self.name);
        self.arrays.get(key).unwrap_or_else(missing)
    }

    pub fn contains(&self, key: &str) -> bool {
        self.arrays.contains_key(key)
    }

    /// Names and tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.arrays.iter().map(|(key, array)| (key.as_str(), array))
    }

    /// What follows `prefix` in the names that start with it, and their tensors.
    pub fn starting_with<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Array)> {
        self.iter()
            .filter_map(move |(key, array)| Some((key.strip_prefix(prefix)?, array)))
    }
}

/// `input_ids` and `attention_mask` of a right-padded batch `[rows, seq]`.
pub struct Tokens {
    pub ids: Array,
    pub lengths: Vec<usize>,
}

impl Tokens {
    pub fn new(ids: &Array, mask: &Array) -> Self {
        let [rows, seq] = ids.dims();
        let lengths: Vec<usize> = (0..rows)
            .map(|row| {
                let mask = &mask.ints()[row * seq..(row + 1) * seq];
                let length = mask.iter().filter(|&&bit| bit == 1).count();
                assert!(
                    mask[..length].iter().all(|&bit| bit == 1),
                    "row {row} is not padded on the right"
                );
                length
            })
            .collect();
        let ids = ids.clone();
        Self { ids, lengths }
    }

    /// Keys with these prefixes and suffixes of one file.
    pub fn read(arrays: &Arrays, prefix: &str) -> Self {
        Self::new(
            arrays.get(&format!("{prefix}input_ids")),
            arrays.get(&format!("{prefix}attention_mask")),
        )
    }

    /// Longest row, padding counted.
    pub fn seq(&self) -> usize {
        self.ids.shape[1]
    }

    /// The tokens of each row, without its padding.
    pub fn rows(&self) -> Vec<Vec<u32>> {
        let rows = self.ids.ints().chunks(self.seq()).zip(&self.lengths);
        rows.map(|(row, &length)| row[..length].iter().map(|&id| id as u32).collect())
            .collect()
    }

    pub fn tensors(&self, device: &Device) -> TokenTensors {
        TokenTensors::new(&TokenBatch::new(&self.rows()), device)
    }

    /// The way back from [`Tokens::pack`]: 0 at padding, `row_size` values a row.
    pub fn unpack(&self, packed: &[f32], row_size: usize) -> Vec<f32> {
        let width = row_size / self.seq();
        let mut rest = packed;
        let mut padded = Vec::new();
        for &length in &self.lengths {
            let (row, tail) = rest.split_at(length * width);
            rest = tail;
            padded.extend_from_slice(row);
            padded.resize(padded.len() + row_size - row.len(), 0.0);
        }
        padded
    }

    /// Values at the tokens of a padded `[rows, seq, width]`, one token after the other.
    pub fn pack<T: Copy>(&self, padded: &[T]) -> Vec<T> {
        let width = padded.len() / (self.lengths.len() * self.seq());
        let rows = padded.chunks(self.seq() * width).zip(&self.lengths);
        rows.flat_map(|(row, &length)| &row[..length * width])
            .copied()
            .collect()
    }
}

/// Names of the folders directly under `parent` that `keep`s, sorted.
pub fn folders(parent: &str, keep: impl Fn(&Path) -> bool) -> Vec<String> {
    folders_in(&path(parent), keep)
}

/// The same of any folder.
pub fn folders_in(dir: &Path, keep: impl Fn(&Path) -> bool) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.is_dir() && keep(path))
        .map(|path| {
            path.file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    assert!(!names.is_empty(), "{} has no such folder", dir.display());
    names
}

/// Model directories with weights that transformers would load.
pub fn models() -> Vec<String> {
    folders(".", |path| {
        path.join("config.json").is_file()
            && (path.join("model.safetensors").is_file()
                || path.join("pytorch_model.bin").is_file())
    })
}

/// Model directories with inputs and outputs beside them.
pub fn models_with_outputs() -> Vec<String> {
    let mut names = models();
    names.retain(|name| path(name).join("io.safetensors").is_file());
    assert!(!names.is_empty(), "no model has an io.safetensors");
    names
}

/// A number in JSON.
pub fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("expected a number, found {value}"))
}

/// A count in JSON.
pub fn count(value: &Value) -> usize {
    let number = value.as_u64();
    number.unwrap_or_else(|| panic!("expected a count, found {value}")) as usize
}

/// A list in JSON.
pub fn list(value: &Value) -> &[Value] {
    let list = value.as_array();
    list.unwrap_or_else(|| panic!("expected a list, found {value}"))
}

/// A text in JSON.
pub fn text(value: &Value) -> &str {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("expected text, found {value}"))
}

/// A list of texts in JSON.
pub fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(text).collect()
}

/// A list of float32 numbers in JSON.
pub fn floats(value: &Value) -> Vec<f32> {
    list(value).iter().map(|x| number(x) as f32).collect()
}

/// A list of token ids in JSON.
pub fn ids(value: &Value) -> Vec<u32> {
    list(value).iter().map(|id| count(id) as u32).collect()
}
