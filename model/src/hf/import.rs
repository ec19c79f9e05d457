//! From a model directory to a [`MaskedLm`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor, TensorData};

use super::checkpoint::Checkpoint;
use super::keys::{self, HfKey, Role, hf_key};
use super::{ImportError, WeightType, config, head};
use crate::config::EncoderConfig;
use crate::masked_lm::MaskedLm;

/// What may differ from the files.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportOptions {
    /// Logit below which a vocabulary entry starts at zero, where the checkpoint has no masked-LM head: the
    /// new decoder bias is its negative.
    pub head_threshold: f64,
    /// Overrides both dropout probabilities of `config.json`.
    pub dropout: Option<f64>,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            head_threshold: 2.0,
            dropout: None,
        }
    }
}

/// What was found in the weights' files.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportReport {
    /// The weights' file, or the index of its parts.
    pub path: PathBuf,
    /// Types of the weights that were read.
    pub weight_types: BTreeSet<WeightType>,
    /// Whether the decoder is the word embeddings.
    pub tied: bool,
    /// Keys that were not in the file and got fresh values: the masked-LM head's, or none.
    pub initialised: Vec<String>,
    /// Keys in the file that the model has no use for: buffers, and heads of other tasks.
    pub unused: Vec<String>,
}

/// Loads the model in `dir`, one tensor at a time.
///
/// The decoder is tied to the word embeddings where the file has none or one that equals them bit for bit.
/// A checkpoint without any masked-LM head gets one that passes the hidden states on, and the report says so.
/// Besides the model, at most one tensor in its stored form is in memory (nothing but a small block for
/// safetensors files).
///
/// # Errors
///
/// Everything in [`ImportError`]; a checkpoint is refused as a whole unless every tensor in it is understood
/// and every parameter of the model is there, in the right shape and finite.
pub fn load(
    dir: &Path,
    options: &ImportOptions,
    device: &Device,
) -> Result<(MaskedLm, EncoderConfig, ImportReport), ImportError> {
    let config = effective_config(dir, options)?;
    let checkpoint = Checkpoint::open(dir)?;
    let mut inventory = Inventory::new(&checkpoint, &config)?;
    let tied = inventory.tie_decoder(&config)?;

    let mut model = config.init(device);
    if !tied {
        let shape = [config.vocab_size, config.hidden_size];
        model.head.decoder = Some(Initializer::Zeros.init(shape, device));
    }
    let initialised = inventory.check(&model, &config)?;
    let weight_types = inventory.weight_types()?;

    let mut filler = Filler {
        inventory: &inventory,
        config: &config,
        path: Vec::new(),
        error: None,
    };
    let mut model = model.map(&mut filler);
    if let Some(error) = filler.error {
        return Err(error);
    }
    if !initialised.is_empty() {
        head::pass_through(&mut model, options.head_threshold);
    }
    let report = ImportReport {
        path: checkpoint.path.clone(),
        weight_types,
        tied,
        initialised,
        unused: inventory.unused,
    };
    Ok((model, config, report))
}

/// A freshly initialised model of the shape that `config.json` in `dir` says; weights are not read.
///
/// The same seed of `device` gives the same weights.
pub fn from_scratch(
    dir: &Path,
    options: &ImportOptions,
    device: &Device,
) -> Result<(MaskedLm, EncoderConfig), ImportError> {
    let config = effective_config(dir, options)?;
    let model = config.init(device);
    // Parameters draw their values on first use; drawing them here fixes the order.
    model.visit(&mut Draw);
    Ok((model, config))
}

fn effective_config(dir: &Path, options: &ImportOptions) -> Result<EncoderConfig, ImportError> {
    let mut config = config::load_config(dir)?;
    if let Some(dropout) = options.dropout {
        config.hidden_dropout = dropout;
        config.attention_dropout = dropout;
    }
    Ok(config)
}

struct Draw;

impl ModuleVisitor for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        param.val();
    }
}

/// Which tensor of the file is which parameter.
struct Inventory<'a> {
    checkpoint: &'a Checkpoint,
    /// From the parameter's key to the key that the file uses.
    found: BTreeMap<String, &'a str>,
    unused: Vec<String>,
}

