//! Matrix products: the right-hand side is packed once into panels as wide as two vector registers, and rows of the
//! left-hand side are multiplied with a panel as many at a time as there are registers to sum in.
//!
//! Every element of a product is a sum in ascending order of the inner index, whoever computes it: results do not
//! depend on the number of threads.

mod tile;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::block_rows;
use super::lines::Lines;
use tile::store;
pub use tile::tile;

/// Inner indices summed before the partial sums return to memory: a panel's share (128 KiB at most) and a block's
/// share of the left-hand side stay in the second-level cache.
const DEPTH: usize = 384;

/// Values after which lines fall into the same set of the first-level cache, which has room for eight there: a tile's
/// rows that begin so far apart drive each other out.
const SAME_SET: usize = 4096 / size_of::<f32>();

/// A matrix in a slice: element `(i, j)` is at `i * row_stride + j * column_stride`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows lie one after the other.
    ///
    /// # Panics
    ///
    /// If there are not exactly `rows * columns` values.
    pub fn new(values: &'a [f32], [rows, columns]: [usize; 2]) -> Self {
        assert_eq!(
            values.len(),
            rows * columns,
            "a matrix of {rows} x {columns}"
        );
        Self::strided(values, [rows, columns], columns)
    }

    /// A matrix whose rows begin `row_stride` values apart.
    ///
    /// # Panics
    ///
    /// If the last row reaches beyond the values.
    pub fn strided(values: &'a [f32], [rows, columns]: [usize; 2], row_stride: usize) -> Self {
        let end = rows.saturating_sub(1) * row_stride + columns;
        assert!(
            rows * columns == 0 || end <= values.len(),
            "a matrix of {rows} x {columns}"
        );
        Self {
            values,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Some of its rows.
    pub fn rows(&self, rows: std::ops::Range<usize>) -> Self {
        self.part(rows, 0..self.columns)
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Copies one column to the beginning of `to`.
    pub fn copy_column(&self, column: usize, to: &mut [f32]) {
        for (row, to) in to.iter_mut().enumerate().take(self.rows) {
            *to = self.at(row, column);
        }
    }

    fn at(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.row_stride + column * self.column_stride]
    }

    /// The part of `rows` and `columns`.
    fn part(&self, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> Self {
        let start = rows.start * self.row_stride + columns.start * self.column_stride;
        Self {
            values: &self.values[start.min(self.values.len())..],
            rows: rows.len(),
            columns: columns.len(),
            ..*self
        }
    }
}

/// The right-hand side of a product, packed: panel after panel of [`panel_width`] columns, each row by row, the last
/// one filled up with zeros.
#[derive(Debug, Clone)]
pub struct Panels {
    values: Lines<f32>,
    depth: usize,
    columns: usize,
    width: usize,
}

/// Columns of a panel: two registers.
pub fn panel_width() -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) -> usize {
            2 * S::F32_LANES
        }
    }
    Arch::new().dispatch(Width)
}

impl Panels {
    /// Packs on this thread.
    pub fn pack(right: Matrix) -> Self {
        let mut panels = Self::empty(right);
        let stride = panels.stride();
        for (panel, values) in panels
            .values
            .as_mut_slice()
            .chunks_exact_mut(stride)
            .enumerate()
        {
            pack_panel(right, panel, values, panels.width);
        }
        panels
    }

    /// Packs on all threads.
    pub fn pack_in_parallel(right: Matrix) -> Self {
        let mut panels = Self::empty(right);
        let (stride, width) = (panels.stride(), panels.width);
        panels
            .values
            .as_mut_slice()
            .par_chunks_exact_mut(stride)
            .enumerate()
            .for_each(|(panel, values)| pack_panel(right, panel, values, width));
        panels
    }

    fn empty(right: Matrix) -> Self {
        let width = panel_width();
        let count = right.columns.div_ceil(width);
        Self {
            values: Lines::zeros(count * right.rows.max(1) * width),
            depth: right.rows,
            columns: right.columns,
            width,
        }
    }

    fn stride(&self) -> usize {
        self.depth.max(1) * self.width
    }

