//! The arithmetic of one AdamW update as a backend operation: one pass over memory on the CPU, tensor operations
//! elsewhere.

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Tensor};
use rayon::prelude::*;

/// Numbers per task. Fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1 << 15;

/// Everything in one AdamW update besides tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWUpdate {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// Multiplies the gradient first (norm clipping).
    pub gradient_scale: f64,
    /// Updates done including this one.
    pub step: usize,
}

impl AdamWUpdate {
    /// `lr / (1 - β₁ᵗ)`.
    fn step_size(&self) -> f64 {
        self.learning_rate / (1.0 - self.beta1.powf(self.step as f64))
    }

    /// `√(1 - β₂ᵗ)`.
    fn second_correction(&self) -> f64 {
        (1.0 - self.beta2.powf(self.step as f64)).sqrt()
    }
}

/// Backends that have the optimizer's operations. Called through [`update`] and [`square_sum`].
#[backend_extension(Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")))]
pub trait OptimizerOps: Backend {
    /// See [`update`].
    fn adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        update: AdamWUpdate,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        adamw::<Self>(parameter, gradient, first, second, update)
    }

    /// See [`square_sum`].
    fn square_sum(values: FloatTensor<Self>) -> FloatTensor<Self> {
        square_sum_of::<Self>(values)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl OptimizerOps for burn::backend::Cube {}

impl OptimizerOps for Flex {
    fn adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        update: AdamWUpdate,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let all = [&parameter, &gradient, &first, &second];
        if all.iter().any(|tensor| tensor.dtype() != DType::F32) {
            return adamw::<Self>(parameter, gradient, first, second, update);
        }
        // A tensor that nothing else refers to is updated in place.
        let [mut parameter, gradient, mut first, mut second] =
            [parameter, gradient, first, second].map(|tensor| tensor.to_contiguous());
        let gradient = gradient.as_slice::<f32>().expect("a contiguous f32 tensor");
        parameter
            .storage_mut::<f32>()
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(first.storage_mut::<f32>().par_chunks_mut(CHUNK))
            .zip(second.storage_mut::<f32>().par_chunks_mut(CHUNK))
            .for_each(|(((parameter, gradient), first), second)| {
                adamw_slice(parameter, gradient, first, second, &update);
            });
        (parameter, first, second)
    }

    fn square_sum(values: FloatTensor<Self>) -> FloatTensor<Self> {
        if values.dtype() != DType::F32 {
            return square_sum_of::<Self>(values);
        }
        let values = values.to_contiguous();
        let sums: Vec<f64> = values
            .as_slice::<f32>()
            .expect("a contiguous f32 tensor")
            .par_chunks(CHUNK)
            .map(|chunk| chunk.iter().map(|&value| f64::from(value).powi(2)).sum())
            .collect();
        let total = sums.iter().sum::<f64>() as f32;
        FlexTensor::from_data([total].into())
    }
}

/// One AdamW update (Loshchilov and Hutter 2019), operation by operation as torch does it:
///
/// ```text
/// p ← p (1 - lr wd)
/// m ← m + (1 - β₁)(g - m)
/// v ← β₂ v + (1 - β₂) g²
/// p ← p - lr / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)
/// ```
///
/// Returns the new parameter and moments.
///
/// # Shapes
///
/// - parameter, gradient, first, second, output: `[elements]`, without autodiff
pub fn update(
    parameter: Tensor<1>,
    gradient: Tensor<1>,
    first: Tensor<1>,
    second: Tensor<1>,
    update: AdamWUpdate,
) -> (Tensor<1>, Tensor<1>, Tensor<1>) {
    let (parameter, first, second) = <Dispatch as OptimizerOps>::adamw(
        parameter.into_dispatch(),
        gradient.into_dispatch(),
        first.into_dispatch(),
        second.into_dispatch(),
        update,
    );
    (
        Tensor::from_dispatch(parameter),
        Tensor::from_dispatch(first),
        Tensor::from_dispatch(second),
    )
}

/// Sum of squares.
///
/// # Shapes
///
/// - values: any, without autodiff
/// - output: `[1]`
pub fn square_sum<const D: usize>(values: Tensor<D>) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as OptimizerOps>::square_sum(
        values.into_dispatch(),
    ))
}

fn adamw_slice(
    parameter: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    update: &AdamWUpdate,
) {
    let keep = (1.0 - update.learning_rate * update.weight_decay) as f32;
    let scale = update.gradient_scale as f32;
    let new_first = (1.0 - update.beta1) as f32;
    let (old_second, new_second) = (update.beta2 as f32, (1.0 - update.beta2) as f32);
    let correction = update.second_correction() as f32;
    let (step_size, epsilon) = (update.step_size() as f32, update.epsilon as f32);
    for (((p, &g), m), v) in parameter.iter_mut().zip(gradient).zip(first).zip(second) {
        let g = g * scale;
        *m += new_first * (g - *m);
        *v = old_second * *v + new_second * g * g;
        *p = *p * keep - step_size * *m / (v.sqrt() / correction + epsilon);
    }
}

