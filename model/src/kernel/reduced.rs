//! Matrix products of numbers in less precision, for inference: bfloat16 pairs and int8 quadruples, multiplied and
//! summed by one instruction of AVX-512 (VDPBF16PS, VPDPBUSD) for a whole register of 32-bit words.
//!
//! Both sides are rounded first. The left-hand side, activations, row by row as it comes; the right-hand side,
//! weights, when it is packed. Sums are float32 or int32, hence exact for int8.
//!
//! int8: a row is `scale · (u - 128)` with u in 1..=255 and scale its largest magnitude / 127, a column `scale · q`
//! with q in -127..=127; the product is `(Σ u q - 128 Σ q) · row scale · column scale`.

#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use rayon::prelude::*;

use super::lines::Lines;
use super::product::Matrix;
use super::vectorised;
use crate::precision::Precision;

/// Columns of a panel: two registers of 16 words.
pub const PANEL: usize = 32;

/// Rows of a tile: as many as there are registers for, then fewer.
const TALL: usize = 14;
const LOW: usize = 4;

/// The right-hand side, rounded and packed: panel after panel of [`PANEL`] columns, each word row by word row.
#[derive(Debug, Clone)]
pub struct Weights {
    kind: Kind,
    /// `[panels, words of depth, PANEL]`
    words: Lines<u32>,
    /// Words to a column.
    depth: usize,
    columns: usize,
    /// int8: what a unit of each column is worth, and 128 times the sum of its numbers. `[columns rounded up]`
    scales: Vec<f32>,
    offsets: Vec<i32>,
}

/// Rows of the left-hand side, rounded.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// `[rows, words of depth]`
    words: Vec<u32>,
    depth: usize,
    /// int8: what a unit of each row is worth.
    scales: Vec<f32>,
}

/// The largest product of each column of a panel with some rows, and the first row that has it.
#[derive(Debug, Clone, Copy)]
pub struct Winners {
    /// The products.
    pub products: [f32; PANEL],
    /// The rows.
    pub rows: [u32; PANEL],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    BFloat16,
    Int8,
}

impl Kind {
    fn of(precision: Precision) -> Option<Self> {
        match precision {
            Precision::Float32 => None,
            Precision::BFloat16 => Some(Self::BFloat16),
            Precision::Int8 => Some(Self::Int8),
        }
    }

    /// Numbers in a word.
    fn per_word(self) -> usize {
        match self {
            Self::BFloat16 => 2,
            Self::Int8 => 4,
        }
    }
}

/// Whether this machine has the instructions.
pub fn is_available(precision: Precision) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        match precision {
            Precision::Float32 => true,
            Precision::BFloat16 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
            }
            Precision::Int8 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        precision == Precision::Float32
    }
}

impl Weights {
    /// Rounds and packs; `None` for float32, which needs no rounding.
    ///
    /// # Panics
    ///
    /// If the processor cannot compute in it ([`Precision::check`]).
    pub fn pack(right: Matrix, precision: Precision) -> Option<Self> {
        let kind = Kind::of(precision)?;
        assert!(
            is_available(precision),
            "{precision} needs instructions that this processor lacks"
        );
        let [rows, columns] = right.shape();
        let depth = rows.div_ceil(kind.per_word());
        let padded = columns.next_multiple_of(PANEL);
        let mut words = Lines::zeros(padded * depth);
        let mut scales = vec![0.0; padded];
        let mut offsets = vec![0; padded];
        words
            .as_mut_slice()
            .par_chunks_mut((depth * PANEL).max(1))
            .zip(
                scales
                    .par_chunks_mut(PANEL)
                    .zip(offsets.par_chunks_mut(PANEL)),
            )
            .enumerate()
            .for_each(|(panel, (words, (scales, offsets)))| {
                let mut column = vec![0.0; depth * kind.per_word()];
                for lane in 0..PANEL.min(columns - panel * PANEL) {
                    right.copy_column(panel * PANEL + lane, &mut column);
                    let (scale, offset) = vectorised(
                        #[inline(always)]
                        || {
                            let to = words.iter_mut().skip(lane).step_by(PANEL);
                            pack_column(kind, &column, to)
                        },
                    );
                    (scales[lane], offsets[lane]) = (scale, offset);
                }
            });
        Some(Self {
            kind,
            words,
            depth,
            columns,
            scales,
            offsets,
        })
    }

    /// Rounds rows of `width` values to what these weights are multiplied with.
    pub fn round(&self, rows: &[f32], width: usize, to: &mut Rows) {
        let kind = self.kind;
        to.depth = width.div_ceil(kind.per_word());
        let count = rows.len() / width.max(1);
        to.words.resize(count * to.depth, 0);
        to.scales.resize(count, 0.0);
        vectorised(
            #[inline(always)]
            || {
                let words = to.words.chunks_exact_mut(to.depth);
                for ((words, row), scale) in words.zip(rows.chunks_exact(width)).zip(&mut to.scales)
                {
                    *scale = round_row(kind, row, words);
                }
            },
        );
    }

