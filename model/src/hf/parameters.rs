//! Parameters and gradients under their Hugging Face keys.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

use super::keys::hf_key;
use crate::config::Family;
use crate::masked_lm::MaskedLm;

/// A parameter or its gradient as a checkpoint holds it: under its key, `Linear` weights as `[out, in]`.
#[derive(Debug, Clone)]
pub struct NamedTensor {
    /// Hugging Face key.
    pub key: String,
    /// Shape in a checkpoint.
    pub shape: Vec<usize>,
    /// As the model holds it; a vector is a matrix of one row.
    tensor: Tensor<2>,
    transposed: bool,
}

impl NamedTensor {
    /// Copies the values from the device, in row-major order.
    pub fn values(&self) -> Vec<f32> {
        let tensor = match self.transposed {
            true => self.tensor.clone().transpose(),
            false => self.tensor.clone(),
        };
        let data = tensor.into_data().convert::<f32>();
        match data.try_into_vec() {
            Ok(values) => values,
            Err(_) => unreachable!("the data was converted to float32"),
        }
    }
}

/// All parameters, in module order; a tied decoder is not listed a second time.
pub fn named_tensors(model: &MaskedLm, family: Family) -> Vec<NamedTensor> {
    let mut collector = Collector {
        family,
        gradients: None,
        path: Vec::new(),
        tensors: Vec::new(),
    };
    model.visit(&mut collector);
    collector.tensors
}

/// The gradients of all parameters that have one, in module order.
pub fn named_gradients(
    model: &MaskedLm,
    gradients: &Gradients,
    family: Family,
) -> Vec<NamedTensor> {
    let mut collector = Collector {
        family,
        gradients: Some(gradients),
        path: Vec::new(),
        tensors: Vec::new(),
    };
    model.visit(&mut collector);
    collector.tensors
}

/// Key, shape and values of all parameters, in module order.
pub fn named_parameters(model: &MaskedLm, family: Family) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    named_tensors(model, family)
        .into_iter()
        .map(|tensor| {
            let values = tensor.values();
            (tensor.key, tensor.shape, values)
        })
        .collect()
}

struct Collector<'a> {
    family: Family,
    gradients: Option<&'a Gradients>,
    path: Vec<String>,
    tensors: Vec<NamedTensor>,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = match self.gradients {
            None => Some(param.val()),
            Some(gradients) => param.val().grad(gradients),
        };
        let Some(value) = value else {
            return;
        };
        let key = hf_key(&self.path.join("."), self.family);
        let mut shape = value.dims().to_vec();
        let columns = shape.last().copied().unwrap_or(1);
        let rows = value.shape().num_elements() / columns.max(1);
        if key.transposed {
            shape.reverse();
        }
        self.tensors.push(NamedTensor {
            key: key.name,
            shape,
            tensor: value.detach().reshape([rows, columns]),
            transposed: key.transposed,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use burn::tensor::Device;
    use data::TokenBatch;

    use super::super::fixture::{model_dir, read_weights, write_weights};
    use super::super::{ImportOptions, load};
    use super::*;
    use crate::masked_lm::TokenTensors;

    /// Parameters read from a file, and those of an initialised head, all take part in training.
    #[test]
    fn every_parameter_has_a_gradient_in_the_shape_of_the_file() {
        let (_guard, dir) = model_dir(Family::Bert);
        let path = dir.join("model.safetensors");
        let mut weights = read_weights(&path);
        weights.retain(|key, _| !key.starts_with("cls."));
        fs::remove_file(&path).unwrap();
        write_weights(&path, &weights);

        let device = Device::flex().autodiff();
        let (model, ..) = load(&dir, &ImportOptions::default(), &device).unwrap();
        let tokens = TokenTensors::new(&TokenBatch::new(&[vec![2, 5, 3], vec![2, 3]]), &device);
        let gradients = model.logits(&tokens).powi_scalar(2).sum().backward();
        let gradients = named_gradients(&model, &gradients, Family::Bert);
        let parameters = named_tensors(&model, Family::Bert);
        assert_eq!(gradients.len(), parameters.len());
        for (gradient, parameter) in gradients.iter().zip(&parameters) {
            assert_eq!(gradient.key, parameter.key);
            assert_eq!(gradient.shape, parameter.shape, "{}", parameter.key);
            assert_eq!(gradient.values().len(), parameter.values().len());
        }
    }
}
