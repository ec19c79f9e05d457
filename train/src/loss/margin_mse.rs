//! `marginmse`: regression on the teacher's margins.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata};
use burn::tensor::Tensor;

use super::Candidates;
use super::ops::LossOps;

/// Mean over queries and negatives of `((s₊ - sⱼ)/T - (t₊ - tⱼ)/T)²` (Hofstätter et al. 2020).
///
/// Each row's positive is its own query's. The reference implementation takes column 0, which in a batch is query
/// 0's positive, for every row. A query without negatives contributes 0.
///
/// # Shapes
///
/// - student, teacher: `[queries, candidates]`
/// - output: `[1]`
pub fn margin_mse(
    student: Tensor<2>,
    teacher: Tensor<2>,
    candidates: Candidates,
    temperature: f64,
) -> Tensor<1> {
    assert_eq!(
        student.dims(),
        teacher.dims(),
        "one teacher score per candidate"
    );
    let positives = candidates.positives(student.dims(), &student.device());
    Tensor::from_dispatch(<Dispatch as LossOps>::margin_mse(
        student.into_dispatch(),
        teacher.into_dispatch(),
        positives.into_dispatch(),
        temperature,
    ))
}

/// The loss and its gradient with respect to the student's scores.
///
/// With `eⱼ = ((s₊ - sⱼ) - (t₊ - tⱼ))/T`, which is 0 at the positive itself, the loss is `Σ e² / count` and
/// `dsⱼ = -2 eⱼ / (T count)`, to which the positive adds `2 Σ e / (T count)`.
pub(super) fn forward<B: Backend>(
    student: FloatTensor<B>,
    teacher: FloatTensor<B>,
    positives: FloatTensor<B>,
    temperature: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let [rows, columns] = student.shape().dims();
    let count = (rows * (columns - 1)).max(1) as f64;
    let offset = B::float_div_scalar(B::float_sub(student, teacher), temperature.into());
    let at_positive = B::float_sum_dim(B::float_mul(offset.clone(), positives.clone()), 1); // [rows, 1]
    let error = B::float_sub(at_positive, offset); // [rows, columns]
    let square = B::float_mul(error.clone(), error.clone());
    let loss = B::float_div_scalar(B::float_sum(square), count.into());
    let total = B::float_sum_dim(error.clone(), 1); // [rows, 1]
    let slope = B::float_sub(B::float_mul(positives, total), error);
    let gradient = B::float_mul_scalar(slope, (2.0 / (temperature * count)).into());
    (loss, gradient)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::gradient_check::{assert_same, assert_slopes, random};
    use super::super::reference;
    use super::*;

    #[test]
    fn matches_plain_operations_and_finite_differences() {
        let device = Device::flex().autodiff();
        device.seed(2);
        for (shape, candidates, temperature) in [
            ([1, 1], Candidates::Own, 1.0),
            ([1, 2], Candidates::Own, 1.0),
            ([4, 3], Candidates::Own, 2.5),
            ([1, 2], Candidates::InBatch, 1.0),
            ([3, 6], Candidates::InBatch, 1.5),
        ] {
            let student = random(shape, 2.0, &device);
            let teacher = random(shape, 2.0, &device);
            let op = |x| margin_mse(x, teacher.clone(), candidates, temperature);
            let plain = |x| reference::margin_mse(x, teacher.clone(), candidates, temperature);
            let what = format!("{shape:?} {candidates:?} at {temperature}");
            assert_same(&op, &plain, &student, &what);
            assert_slopes(&op, &student, &what);
        }
    }

    #[test]
    fn in_batch_every_row_has_its_own_positive() {
        let device = Device::flex();
        let student = Tensor::<2>::from_floats([[5.0, 3.0], [1.0, 7.0]], &device);
        let loss = margin_mse(
            student,
            Tensor::zeros([2, 2], &device),
            Candidates::InBatch,
            1.0,
        );
        assert_eq!(loss.into_scalar::<f32>(), (4.0 + 36.0) / 2.0);
    }
}
