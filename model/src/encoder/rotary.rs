//! Rotary positions: attention sees how far two tokens are apart, and nothing is added to their embeddings.

use burn::tensor::{Device, Tensor, TensorData};

use crate::config::{EncoderConfig, Positions};
use crate::masked_lm::TokenTensors;

/// Rotary position embeddings (Su et al. 2021), in the layout of GPT-NeoX.
///
/// A head of width d is d / 2 pairs `(x_i, x_{i + d/2})`. At position p, pair i of queries and keys is turned by the angle
/// `p f_i`, with `f_i = theta^(-2i/d)`; the product of a query and a key then depends on the distance of their
/// positions. NTK-aware scaling by k, as `Alibaba-NLP/new-impl` has it: `f_i = (k theta)^(-2i/d) k^(-2/d)`.
#[derive(Debug, Clone)]
pub struct Rotary {
    /// Angle of each pair at position 1, in radians.
    frequencies: Vec<f32>,
}

/// Cosines and sines of every token's angles, for one forward pass.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// `[tokens, 1, 1, pairs]`
    cosines: Tensor<4>,
    /// `[tokens, 1, 2, pairs]`: negated for the first numbers of the pairs.
    sines: Tensor<4>,
}

impl Rotary {
    /// `None` where positions are embedded.
    pub(super) fn new(config: &EncoderConfig) -> Option<Self> {
        let Positions::Rotary { theta, scaling } = config.positions else {
            return None;
        };
        let width = config.hidden_size / config.num_heads;
        // Rounded where the reference rounds: thousands of positions on, the last bit of a frequency is to be seen.
        let base = (theta * scaling) as f32;
        let shift = scaling.powf(2.0 / width as f64) as f32;
        let frequency = |pair: usize| {
            let exponent = (2 * pair) as f32 / width as f32;
            let power = f64::from(base).powf(f64::from(exponent)) as f32;
            1.0 / power / shift
        };
        Some(Self {
            frequencies: (0..width / 2).map(frequency).collect(),
        })
    }

    /// Pairs of a head.
    pub(crate) fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Cosines and sines of the angles at the first positions.
    ///
    /// # Shapes
    ///
    /// - outputs: `[positions, pairs]`
    pub(crate) fn table(&self, positions: usize) -> [Vec<f32>; 2] {
        let size = positions * self.pairs();
        let (mut cosines, mut sines) = (Vec::with_capacity(size), Vec::with_capacity(size));
        for position in 0..positions {
            for frequency in &self.frequencies {
                let (sine, cosine) = f64::from(position as f32 * frequency).sin_cos();
                cosines.push(cosine as f32);
                sines.push(sine as f32);
            }
        }
        [cosines, sines]
    }

    /// The angles of `tokens`.
    pub(super) fn rotation(&self, tokens: &TokenTensors, device: &Device) -> Rotation {
        // On this side: not every GPU has exact cosines of large angles.
        let longest = tokens.lengths.iter().copied().max().unwrap_or(0);
        let [cosines, sines] = self.table(longest);
        let of_tokens = |values: Vec<f32>| {
            let data = TensorData::new(values, [longest, self.pairs()]);
            let table = Tensor::<2>::from_data(data, device);
            let count = tokens.positions.dims()[0];
            table
                .select(0, tokens.positions.clone())
                .reshape([count, 1, 1, self.pairs()])
        };
        let sines = of_tokens(sines);
        Rotation {
            cosines: of_tokens(cosines),
            sines: Tensor::cat(vec![-sines.clone(), sines], 2),
        }
    }
}

impl Rotation {
    /// Turns the pairs `(x, y)` of every head: `(x cos - y sin, y cos + x sin)`.
    ///
    /// # Shapes
    ///
    /// - rows, output: `[tokens, heads * 2 * pairs]`
    pub fn apply(&self, rows: Tensor<2>, heads: usize) -> Tensor<2> {
        let [tokens, width] = rows.dims();
        let halves = rows.reshape([tokens, heads, 2, width / (2 * heads)]);
        let exchanged = halves.clone().flip([2]);
        let turned = halves * self.cosines.clone() + exchanged * self.sines.clone();
        turned.reshape([tokens, width])
    }
}

#[cfg(test)]
mod tests {
    use data::TokenBatch;

    use super::*;
    use crate::config::Family;
    use crate::ops::check::{Draws, assert_close, floats};

    const HEADS: usize = 3;
    const WIDTH: usize = 6;

    fn rotary(theta: f64, scaling: f64) -> Rotary {
        let config = EncoderConfig {
            positions: Positions::Rotary { theta, scaling },
            hidden_size: HEADS * WIDTH,
            num_heads: HEADS,
            ..EncoderConfig::tiny(Family::Gte)
        };
        Rotary::new(&config).expect("rotary positions")
    }

