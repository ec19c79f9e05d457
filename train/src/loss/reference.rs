//! The same losses in plain tensor operations, differentiated by autodiff: what the ops are compared with.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, softmax};

use super::{Candidates, FlopsPenalty};

/// [`super::kl_divergence()`] in plain operations.
pub fn kl_divergence(student: Tensor<2>, teacher: Tensor<2>, temperature: f64) -> Tensor<1> {
    let rows = student.dims()[0] as f64;
    let p = softmax(teacher.clone() / temperature, 1);
    let log_p = log_softmax(teacher / temperature, 1);
    let log_q = log_softmax(student / temperature, 1);
    (p * (log_p - log_q)).sum() / rows
}

/// [`super::margin_mse()`] in plain operations.
pub fn margin_mse(
    student: Tensor<2>,
    teacher: Tensor<2>,
    candidates: Candidates,
    temperature: f64,
) -> Tensor<1> {
    let [rows, columns] = student.dims();
    let margins = |scores: Tensor<2>| {
        let positive: Vec<Tensor<2>> = (0..rows)
            .map(|row| {
                let column = candidates.positive_column(row, rows, columns);
                scores.clone().slice([row..row + 1, column..column + 1])
            })
            .collect();
        (Tensor::cat(positive, 0) - scores) / temperature // [rows, columns], 0 at the positive
    };
    let error = margins(student) - margins(teacher);
    error.powi_scalar(2).sum() / (rows * (columns - 1)).max(1) as f64
}

/// [`super::info_nce()`] in plain operations.
pub fn info_nce(scores: Tensor<2>, candidates: Candidates, temperature: f64) -> Tensor<1> {
    let (shape, device) = (scores.dims(), scores.device());
    let logits = scores / temperature + candidates.exclusions(shape, &device);
    let likelihood = log_softmax(logits, 1) * candidates.positives(shape, &device);
    likelihood.sum() / -(shape[0] as f64)
}

/// [`super::flops()`] in plain operations.
pub fn flops(weights: Tensor<2>, penalty: FlopsPenalty) -> Tensor<1> {
    let [rows, vocab] = weights.dims();
    let weights = weights.reshape([rows / penalty.groups, penalty.groups, vocab]);
    let mut size = weights.clone().abs();
    if penalty.decouple_activation {
        size = size.log1p();
    }
    if let Some(threshold) = penalty.threshold {
        let nonzero = weights.detach().not_equal_elem(0.0).float().sum_dim(2);
        size = size * nonzero.greater_elem(threshold).float();
    }
    size.mean_dim(0).powi_scalar(2).sum()
}
