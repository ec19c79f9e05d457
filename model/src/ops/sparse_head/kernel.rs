//! The CPU kernel: logits live in registers, where the maximum is folded in as soon as their sums are complete.

use std::ops::Range;

use burn::backend::{Flex, TensorMetadata};
use burn::tensor::TensorData;
use burn_flex::FlexTensor;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::forward::PoolLogits;
use crate::kernel::product::{Matrix, Panels, panel_width, tile};
use crate::kernel::{split_rows, vectorised};
use crate::ops::floats::{contiguous, tensor, values};

/// Decoder weights of a task, in numbers: 384 KiB, which fit beside a document in a 1 MiB second-level cache.
pub(crate) const TILE_WEIGHTS: usize = 96 * 1024;

/// Vocabulary entries of a task of the backward pass.
const TOKENS: usize = 256;

impl PoolLogits for Flex {
    fn pool(
        hidden: FlexTensor,
        decoder: FlexTensor,
        bias: FlexTensor,
        lengths: &[usize],
    ) -> FlexTensor {
        let shape = [lengths.len(), bias.shape().dims::<1>()[0]];
        let mut pooled = vec![0.0; shape[0] * shape[1]];
        for tile in pool_tiles::<false>(hidden, decoder, bias, lengths) {
            tile.copy(&tile.values, &mut pooled, shape[1]);
        }
        tensor(pooled, shape)
    }

    fn pool_logits(
        hidden: FlexTensor,
        decoder: FlexTensor,
        bias: FlexTensor,
        lengths: &[usize],
    ) -> (FlexTensor, FlexTensor) {
        let shape = [lengths.len(), bias.shape().dims::<1>()[0]];
        let mut pooled = vec![0.0; shape[0] * shape[1]];
        let mut positions = vec![0; shape[0] * shape[1]];
        for tile in pool_tiles::<true>(hidden, decoder, bias, lengths) {
            tile.copy(&tile.values, &mut pooled, shape[1]);
            tile.copy(&tile.positions, &mut positions, shape[1]);
        }
        let positions = FlexTensor::from_data(TensorData::new(positions, shape));
        (tensor(pooled, shape), positions)
    }

    fn pool_logits_backward(
        grad: FlexTensor,
        positions: FlexTensor,
        hidden: FlexTensor,
        decoder: FlexTensor,
        lengths: &[usize],
    ) -> [FlexTensor; 3] {
        let [rows, width] = hidden.shape().dims();
        let [vocab, _] = decoder.shape().dims();
        let positions = positions.to_contiguous();
        let positions: &[i32] = positions
            .as_slice()
            .expect("a contiguous tensor of positions");
        let [grad, hidden, decoder] = [grad, hidden, decoder].map(contiguous);
        let (grad, states, decoder) = (values(&grad), values(&hidden), values(&decoder));
        let firsts = first_rows(lengths);

        // Each thread owns rows of its output and adds in ascending order: no locks, one result.
        let mut grad_decoder = vec![0.0f32; vocab * width];
        let mut grad_bias = vec![0.0f32; vocab];
        grad_decoder
            .par_chunks_mut(TOKENS * width)
            .zip(grad_bias.par_chunks_mut(TOKENS))
            .enumerate()
            .for_each(|(task, (rows, biases))| {
                vectorised(
                    #[inline(always)]
                    || {
                        let rows = rows.chunks_exact_mut(width).zip(biases).enumerate();
                        for (token, (row, bias)) in rows {
                            row.fill(0.0); // fresh memory that is read first is mapped twice
                            for (doc, first) in firsts.iter().enumerate() {
                                let index = doc * vocab + task * TOKENS + token;
                                if grad[index] != 0.0 {
                                    let state =
                                        &states[(first + positions[index] as usize) * width..];
                                    *bias += grad[index];
                                    add_scaled(row, grad[index], &state[..width]);
                                }
                            }
                        }
                    },
                );
            });

        let mut grad_hidden = vec![0.0f32; rows * width];
        split_rows(&mut grad_hidden, lengths, width)
            .into_par_iter()
            .enumerate()
            .for_each(|(doc, states)| {
                vectorised(
                    #[inline(always)]
                    || {
                        for token in 0..vocab {
                            let index = doc * vocab + token;
                            if grad[index] != 0.0 {
                                let state =
                                    &mut states[positions[index] as usize * width..][..width];
                                add_scaled(state, grad[index], &decoder[token * width..][..width]);
                            }
                        }
                    },
                );
            });
        [
            tensor(grad_hidden, [rows, width]),
            tensor(grad_decoder, [vocab, width]),
            tensor(grad_bias, [vocab]),
        ]
    }
}

