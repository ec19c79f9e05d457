//! One tensor of a checkpoint: reading it as float32, a block at a time.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::keys::Share;
use super::{ImportError, WeightType};

/// Weights that are converted at a time: 256 KiB of float32.
pub(super) const BLOCK: usize = 1 << 16;

/// A tensor in a file, not read yet.
pub(super) struct StoredTensor {
    pub file: Arc<Path>,
    pub shape: Vec<usize>,
    /// The type, or the name of one that weights cannot have.
    pub weight_type: Result<WeightType, String>,
    pub place: Place,
}

/// Where a tensor's bytes are.
pub(super) enum Place {
    /// Offset in the file.
    Safetensors(u64),
    Torch(pytorch_reader::Tensor),
}

impl StoredTensor {
    /// The type of the weights.
    pub fn weight_type(&self, key: &str) -> Result<WeightType, ImportError> {
        self.weight_type
            .clone()
            .map_err(|found| ImportError::WeightType {
                path: self.file.to_path_buf(),
                key: key.to_owned(),
                found,
            })
    }

    /// The weights of a share as float32, in the file's order, or `[columns, rows]` where `transposed`.
    pub fn read(&self, key: &str, transposed: bool, share: Share) -> Result<Vec<f32>, ImportError> {
        let columns = self.shape.last().copied().unwrap_or(1).max(1);
        let total = self.shape.iter().product::<usize>() / share.count;
        let first = share.index * total;
        let rows = total / columns;
        let mut blocks = self.blocks(key, first..first + total)?;
        let mut weights = vec![0.0; total];
        while let Some((start, block)) = blocks.next((BLOCK / columns).max(1) * columns)? {
            if let Some(at) = block.iter().position(|weight| !weight.is_finite()) {
                return Err(ImportError::NotFinite {
                    path: self.file.to_path_buf(),
                    key: key.to_owned(),
                    index: coordinates(start + at, &self.shape),
                    value: block[at],
                });
            }
            let start = start - first;
            if transposed {
                let (first, count) = (start / columns, block.len() / columns);
                for column in 0..columns {
                    let target = &mut weights[column * rows + first..][..count];
                    for (row, weight) in target.iter_mut().enumerate() {
                        *weight = block[row * columns + column];
                    }
                }
            } else {
                weights[start..start + block.len()].copy_from_slice(block);
            }
        }
        Ok(weights)
    }

    /// The weights of a range, to be read from front to back.
    pub fn blocks(&self, key: &str, range: Range<usize>) -> Result<Blocks<'_>, ImportError> {
        let io_error = ImportError::io(&self.file);
        let weight_type = self.weight_type(key)?;
        let start = (range.start * weight_type.bytes()) as u64;
        let source: Box<dyn Read> = match &self.place {
            Place::Safetensors(offset) => {
                let mut file = File::open(&self.file).map_err(io_error)?;
                file.seek(SeekFrom::Start(*offset + start))
                    .map_err(ImportError::io(&self.file))?;
                Box::new(file)
            }
            Place::Torch(tensor) => {
                let bytes = tensor.read().map_err(|error| ImportError::BadWeights {
                    path: self.file.to_path_buf(),
                    reason: error.to_string(),
                })?;
                let mut bytes = Cursor::new(bytes);
                bytes.set_position(start);
                Box::new(bytes)
            }
        };
        Ok(Blocks {
            file: &self.file,
            weight_type,
            source,
            position: range.start,
            end: range.end,
            bytes: Vec::new(),
            weights: Vec::new(),
        })
    }
}

/// Reads a tensor from front to back.
pub(super) struct Blocks<'a> {
    file: &'a Path,
    weight_type: WeightType,
    source: Box<dyn Read>,
    position: usize,
    end: usize,
    bytes: Vec<u8>,
    weights: Vec<f32>,
}

impl Blocks<'_> {
    /// The next weights, at most `size`, and the index of the first.
    pub fn next(&mut self, size: usize) -> Result<Option<(usize, &[f32])>, ImportError> {
        let count = size.min(self.end - self.position);
        if count == 0 {
            return Ok(None);
        }
        self.bytes.resize(count * self.weight_type.bytes(), 0);
        self.source
            .read_exact(&mut self.bytes)
            .map_err(ImportError::io(self.file))?;
        self.weights.clear();
        self.weight_type.decode(&self.bytes, &mut self.weights);
        let start = self.position;
        self.position += count;
        Ok(Some((start, &self.weights)))
    }
}

/// Row-major position `index` as one index per dimension.
pub(super) fn coordinates(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut coordinates: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let coordinate = index % size;
            index /= size;
            coordinate
        })
        .collect();
    coordinates.reverse();
    coordinates
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::Checkpoint;
    use super::super::fixture::write_weights;
    use super::*;

    #[test]
    fn large_tensors_are_transposed_block_by_block() {
        let dir = tempfile::tempdir().unwrap();
        let (rows, columns) = (700, 301);
        let values: Vec<f32> = (0..rows * columns).map(|value| value as f32).collect();
        let weights = [("w".to_owned(), (vec![rows, columns], values.clone()))];
        write_weights(
            &dir.path().join("model.safetensors"),
            &weights.into_iter().collect(),
        );
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let tensor = &checkpoint.tensors["w"];
        assert!(tensor.read("w", false, Share::WHOLE).unwrap() == values);
        let transposed = tensor.read("w", true, Share::WHOLE).unwrap();
        for (row, column) in [(0, 0), (699, 300), (430, 7), (1, 299)] {
            assert_eq!(
                transposed[column * rows + row],
                values[row * columns + column]
            );
        }
        assert!(checkpoint.same("w", "w").unwrap());

        // 100 of the rows.
        let share = Share { index: 5, count: 7 };
        let found = tensor.read("w", false, share).unwrap();
        assert!(found == values[500 * columns..600 * columns]);
        let transposed = tensor.read("w", true, share).unwrap();
        assert_eq!(transposed.len(), found.len());
        for (row, column) in [(0, 0), (99, 300), (43, 7)] {
            assert_eq!(
                transposed[column * 100 + row],
                found[row * columns + column]
            );
        }
    }

    #[test]
    fn a_share_names_its_weights_by_their_place_in_the_tensor() {
        let dir = tempfile::tempdir().unwrap();
        let mut values = vec![0.0; 12];
        values[10] = f32::INFINITY;
        let weights = [("w".to_owned(), (vec![6, 2], values))];
        write_weights(
            &dir.path().join("model.safetensors"),
            &weights.into_iter().collect(),
        );
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let read = |index: usize| {
            let share = Share { index, count: 3 };
            checkpoint.tensors["w"].read("w", true, share)
        };
        assert!(read(0).is_ok() && read(1).is_ok());
        let error = read(2).unwrap_err().to_string();
        assert!(error.contains("inf at index [5, 0]"), "{error}");
    }

    #[test]
    fn an_index_becomes_coordinates() {
        assert_eq!(coordinates(19, &[9, 8]), [2, 3]);
        assert_eq!(coordinates(4, &[5]), [4]);
    }
}
