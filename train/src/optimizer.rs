//! AdamW over a module's parameters, with a learning rate and a weight decay per parameter.

pub mod update;

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};

use update::AdamWUpdate;

/// Where a parameter sits in its module: field names from the root, joined by dots, and what holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParameterPath {
    names: Vec<String>,
    containers: Vec<String>,
}

impl ParameterPath {
    /// Field names joined by dots, as in `model.encoder.layers.0.attention.query.weight`.
    pub fn name(&self) -> String {
        self.names.join(".")
    }

    /// Whether it is a bias or belongs to a LayerNorm: what weight decay traditionally spares.
    pub fn is_bias_or_norm(&self) -> bool {
        self.names.last().is_some_and(|name| name == "bias")
            || self
                .containers
                .last()
                .is_some_and(|kind| kind == "Struct:LayerNorm")
    }

    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }
}

/// How one parameter moves in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// Running means of a parameter's gradient and of its square, flattened.
#[derive(Debug, Clone)]
pub struct Moments {
    /// m: `[elements]`.
    pub first: Tensor<1>,
    /// v: `[elements]`.
    pub second: Tensor<1>,
}

/// AdamW (Loshchilov and Hutter 2019), the same numbers as torch's.
#[derive(Debug, Clone)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// Updates done.
    pub step: usize,
    /// By parameter name; a parameter gets them with its first gradient.
    pub moments: BTreeMap<String, Moments>,
}

impl AdamW {
    /// An optimizer that has seen no gradient.
    pub fn new(beta1: f64, beta2: f64, epsilon: f64) -> Self {
        Self {
            beta1,
            beta2,
            epsilon,
            step: 0,
            moments: BTreeMap::new(),
        }
    }

    /// Moves every parameter that has a gradient, in the module's order.
    ///
    /// Gradients are multiplied by `gradient_scale` first ([`clip_factor`]). Memory: parameters and moments are
    /// updated in place on the CPU, unless a clone of the module is alive.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        gradient_scale: f64,
        rates: impl Fn(&ParameterPath) -> Rates,
    ) -> M {
        self.step += 1;
        module.map(&mut Updater {
            optimizer: self,
            gradients,
            gradient_scale,
            rates,
            path: ParameterPath::default(),
        })
    }
}

struct Updater<'a, F> {
    optimizer: &'a mut AdamW,
    gradients: GradientsParams,
    gradient_scale: f64,
    rates: F,
    path: ParameterPath,
}

impl<F: Fn(&ParameterPath) -> Rates> ModuleMapper for Updater<'_, F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove::<D>(parameter.id) else {
            return parameter;
        };
        let rates = (self.rates)(&self.path);
        let settings = AdamWUpdate {
            learning_rate: rates.learning_rate,
            weight_decay: rates.weight_decay,
            beta1: self.optimizer.beta1,
            beta2: self.optimizer.beta2,
            epsilon: self.optimizer.epsilon,
            gradient_scale: self.gradient_scale,
            step: self.optimizer.step,
        };
        let name = self.path.name();
        let Moments { first, second } = self.optimizer.moments.remove(&name).unwrap_or_else(|| {
            let zeros = Tensor::zeros([gradient.shape().num_elements()], &gradient.device());
            Moments {
                first: zeros.clone(),
                second: zeros,
            }
        });
        let moments = &mut self.optimizer.moments;
        parameter.map(|tensor| {
            let checkpointing = tensor.gradient_checkpointing_strategy();
            let shape = tensor.dims();
            let (tensor, first, second) = update::update(
                tensor.inner().flatten(0, D - 1),
                gradient.flatten(0, D - 1),
                first,
                second,
                settings,
            );
            moments.insert(name, Moments { first, second });
            let mut tensor = Tensor::from_inner(tensor.reshape(shape));
            if let Some(strategy) = checkpointing {
                tensor = tensor.with_gradient_checkpointing_strategy(strategy);
            }
            tensor.require_grad()
        })
    }
}

/// Name and number of elements of every parameter that is trained, in the module's order.
pub fn parameter_sizes<M: Module>(module: &M) -> Vec<(String, usize)> {
    #[derive(Default)]
    struct Sizes {
        path: ParameterPath,
        sizes: Vec<(String, usize)>,
    }

    impl ModuleVisitor for Sizes {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }

        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if parameter.is_require_grad() {
                let size = parameter.shape().num_elements();
                self.sizes.push((self.path.name(), size));
            }
        }
    }

    let mut visitor = Sizes::default();
    module.visit(&mut visitor);
    visitor.sizes
}

/// Euclidean norm of all gradients together; 0 where there are none.
pub fn gradient_norm<M: Module>(module: &M, gradients: &GradientsParams) -> f64 {
    struct SquareSums<'a> {
        gradients: &'a GradientsParams,
        sums: Vec<Tensor<1>>,
    }

    impl ModuleVisitor for SquareSums<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(parameter.id) {
                self.sums
                    .push(update::square_sum(gradient).cast(DType::F32));
            }
        }
    }

    let mut visitor = SquareSums {
        gradients,
        sums: Vec::new(),
    };
    module.visit(&mut visitor);
    if visitor.sums.is_empty() {
        return 0.0;
    }
    // One read-back for all parameters: on a GPU each would wait for the queue.
    let sums = Tensor::cat(visitor.sums, 0).into_data();
    sums.iter::<f32>().map(f64::from).sum::<f64>().sqrt()
}