/// `row += scale * source`.
#[inline(always)]
fn add_scaled(row: &mut [f32], scale: f32, source: &[f32]) {
    for (to, from) in row.iter_mut().zip(source) {
        *to += scale * from;
    }
}

/// The first row of each document.
fn first_rows(lengths: &[usize]) -> Vec<usize> {
    let starts = lengths.iter().scan(0, |next, &length| {
        let first = *next;
        *next += length;
        Some(first)
    });
    starts.collect()
}

/// The maxima of one range of the vocabulary, for all documents.
struct Tile {
    first: usize,
    width: usize,
    /// `[docs, width]`
    values: Vec<f32>,
    /// `[docs, width]`; empty where not asked for.
    positions: Vec<i32>,
}

impl Tile {
    /// Puts `part` (`[docs, width]`) where it belongs in `[docs, vocab]`.
    fn copy<T: Copy>(&self, part: &[T], whole: &mut [T], vocab: usize) {
        for (row, whole) in part
            .chunks_exact(self.width)
            .zip(whole.chunks_exact_mut(vocab))
        {
            whole[self.first..self.first + self.width].copy_from_slice(row);
        }
    }
}

fn pool_tiles<const POSITIONS: bool>(
    hidden: FlexTensor,
    decoder: FlexTensor,
    bias: FlexTensor,
    lengths: &[usize],
) -> Vec<Tile> {
    let [vocab, width] = decoder.shape().dims();
    let [hidden, decoder, bias] = [hidden, decoder, bias].map(contiguous);
    let decoder = Matrix::new(values(&decoder), [vocab, width]);
    let (hidden, bias) = (values(&hidden), values(&bias));
    let columns = (TILE_WEIGHTS / width.max(1)).next_multiple_of(panel_width());
    (0..vocab)
        .into_par_iter()
        .step_by(columns)
        .map(|first| {
            let range = first..(first + columns).min(vocab);
            let mut tile = Tile {
                first,
                width: range.len(),
                values: vec![0.0; lengths.len() * range.len()],
                positions: vec![
                    0;
                    if POSITIONS {
                        lengths.len() * range.len()
                    } else {
                        0
                    }
                ],
            };
            let panels = Panels::pack(decoder.rows(range.clone()).transposed());
            Fold::<POSITIONS> {
                hidden,
                depth: width,
                decoder: &panels,
                panels: 0..panels.count(),
                bias: &bias[range],
                lengths,
                values: &mut tile.values,
                positions: &mut tile.positions,
            }
            .run();
            tile
        })
        .collect()
}

/// Folds all documents into some panels of the vocabulary.
pub(crate) struct Fold<'a, const POSITIONS: bool> {
    /// `[tokens, depth]`
    pub hidden: &'a [f32],
    /// Width of a hidden state.
    pub depth: usize,
    /// `[depth, columns]`
    pub decoder: &'a Panels,
    /// Which of its panels.
    pub panels: Range<usize>,
    /// `[columns]`
    pub bias: &'a [f32],
    /// Of each document.
    pub lengths: &'a [usize],
    /// `[docs, columns]`
    pub values: &'a mut [f32],
    /// `[docs, columns]`, where asked for.
    pub positions: &'a mut [i32],
}