    /// Number of panels.
    pub fn panels(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    /// `out = left · right` on this thread.
    ///
    /// # Shapes
    ///
    /// - left: `[rows, depth]`, right: `[depth, columns]`, out: `[rows, columns]`, whatever it holds
    ///
    /// # Panics
    ///
    /// If the shapes do not fit together.
    pub fn multiply_here(&self, left: &Rows, out: &mut [f32]) {
        let rows = left.scales.len();
        assert!(
            left.depth == self.depth && out.len() == rows * self.columns,
            "a product of {rows} rows"
        );
        for panel in 0..self.panels() {
            let first = panel * PANEL;
            let width = PANEL.min(self.columns - first);
            for tile in tiles(0..rows) {
                let to = &mut out[tile.start * self.columns + first..];
                let product = Product {
                    to,
                    stride: self.columns,
                    width,
                };
                self.tile(left, panel, tile, Sums::Store(product));
            }
        }
    }

    /// The winners among `rows` for each column of `panel`.
    ///
    /// # Panics
    ///
    /// If the shapes do not fit together.
    pub fn winners(&self, left: &Rows, rows: Range<usize>, panel: usize) -> Winners {
        assert!(left.depth == self.depth, "the inner dimension");
        let mut best = Winners {
            products: [f32::NEG_INFINITY; PANEL],
            rows: [0; PANEL],
        };
        for tile in tiles(rows) {
            self.tile(left, panel, tile, Sums::Fold(&mut best));
        }
        if self.kind == Kind::Int8 {
            let scales = &self.scales[panel * PANEL..][..PANEL];
            for (product, scale) in best.products.iter_mut().zip(scales) {
                *product *= scale;
            }
        }
        best
    }

    /// The sums of one panel with `rows`, which are as many as a tile has.
    #[inline]
    fn tile(&self, left: &Rows, panel: usize, rows: Range<usize>, sums: Sums) {
        let words = &self.words.as_slice()[panel * self.depth * PANEL..][..self.depth * PANEL];
        let columns = panel * PANEL..(panel + 1) * PANEL;
        let tile = Tile {
            left: &left.words[rows.start * left.depth..rows.end * left.depth],
            panel: words,
            depth: self.depth,
            row_scales: &left.scales[rows.clone()],
            scales: &self.scales[columns.clone()],
            offsets: &self.offsets[columns],
            first_row: rows.start as u32,
        };
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        // SAFETY: `Weights` exist only where the instructions do (`Weights::pack`).
        unsafe {
            match (self.kind, rows.len()) {
                (Kind::BFloat16, TALL) => x86::bfloat16::<TALL>(tile, sums),
                (Kind::BFloat16, LOW) => x86::bfloat16::<LOW>(tile, sums),
                (Kind::BFloat16, _) => x86::bfloat16::<1>(tile, sums),
                (Kind::Int8, TALL) => x86::int8::<TALL>(tile, sums),
                (Kind::Int8, LOW) => x86::int8::<LOW>(tile, sums),
                (Kind::Int8, _) => x86::int8::<1>(tile, sums),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!(
            "{:?} weights on another processor: {tile:?} {sums:?}",
            self.kind
        );
    }
}

/// `rows` in tiles of [`TALL`], then [`LOW`], then single ones.
#[inline(always)]
fn tiles(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut start = rows.start;
    std::iter::from_fn(move || {
        let height = match rows.end - start {
            0 => return None,
            TALL.. => TALL,
            LOW.. => LOW,
            _ => 1,
        };
        start += height;
        Some(start - height..start)
    })
}

/// What a kernel multiplies.
#[derive(Debug)]
struct Tile<'a> {
    /// `[rows, depth]`
    left: &'a [u32],
    /// `[depth, PANEL]`
    panel: &'a [u32],
    depth: usize,
    row_scales: &'a [f32],
    scales: &'a [f32],
    offsets: &'a [i32],
    first_row: u32,
}

/// What a kernel does with its sums.
#[derive(Debug)]
enum Sums<'a> {
    Store(Product<'a>),
    /// int8: without the columns' scales, which do not decide who wins.
    Fold(&'a mut Winners),
}

/// Rows that begin `stride` apart, `width` numbers each.
#[derive(Debug)]
struct Product<'a> {
    to: &'a mut [f32],
    stride: usize,
    width: usize,
}

/// The nearest bfloat16, ties to even.
#[inline(always)]
fn bfloat16(value: f32) -> u32 {
    let bits = value.to_bits();
    (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
}

#[inline(always)]
fn pack_column<'a>(
    kind: Kind,
    column: &[f32],
    to: impl Iterator<Item = &'a mut u32>,
) -> (f32, i32) {
    match kind {
        Kind::BFloat16 => {
            for (word, pair) in to.zip(column.chunks_exact(2)) {
                *word = bfloat16(pair[0]) | bfloat16(pair[1]) << 16;
            }
            (0.0, 0)
        }
        Kind::Int8 => {
            let (scale, inverse) = scale_of(column);
            let mut sum = 0;
            for (word, quad) in to.zip(column.chunks_exact(4)) {
                let numbers = [0, 1, 2, 3].map(|i| (quad[i] * inverse).round() as i32);
                sum += numbers.iter().sum::<i32>();
                *word = u32::from_le_bytes(numbers.map(|number| number as i8 as u8));
            }
            (scale, 128 * sum)
        }
    }
}

/// Returns the row's scale; bfloat16 needs none. What is left of the last word is multiplied with zeros.
#[inline(always)]
fn round_row(kind: Kind, row: &[f32], words: &mut [u32]) -> f32 {
    // Adding it leaves the nearest integer in the last bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    if let Some(last) = words.last_mut() {
        *last = 0; // not what an earlier row left, which may be no number in bfloat16
    }
    match kind {
        Kind::BFloat16 => {
            // SAFETY: two 16-bit numbers take the place of one of 32 bits, and all their bits are valid.
            #[allow(unsafe_code)]
            let (_, halves, _) = unsafe { words.align_to_mut::<u16>() };
            for (half, &value) in halves.iter_mut().zip(row) {
                *half = bfloat16(value) as u16;
            }
            0.0
        }
        Kind::Int8 => {
            let (scale, inverse) = scale_of(row);
            // SAFETY: four bytes take the place of one 32-bit number, and all their bits are valid.
            #[allow(unsafe_code)]
            let (_, bytes, _) = unsafe { words.align_to_mut::<u8>() };
            for (byte, &value) in bytes.iter_mut().zip(row) {
                *byte = (value * inverse + (ROUND + 128.0)).to_bits() as u8;
            }
            scale
        }
    }
}

/// What a unit is worth when the largest magnitude is 127 units, and its inverse.
#[inline(always)]
fn scale_of(values: &[f32]) -> (f32, f32) {
    let mut lanes = [0.0f32; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if value.abs() > *lane {
                value.abs()
            } else {
                *lane
            };
        }
    }
    let largest = lanes
        .iter()
        .chain(rest)
        .fold(0.0f32, |a, &b| a.max(b.abs()));
    match largest > 0.0 {
        true => (largest / 127.0, 127.0 / largest),
        false => (0.0, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::product::{self, Panels};

    /// Largest error, and root mean square of the exact product.
    fn error(precision: Precision, [m, k, n]: [usize; 3], transposed: bool) -> (f32, f32) {
        let wave = |count: usize, step: f32| -> Vec<f32> {
            (0..count).map(|i| (i as f32 * step).sin()).collect()
        };
        let (a, b) = (wave(m * k, 0.7), wave(k * n, 1.3));
        let right = match transposed {
            true => Matrix::new(&b, [n, k]).transposed(),
            false => Matrix::new(&b, [k, n]),
        };
        let (mut exact, mut found) = (vec![0.0; m * n], vec![0.0; m * n]);
        product::multiply(
            Matrix::new(&a, [m, k]),
            &Panels::pack(right),
            &mut exact,
            |_, _| (),
        );
        let weights = Weights::pack(right, precision).expect("a precision below float32");
        let mut rows = Rows::default();
        weights.round(&a, k, &mut rows);
        weights.multiply_here(&rows, &mut found);
        let errors = exact.iter().zip(&found).map(|(a, b)| (a - b).abs());
        let square: f32 = exact.iter().map(|x| x * x).sum::<f32>() / exact.len() as f32;
        (errors.fold(0.0, f32::max), square.sqrt())
    }

    #[test]
    fn products_are_as_exact_as_their_numbers() {
        for (precision, unit) in [
            (Precision::BFloat16, 1.0 / 256.0),
            (Precision::Int8, 1.0 / 127.0),
        ] {
            if !is_available(precision) {
                println!("SKIPPED {precision}: this processor has no instruction for it");
                continue;
            }
            for shape in [
                [1, 1, 1],
                [3, 5, 33],
                [14, 64, 32],
                [100, 385, 70],
                [19, 1027, 40],
            ] {
                for transposed in [false, true] {
                    let (error, _) = error(precision, shape, transposed);
                    // Numbers up to 1, each rounded to half a unit, errors of random sign on both sides.
                    let bound = 4.0 * unit * (shape[1] as f32).sqrt() * 0.5 + unit;
                    assert!(
                        error < bound,
                        "{precision} {shape:?}: {error}, expected below {bound}"
                    );
                }
            }
        }
    }

    #[test]
    fn rows_of_zeros_stay_zero() {
        for precision in [Precision::BFloat16, Precision::Int8] {
            if is_available(precision) {
                let weights =
                    Weights::pack(Matrix::new(&[1.0; 6], [3, 2]), precision).expect("weights");
                let mut out = [7.0; 4];
                let mut rows = Rows::default();
                weights.round(&[0.0; 6], 3, &mut rows);
                weights.multiply_here(&rows, &mut out);
                assert_eq!(out, [0.0; 4]);
            }
        }
    }
}
