//! The decoder with the maximum over each text's tokens: logits never leave the registers.

use std::sync::Arc;

use super::projection::Packed;
use crate::kernel::product::Matrix;
use crate::kernel::reduced::{PANEL, Rows, Winners};
use crate::kernel::{sum_of, vectorised};
use crate::ops::sparse_head::{Fold, TILE_WEIGHTS};
use crate::precision::Precision;

/// A logit that less precision finds below this is negative in float32 too: many times the error that rounding makes.
const SURELY_NEGATIVE: f32 = -0.5;

/// Panels of rounded weights that stay in cache while they meet all texts.
const PANELS: usize = 8;

/// Decoder and bias.
pub(super) struct Decoder {
    weights: Packed,
    /// `[vocab, hidden]`
    table: Arc<Vec<f32>>,
    /// `[vocab]`
    bias: Vec<f32>,
}

impl Decoder {
    pub(super) fn pack(table: Arc<Vec<f32>>, bias: Vec<f32>, precision: Precision) -> Self {
        let vocab = bias.len();
        let rows = Matrix::new(&table, [vocab, table.len() / vocab.max(1)]);
        Self {
            weights: Packed::new(rows.transposed(), precision),
            table,
            bias,
        }
    }

    pub(super) fn vocab(&self) -> usize {
        self.bias.len()
    }

    /// `relu(max over the tokens of each text of their logits)`.
    ///
    /// Below float32, winners are found with rounded numbers and their logits computed again in float32.
    ///
    /// # Shapes
    ///
    /// - hidden: `[tokens, hidden]`, pooled: `[texts, vocab]`
    pub(super) fn pool(
        &self,
        hidden: &[f32],
        lengths: &[usize],
        pooled: &mut [f32],
        rounded: &mut Rows,
    ) {
        let width = self.table.len() / self.vocab().max(1);
        let weights = match &self.weights {
            Packed::Reduced(weights) => weights,
            Packed::Float32(decoder) => {
                let step = (TILE_WEIGHTS / (width * decoder.width())).max(1);
                for first in (0..decoder.count()).step_by(step) {
                    Fold::<false> {
                        hidden,
                        depth: width,
                        decoder,
                        panels: first..(first + step).min(decoder.count()),
                        bias: &self.bias,
                        lengths,
                        values: pooled,
                        positions: &mut [],
                    }
                    .run();
                }
                return;
            }
        };
        weights.round(hidden, width, rounded);
        for first in (0..weights.panels()).step_by(PANELS) {
            let panels = first..(first + PANELS).min(weights.panels());
            let mut row = 0;
            for (&length, pooled) in lengths.iter().zip(pooled.chunks_exact_mut(self.vocab())) {
                let rows = row..row + length;
                row = rows.end;
                for panel in panels.clone() {
                    let winners = weights.winners(rounded, rows.clone(), panel);
                    let tokens = panel * PANEL..((panel + 1) * PANEL).min(self.vocab());
                    self.score(hidden, &winners, tokens.start, &mut pooled[tokens]);
                }
            }
        }
    }

    /// The winners' logits in float32.
    fn score(&self, hidden: &[f32], winners: &Winners, first: usize, pooled: &mut [f32]) {
        let width = self.table.len() / self.vocab();
        vectorised(
            #[inline(always)]
            || {
                for (lane, pooled) in pooled.iter_mut().enumerate() {
                    let token = first + lane;
                    *pooled = 0.0;
                    if winners.products[lane] + self.bias[token] >= SURELY_NEGATIVE {
                        let state = &hidden[winners.rows[lane] as usize * width..][..width];
                        let entry = &self.table[token * width..][..width];
                        let product = sum_of(width, |i| state[i] * entry[i]);
                        *pooled = (product + self.bias[token]).max(0.0);
                    }
                }
            },
        );
    }
}
