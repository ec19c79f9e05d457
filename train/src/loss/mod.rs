//! The objective: ranking losses over scores, and the FLOPS penalty over weights.
//!
//! One loss per file. Each is a custom autodiff op with a hand-written backward pass ([`ops`]), beside the same
//! formula in plain tensor operations ([`mod@reference`]) that the tests compare it with.

pub mod candidates;
pub mod flops;
pub mod info_nce;
pub mod kldiv;
pub mod margin_mse;
pub mod ops;
pub mod queries;
pub mod reference;

pub use candidates::Candidates;
pub use flops::{FlopsPenalty, flops};
pub use info_nce::info_nce;
pub use kldiv::kl_divergence;
pub use margin_mse::margin_mse;
pub use queries::QueryVectors;

#[cfg(test)]
mod gradient_check {
    //! What every loss is tested with.

    use burn::tensor::{Device, Distribution, Tensor};

    /// A scalar function of a matrix.
    pub type Loss<'a> = &'a dyn Fn(Tensor<2>) -> Tensor<1>;

    pub fn random(shape: [usize; 2], scale: f64, device: &Device) -> Tensor<2> {
        Tensor::random(shape, Distribution::Normal(0.0, scale), device)
    }

    pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    /// Value and gradient; the upstream gradient is 3, so that an op that ignores it is found out.
    fn run(loss: Loss, input: &Tensor<2>) -> (f32, Vec<f32>) {
        let input = input.clone().detach().require_grad();
        let value = loss(input.clone());
        let grads = (value.clone() * 3.0).backward();
        let gradient = input.grad(&grads).expect("the input has a gradient");
        (value.into_scalar::<f32>(), floats(gradient))
    }

    fn assert_close(found: f32, expected: f32, tolerance: f32, what: &str) {
        let bound = tolerance * (1.0 + expected.abs());
        assert!(
            (found - expected).abs() <= bound,
            "{what}: {found} instead of {expected}"
        );
    }

    /// Compares value and gradient of `op` with those of `reference`, which autodiff derives.
    pub fn assert_same(op: Loss, reference: Loss, input: &Tensor<2>, what: &str) {
        let (found, found_gradient) = run(op, input);
        let (expected, expected_gradient) = run(reference, input);
        assert_close(found, expected, 1e-5, what);
        for (index, (a, b)) in found_gradient.iter().zip(&expected_gradient).enumerate() {
            assert_close(*a, *b, 1e-5, &format!("{what}, gradient [{index}]"));
        }
    }

    /// Compares the gradient of `op` with central differences.
    pub fn assert_slopes(op: Loss, input: &Tensor<2>, what: &str) {
        let (_, gradient) = run(op, input);
        let (shape, device) = (input.dims(), input.device());
        let start = floats(input.clone().inner());
        let at = |values: &[f32]| {
            let input = Tensor::<1>::from_floats(values, &device).reshape(shape);
            op(input).into_scalar::<f32>()
        };
        let step = 1e-2;
        for index in 0..start.len() {
            let (mut above, mut below) = (start.clone(), start.clone());
            above[index] += step;
            below[index] -= step;
            let slope = 3.0 * (at(&above) - at(&below)) / (2.0 * step);
            assert_close(
                gradient[index],
                slope,
                2e-2,
                &format!("{what}, slope [{index}]"),
            );
        }
    }
}
