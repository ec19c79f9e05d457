//! Which tensors of a checkpoint are which parameters, and whether all of them fit.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::checkpoint::Checkpoint;
use super::keys::{self, Head, Role, hf_key};
use super::{ImportError, WeightType};
use crate::config::EncoderConfig;

/// Which tensor of the file is which parameter.
pub(super) struct Inventory<'a> {
    pub checkpoint: &'a Checkpoint,
    /// From the parameter's key to the key that the file uses.
    pub found: BTreeMap<String, &'a str>,
    /// Keys of the file that are no parameters.
    pub unused: Vec<String>,
}

impl<'a> Inventory<'a> {
    pub fn new(
        checkpoint: &'a Checkpoint,
        config: &EncoderConfig,
        head: Head,
    ) -> Result<Self, ImportError> {
        let mut inventory = Self {
            checkpoint,
            found: BTreeMap::new(),
            unused: Vec::new(),
        };
        for key in checkpoint.tensors.keys() {
            match keys::role(key, config.family, head) {
                Role::Unused => inventory.unused.push(key.clone()),
                Role::Parameter(name) => {
                    if let Some(other) = inventory.found.insert(name, key) {
                        return Err(inventory.conflict(key, other));
                    }
                }
            }
        }
        if let Some(alias) = keys::decoder_bias_alias(config.family) {
            inventory.merge(alias, &hf_key("head.bias", config.family).name)?;
        }
        Ok(inventory)
    }

    /// Treats `alias` as another name of `name`.
    fn merge(&mut self, alias: &str, name: &str) -> Result<(), ImportError> {
        let Some(copy) = self.found.remove(alias) else {
            return Ok(());
        };
        match self.found.get(name) {
            None => {
                self.found.insert(name.to_owned(), copy);
                Ok(())
            }
            Some(original) if self.checkpoint.same(original, copy)? => Ok(()),
            Some(original) => Err(self.conflict(copy, original)),
        }
    }

    /// Whether the decoder is the word embeddings; forgets a decoder that merely repeats them.
    pub fn tie_decoder(&mut self, config: &EncoderConfig) -> Result<bool, ImportError> {
        let decoder = hf_key("head.decoder", config.family).name;
        let embeddings = hf_key("encoder.embeddings.word.weight", config.family).name;
        let tied = match (self.found.get(&decoder), self.found.get(&embeddings)) {
            (None, _) => return Ok(true),
            (Some(decoder), Some(embeddings)) => self.checkpoint.same(decoder, embeddings)?,
            (Some(_), None) => false,
        };
        if tied {
            self.found.remove(&decoder);
        }
        Ok(tied)
    }

    /// Compares the file with the model; the keys of a masked-LM head to initialise where all of it is missing.
    pub fn check(
        &self,
        model: &impl Module,
        config: &EncoderConfig,
    ) -> Result<Vec<String>, ImportError> {
        let expected = expected(model, config);
        let head: Vec<&Expected> = expected.iter().filter(|entry| entry.is_head).collect();
        let headless = head
            .iter()
            .all(|entry| !self.found.contains_key(&entry.key));
        let missing: Vec<&Expected> = expected
            .iter()
            .filter(|entry| !self.found.contains_key(&entry.key))
            .filter(|entry| !(headless && entry.is_head))
            .collect();
        if let Some(first) = missing.first() {
            return Err(ImportError::MissingKey {
                path: self.checkpoint.path.clone(),
                key: first.key.clone(),
                missing: missing.len(),
                expected: expected.len(),
            });
        }
        let known: BTreeSet<&str> = expected.iter().map(|entry| entry.key.as_str()).collect();
        let unexpected = || {
            self.found
                .iter()
                .filter(|(name, _)| !known.contains(name.as_str()))
        };
        if let Some((_, key)) = unexpected().next() {
            return Err(ImportError::UnexpectedKey {
                path: self.checkpoint.tensors[*key].file.to_path_buf(),
                key: (*key).to_owned(),
                unexpected: unexpected().count(),
            });
        }
        self.check_shapes(&expected)?;
        match headless {
            true => Ok(head.into_iter().map(|entry| entry.key.clone()).collect()),
            false => Ok(Vec::new()),
        }
    }

    fn check_shapes(&self, expected: &[Expected]) -> Result<(), ImportError> {
        for entry in expected {
            let Some(&key) = self.found.get(&entry.key) else {
                continue;
            };
            let stored = &self.checkpoint.tensors[key];
            if stored.shape != entry.shape {
                return Err(ImportError::Shape {
                    path: stored.file.to_path_buf(),
                    key: key.to_owned(),
                    found: stored.shape.clone(),
                    expected: entry.shape.clone(),
                });
            }
        }
        Ok(())
    }

    pub fn weight_types(&self) -> Result<BTreeSet<WeightType>, ImportError> {
        self.found
            .values()
            .map(|&key| self.checkpoint.tensors[key].weight_type(key))
            .collect()
    }

    fn conflict(&self, key: &str, other: &str) -> ImportError {
        ImportError::Conflict {
            path: self.checkpoint.path.clone(),
            key: key.to_owned(),
            other: other.to_owned(),
        }
    }
}

/// A parameter that the model needs, as the file should hold it.
struct Expected {
    key: String,
    shape: Vec<usize>,
    is_head: bool,
}

/// The parameters of `model`, without drawing their values.
fn expected(model: &impl Module, config: &EncoderConfig) -> Vec<Expected> {
    struct Shapes<'a> {
        config: &'a EncoderConfig,
        path: Vec<String>,
        expected: Vec<Expected>,
    }
    impl ModuleVisitor for Shapes<'_> {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let path = self.path.join(".");
            let key = hf_key(&path, self.config.family);
            if key.share.index > 0 {
                // The first share speaks for all.
                return;
            }
            let mut shape = param.lazy_shape().to_vec();
            if key.transposed {
                shape.reverse();
            }
            shape[0] *= key.share.count;
            self.expected.push(Expected {
                key: key.name,
                shape,
                is_head: keys::is_head(&path),
            });
        }
    }
    let mut shapes = Shapes {
        config,
        path: Vec::new(),
        expected: Vec::new(),
    };
    model.visit(&mut shapes);
    shapes.expected
}
