//! `kldiv`: distillation from a teacher's scores.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata};
use burn::tensor::Tensor;

use super::ops::LossOps;

/// Mean over the queries of `KL(softmax(teacher / T) || softmax(student / T))`.
///
/// There is no factor T² (the reference has none). Gradient of the student's scores:
/// `(softmax(student / T) - softmax(teacher / T)) / (T B)`; the teacher gets none.
///
/// # Shapes
///
/// - student, teacher: `[queries, candidates]`
/// - output: `[1]`
pub fn kl_divergence(student: Tensor<2>, teacher: Tensor<2>, temperature: f64) -> Tensor<1> {
    assert_eq!(
        student.dims(),
        teacher.dims(),
        "one teacher score per candidate"
    );
    Tensor::from_dispatch(<Dispatch as LossOps>::kl_divergence(
        student.into_dispatch(),
        teacher.into_dispatch(),
        temperature,
    ))
}

/// The loss and its gradient with respect to the student's scores.
pub(super) fn forward<B: Backend>(
    student: FloatTensor<B>,
    teacher: FloatTensor<B>,
    temperature: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let rows = student.shape()[0] as f64;
    let log_q = B::log_softmax(B::float_div_scalar(student, temperature.into()), 1);
    let log_p = B::log_softmax(B::float_div_scalar(teacher, temperature.into()), 1);
    let p = B::float_exp(log_p.clone());
    // log p is finite even where p underflows, so that p log p is 0 there as it should be.
    let divergence = B::float_mul(p.clone(), B::float_sub(log_p, log_q.clone()));
    let loss = B::float_div_scalar(B::float_sum(divergence), rows.into());
    let difference = B::float_sub(B::float_exp(log_q), p);
    let gradient = B::float_div_scalar(difference, (temperature * rows).into());
    (loss, gradient)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::gradient_check::{assert_same, assert_slopes, floats, random};
    use super::super::reference;
    use super::*;

    #[test]
    fn matches_plain_operations_and_finite_differences() {
        let device = Device::flex().autodiff();
        device.seed(1);
        for (shape, temperature) in [([1, 1], 1.0), ([1, 2], 1.0), ([4, 3], 2.5), ([3, 12], 0.7)] {
            let student = random(shape, 2.0, &device);
            let teacher = random(shape, 5.0, &device);
            let op = |x| kl_divergence(x, teacher.clone(), temperature);
            let plain = |x| reference::kl_divergence(x, teacher.clone(), temperature);
            let what = format!("{shape:?} at {temperature}");
            assert_same(&op, &plain, &student, &what);
            assert_slopes(&op, &student, &what);
        }
    }

    #[test]
    fn an_extreme_teacher_gives_finite_numbers() {
        let device = Device::flex().autodiff();
        let student = Tensor::<2>::from_floats([[0.0, 1.0]], &device).require_grad();
        let teacher = Tensor::<2>::from_floats([[1000.0, -1000.0]], &device);
        let loss = kl_divergence(student.clone(), teacher, 1.0);
        let gradient = student
            .grad(&loss.backward())
            .expect("the student has a gradient");
        assert!((loss.into_scalar::<f32>() - 1.313_261_7).abs() < 1e-6);
        assert!(floats(gradient).iter().all(|g| g.is_finite()));
    }
}