impl<'a> Inventory<'a> {
    fn new(checkpoint: &'a Checkpoint, config: &EncoderConfig) -> Result<Self, ImportError> {
        let mut inventory = Self {
            checkpoint,
            found: BTreeMap::new(),
            unused: Vec::new(),
        };
        for key in checkpoint.tensors.keys() {
            match keys::role(key, config.family) {
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
    fn tie_decoder(&mut self, config: &EncoderConfig) -> Result<bool, ImportError> {
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

    /// Compares the file with the model; the keys of a head to initialise where all of it is missing.
    fn check(&self, model: &MaskedLm, config: &EncoderConfig) -> Result<Vec<String>, ImportError> {
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

    fn weight_types(&self) -> Result<BTreeSet<WeightType>, ImportError> {
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
fn expected(model: &MaskedLm, config: &EncoderConfig) -> Vec<Expected> {
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
            let mut shape = param.lazy_shape().to_vec();
            if key.transposed {
                shape.reverse();
            }
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

/// Gives every parameter its value from the file, before the parameter draws a random one.
struct Filler<'a> {
    inventory: &'a Inventory<'a>,
    config: &'a EncoderConfig,
    path: Vec<String>,
    error: Option<ImportError>,
}

impl ModuleMapper for Filler<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let HfKey { name, transposed } = hf_key(&self.path.join("."), self.config.family);
        let key = match self.inventory.found.get(&name) {
            Some(&key) if self.error.is_none() => key,
            _ => return param,
        };
        match self.inventory.checkpoint.tensors[key].read(key, transposed) {
            Ok(weights) => {
                let data = TensorData::new(weights, param.lazy_shape());
                let tensor = Tensor::from_data(data, &param.lazy_device());
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::fixture::{Weights, model_dir, read_weights, write_weights};
    use super::super::named_parameters;
    use super::*;
    use crate::config::Family;

    fn load_dir(dir: &Path) -> Result<(MaskedLm, EncoderConfig, ImportReport), ImportError> {
        load(dir, &ImportOptions::default(), &Device::flex())
    }

    fn parameters(dir: &Path, family: Family) -> Weights {
        let (model, ..) = load_dir(dir).unwrap();
        named_parameters(&model, family)
            .into_iter()
            .map(|(key, shape, values)| (key, (shape, values)))
            .collect()
    }

    /// Rewrites the weights of a fresh BERT directory.
    fn altered(alter: impl FnOnce(&mut Weights)) -> (tempfile::TempDir, PathBuf) {
        let (guard, dir) = model_dir(Family::Bert);
        let path = dir.join("model.safetensors");
        let mut weights = read_weights(&path);
        alter(&mut weights);
        write_weights(&path, &weights);
        (guard, dir)
    }

    #[test]
    fn every_parameter_gets_its_value_from_the_file() {
        for family in [Family::Bert, Family::DistilBert] {
            let (_guard, dir) = model_dir(family);
            let stored = read_weights(&dir.join("model.safetensors"));
            assert_eq!(parameters(&dir, family), stored);
            let (.., report) = load_dir(&dir).unwrap();
            assert!(report.tied && report.unused.is_empty() && report.initialised.is_empty());
        }
    }

    #[test]
    fn legacy_names_missing_prefixes_and_other_heads_are_understood() {
        let (_modern_guard, modern) = model_dir(Family::Bert);
        let stored = read_weights(&modern.join("model.safetensors"));
        let (_guard, dir) = altered(|weights| {
            *weights = stored
                .iter()
                .map(|(key, value)| {
                    let key = key.strip_prefix("bert.").unwrap_or(key);
                    let key = key.replace("LayerNorm.weight", "LayerNorm.gamma");
                    (
                        key.replace("LayerNorm.bias", "LayerNorm.beta"),
                        value.clone(),
                    )
                })
                .collect();
            for unused in [
                "embeddings.position_ids",
                "pooler.dense.bias",
                "cls.seq_relationship.bias",
            ] {
                weights.insert(unused.to_owned(), (vec![2], vec![0.0, 1.0]));
            }
            let bias = weights["cls.predictions.bias"].clone();
            weights.insert("cls.predictions.decoder.bias".to_owned(), bias);
        });
        assert_eq!(parameters(&dir, Family::Bert), stored);
        let (.., report) = load_dir(&dir).unwrap();
        assert_eq!(report.unused.len(), 3);
    }

    #[test]
    fn a_decoder_is_tied_when_it_repeats_the_embeddings() {
        let decoder = "cls.predictions.decoder.weight";
        let embeddings = "bert.embeddings.word_embeddings.weight";
        for (change, expected) in [(0.0, true), (1.0, false)] {
            let (_guard, dir) = altered(|weights| {
                let mut copy = weights[embeddings].clone();
                copy.1[3] += change;
                weights.insert(decoder.to_owned(), copy);
            });
            let (.., report) = load_dir(&dir).unwrap();
            assert_eq!(report.tied, expected);
            assert_eq!(
                parameters(&dir, Family::Bert).contains_key(decoder),
                !expected
            );
        }
    }

    #[test]
    fn a_missing_head_is_initialised_but_half_a_head_is_refused() {
        let (_guard, dir) = altered(|weights| weights.retain(|key, _| !key.starts_with("cls.")));
        let (model, _, report) = load_dir(&dir).unwrap();
        assert_eq!(report.initialised.len(), 5);
        let bias = model.head.bias.val().into_data();
        assert!(bias.iter::<f32>().all(|value| value == -2.0));

        let (_guard, dir) = altered(|weights| {
            weights.remove("cls.predictions.transform.dense.bias");
        });
        let error = load_dir(&dir).unwrap_err().to_string();
        assert!(
            error.contains("key `cls.predictions.transform.dense.bias` is missing"),
            "{error}"
        );
    }

    #[test]
    fn tensors_that_do_not_fit_are_named() {
        let word = "bert.embeddings.word_embeddings.weight";
        let dense = "bert.encoder.layer.1.intermediate.dense.weight";
        type Alter = Box<dyn FnOnce(&mut Weights)>;
        let table: [(Alter, &[&str]); 5] = [
            (
                Box::new(move |weights| drop(weights.remove(dense))),
                &[dense, "is missing (1 of the"],
            ),
            (
                Box::new(|weights| {
                    let extra = "bert.encoder.layer.7.output.dense.bias".to_owned();
                    weights.insert(extra, (vec![1], vec![0.0]));
                }),
                &["bert.encoder.layer.7.output.dense.bias", "unexpected"],
            ),
            (
                Box::new(move |weights| weights.get_mut(dense).unwrap().0 = vec![8, 12]),
                &[dense, "shape [8, 12], expected [12, 8]"],
            ),
            (
                Box::new(move |weights| weights.get_mut(word).unwrap().1[19] = f32::NAN),
                &[word, "NaN at index [2, 3]"],
            ),
            (
                Box::new(move |weights| {
                    let copy = weights[word].clone();
                    weights.insert("embeddings.word_embeddings.weight".to_owned(), copy);
                }),
                &["are the same parameter"],
            ),
        ];
        for (alter, expected) in table {
            let (_guard, dir) = altered(alter);
            let error = load_dir(&dir).unwrap_err().to_string();
            assert!(error.contains("model.safetensors"), "{error}");
            for part in expected {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }

    #[test]
    fn shards_read_like_one_file() {
        let (_guard, dir) = model_dir(Family::DistilBert);
        let whole = dir.join("model.safetensors");
        let stored = read_weights(&whole);
        fs::remove_file(whole).unwrap();
        let mut map = serde_json::Map::new();
        for (part, in_first) in [("a.safetensors", true), ("b.safetensors", false)] {
            let mut weights = stored.clone();
            weights.retain(|key, _| key.contains("layer.0") == in_first);
            map.extend(weights.keys().map(|key| (key.clone(), part.into())));
            write_weights(&dir.join(part), &weights);
        }
        let index = serde_json::json!({"metadata": {}, "weight_map": map});
        fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
        assert_eq!(parameters(&dir, Family::DistilBert), stored);

        fs::remove_file(dir.join("b.safetensors")).unwrap();
        let error = load_dir(&dir).unwrap_err().to_string();
        assert!(error.contains("b.safetensors"), "{error}");
    }
}
