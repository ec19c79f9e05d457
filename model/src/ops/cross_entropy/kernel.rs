//! The CPU kernel: tiles of the vocabulary whose logits stay in cache until they are folded or multiplied again.

use std::ops::Range;

use burn::backend::{Flex, TensorMetadata};
use burn::tensor::TensorData;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::CHUNK_LOGITS;
use super::forward::{CrossEntropyPasses, Kept, Losses, Slopes};
use crate::kernel::math::exp;
use crate::kernel::product::{Matrix, Panels, multiply_here, panel_width};
use crate::kernel::{block_rows, largest, sum_of, vectorised};
use crate::ops::floats::{contiguous, tensor, values};
use crate::ops::linear::add_to_rows;
use crate::ops::sparse_head::TILE_WEIGHTS;

/// Rows whose logits of a tile are made together: a multiple of the tallest tile of a product.
const ROWS: usize = 8 * 14;

impl CrossEntropyPasses for Flex {
    fn losses(
        hidden: FlexTensor,
        decoder: FlexTensor,
        bias: FlexTensor,
        targets: FlexTensor,
    ) -> Losses<Self> {
        let [hidden, decoder, bias] = [hidden, decoder, bias].map(contiguous);
        let targets = entries(targets);
        let head = Head::new(&hidden, &decoder, &bias);
        let tiles: Vec<Fold> = head
            .tiles()
            .into_par_iter()
            .map(|columns| Fold::new(&head, columns, &targets))
            .collect();
        let rows = targets.len();
        let mut logits = vec![0.0; rows];
        for tile in &tiles {
            tile.targets.iter().for_each(|&(row, z)| logits[row] = z);
        }
        let (mut log_sums, mut guesses) = (vec![0.0; rows], vec![0; rows]);
        for row in 0..rows {
            (log_sums[row], guesses[row]) = merge(&tiles, row);
        }
        let losses = log_sums.iter().zip(logits).map(|(sum, z)| sum - z);
        Losses {
            losses: tensor(losses.collect(), [rows]),
            log_sums: tensor(log_sums, [rows]),
            guesses: FlexTensor::from_data(TensorData::new(guesses, [rows])),
        }
    }

    fn losses_backward(
        grad: FlexTensor,
        kept: Kept<Self>,
        has_decoder_gradient: bool,
    ) -> Slopes<Self> {
        slopes(grad, &kept, has_decoder_gradient, CHUNK_LOGITS)
    }
}

/// Vocabulary entries as numbers.
fn entries(targets: FlexTensor) -> Vec<usize> {
    let entries = targets.into_data();
    entries.iter::<i64>().map(|entry| entry as usize).collect()
}

/// What makes logits.
struct Head<'a> {
    hidden: Matrix<'a>,
    decoder: Matrix<'a>,
    bias: &'a [f32],
}

impl<'a> Head<'a> {
    fn new(hidden: &'a FlexTensor, decoder: &'a FlexTensor, bias: &'a FlexTensor) -> Self {
        Self {
            hidden: Matrix::new(values(hidden), hidden.shape().dims()),
            decoder: Matrix::new(values(decoder), decoder.shape().dims()),
            bias: values(bias),
        }
    }

    /// The vocabulary in parts whose share of the decoder fits into the second-level cache.
    fn tiles(&self) -> Vec<Range<usize>> {
        let [vocab, width] = self.decoder.shape();
        let columns = (TILE_WEIGHTS / width.max(1)).next_multiple_of(panel_width());
        let firsts = (0..vocab).step_by(columns);
        firsts
            .map(|first| first..vocab.min(first + columns))
            .collect()
    }

    /// Logits of some vocabulary entries, [`ROWS`] rows at a time: `finish` is given the rows and `[rows, columns]`.
    fn logits(
        &self,
        columns: Range<usize>,
        out: &mut [f32],
        mut finish: impl FnMut(Range<usize>, &mut [f32]),
    ) {
        let [rows, _] = self.hidden.shape();
        let panels = Panels::pack(self.decoder.rows(columns.clone()).transposed());
        let width = columns.len();
        // Room for all rows, or for one block that is used again.
        let keeps_all = out.len() == rows * width;
        for first in (0..rows).step_by(ROWS) {
            let range = first..rows.min(first + ROWS);
            let start = if keeps_all { first * width } else { 0 };
            let out = &mut out[start..start + range.len() * width];
            multiply_here(self.hidden.rows(range.clone()), &panels, out, width);
            vectorised(
                #[inline(always)]
                || add_to_rows(out, &self.bias[columns.clone()]),
            );
            finish(range, out);
        }
    }
}

