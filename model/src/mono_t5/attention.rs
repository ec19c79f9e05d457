//! T5's attention of one head: scores are products as they are, not divided by the root of the width, plus a bias.

use super::position_bias::HeadBias;
use crate::inference::sized;
use crate::kernel::math::exp;
use crate::kernel::product::{Matrix, Panels, multiply_here};
use crate::kernel::{largest, vectorised};

/// Queries at a time: their weights for 512 keys take 168 KiB.
const QUERIES: usize = 84;

/// Weights computed at a time.
const LANES: usize = 16;

/// Keys and values of one text, packed.
pub(super) struct Attended {
    /// `[key width, length]`
    keys: Panels,
    /// `[length, value width]`
    values: Panels,
    length: usize,
    value_width: usize,
}

impl Attended {
    /// # Shapes
    ///
    /// - keys: `[length, key width]`, values: `[length, value width]`, at least one row
    pub(super) fn new(keys: Matrix, values: Matrix) -> Self {
        let [length, value_width] = values.shape();
        Self {
            keys: Panels::pack(keys.transposed()),
            values: Panels::pack(values),
            length,
            value_width,
        }
    }

    /// `softmax(Q Kᵀ + bias) V`, into rows `stride` values apart; `weights` is memory to use.
    ///
    /// # Shapes
    ///
    /// - queries: `[queries, key width]`, output: `[queries, value width]`
    pub(super) fn attend(
        &self,
        queries: Matrix,
        bias: Option<HeadBias>,
        output: &mut [f32],
        stride: usize,
        weights: &mut Vec<f32>,
    ) {
        let [count, _] = queries.shape();
        let row = self.length.next_multiple_of(LANES);
        for first in (0..count).step_by(QUERIES) {
            let block = first..(first + QUERIES).min(count);
            let weights = sized(weights, block.len() * row);
            multiply_here(queries.rows(block.clone()), &self.keys, weights, row);
            let mut sums = [0.0; QUERIES];
            let scores = weights.chunks_exact_mut(row).zip(&mut sums);
            for ((scores, sum), query) in scores.zip(block.clone()) {
                let bias = bias.map(|bias| bias.of_query(query, self.length));
                *sum = exponentials(scores, self.length, bias.unwrap_or_default());
            }
            let weights = Matrix::strided(weights, [block.len(), self.length], row);
            let output = &mut output[first * stride..];
            multiply_here(weights, &self.values, output, stride);
            for (output, sum) in output.chunks_mut(stride).zip(&sums[..block.len()]) {
                let output = &mut output[..self.value_width];
                output.iter_mut().for_each(|y| *y /= sum);
            }
        }
    }
}

/// Scores to weights that are not divided by their sum yet, which is returned; a row's length is a multiple of
/// [`LANES`], and what is beyond the text's `length` is without weight. No bias is an empty one.
fn exponentials(scores: &mut [f32], length: usize, bias: &[f32]) -> f32 {
    vectorised(
        #[inline(always)]
        || {
            scores.iter_mut().zip(bias).for_each(|(s, b)| *s += b);
            scores[length..].fill(f32::MIN);
            let top = largest(scores);
            let mut sums = [0.0; LANES];
            for scores in scores.as_chunks_mut::<LANES>().0 {
                for (score, sum) in scores.iter_mut().zip(&mut sums) {
                    *score = exp(*score - top);
                    *sum += *score;
                }
            }
            sums.iter().sum()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin() * 2.0).collect()
    }

    /// The formula in float64.
    fn expected(
        [queries, keys, values]: [&[f32]; 3],
        widths: [usize; 2],
        bias: impl Fn(usize, usize) -> f32,
    ) -> Vec<f32> {
        let [key_width, value_width] = widths;
        let mut output = Vec::new();
        for (q, query) in queries.chunks(key_width).enumerate() {
            let scores: Vec<f64> = keys
                .chunks(key_width)
                .enumerate()
                .map(|(k, key)| {
                    let products = query
                        .iter()
                        .zip(key)
                        .map(|(x, y)| f64::from(*x) * f64::from(*y));
                    products.sum::<f64>() + f64::from(bias(q, k))
                })
                .collect();
            let total: f64 = scores.iter().map(|score| score.exp()).sum();
            for column in 0..value_width {
                let column = values.iter().skip(column).step_by(value_width);
                let weighted = scores.iter().zip(column);
                let sum: f64 = weighted.map(|(s, v)| s.exp() * f64::from(*v)).sum();
                output.push((sum / total) as f32);
            }
        }
        output
    }

    #[test]
    fn weights_are_those_of_the_formula() {
        let (key_width, value_width) = (6, 5);
        for length in [1, 16, 37, 200] {
            let queries = wave(length * key_width, 0.7);
            let keys = wave(length * key_width, 1.3);
            let values = wave(length * value_width, 0.4);
            let distances = wave(2 * length - 1, 0.9);
            let head = HeadBias::new(&distances, length);
            for bias in [None, Some(head)] {
                let expected = expected(
                    [&queries, &keys, &values],
                    [key_width, value_width],
                    |query, key| match bias {
                        Some(_) => distances[length - 1 + key - query],
                        None => 0.0,
                    },
                );
                let attended = Attended::new(
                    Matrix::new(&keys, [length, key_width]),
                    Matrix::new(&values, [length, value_width]),
                );
                let stride = value_width + 2;
                let mut output = vec![7.0; length * stride];
                let queries = Matrix::new(&queries, [length, key_width]);
                attended.attend(queries, bias, &mut output, stride, &mut Vec::new());
                for (found, expected) in output.chunks(stride).zip(expected.chunks(value_width)) {
                    for (found, expected) in found.iter().zip(expected) {
                        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
                    }
                    assert_eq!(found[value_width..], [7.0; 2]);
                }
            }
        }
    }
}
