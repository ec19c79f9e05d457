//! The two instructions.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{PANEL, Product, Sums, Tile, Winners};

/// `[ROWS, PANEL]` sums over the words of a tile.
macro_rules! sums {
    ($rows:ident, $tile:ident, $step:expr) => {{
        assert!(
            $tile.left.len() == $rows * $tile.depth && $tile.panel.len() == $tile.depth * PANEL
        );
        let mut sums = [[_mm512_setzero_si512(); 2]; $rows];
        let (left, panel) = ($tile.left.as_ptr(), $tile.panel.as_ptr());
        for k in 0..$tile.depth {
            // SAFETY: k < depth, of which the panel has as many times PANEL words, as asserted.
            let right = unsafe {
                let at = panel.add(k * PANEL);
                [
                    _mm512_loadu_si512(at.cast()),
                    _mm512_loadu_si512(at.add(16).cast()),
                ]
            };
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: row < ROWS and k < depth, as asserted.
                let word = unsafe { *left.add(row * $tile.depth + k) };
                let word = _mm512_set1_epi32(word as i32);
                sums[0] = $step(sums[0], word, right[0]);
                sums[1] = $step(sums[1], word, right[1]);
            }
        }
        sums
    }};
}

/// Sums of bfloat16 products are float32 as they are.
#[target_feature(enable = "avx512f,avx512bf16")]
pub unsafe fn bfloat16<const ROWS: usize>(tile: Tile, to: Sums) {
    let step = |sum, left: __m512i, right: __m512i| {
        // SAFETY: a register of words is a register of pairs.
        let (left, right) = unsafe {
            (
                std::mem::transmute::<__m512i, __m512bh>(left),
                std::mem::transmute::<__m512i, __m512bh>(right),
            )
        };
        _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(sum), left, right))
    };
    let sums = sums!(ROWS, tile, step);
    let sums = sums.map(|row| row.map(|sum| _mm512_castsi512_ps(sum)));
    match to {
        Sums::Store(product) => store(sums, product),
        Sums::Fold(winners) => fold(sums, tile.first_row, winners),
    }
}

/// Sums of int8 products are scaled by row and, where they are stored, by column.
#[target_feature(enable = "avx512f,avx512vnni")]
pub unsafe fn int8<const ROWS: usize>(tile: Tile, to: Sums) {
    let sums = sums!(ROWS, tile, _mm512_dpbusd_epi32);
    assert!(tile.scales.len() == PANEL && tile.offsets.len() == PANEL);
    assert!(tile.row_scales.len() == ROWS);
    // SAFETY: two registers of offsets and of scales, as asserted.
    let (offsets, scales) = unsafe {
        let (offsets, scales) = (tile.offsets.as_ptr(), tile.scales.as_ptr());
        (
            [0, 16].map(|at| _mm512_loadu_si512(offsets.add(at).cast())),
            [0, 16].map(|at| _mm512_loadu_ps(scales.add(at))),
        )
    };
    let mut values = [[_mm512_setzero_ps(); 2]; ROWS];
    for ((sums, values), &row_scale) in sums.into_iter().zip(&mut values).zip(tile.row_scales) {
        for half in 0..2 {
            let whole = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[half], offsets[half]));
            values[half] = _mm512_mul_ps(whole, _mm512_set1_ps(row_scale));
        }
    }
    match to {
        Sums::Store(product) => {
            let scaled = values.map(|[low, high]| {
                [
                    _mm512_mul_ps(low, scales[0]),
                    _mm512_mul_ps(high, scales[1]),
                ]
            });
            store(scaled, product);
        }
        Sums::Fold(winners) => fold(values, tile.first_row, winners),
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store<const ROWS: usize>(values: [[__m512; 2]; ROWS], product: Product) {
    let Product { to, stride, width } = product;
    assert!(width <= PANEL && to.len() >= (ROWS - 1) * stride + width);
    let mask = ((1u64 << width) - 1) as u32;
    for (row, [low, high]) in values.into_iter().enumerate() {
        // SAFETY: a row has `width` numbers from `row * stride` on, as asserted, and no more are written.
        unsafe {
            let to = to.as_mut_ptr().add(row * stride);
            _mm512_mask_storeu_ps(to, mask as u16, low);
            _mm512_mask_storeu_ps(to.wrapping_add(16), (mask >> 16) as u16, high);
        }
    }
}

/// A strictly greater product wins, so ties go to the first row.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold<const ROWS: usize>(values: [[__m512; 2]; ROWS], first_row: u32, winners: &mut Winners) {
    for half in 0..2 {
        let products = winners.products[16 * half..][..16].as_mut_ptr();
        let rows = winners.rows[16 * half..][..16].as_mut_ptr();
        // SAFETY: both slices have 16 numbers, a register's worth.
        let (mut best, mut at) =
            unsafe { (_mm512_loadu_ps(products), _mm512_loadu_si512(rows.cast())) };
        for (row, values) in values.iter().enumerate() {
            let wins = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(values[half], best);
            let row = _mm512_set1_epi32((first_row + row as u32) as i32);
            best = _mm512_mask_mov_ps(best, wins, values[half]);
            at = _mm512_mask_mov_epi32(at, wins, row);
        }
        // SAFETY: as above.
        unsafe {
            _mm512_storeu_ps(products, best);
            _mm512_storeu_si512(rows.cast(), at);
        }
    }
}