    /// Columns of a panel.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of panels.
    pub fn count(&self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// One panel, `[depth, width]`.
    pub fn panel(&self, index: usize) -> &[f32] {
        &self.values.as_slice()[index * self.stride()..][..self.depth * self.width]
    }
}

fn pack_panel(right: Matrix, panel: usize, values: &mut [f32], width: usize) {
    let first = panel * width;
    let columns = width.min(right.columns - first);
    if right.column_stride == 1 {
        for (k, row) in values.chunks_exact_mut(width).take(right.rows).enumerate() {
            let from = k * right.row_stride + first;
            row[..columns].copy_from_slice(&right.values[from..from + columns]);
        }
    } else {
        for column in 0..columns {
            for k in 0..right.rows {
                values[k * width + column] = right.at(k, first + column);
            }
        }
    }
}

/// `out = left · right` on all threads; `finish` is given blocks of rows and their first row's number as they are done,
/// while they are in cache.
///
/// # Shapes
///
/// - left: `[rows, depth]`, right: `[depth, columns]`
/// - out: `[rows, columns]`, whatever it holds
/// - finish: `[some rows, columns]`
///
/// # Panics
///
/// If the shapes do not fit together.
pub fn multiply(
    left: Matrix,
    right: &Panels,
    out: &mut [f32],
    finish: impl Fn(usize, &mut [f32]) + Sync,
) {
    assert_eq!(out.len(), left.rows * right.columns, "the product's size");
    if out.is_empty() {
        return;
    }
    let rows = block_rows(left.rows);
    out.par_chunks_mut(rows * right.columns)
        .with_max_len(1)
        .enumerate()
        .for_each(|(block, out)| {
            let first = block * rows;
            let end = (first + rows).min(left.rows);
            multiply_here(left.rows(first..end), right, out, right.columns);
            finish(first, out);
        });
}

/// `out = left · right` on this thread; the rows of `out` begin `stride` values apart.
///
/// # Panics
///
/// If the shapes do not fit together.
pub fn multiply_here(left: Matrix, right: &Panels, out: &mut [f32], stride: usize) {
    assert_eq!(left.columns, right.depth, "the inner dimension");
    assert!(stride >= right.columns, "rows overlap");
    if left.rows == 0 || right.columns == 0 {
        return;
    }
    assert!(
        out.len() >= (left.rows - 1) * stride + right.columns,
        "the product's size"
    );
    if left.columns == 0 {
        out.chunks_mut(stride)
            .take(left.rows)
            .for_each(|row| row[..right.columns].fill(0.0));
        return;
    }
    let shares = left.columns.div_ceil(DEPTH);
    let share = left.columns.div_ceil(shares);
    let mut copy = Vec::new();
    for start in (0..left.columns).step_by(share) {
        let range = start..(start + share).min(left.columns);
        Arch::new().dispatch(Block {
            left: left.part(0..left.rows, range),
            right,
            first_depth: start,
            out,
            stride,
            copy: &mut copy,
        });
    }
}

struct Block<'a> {
    left: Matrix<'a>,
    right: &'a Panels,
    /// The left-hand side's first column is this row of the right-hand side; 0 means that sums begin here.
    first_depth: usize,
    out: &'a mut [f32],
    stride: usize,
    /// Where a left-hand side is copied to whose rows are not in one piece or drive each other out, tile by tile, each
    /// column by column.
    copy: &'a mut Vec<f32>,
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        assert_eq!(self.right.width, 2 * S::F32_LANES);
        let in_one_piece = self.left.column_stride == 1;
        if in_one_piece && !self.left.row_stride.is_multiple_of(SAME_SET) {
            self.panels::<S, false>(simd);
        } else {
            self.panels::<S, true>(simd);
        }
    }
}