/// What gradients of this norm are multiplied by so that it does not exceed `max_norm`:
/// `min(1, max_norm / (norm + 1e-6))`, as torch's `clip_grad_norm_` has it.
pub fn clip_factor(norm: f64, max_norm: Option<f64>) -> f64 {
    max_norm.map_or(1.0, |max_norm| (max_norm / (norm + 1e-6)).min(1.0))
}

#[cfg(test)]
mod tests {
    use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    #[derive(Module, Debug)]
    struct Net {
        layers: Vec<Linear>,
        norm: LayerNorm,
        unused: Param<Tensor<1>>,
    }

    impl Net {
        fn new(device: &Device) -> Self {
            device.seed(11);
            Self {
                layers: vec![
                    LinearConfig::new(3, 3).init(device),
                    LinearConfig::new(3, 3).init(device),
                ],
                norm: LayerNormConfig::new(3).init(device),
                unused: Param::from_tensor(Tensor::ones([2], device)),
            }
        }

        fn loss(&self) -> Tensor<1> {
            let input = Tensor::<2>::ones([2, 3], &self.norm.gamma.val().device());
            let hidden = self.layers.iter().fold(input, |x, layer| layer.forward(x));
            self.norm.forward(hidden).powi_scalar(3).sum()
        }
    }

    fn rates(_: &ParameterPath) -> Rates {
        Rates {
            learning_rate: 0.01,
            weight_decay: 0.1,
        }
    }

    fn device() -> Device {
        Device::flex().autodiff()
    }

    #[test]
    fn paths_name_parameters_and_know_what_decay_spares() {
        let mut seen = Vec::new();
        let net = Net::new(&device());
        let gradients = GradientsParams::from_grads(net.loss().backward(), &net);
        let seen_cell = std::cell::RefCell::new(&mut seen);
        AdamW::new(0.9, 0.999, 1e-8).step(net, gradients, 1.0, |path| {
            seen_cell
                .borrow_mut()
                .push((path.name(), path.is_bias_or_norm()));
            rates(path)
        });
        let expected = [
            ("layers.0.weight", false),
            ("layers.0.bias", true),
            ("layers.1.weight", false),
            ("layers.1.bias", true),
            ("norm.gamma", true),
            ("norm.beta", true),
        ];
        assert_eq!(
            seen,
            expected.map(|(name, spared)| (name.to_owned(), spared))
        );
    }

    #[test]
    fn parameters_stay_leaves_and_those_without_gradient_stay_put() {
        let mut net = Net::new(&device());
        let mut optimizer = AdamW::new(0.9, 0.999, 1e-8);
        let before = net.loss().into_scalar::<f32>();
        for _ in 0..3 {
            let gradients = GradientsParams::from_grads(net.loss().backward(), &net);
            assert_eq!(gradients.len(), 6);
            net = optimizer.step(net, gradients, 1.0, rates);
        }
        assert!(net.loss().into_scalar::<f32>() < before);
        assert!(
            net.unused
                .val()
                .into_data()
                .iter::<f32>()
                .all(|value| value == 1.0)
        );
        assert_eq!((optimizer.step, optimizer.moments.len()), (3, 6));
    }

    #[test]
    fn checkpointing_survives_an_update() {
        let device = device().gradient_checkpointing();
        let net = Net::new(&device);
        let gradients = GradientsParams::from_grads(net.loss().backward(), &net);
        let net = AdamW::new(0.9, 0.999, 1e-8).step(net, gradients, 1.0, rates);
        assert_eq!(
            net.norm.gamma.val().gradient_checkpointing_strategy(),
            device.gradient_checkpointing_strategy()
        );
        net.loss().backward();
    }

    #[test]
    fn norm_is_over_all_parameters_and_clipping_never_enlarges() {
        let device = device();
        let net = Net::new(&device);
        let mut gradients = GradientsParams::new();
        gradients.register(
            net.norm.gamma.id,
            Tensor::<1>::from_floats([3.0, 0.0, 0.0], &device.clone().inner()),
        );
        gradients.register(
            net.layers[0].bias.as_ref().expect("a bias").id,
            Tensor::<1>::from_floats([0.0, 4.0, 0.0], &device.inner()),
        );
        assert_eq!(gradient_norm(&net, &gradients), 5.0);
        assert_eq!(gradient_norm(&net, &GradientsParams::new()), 0.0);
        assert_eq!(clip_factor(5.0, None), 1.0);
        assert_eq!(clip_factor(0.5, Some(1.0)), 1.0);
        assert!((clip_factor(5.0, Some(1.0)) - 0.2).abs() < 1e-6);
    }
}