/// What is known of each row after one tile of the vocabulary.
struct Fold {
    /// The largest logit.
    maxima: Vec<f32>,
    /// Where it is.
    places: Vec<i32>,
    /// `Σ exp(z - maximum)`.
    sums: Vec<f32>,
    /// Rows whose target is in the tile, with its logit.
    targets: Vec<(usize, f32)>,
}

impl Fold {
    fn new(head: &Head, columns: Range<usize>, targets: &[usize]) -> Self {
        let rows = targets.len();
        let width = columns.len();
        let mut fold = Self {
            maxima: Vec::with_capacity(rows),
            places: Vec::with_capacity(rows),
            sums: Vec::with_capacity(rows),
            targets: Vec::new(),
        };
        let mut scratch = vec![0.0; rows.min(ROWS) * width];
        head.logits(columns.clone(), &mut scratch, |range, logits| {
            for (row, logits) in range.zip(logits.chunks_exact(width)) {
                fold.add(logits, columns.start);
                if columns.contains(&targets[row]) {
                    fold.targets
                        .push((row, logits[targets[row] - columns.start]));
                }
            }
        });
        fold
    }

    fn add(&mut self, logits: &[f32], first: usize) {
        let (maximum, sum) = vectorised(
            #[inline(always)]
            || {
                let maximum = largest(logits);
                let sum = sum_of(logits.len(), |column| exp(logits[column] - maximum));
                (maximum, sum)
            },
        );
        let place = logits.iter().position(|&z| z == maximum).unwrap_or(0);
        self.maxima.push(maximum);
        self.sums.push(sum);
        self.places.push((first + place) as i32);
    }
}

/// `log Σ exp(z)` of a row over all tiles, and the first place of its largest logit.
fn merge(tiles: &[Fold], row: usize) -> (f32, i32) {
    let (mut maximum, mut place) = (f32::MIN, 0);
    for tile in tiles {
        if tile.maxima[row] > maximum {
            (maximum, place) = (tile.maxima[row], tile.places[row]);
        }
    }
    let relative = |tile: &Fold| f64::from(tile.maxima[row] - maximum).exp();
    let sum: f64 = tiles
        .iter()
        .map(|tile| f64::from(tile.sums[row]) * relative(tile))
        .sum();
    ((f64::from(maximum) + sum.ln()) as f32, place)
}

/// The backward pass with about `chunk_logits` logits in memory.
///
/// Tiles of the vocabulary are shared out among the threads, as many at a time as the logits allow: each owns its rows of
/// the decoder's gradient. Then each thread adds those tiles' parts to its own rows of the hidden states' gradient, in
/// ascending order: one result, whatever the number of threads and of tiles at a time.
pub(super) fn slopes(
    grad: FlexTensor,
    kept: &Kept<Flex>,
    has_decoder_gradient: bool,
    chunk_logits: usize,
) -> Slopes<Flex> {
    let [grad, hidden, decoder, bias, log_sums] = [
        grad,
        kept.hidden.clone(),
        kept.decoder.clone(),
        kept.bias.clone(),
        kept.log_sums.clone(),
    ]
    .map(contiguous);
    let head = Head::new(&hidden, &decoder, &bias);
    let ([rows, width], [vocab, _]) = (head.hidden.shape(), head.decoder.shape());
    let targets = entries(kept.targets.clone());
    let states = has_decoder_gradient.then(|| Panels::pack_in_parallel(head.hidden));
    let pass = Pass {
        grad: values(&grad),
        log_sums: values(&log_sums),
        targets: &targets,
        states: states.as_ref(),
        head,
    };
    let mut grad_bias = vec![0.0; vocab];
    let mut grad_decoder = vec![
        0.0;
        if has_decoder_gradient {
            vocab * width
        } else {
            0
        }
    ];
    let mut grad_hidden = vec![0.0; rows * width];

    let tiles = pass.head.tiles();
    let columns = tiles.first().map_or(1, Range::len);
    let at_a_time = (chunk_logits / (rows * columns).max(1)).max(rayon::current_num_threads());
    let mut tasks: Vec<Task> = tiles
        .into_iter()
        .zip(grad_bias.chunks_mut(columns))
        .map(|(columns, grad_bias)| Task {
            columns,
            grad_bias,
            grad_decoder: None,
        })
        .collect();
    let chunks = grad_decoder.chunks_mut((columns * width).max(1));
    for (task, chunk) in tasks.iter_mut().zip(chunks) {
        task.grad_decoder = Some(chunk);
    }
    for tasks in tasks.chunks_mut(at_a_time) {
        let tiles: Vec<Tile> = tasks.par_iter_mut().map(|task| pass.tile(task)).collect();
        add_to_hidden(&mut grad_hidden, rows, width, &tiles);
    }
    (
        tensor(grad_hidden, [rows, width]),
        has_decoder_gradient.then(|| tensor(grad_decoder, [vocab, width])),
        tensor(grad_bias, [vocab]),
    )
}