fn square_sum_of<B: Backend>(values: FloatTensor<B>) -> FloatTensor<B> {
    B::float_sum(B::float_mul(values.clone(), values))
}

fn adamw<B: Backend>(
    parameter: FloatTensor<B>,
    gradient: FloatTensor<B>,
    first: FloatTensor<B>,
    second: FloatTensor<B>,
    update: AdamWUpdate,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let scaled = |tensor, factor: f64| B::float_mul_scalar(tensor, factor.into());
    let gradient = scaled(gradient, update.gradient_scale);
    let towards = B::float_sub(gradient.clone(), first.clone());
    let first = B::float_add(first, scaled(towards, 1.0 - update.beta1));
    let square = B::float_mul(gradient.clone(), gradient);
    let second = B::float_add(
        scaled(second, update.beta2),
        scaled(square, 1.0 - update.beta2),
    );
    let root = scaled(
        B::float_sqrt(second.clone()),
        1.0 / update.second_correction(),
    );
    let denominator = B::float_add_scalar(root, update.epsilon.into());
    let change = scaled(B::float_div(first.clone(), denominator), update.step_size());
    let decayed = scaled(parameter, 1.0 - update.learning_rate * update.weight_decay);
    (B::float_sub(decayed, change), first, second)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    fn floats(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn three_steps_by_hand() {
        let device = Device::flex();
        let mut tensors =
            [[1.0f32], [0.0], [0.0]].map(|value| Tensor::<1>::from_floats(value, &device));
        let (mut p, mut m, mut v) = (1.0f64, 0.0f64, 0.0f64);
        for (step, g) in [0.5, -0.25, 4.0].into_iter().enumerate() {
            let settings = AdamWUpdate {
                learning_rate: 0.1,
                weight_decay: 0.01,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                gradient_scale: 0.5,
                step: step + 1,
            };
            let [parameter, first, second] = tensors;
            let gradient = Tensor::from_floats([g as f32], &device);
            tensors = update(parameter, gradient, first, second, settings).into();
            let (g, t) = (g * 0.5, (step + 1) as i32);
            p *= 1.0 - 0.1 * 0.01;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let denominator = (v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8;
            p -= 0.1 * m / (1.0 - 0.9f64.powi(t)) / denominator;
            let found = f64::from(floats(tensors[0].clone())[0]);
            assert!((found - p).abs() < 1e-6, "step {t}: {found} instead of {p}");
        }
    }

    #[test]
    fn native_and_generic_agree_on_more_than_one_chunk() {
        let device = Device::flex();
        device.seed(5);
        let size = CHUNK + 17;
        let draw = || Tensor::<1>::random([size], Distribution::Normal(0.0, 1.0), &device);
        let inputs = [draw(), draw(), draw(), draw().abs()];
        let settings = AdamWUpdate {
            learning_rate: 1e-3,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            gradient_scale: 0.3,
            step: 7,
        };
        let [p, g, m, v] = inputs.clone();
        let native = update(p, g, m, v, settings);
        let [p, g, m, v] = inputs.map(|tensor| {
            tensor
                .try_into_primitive::<Flex>()
                .expect("a tensor on flex")
        });
        let generic = adamw::<Flex>(p, g, m, v, settings);
        let pairs = [
            (native.0, generic.0),
            (native.1, generic.1),
            (native.2, generic.2),
        ];
        for (native, generic) in pairs {
            let generic = Tensor::<1>::from_primitive::<Flex>(generic);
            for (a, b) in floats(native).iter().zip(floats(generic)) {
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_shared_tensor_is_left_alone() {
        let device = Device::flex();
        let parameter = Tensor::<1>::from_floats([1.0, 2.0], &device);
        let zeros = || Tensor::<1>::zeros([2], &device);
        let settings = AdamWUpdate {
            learning_rate: 0.1,
            weight_decay: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            gradient_scale: 1.0,
            step: 1,
        };
        let gradient = Tensor::from_floats([1.0, 1.0], &device);
        let (updated, ..) = update(parameter.clone(), gradient, zeros(), zeros(), settings);
        assert_eq!(floats(parameter), [1.0, 2.0]);
        assert!((floats(updated)[0] - 0.9).abs() < 1e-6);
    }

    #[test]
    fn square_sum_of_several_chunks() {
        let values = Tensor::<1>::full([2 * CHUNK + 1], 2.0, &Device::flex());
        assert_eq!(
            square_sum(values).into_scalar::<f32>(),
            (4 * (2 * CHUNK + 1)) as f32
        );
    }
}
