//! T5's linear layers, without a bias, and its LayerNorm, without a mean, over rows in slices.

use super::parameter::{Parameter, Part, Place};
use crate::hf::{ImportError, T5Weights};
use crate::kernel::product::{Matrix, Panels, multiply_here};
use crate::kernel::{sum_of, vectorised};

/// `x W`, packed.
pub(super) struct Projection {
    weights: Panels,
    columns: usize,
}

impl Projection {
    /// Parts that have the same input, their outputs side by side.
    pub(super) fn load(
        weights: &T5Weights,
        place: Place,
        parts: &[Part],
    ) -> Result<Self, ImportError> {
        let (mut rows, mut columns) = (Vec::new(), 0);
        let mut depth = 0;
        for &part in parts {
            let parameter = Parameter::Layer(place, part);
            let shape = weights.config().shape(parameter);
            columns += shape[0];
            depth = shape[1];
            rows.extend(weights.read(parameter)?);
        }
        let rows = Matrix::new(&rows, [columns, depth]);
        Ok(Self {
            weights: Panels::pack_in_parallel(rows.transposed()),
            columns,
        })
    }

    /// Number of outputs.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// # Shapes
    ///
    /// - rows: `[rows, depth]`, out: `[rows, columns]`
    pub(super) fn apply(&self, rows: Matrix, out: &mut [f32]) {
        multiply_here(rows, &self.weights, out, self.columns);
    }
}

/// `x / sqrt(mean(x²) + ε) * γ`: the root mean square norm of Zhang and Sennrich (arXiv 1910.07467).
pub(super) struct Norm {
    gamma: Vec<f32>,
    epsilon: f32,
}

impl Norm {
    pub(super) fn load(weights: &T5Weights, parameter: Parameter) -> Result<Self, ImportError> {
        Ok(Self {
            gamma: weights.read(parameter)?,
            epsilon: weights.config().norm_eps as f32,
        })
    }

    /// Width of its rows.
    pub(super) fn width(&self) -> usize {
        self.gamma.len()
    }

    /// `out = norm(rows)`, as a matrix.
    ///
    /// # Shapes
    ///
    /// - rows, out: `[rows, width]`
    pub(super) fn apply<'a>(&self, rows: &[f32], out: &'a mut [f32]) -> Matrix<'a> {
        let width = self.width();
        vectorised(
            #[inline(always)]
            || {
                for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                    let square = sum_of(width, |i| row[i] * row[i]) / width as f32;
                    let factor = 1.0 / (square + self.epsilon).sqrt();
                    for ((y, x), gamma) in out.iter_mut().zip(row).zip(&self.gamma) {
                        *y = x * factor * gamma;
                    }
                }
            },
        );
        Matrix::new(out, [rows.len() / width, width])
    }
}

/// `hidden += rows`.
pub(super) fn add(hidden: &mut [f32], rows: &[f32]) {
    vectorised(
        #[inline(always)]
        || hidden.iter_mut().zip(rows).for_each(|(h, x)| *h += x),
    );
}