/// What all tiles of a backward pass read.
struct Pass<'a> {
    head: Head<'a>,
    /// `[rows]`: of the losses.
    grad: &'a [f32],
    /// `[rows]`
    log_sums: &'a [f32],
    /// `[rows]`
    targets: &'a [usize],
    /// The hidden states, packed; `None` where the decoder gets no gradient.
    states: Option<&'a Panels>,
}

/// One tile and its share of the outputs.
struct Task<'a> {
    columns: Range<usize>,
    grad_bias: &'a mut [f32],
    grad_decoder: Option<&'a mut [f32]>,
}

/// What the hidden states' gradient needs of a tile.
struct Tile {
    /// `[rows, columns]`: `dloss (softmax(z) - onehot(target))`.
    slopes: Vec<f32>,
    /// Its rows of the decoder.
    decoder: Panels,
}

impl Pass<'_> {
    fn tile(&self, task: &mut Task) -> Tile {
        let Task {
            columns,
            grad_bias,
            grad_decoder,
        } = task;
        let (rows, width) = (self.targets.len(), columns.len());
        let mut slopes = vec![0.0; rows * width];
        self.head
            .logits(columns.clone(), &mut slopes, |range, logits| {
                for (row, logits) in range.zip(logits.chunks_exact_mut(width)) {
                    self.to_slopes(row, logits);
                    if columns.contains(&self.targets[row]) {
                        logits[self.targets[row] - columns.start] -= self.grad[row];
                    }
                    let sums = grad_bias.iter_mut().zip(logits);
                    sums.for_each(|(sum, slope)| *sum += *slope);
                }
            });
        if let (Some(out), Some(states)) = (grad_decoder, self.states) {
            let [_, depth] = self.head.hidden.shape();
            let left = Matrix::new(&slopes, [rows, width]).transposed();
            multiply_here(left, states, out, depth);
        }
        Tile {
            slopes,
            decoder: Panels::pack(self.head.decoder.rows(columns.clone())),
        }
    }

    /// `dloss softmax(z)` in the place of `z`.
    fn to_slopes(&self, row: usize, logits: &mut [f32]) {
        let (grad, log_sum) = (self.grad[row], self.log_sums[row]);
        vectorised(
            #[inline(always)]
            || {
                logits
                    .iter_mut()
                    .for_each(|z| *z = grad * exp(*z - log_sum))
            },
        );
    }
}

/// `grad_hidden += slopes · decoder` of each tile.
fn add_to_hidden(grad_hidden: &mut [f32], rows: usize, width: usize, tiles: &[Tile]) {
    let block = block_rows(rows);
    grad_hidden
        .par_chunks_mut((block * width).max(1))
        .with_max_len(1)
        .enumerate()
        .for_each(|(task, out)| {
            let range = task * block..rows.min((task + 1) * block);
            let mut product = vec![0.0; out.len()];
            for tile in tiles {
                let columns = tile.slopes.len() / rows;
                let slopes = Matrix::new(&tile.slopes, [rows, columns]).rows(range.clone());
                multiply_here(slopes, &tile.decoder, &mut product, width);
                vectorised(
                    #[inline(always)]
                    || {
                        out.iter_mut()
                            .zip(&product)
                            .for_each(|(to, from)| *to += from)
                    },
                );
            }
        });
}