impl Block<'_> {
    #[inline(always)]
    fn panels<S: Simd, const COPY: bool>(mut self, simd: S) {
        let tall = if S::REGISTER_COUNT == 32 { 14 } else { 6 };
        if COPY {
            self.copy_left(tall);
        }
        for panel in 0..self.right.count() {
            let mut row = 0;
            if tall == 14 {
                self.rows::<S, 14, COPY>(simd, panel, &mut row);
            } else {
                self.rows::<S, 6, COPY>(simd, panel, &mut row);
            }
            self.rows::<S, 4, COPY>(simd, panel, &mut row);
            self.rows::<S, 1, COPY>(simd, panel, &mut row);
        }
    }

    /// The tile that begins with row `r` is at `r * depth`, its element `(i, k)` at `k * tile's rows + i`.
    #[inline(always)]
    fn copy_left(&mut self, tall: usize) {
        let [rows, depth] = self.left.shape();
        self.copy.resize(rows * depth, 0.0);
        let mut row = 0;
        for height in [tall, 4, 1] {
            while row + height <= rows {
                let tile = &mut self.copy[row * depth..][..height * depth];
                for (k, to) in tile.chunks_exact_mut(height).enumerate() {
                    let from = row * self.left.row_stride + k * self.left.column_stride;
                    if self.left.row_stride == 1 {
                        to.copy_from_slice(&self.left.values[from..from + height]);
                    } else {
                        let column = self.left.values[from..].iter();
                        let column = column.step_by(self.left.row_stride);
                        to.iter_mut().zip(column).for_each(|(to, from)| *to = *from);
                    }
                }
                row += height;
            }
        }
    }

    /// As many rows from `row` as come in tiles of `ROWS`.
    #[inline(always)]
    fn rows<S: Simd, const ROWS: usize, const COPY: bool>(
        &mut self,
        simd: S,
        panel: usize,
        row: &mut usize,
    ) {
        let width = self.right.width;
        let depth = self.left.columns;
        let values = &self.right.panel(panel)[self.first_depth * width..][..depth * width];
        let columns = width.min(self.right.columns - panel * width);
        while *row + ROWS <= self.left.rows {
            let sums = if COPY {
                let left = &self.copy[*row * depth..];
                tile::<S, ROWS, true>(simd, left, ROWS, values, depth)
            } else {
                let left = &self.left.values[*row * self.left.row_stride..];
                tile::<S, ROWS, false>(simd, left, self.left.row_stride, values, depth)
            };
            for (i, sum) in sums.into_iter().enumerate() {
                let start = (*row + i) * self.stride + panel * width;
                let out = &mut self.out[start..start + columns];
                store(simd, sum, out, self.first_depth > 0);
            }
            *row += ROWS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 7 + seed * 13) % 29) as f32 * 0.25 - 3.0)
            .collect()
    }

    fn naive(left: Matrix, right: Matrix) -> Vec<f32> {
        let mut out = Vec::new();
        for i in 0..left.rows {
            for j in 0..right.columns {
                out.push(
                    (0..left.columns)
                        .map(|k| left.at(i, k) * right.at(k, j))
                        .sum(),
                );
            }
        }
        out
    }

    /// The values are multiples of 1/16 and small: every order of summation gives the same float32.
    #[test]
    fn products_of_all_shapes_and_layouts_are_exact() {
        for [m, k, n] in [
            [1, 1, 1],
            [3, 0, 5],
            [0, 4, 4],
            [14, 32, 32],
            [17, 5, 33],
            [100, 70, 31],
            [29, 1700, 65],
            [33, 1024, 40],
        ] {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let lefts = [
                Matrix::new(&a, [m, k]),
                Matrix::new(&a, [k, m]).transposed(),
            ];
            let rights = [
                Matrix::new(&b, [k, n]),
                Matrix::new(&b, [n, k]).transposed(),
            ];
            for left in lefts {
                for right in rights {
                    let expected = naive(left, right);
                    let mut out = vec![f32::NAN; m * n];
                    multiply(left, &Panels::pack_in_parallel(right), &mut out, |_, _| ());
                    assert_eq!(out, expected, "{m} x {k} x {n}");
                    let mut strided = vec![7.0; m * (n + 3)];
                    multiply_here(left, &Panels::pack(right), &mut strided, n + 3);
                    for (found, expected) in strided.chunks(n + 3).zip(expected.chunks(n)) {
                        assert_eq!(&found[..n], expected, "{m} x {k} x {n}");
                        assert_eq!(found[n..], [7.0; 3]);
                    }
                }
            }
        }
    }

    #[test]
    fn every_row_is_finished_once() {
        let (a, b) = (values(200 * 3, 1), values(3 * 4, 2));
        let panels = Panels::pack(Matrix::new(&b, [3, 4]));
        let [mut plain, mut finished] = [vec![0.0; 200 * 4], vec![0.0; 200 * 4]];
        multiply(Matrix::new(&a, [200, 3]), &panels, &mut plain, |_, _| ());
        multiply(
            Matrix::new(&a, [200, 3]),
            &panels,
            &mut finished,
            |_, rows| {
                rows.iter_mut().for_each(|x| *x += 1.0);
            },
        );
        assert!(plain.iter().zip(finished).all(|(x, y)| x + 1.0 == y));
    }
}