impl<const POSITIONS: bool> Fold<'_, POSITIONS> {
    /// Writes `relu(max over tokens of logits)` and the first position that holds the maximum.
    pub fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl<const POSITIONS: bool> WithSimd for Fold<'_, POSITIONS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let columns = self.bias.len();
        let mut first = 0;
        for (doc, &length) in self.lengths.iter().enumerate() {
            let states = &self.hidden[first * self.depth..][..length * self.depth];
            first += length;
            for index in self.panels.clone() {
                let mut best = Best::new(simd);
                let panel = self.decoder.panel(index);
                let mut row = 0;
                if S::REGISTER_COUNT == 32 {
                    self.rows::<S, 14>(simd, states, panel, &mut row, &mut best);
                } else {
                    self.rows::<S, 6>(simd, states, panel, &mut row, &mut best);
                }
                self.rows::<S, 4>(simd, states, panel, &mut row, &mut best);
                self.rows::<S, 1>(simd, states, panel, &mut row, &mut best);
                for half in 0..2 {
                    let start = (2 * index + half) * S::F32_LANES;
                    let end = (start + S::F32_LANES).min(columns);
                    if start < end {
                        self.store(simd, doc * columns, start..end, &best, half);
                    }
                }
            }
        }
    }
}

impl<const POSITIONS: bool> Fold<'_, POSITIONS> {
    #[inline(always)]
    fn store<S: Simd>(
        &mut self,
        simd: S,
        row: usize,
        columns: Range<usize>,
        best: &Best<S>,
        half: usize,
    ) {
        let to = row + columns.start..row + columns.end;
        let bias = simd.partial_load_f32s(&self.bias[columns]);
        let logits = simd.add_f32s(best.values[half], bias);
        let values = simd.max_f32s(logits, simd.splat_f32s(0.0));
        simd.partial_store_f32s(&mut self.values[to.clone()], values);
        if POSITIONS {
            let positions = simd.transmute_i32s_u32s(best.positions[half]);
            simd.partial_store_i32s(&mut self.positions[to], positions);
        }
    }

    /// As many of a document's tokens from `row` as come in tiles of `ROWS`.
    #[inline(always)]
    fn rows<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        states: &[f32],
        panel: &[f32],
        row: &mut usize,
        best: &mut Best<S>,
    ) {
        while (*row + ROWS) * self.depth <= states.len() {
            let left = &states[*row * self.depth..];
            let logits = tile::<S, ROWS, false>(simd, left, self.depth, panel, self.depth);
            for (i, logits) in logits.into_iter().enumerate() {
                best.fold::<POSITIONS>(simd, logits, (*row + i) as u32);
            }
            *row += ROWS;
        }
    }
}

/// Running maxima of a panel and, where asked for, the positions that hold them.
struct Best<S: Simd> {
    values: [S::f32s; 2],
    positions: [S::u32s; 2],
}

impl<S: Simd> Best<S> {
    #[inline(always)]
    fn new(simd: S) -> Self {
        Self {
            values: [simd.splat_f32s(f32::NEG_INFINITY); 2],
            positions: [simd.splat_u32s(0); 2],
        }
    }

    /// A strictly greater logit wins, so ties go to the first position.
    #[inline(always)]
    fn fold<const POSITIONS: bool>(&mut self, simd: S, logits: [S::f32s; 2], position: u32) {
        for (half, logit) in logits.into_iter().enumerate() {
            let best = &mut self.values[half];
            if POSITIONS {
                let wins = simd.less_than_f32s(*best, logit);
                let at = &mut self.positions[half];
                *at = simd.select_u32s(wins, simd.splat_u32s(position), *at);
                *best = simd.select_f32s(wins, logit, *best);
            } else {
                *best = simd.max_f32s(*best, logit);
            }
        }
    }
}
