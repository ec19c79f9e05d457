//! Documents of one length, for backends that multiply batches of equal matrices: rows are gathered into a padded
//! form and back, both ways without adding anything up.

use burn::backend::tensor::{Device, FloatTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Shape, TensorData};

use super::Heads;

/// Added to the score of a position that holds no token: its weight becomes 0.
const EXCLUDED: f32 = -1e30;

/// The padded form of a batch.
pub struct Padded {
    docs: usize,
    seq: usize,
    heads: usize,
    /// Row of each padded position; any row where there is no token.
    rows: Vec<i32>,
    /// Padded position of each row.
    positions: Vec<i32>,
    /// Whether a padded position holds a token.
    tokens: Vec<bool>,
}

impl Padded {
    pub fn new(heads: &Heads) -> Self {
        let seq = heads.lengths.iter().copied().max().unwrap_or(0);
        let (mut rows, mut positions, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
        for (doc, &length) in heads.lengths.iter().enumerate() {
            let first = positions.len();
            for position in 0..seq {
                let is_token = position < length;
                rows.push(if is_token {
                    (first + position) as i32
                } else {
                    0
                });
                tokens.push(is_token);
            }
            positions.extend((0..length).map(|position| (doc * seq + position) as i32));
        }
        Self {
            docs: heads.lengths.len(),
            seq,
            heads: heads.count,
            rows,
            positions,
            tokens,
        }
    }

    /// `[tokens, heads * per_head]` to `[docs, heads, seq, per_head]`, with 0 where there is no token.
    pub fn pad<B: Backend>(&self, packed: FloatTensor<B>) -> FloatTensor<B> {
        let [_, width] = packed.shape().dims();
        let device = packed.device();
        let count = self.rows.len();
        let rows = B::int_from_data(TensorData::new(self.rows.clone(), [count]), &device);
        let kept: Vec<f32> = self
            .tokens
            .iter()
            .map(|&token| f32::from(u8::from(token)))
            .collect();
        let kept = B::float_from_data(TensorData::new(kept, [count, 1]), &device);
        let kept = B::float_cast(kept, packed.dtype().into());
        let padded = B::float_mul(B::float_select(packed, 0, rows), kept);
        let shape = Shape::new([self.docs, self.seq, self.heads, width / self.heads]);
        B::float_swap_dims(B::float_reshape(padded, shape), 1, 2)
    }

    /// The way back.
    pub fn unpad<B: Backend>(&self, padded: FloatTensor<B>) -> FloatTensor<B> {
        let [_, _, _, per_head] = padded.shape().dims();
        let device = padded.device();
        let rows = B::float_swap_dims(padded, 1, 2);
        let shape = Shape::new([self.docs * self.seq, self.heads * per_head]);
        let positions = TensorData::new(self.positions.clone(), [self.positions.len()]);
        B::float_select(
            B::float_reshape(rows, shape),
            0,
            B::int_from_data(positions, &device),
        )
    }

    /// What is added to scores: `[docs, 1, 1, seq]`.
    pub fn exclusions<B: Backend>(&self, device: &Device<B>) -> FloatTensor<B> {
        let added: Vec<f32> = self
            .tokens
            .iter()
            .map(|&token| if token { 0.0 } else { EXCLUDED })
            .collect();
        B::float_from_data(TensorData::new(added, [self.docs, 1, 1, self.seq]), device)
    }
}
