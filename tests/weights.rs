//! Safetensors files to break and rewrite.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// One tensor as a file holds it.
#[derive(Clone, PartialEq, Debug)]
pub struct Stored {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Stored {
    pub fn f32(shape: &[usize], values: &[f32]) -> Self {
        Self {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            bytes: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        }
    }

    pub fn i64(shape: &[usize], values: &[i64]) -> Self {
        Self {
            dtype: Dtype::I64,
            shape: shape.to_vec(),
            bytes: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        }
    }

    pub fn zeros(shape: &[usize]) -> Self {
        Self::f32(shape, &vec![0.0; shape.iter().product()])
    }

    /// The values of a float32 tensor.
    pub fn floats(&self) -> Vec<f32> {
        assert_eq!(self.dtype, Dtype::F32);
        let (chunks, _) = self.bytes.as_chunks();
        chunks
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect()
    }

    /// As bfloat16, cut off: the upper half of every float32.
    pub fn to_bf16(&self) -> Self {
        let bytes = self.floats().into_iter().flat_map(|value| {
            let [_, _, low, high] = value.to_le_bytes();
            [low, high]
        });
        Self {
            dtype: Dtype::BF16,
            shape: self.shape.clone(),
            bytes: bytes.collect(),
        }
    }
}

/// The tensors of a weights' file, by key.
#[derive(Clone)]
pub struct Weights(pub BTreeMap<String, Stored>);

impl Weights {
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let tensors = file.iter().map(|(key, view)| {
            let stored = Stored {
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                bytes: view.data().to_vec(),
            };
            (key.to_owned(), stored)
        });
        Self(tensors.collect())
    }

    pub fn write(&self, path: &Path) {
        let views = self.0.iter().map(|(key, stored)| {
            let view = TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes);
            (key, view.expect("shape and bytes fit"))
        });
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        let bytes = safetensors::serialize(views, Some(metadata)).expect("serializable");
        fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// The key that ends in `suffix`, the first where there are several.
    pub fn key(&self, suffix: &str) -> String {
        let found = self.0.keys().find(|key| key.ends_with(suffix));
        found
            .unwrap_or_else(|| panic!("no key ends in {suffix}"))
            .clone()
    }

    /// Changes the name of every tensor.
    pub fn renamed(self, name: impl Fn(&str) -> String) -> Self {
        Self(
            self.0
                .into_iter()
                .map(|(key, stored)| (name(&key), stored))
                .collect(),
        )
    }

    pub fn with(mut self, key: &str, stored: Stored) -> Self {
        self.0.insert(key.to_owned(), stored);
        self
    }
}

/// Copies the files of `from` into `to`, folders left out, and those that `skip` names.
pub fn copy_files(from: &Path, to: &Path, skip: &[&str]) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let path = entry.expect("a directory entry").path();
        let name = path.file_name().expect("a name");
        if path.is_file() && !skip.iter().any(|skipped| name == *skipped) {
            fs::copy(&path, to.join(name)).expect("copied");
        }
    }
}

/// Copies all of `from` into `to`, folders too.
pub fn copy_tree(from: &Path, to: &Path) {
    copy_files(from, to, &[]);
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            copy_tree(&path, &to.join(path.file_name().expect("a name")));
        }
    }
}
