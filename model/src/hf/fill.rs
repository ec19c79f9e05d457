//! From the tensors of a checkpoint to the parameters of a model.

use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};

use super::ImportError;
use super::checkpoint::Checkpoint;
use super::inventory::Inventory;
use super::keys::{Head, HfKey, hf_key};
use crate::config::EncoderConfig;

/// The model with the values of the weights in `dir`, all of which must be there; and the keys that it has no use for.
pub(super) fn fill_from<M: Module>(
    dir: &Path,
    model: M,
    config: &EncoderConfig,
    head: Head,
) -> Result<(M, Vec<String>), ImportError> {
    let checkpoint = Checkpoint::open(dir)?;
    let inventory = Inventory::new(&checkpoint, config, head)?;
    inventory.check(&model, config)?;
    let model = fill(model, &inventory, config)?;
    Ok((model, inventory.unused))
}

/// The model with the values of the file, one tensor at a time; a parameter that the file lacks stays as it is.
pub(super) fn fill<M: Module>(
    model: M,
    inventory: &Inventory,
    config: &EncoderConfig,
) -> Result<M, ImportError> {
    let mut filler = Filler {
        inventory,
        config,
        path: Vec::new(),
        error: None,
    };
    let model = model.map(&mut filler);
    match filler.error {
        Some(error) => Err(error),
        None => Ok(model),
    }
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
        let HfKey {
            name,
            transposed,
            share,
        } = hf_key(&self.path.join("."), self.config.family);
        let key = match self.inventory.found.get(&name) {
            Some(&key) if self.error.is_none() => key,
            _ => return param,
        };
        match self.inventory.checkpoint.tensors[key].read(key, transposed, share) {
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
