//! Linear layers and LayerNorm over rows in slices.

use burn::nn::{LayerNorm, Linear};

use super::floats;
use crate::kernel::math::gelu;
use crate::kernel::product::{Matrix, Panels, multiply_here};
use crate::kernel::reduced::{Rows, Weights};
use crate::kernel::vectorised;
use crate::ops::add_norm::normalise;
use crate::ops::linear::add_to_rows;
use crate::precision::Precision;

/// The right-hand side of a product, packed.
pub(super) enum Packed {
    Float32(Panels),
    Reduced(Weights),
}

impl Packed {
    pub(super) fn new(right: Matrix, precision: Precision) -> Self {
        match Weights::pack(right, precision) {
            Some(weights) => Self::Reduced(weights),
            None => Self::Float32(Panels::pack_in_parallel(right)),
        }
    }
}

/// `x W + b`, b being 0 where a layer has none.
pub(super) struct Projection {
    weights: Packed,
    bias: Vec<f32>,
    /// Width of x.
    depth: usize,
}

impl Projection {
    /// Layers that have the same input, their outputs side by side.
    pub(super) fn pack(layers: &[&Linear], precision: Precision) -> Self {
        let depth = layers[0].weight.shape()[0];
        let mut bias = Vec::new();
        for layer in layers {
            bias.extend(match &layer.bias {
                Some(bias) => floats(bias),
                None => vec![0.0; layer.weight.shape()[1]],
            });
        }
        let weights: Vec<Vec<f32>> = layers.iter().map(|layer| floats(&layer.weight)).collect();
        let mut rows = Vec::with_capacity(depth * bias.len());
        for row in 0..depth {
            for weight in &weights {
                let columns = weight.len() / depth;
                rows.extend(&weight[row * columns..][..columns]);
            }
        }
        let matrix = Matrix::new(&rows, [depth, bias.len()]);
        Self {
            weights: Packed::new(matrix, precision),
            bias,
            depth,
        }
    }

    /// Number of outputs.
    pub(super) fn columns(&self) -> usize {
        self.bias.len()
    }

    /// # Shapes
    ///
    /// - rows: `[rows, depth]`, out: `[rows, columns]`
    pub(super) fn apply(&self, rows: &[f32], out: &mut [f32], rounded: &mut Rows) {
        match &self.weights {
            Packed::Float32(panels) => {
                let rows = Matrix::new(rows, [rows.len() / self.depth, self.depth]);
                multiply_here(rows, panels, out, self.columns());
            }
            Packed::Reduced(weights) => {
                weights.round(rows, self.depth, rounded);
                weights.multiply_here(rounded, out);
            }
        }
        vectorised(
            #[inline(always)]
            || add_to_rows(out, &self.bias),
        );
    }
}

/// Replaces every value by its gelu.
pub(super) fn gelu_of(values: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || values.iter_mut().for_each(|x| *x = gelu(*x)),
    );
}

/// LayerNorm.
pub(super) struct Norm {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    epsilon: f32,
}

impl Norm {
    pub(super) fn new(norm: &LayerNorm, epsilon: f64) -> Self {
        let gamma = floats(&norm.gamma);
        Self {
            beta: match &norm.beta {
                Some(beta) => floats(beta),
                None => vec![0.0; gamma.len()],
            },
            gamma,
            epsilon: epsilon as f32,
        }
    }

    /// `out = LayerNorm(rows)`.
    pub(super) fn apply(&self, rows: &[f32], out: &mut [f32]) {
        let width = self.gamma.len();
        vectorised(
            #[inline(always)]
            || {
                for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                    normalise(row, out, self.epsilon);
                    for ((y, gamma), beta) in out.iter_mut().zip(&self.gamma).zip(&self.beta) {
                        *y = *y * gamma + beta;
                    }
                }
            },
        );
    }

    /// `hidden = LayerNorm(hidden + rows)`; the rows become the sums.
    pub(super) fn add(&self, rows: &mut [f32], hidden: &mut [f32]) {
        vectorised(
            #[inline(always)]
            || rows.iter_mut().zip(&*hidden).for_each(|(x, h)| *x += h),
        );
        self.apply(rows, hidden);
    }
}
