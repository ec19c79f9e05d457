//! Parameters and gradients under their Hugging Face keys.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

use super::keys::hf_key;
use crate::config::Family;
use crate::masked_lm::MaskedLm;

/// A parameter or its gradient as a checkpoint holds it: under its key, `Linear` weights as `[out, in]`, those that share
/// a key as one.
#[derive(Debug, Clone)]
pub struct NamedTensor {
    /// Hugging Face key.
    pub key: String,
    /// Shape in a checkpoint.
    pub shape: Vec<usize>,
    /// As the model holds them; a vector is a matrix of one row.
    shares: Vec<Tensor<2>>,
    transposed: bool,
}

impl NamedTensor {
    /// Copies the values from the device, in row-major order.
    pub fn values(&self) -> Vec<f32> {
        let mut shares = self.shares.iter().map(|share| -> Vec<f32> {
            let share = match self.transposed {
                true => share.clone().transpose(),
                false => share.clone(),
            };
            match share.into_data().convert::<f32>().try_into_vec() {
                Ok(values) => values,
                Err(_) => unreachable!("the data was converted to float32"),
            }
        });
        let mut values = shares.next().unwrap_or_default();
        shares.for_each(|share| values.extend(share));
        values
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

/// The gradients of all parameters that have one, in module order; where parameters share a key, that of one without is
/// 0.
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
        let key = hf_key(&self.path.join("."), self.family);
        let value = match self.gradients {
            None => param.val(),
            Some(gradients) => match param.val().grad(gradients) {
                Some(gradient) => gradient,
                None if key.share.count > 1 => param.val().inner().zeros_like(),
                None => return,
            },
        };
        let mut shape = value.dims().to_vec();
        let columns = shape.last().copied().unwrap_or(1);
        let rows = value.shape().num_elements() / columns.max(1);
        if key.transposed {
            shape.reverse();
        }
        let share = value.detach().reshape([rows, columns]);
        let mut earlier = self.tensors.iter_mut().rev();
        if let Some(tensor) = earlier.find(|tensor| tensor.key == key.name) {
            tensor.shape[0] += shape[0];
            tensor.shares.push(share);
            return;
        }
        self.tensors.push(NamedTensor {
            key: key.name,
            shape,
            shares: vec![share],
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
        for (family, head) in [(Family::Bert, "cls."), (Family::Gte, "lm_head.")] {
            let (_guard, dir) = model_dir(family);
            let path = dir.join("model.safetensors");
            let mut weights = read_weights(&path);
            weights.retain(|key, _| !key.starts_with(head));
            fs::remove_file(&path).unwrap();
            write_weights(&path, &weights);

            let device = Device::flex().autodiff();
            let (model, ..) = load(&dir, &ImportOptions::default(), &device).unwrap();
            let tokens = TokenTensors::new(&TokenBatch::new(&[vec![2, 5, 3], vec![2, 3]]), &device);
            let gradients = model.logits(&tokens).powi_scalar(2).sum().backward();
            let gradients = named_gradients(&model, &gradients, family);
            let parameters = named_tensors(&model, family);
            assert_eq!(gradients.len(), parameters.len());
            for (gradient, parameter) in gradients.iter().zip(&parameters) {
                assert_eq!(gradient.key, parameter.key);
                assert_eq!(gradient.shape, parameter.shape, "{}", parameter.key);
                assert_eq!(gradient.values().len(), parameter.values().len());
            }
        }
    }

    /// A frozen query leaves the gradients of key and value where they are in the fused tensor.
    #[test]
    fn a_share_without_gradient_is_zero() {
        let (_guard, dir) = model_dir(Family::Gte);
        let device = Device::flex().autodiff();
        let (mut model, config, _) = load(&dir, &ImportOptions::default(), &device).unwrap();
        let query = &mut model.encoder.layers[0].attention.query;
        query.weight = query.weight.clone().set_require_grad(false);
        let tokens = TokenTensors::new(&TokenBatch::new(&[vec![2, 5, 3]]), &device);
        let gradients = model.logits(&tokens).powi_scalar(2).sum().backward();
        let gradients = named_gradients(&model, &gradients, Family::Gte);
        let fused = "new.encoder.layer.0.attention.qkv_proj.weight";
        let fused = gradients.iter().find(|gradient| gradient.key == fused);
        let fused = fused.expect("keys and values have gradients");
        let hidden = config.hidden_size;
        assert_eq!(fused.shape, [3 * hidden, hidden]);
        let values = fused.values();
        let (query, rest) = values.split_at(hidden * hidden);
        assert!(query.iter().all(|&value| value == 0.0));
        assert!(rest.iter().any(|&value| value != 0.0));
    }
}
