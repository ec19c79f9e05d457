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

use rayon::prelude::*;

use super::lines::Lines;
use super::product::Matrix;
use super::{block_rows, vectorised};
use crate::precision::Precision;

/// Columns of a panel: two registers of 16 words.
pub const PANEL: usize = 32;

/// Rows of a tile.
const TILE_ROWS: usize = 14;

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
#[derive(Debug, Clone)]
pub struct Activations {
    /// `[rows, words of depth]`
    words: Vec<u32>,
    depth: usize,
    /// int8: what a unit of each row is worth.
    scales: Vec<f32>,
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
                    let (scale, offset) = vectorised(|| {
                        let to = words.iter_mut().skip(lane).step_by(PANEL);
                        pack_column(kind, &column, to)
                    });
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
    pub fn round(&self, rows: &[f32], width: usize) -> Activations {
        let kind = self.kind;
        let depth = width.div_ceil(kind.per_word());
        let count = rows.len() / width.max(1);
        let mut words = vec![0u32; count * depth];
        let mut scales = vec![0.0; count];
        words
            .par_chunks_mut((64 * depth).max(1))
            .zip(
                rows.par_chunks((64 * width).max(1))
                    .zip(scales.par_chunks_mut(64)),
            )
            .for_each(|(words, (rows, scales))| {
                vectorised(|| {
                    let rows = rows.chunks_exact(width).zip(scales);
                    for (words, (row, scale)) in words.chunks_exact_mut(depth).zip(rows) {
                        *scale = round_row(kind, row, words);
                    }
                });
            });
        Activations {
            words,
            depth,
            scales,
        }
    }

    /// Number of panels.
    pub fn panels(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    /// The product of one panel with `ROWS` rows from `row` on, as float32: `[ROWS, PANEL]` into `out`.
    #[inline]
    fn tile<const ROWS: usize>(
        &self,
        left: &Activations,
        row: usize,
        panel: usize,
        out: &mut [[f32; PANEL]],
    ) {
        let words = &self.words.as_slice()[panel * self.depth * PANEL..][..self.depth * PANEL];
        let rows = &left.words[row * left.depth..][..ROWS * left.depth];
        assert!(left.depth == self.depth && out.len() >= ROWS);
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        // SAFETY: `Weights` exist only where the instructions do (`Weights::pack`), and the lengths are those that the
        // kernels read: ROWS * depth words to the left, depth * PANEL to the right.
        unsafe {
            match self.kind {
                Kind::BFloat16 => x86::bfloat16::<ROWS>(rows, words, self.depth, out),
                Kind::Int8 => {
                    let columns = panel * PANEL..(panel + 1) * PANEL;
                    x86::int8::<ROWS>(
                        rows,
                        words,
                        self.depth,
                        &left.scales[row..row + ROWS],
                        &self.scales[columns.clone()],
                        &self.offsets[columns],
                        out,
                    );
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (words, rows, out);
    }

    /// Calls `each(first row, [rows, PANEL])` for all rows from `rows`, a tile at a time.
    #[inline(always)]
    pub fn for_each_tile(
        &self,
        left: &Activations,
        rows: std::ops::Range<usize>,
        panel: usize,
        mut each: impl FnMut(usize, &[[f32; PANEL]]),
    ) {
        let mut out = [[0.0; PANEL]; TILE_ROWS];
        let mut row = rows.start;
        while row < rows.end {
            let count = match rows.end - row {
                TILE_ROWS.. => {
                    self.tile::<TILE_ROWS>(left, row, panel, &mut out);
                    TILE_ROWS
                }
                4.. => {
                    self.tile::<4>(left, row, panel, &mut out);
                    4
                }
                _ => {
                    self.tile::<1>(left, row, panel, &mut out);
                    1
                }
            };
            each(row, &out[..count]);
            row += count;
        }
    }
}

/// `out = left · right` on all threads; `finish` is given blocks of rows as they are done, while they are in cache.
///
/// # Shapes
///
/// - left: `[rows, depth]`, right: `[depth, columns]`
/// - out: `[rows, columns]`, whatever it holds
///
/// # Panics
///
/// If the shapes do not fit together.
pub fn multiply(
    left: &Activations,
    right: &Weights,
    out: &mut [f32],
    finish: impl Fn(&mut [f32]) + Sync,
) {
    let (count, columns) = (left.scales.len(), right.columns);
    assert_eq!(out.len(), count * columns, "the product's size");
    if out.is_empty() {
        return;
    }
    let rows = block_rows(count);
    out.par_chunks_mut(rows * columns)
        .enumerate()
        .for_each(|(block, out)| {
            let range = block * rows..((block + 1) * rows).min(count);
            for panel in 0..right.panels() {
                let width = PANEL.min(columns - panel * PANEL);
                right.for_each_tile(left, range.clone(), panel, |first, tile| {
                    for (i, values) in tile.iter().enumerate() {
                        let start = (first + i - range.start) * columns + panel * PANEL;
                        out[start..start + width].copy_from_slice(&values[..width]);
                    }
                });
            }
            finish(out);
        });
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

/// Returns the row's scale; bfloat16 needs none.
#[inline(always)]
fn round_row(kind: Kind, row: &[f32], words: &mut [u32]) -> f32 {
    match kind {
        Kind::BFloat16 => {
            let (pairs, rest) = row.as_chunks::<2>();
            for (word, pair) in words.iter_mut().zip(pairs) {
                *word = bfloat16(pair[0]) | bfloat16(pair[1]) << 16;
            }
            if let [last] = rest {
                words[words.len() - 1] = bfloat16(*last);
            }
            0.0
        }
        Kind::Int8 => {
            let (scale, inverse) = scale_of(row);
            let unsigned = |value: f32| (value * inverse + 128.5) as i32 as u32;
            let (quads, rest) = row.as_chunks::<4>();
            for (word, quad) in words.iter_mut().zip(quads) {
                *word = unsigned(quad[0])
                    | unsigned(quad[1]) << 8
                    | unsigned(quad[2]) << 16
                    | unsigned(quad[3]) << 24;
            }
            if !rest.is_empty() {
                // What is missing counts as 0 on the other side: any number will do here.
                let numbers = rest.iter().enumerate();
                words[words.len() - 1] =
                    numbers.fold(0, |word, (i, &x)| word | unsigned(x) << (8 * i));
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
            |_| (),
        );
        let weights = Weights::pack(right, precision).expect("a precision below float32");
        multiply(&weights.round(&a, k), &weights, &mut found, |_| ());
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
                multiply(&weights.round(&[0.0; 6], 3), &weights, &mut out, |_| ());
                assert_eq!(out, [0.0; 4]);
            }
        }
    }
}
