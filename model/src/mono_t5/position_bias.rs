//! T5's relative positions: what attention adds to a score depends on the distance of key and query alone.
//!
//! Distances are sorted into classes, half of them for either direction: small ones each into its own, larger ones by
//! their logarithm, and all from a largest one on together. Source: Raffel et al., Exploring the Limits of Transfer
//! Learning with a Unified Text-to-Text Transformer (arXiv 1910.10683), section 2.1.

use super::parameter::{Parameter, Stack};
use crate::hf::{ImportError, T5Weights};
use crate::inference::sized;

/// The encoder's biases.
pub(super) struct PositionBias {
    /// `[buckets, heads]`
    table: Vec<f32>,
    heads: usize,
    buckets: usize,
    max_distance: usize,
}

/// What a head adds to the scores of every distance up to some length.
#[derive(Clone, Copy)]
pub(super) struct HeadBias<'a> {
    /// Of the distances `1 - longest ..= longest - 1`.
    values: &'a [f32],
    longest: usize,
}

impl PositionBias {
    pub(super) fn load(weights: &T5Weights) -> Result<Self, ImportError> {
        let config = weights.config();
        Ok(Self {
            table: weights.read(Parameter::PositionBias(Stack::Encoder))?,
            heads: config.num_heads,
            buckets: config.distance_buckets,
            max_distance: config.max_distance,
        })
    }

    /// The biases for texts of up to `longest` tokens, head after head.
    pub(super) fn spread<'a>(&self, longest: usize, memory: &'a mut Vec<f32>) -> Spread<'a> {
        let distances = (2 * longest).saturating_sub(1);
        let values = sized(memory, self.heads * distances);
        for index in 0..distances {
            let distance = index as i64 - (longest as i64 - 1);
            let bucket = bucket(distance, self.buckets, self.max_distance);
            for head in 0..self.heads {
                values[head * distances + index] = self.table[bucket * self.heads + head];
            }
        }
        Spread { values, longest }
    }
}

/// The biases of all heads. `[heads, distances]`
#[derive(Clone, Copy)]
pub(super) struct Spread<'a> {
    values: &'a [f32],
    longest: usize,
}

impl<'a> Spread<'a> {
    pub(super) fn head(self, head: usize) -> HeadBias<'a> {
        let distances = (2 * self.longest).saturating_sub(1);
        HeadBias::new(&self.values[head * distances..][..distances], self.longest)
    }
}

impl<'a> HeadBias<'a> {
    /// # Panics
    ///
    /// On use, if there are fewer than `2 * longest - 1` values.
    pub(super) fn new(values: &'a [f32], longest: usize) -> Self {
        Self { values, longest }
    }

    /// What is added to the scores of a query with the `keys` keys of its text.
    pub(super) fn of_query(self, query: usize, keys: usize) -> &'a [f32] {
        &self.values[self.longest - 1 - query..][..keys]
    }
}

/// The class of a distance, position of the key minus position of the query, when both directions are told apart.
///
/// The logarithm is taken in float32, as the models were trained: a distance on the border of two classes is on the
/// same side.
fn bucket(distance: i64, buckets: usize, max_distance: usize) -> usize {
    let half = buckets / 2;
    let first = if distance > 0 { half } else { 0 };
    let distance = distance.unsigned_abs() as usize;
    let exact = half / 2;
    if distance < exact {
        return first + distance;
    }
    let ratio = (distance as f32 / exact as f32).ln();
    let full = (max_distance as f64 / exact as f64).ln() as f32;
    let larger = exact + (ratio / full * (half - exact) as f32) as usize;
    first + larger.min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where each class begins, by `T5Attention._relative_position_bucket` of transformers 5.24.
    #[test]
    fn classes_begin_where_the_reference_has_them() {
        let table: [(usize, usize, &[usize]); 4] = [
            (
                32,
                128,
                &[0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91],
            ),
            (8, 20, &[0, 1, 2, 7]),
            (4, 16, &[0, 1]),
            (10, 50, &[0, 1, 2, 6, 18]),
        ];
        for (buckets, max_distance, begins) in table {
            for distance in 0..600 {
                let class = begins.iter().filter(|&&begin| begin <= distance).count() - 1;
                let distance = distance as i64;
                let what = format!("{buckets} classes up to {max_distance}, distance {distance}");
                assert_eq!(bucket(-distance, buckets, max_distance), class, "{what}");
                let ahead = if distance > 0 { buckets / 2 } else { 0 };
                assert_eq!(
                    bucket(distance, buckets, max_distance),
                    class + ahead,
                    "{what}"
                );
            }
        }
    }

    #[test]
    fn a_shorter_text_has_the_middle() {
        let bias = PositionBias {
            table: (0..16).map(|i| i as f32).collect(),
            heads: 2,
            buckets: 8,
            max_distance: 20,
        };
        let (mut long, mut short) = (Vec::new(), Vec::new());
        let (long, short) = (bias.spread(40, &mut long), bias.spread(3, &mut short));
        for head in 0..2 {
            for query in 0..3 {
                let expected: Vec<f32> = (0..3)
                    .map(|key| (bucket(key - query as i64, 8, 20) * 2 + head) as f32)
                    .collect();
                assert_eq!(long.head(head).of_query(query, 3), expected);
                assert_eq!(short.head(head).of_query(query, 3), expected);
            }
        }
    }
}
