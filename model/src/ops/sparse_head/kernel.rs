//! The CPU kernel: matrix products in tiles that stay in cache, the maximum folded in at once.

use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{DType, TensorData};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::forward::PoolLogits;

/// Vocabulary entries per tile: with 256 tokens, logits of 256 KiB, which fit beside the decoder's rows in a
/// 1 MiB second-level cache.
const TILE: usize = 256;

impl PoolLogits for Flex {
    fn pool_logits(
        hidden: FlexTensor,
        decoder: FlexTensor,
        bias: FlexTensor,
        lengths: &[usize],
    ) -> (FlexTensor, FlexTensor) {
        let [docs, seq, width] = hidden.shape().dims();
        let [vocab] = bias.shape().dims();
        let (hidden, decoder, bias) = (floats(hidden), floats(decoder), floats(bias));
        let (hidden, decoder, bias) = (hidden.storage(), decoder.storage(), bias.storage());
        let tiles: Vec<Tile> = (0..vocab)
            .into_par_iter()
            .step_by(TILE)
            .map(|start| {
                let end = (start + TILE).min(vocab);
                let mut tile = Tile::new(docs, end - start, seq);
                for (doc, &length) in lengths.iter().enumerate() {
                    let states = &hidden[doc * seq * width..][..length * width];
                    tile.fold(
                        doc,
                        states,
                        &decoder[start * width..end * width],
                        &bias[start..end],
                    );
                }
                tile
            })
            .collect();

        let mut values = vec![0.0f32; docs * vocab];
        let mut positions = vec![0i32; docs * vocab];
        for (index, tile) in tiles.iter().enumerate() {
            for doc in 0..docs {
                let to = doc * vocab + index * TILE;
                let from = doc * tile.width..(doc + 1) * tile.width;
                values[to..to + tile.width].copy_from_slice(&tile.values[from.clone()]);
                positions[to..to + tile.width].copy_from_slice(&tile.positions[from]);
            }
        }
        let shape = [docs, vocab];
        (
            FlexTensor::from_data(TensorData::new(values, shape)),
            FlexTensor::from_data(TensorData::new(positions, shape)),
        )
    }

    fn pool_logits_backward(
        grad: FlexTensor,
        positions: FlexTensor,
        hidden: FlexTensor,
        decoder: FlexTensor,
    ) -> [FlexTensor; 3] {
        let [docs, seq, width] = hidden.shape().dims();
        let [vocab, _] = decoder.shape().dims();
        let (grad, positions) = (floats(grad), positions.to_contiguous());
        let (hidden, decoder) = (floats(hidden), floats(decoder));
        let (grad, positions) = (grad.storage::<f32>(), positions.storage::<i32>());
        let (hidden, decoder) = (hidden.storage::<f32>(), decoder.storage::<f32>());

        // Each thread owns rows of its output and adds in ascending order: no locks, one result.
        let mut grad_decoder = vec![0.0f32; vocab * width];
        let mut grad_bias = vec![0.0f32; vocab];
        grad_decoder
            .par_chunks_mut(width)
            .zip(grad_bias.par_iter_mut())
            .enumerate()
            .with_min_len(TILE)
            .for_each(|(token, (row, bias))| {
                for doc in 0..docs {
                    let gradient = grad[doc * vocab + token];
                    if gradient != 0.0 {
                        let position = positions[doc * vocab + token] as usize;
                        *bias += gradient;
                        add_scaled(
                            row,
                            gradient,
                            &hidden[(doc * seq + position) * width..][..width],
                        );
                    }
                }
            });

        let mut grad_hidden = vec![0.0f32; docs * seq * width];
        grad_hidden
            .par_chunks_mut(seq * width)
            .enumerate()
            .for_each(|(doc, states)| {
                for token in 0..vocab {
                    let gradient = grad[doc * vocab + token];
                    if gradient != 0.0 {
                        let position = positions[doc * vocab + token] as usize;
                        let state = &mut states[position * width..][..width];
                        add_scaled(state, gradient, &decoder[token * width..][..width]);
                    }
                }
            });
        [
            FlexTensor::from_data(TensorData::new(grad_hidden, [docs, seq, width])),
            FlexTensor::from_data(TensorData::new(grad_decoder, [vocab, width])),
            FlexTensor::from_data(TensorData::new(grad_bias, [vocab])),
        ]
    }
}

/// Contiguous float32 storage that begins at element 0.
fn floats(tensor: FlexTensor) -> FlexTensor {
    assert_eq!(tensor.dtype(), DType::F32, "the CPU computes in float32");
    tensor.to_contiguous()
}

/// `row += scale * source`.
fn add_scaled(row: &mut [f32], scale: f32, source: &[f32]) {
    for (to, from) in row.iter_mut().zip(source) {
        *to += scale * from;
    }
}

/// The running maxima of one range of the vocabulary, for all documents.
struct Tile {
    width: usize,
    /// `[docs, width]`
    values: Vec<f32>,
    /// `[docs, width]`
    positions: Vec<i32>,
    /// `[seq, width]`, one document's logits.
    logits: Vec<f32>,
}

impl Tile {
    fn new(docs: usize, width: usize, seq: usize) -> Self {
        Self {
            width,
            values: vec![0.0; docs * width],
            positions: vec![0; docs * width],
            logits: vec![0.0; seq * width],
        }
    }

    /// Folds one document's tokens into its row; a strictly greater logit wins, so ties go to the first position.
    fn fold(&mut self, doc: usize, states: &[f32], decoder: &[f32], bias: &[f32]) {
        let depth = decoder.len() / self.width;
        let length = states.len() / depth;
        product(
            states,
            decoder,
            &mut self.logits[..length * self.width],
            [length, depth, self.width],
        );
        let row = doc * self.width..(doc + 1) * self.width;
        let values = &mut self.values[row.clone()];
        let positions = &mut self.positions[row];
        for (position, logits) in self.logits[..length * self.width]
            .chunks_exact(self.width)
            .enumerate()
        {
            for (((value, at), logit), bias) in values
                .iter_mut()
                .zip(positions.iter_mut())
                .zip(logits)
                .zip(bias)
            {
                let logit = logit + bias;
                let wins = logit > *value;
                *value = if wins { logit } else { *value };
                *at = if wins { position as i32 } else { *at };
            }
        }
    }
}

/// `out[m, n] = left[m, k] · right[n, k]ᵀ` on this thread.
#[allow(unsafe_code)]
fn product(left: &[f32], right: &[f32], out: &mut [f32], [m, k, n]: [usize; 3]) {
    assert_eq!([left.len(), right.len(), out.len()], [m * k, n * k, m * n]);
    let (k_stride, n_stride) = (k as isize, n as isize);
    // SAFETY: the assertion makes every element that the strides address lie inside its slice, and `out` is
    // borrowed mutably, so it overlaps neither input.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n_stride,
            false,
            left.as_ptr(),
            1,
            k_stride,
            right.as_ptr(),
            k_stride,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
