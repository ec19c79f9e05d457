//! The CPU kernel in less precision: winners are found with rounded numbers, and their logits computed again in float32.

use burn::backend::TensorMetadata;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::kernel::first_rows;
use crate::kernel::product::Matrix;
use crate::kernel::reduced::{Activations, PANEL, Weights};
use crate::kernel::{sum_of, vectorised};
use crate::ops::floats::{contiguous, values};
use crate::precision::Precision;

/// A logit that less precision finds below this is negative in float32 too: many times the error that rounding makes.
const SURELY_NEGATIVE: f32 = -0.5;

/// Finds winners in less precision and computes their logits again in float32; `pooled` is `[docs, vocab]`.
pub(super) fn pool_reduced(
    pooled: &mut [f32],
    [hidden, decoder, bias]: [FlexTensor; 3],
    lengths: &[usize],
    precision: Precision,
) {
    let [vocab, width] = decoder.shape().dims();
    let [hidden, decoder, bias] = [hidden, decoder, bias].map(contiguous);
    let (hidden, decoder, bias) = (values(&hidden), values(&decoder), values(&bias));
    let right = Matrix::new(decoder, [vocab, width]).transposed();
    let weights = Weights::pack(right, precision).expect("a precision below float32");
    let states = weights.round(hidden, width);
    let firsts = first_rows(lengths);
    let score = |doc: usize, panel: usize| {
        let rows = firsts[doc]..firsts[doc] + lengths[doc];
        let (best, at) = winners(&weights, &states, rows, panel);
        let start = panel * PANEL;
        std::array::from_fn(|lane| {
            let token = start + lane;
            if token >= vocab || best[lane] + bias[token] < SURELY_NEGATIVE {
                return 0.0;
            }
            let state = &hidden[at[lane] as usize * width..][..width];
            let entry = &decoder[token * width..][..width];
            (sum_of(width, |i| state[i] * entry[i]) + bias[token]).max(0.0)
        })
    };
    // A task is a few panels, which stay in cache, for all documents.
    const PANELS: usize = 8;
    let tasks: Vec<Vec<[f32; PANEL]>> = (0..weights.panels())
        .into_par_iter()
        .step_by(PANELS)
        .map(|first| {
            let panels = first..(first + PANELS).min(weights.panels());
            vectorised(|| {
                let docs = 0..lengths.len();
                docs.flat_map(|doc| panels.clone().map(move |panel| (doc, panel)))
                    .map(|(doc, panel)| score(doc, panel))
                    .collect()
            })
        })
        .collect();
    for (task, scores) in tasks.iter().enumerate() {
        let panels = scores.len() / lengths.len().max(1);
        for (doc, row) in pooled.chunks_exact_mut(vocab).enumerate() {
            let start = task * PANELS * PANEL;
            let end = (start + panels * PANEL).min(vocab);
            let found = scores[doc * panels..(doc + 1) * panels].as_flattened();
            row[start..end].copy_from_slice(&found[..end - start]);
        }
    }
}

/// The largest products of a panel with `rows`, and the first row that has each.
#[inline(always)]
fn winners(
    weights: &Weights,
    states: &Activations,
    rows: std::ops::Range<usize>,
    panel: usize,
) -> ([f32; PANEL], [u32; PANEL]) {
    let mut best = [f32::NEG_INFINITY; PANEL];
    let mut at = [0; PANEL];
    weights.for_each_tile(states, rows, panel, |first, tile| {
        for (i, logits) in tile.iter().enumerate() {
            for ((best, at), logit) in best.iter_mut().zip(&mut at).zip(logits) {
                let wins = *logit > *best;
                *best = if wins { *logit } else { *best };
                *at = if wins { (first + i) as u32 } else { *at };
            }
        }
    });
    (best, at)
}