    #[test]
    fn frequencies_are_those_of_the_formula() {
        let (theta, k): (f64, f64) = (500.0, 3.0);
        let expected = |scaling: f64| {
            let power = |pair: f64| (theta * scaling).powf(-pair / 3.0) * scaling.powf(-1.0 / 3.0);
            [0.0, 1.0, 2.0].map(|pair| power(pair) as f32)
        };
        for scaling in [1.0, k] {
            let found = rotary(theta, scaling).frequencies;
            assert_close(&found, &expected(scaling), 1e-7, "frequencies");
        }
        assert_eq!(rotary(theta, 1.0).frequencies[0], 1.0);
    }

    /// Pairs of gte-base-en-v1.5, whose heads are 64 wide, by torch 2.15: position, pair, cosine and sine.
    #[test]
    fn angles_are_those_of_the_reference() {
        let config = EncoderConfig {
            positions: Positions::Rotary {
                theta: 500_000.0,
                scaling: 2.0,
            },
            hidden_size: 768,
            num_heads: 12,
            ..EncoderConfig::tiny(Family::Gte)
        };
        let rotary = Rotary::new(&config).expect("rotary positions");
        let [cosines, sines] = rotary.table(8192);
        for (position, pair, cosine, sine) in [
            (1, 0, 0.558_207_9, 0.829_701_1),
            (1, 31, 1.0, 1.506_929e-6),
            (511, 0, -0.859_216, -0.511_613),
            (511, 1, -0.418_106_08, -0.908_398_2),
            (511, 10, 0.926_763_53, 0.375_645_25),
            (511, 31, 0.999_999_7, 7.700_407e-4),
            (8191, 0, -0.286_198_68, -0.958_170_3),
            (8191, 1, -0.872_198_76, 0.489_151_66),
            (8191, 10, 0.997_259_6, 0.073_980_98),
            (8191, 31, 0.999_923_8, 0.012_342_942),
        ] {
            // The last bit of a frequency, so many positions on.
            let tolerance = 1e-7 + position as f32 * f32::EPSILON;
            let index = position * rotary.pairs() + pair;
            for (found, expected) in [(cosines[index], cosine), (sines[index], sine)] {
                let what = format!("pair {pair} at {position}");
                assert_close(&[found], &[expected], tolerance, &what);
            }
        }
    }

    /// Two documents: what is turned by `p` in one and by `q` in the other has a product that only `q - p` decides.
    #[test]
    fn products_depend_on_the_distance_alone() {
        let device = Device::flex();
        let rotary = rotary(20.0, 1.0);
        let tokens = TokenTensors::new(&TokenBatch::new(&[vec![0; 7], vec![0; 4]]), &device);
        let rotation = rotary.rotation(&tokens, &device);
        let mut draws = Draws::new(&device);
        let mut same = || draws.next([1, HEADS * WIDTH]).repeat_dim(0, 11);
        let (queries, keys) = (same(), same());
        let turn = |rows: &Tensor<2>| {
            rotation
                .apply(rows.clone(), HEADS)
                .reshape([11, HEADS, WIDTH])
                .swap_dims(0, 1)
        };
        let products = turn(&queries).matmul(turn(&keys).swap_dims(1, 2));
        let products = floats(products); // [heads, 11, 11]
        let place = |token: usize| if token < 7 { token } else { token - 7 };
        for head in products.as_chunks::<121>().0 {
            for query in 0..11 {
                for key in 0..11 {
                    let first = match place(query).checked_sub(place(key)) {
                        Some(distance) => head[distance * 11],
                        None => head[place(key) - place(query)],
                    };
                    let found = head[query * 11 + key];
                    assert!((found - first).abs() < 1e-4, "{query} {key}");
                }
            }
            // Another distance is another product.
            assert!((head[1] - head[0]).abs() > 1e-3);
        }
    }

    /// The first token of a document stays as it is, and no row changes its length.
    #[test]
    fn a_rotation_keeps_lengths() {
        let device = Device::flex();
        let tokens = TokenTensors::new(&TokenBatch::new(&[vec![0; 3], vec![0; 2]]), &device);
        let rotation = rotary(20.0, 2.0).rotation(&tokens, &device);
        let rows = Draws::new(&device).next([5, HEADS * WIDTH]);
        let turned = rotation.apply(rows.clone(), HEADS);
        let squares = |rows: &Tensor<2>| floats(rows.clone().powi_scalar(2).sum_dim(1));
        assert_close(&squares(&turned), &squares(&rows), 1e-5, "squared lengths");
        let (turned, rows) = (floats(turned), floats(rows));
        for (token, moves) in [(0, false), (1, true), (2, true), (3, false), (4, true)] {
            let of = |rows: &[f32]| rows[token * HEADS * WIDTH..][..HEADS * WIDTH].to_vec();
            assert_eq!(of(&turned) != of(&rows), moves, "token {token}");
        }
    }
}
