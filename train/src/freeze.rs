//! Parts of the model that are not trained.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use model::MaskedLm;

use crate::error::TrainError;
use crate::optimizer::ParameterPath;

/// Takes the gradients from the parameters at and below the module paths `names`.
///
/// # Errors
///
/// If a name is no part of the model.
pub fn freeze(model: MaskedLm, names: &[String]) -> Result<MaskedLm, TrainError> {
    let mut freezer = Freezer {
        names,
        found: vec![false; names.len()],
        parts: BTreeSet::new(),
        path: ParameterPath::default(),
    };
    let model = model.map(&mut freezer);
    match freezer.found.iter().position(|found| !found) {
        None => Ok(model),
        Some(missing) => Err(TrainError::NoSuchPart {
            name: names[missing].clone(),
            parts: freezer.parts.into_iter().collect::<Vec<_>>().join(", "),
        }),
    }
}

struct Freezer<'a> {
    names: &'a [String],
    found: Vec<bool>,
    parts: BTreeSet<String>,
    path: ParameterPath,
}

impl ModuleMapper for Freezer<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        self.parts
            .insert(name.split('.').take(2).collect::<Vec<_>>().join("."));
        let mut frozen = false;
        for (part, found) in self.names.iter().zip(&mut self.found) {
            let below = name.strip_prefix(part.as_str());
            if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                (*found, frozen) = (true, true);
            }
        }
        match frozen {
            true => parameter.set_require_grad(false),
            false => parameter,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::optimizer::parameter_sizes;
    use crate::step::tests::trainable;

    #[test]
    fn parts_are_frozen_by_path_and_unknown_ones_are_refused() {
        let model = || trainable(false, &Device::flex().autodiff()).model;
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let trained = |model: &MaskedLm| parameter_sizes(model).len();
        let all = trained(&model());
        // Weight and bias, twice.
        let frozen = freeze(model(), &names(&["head.transform", "head.norm"])).expect("frozen");
        assert_eq!(trained(&frozen), all - 4);
        let error = freeze(model(), &names(&["head.trans"])).expect_err("no such part");
        let message = error.to_string();
        assert!(
            message.contains("`head.trans`") && message.contains("head.transform"),
            "{message}"
        );
    }
}
