//! The two instructions.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::PANEL;

/// `[ROWS, PANEL]` sums over `depth` words.
macro_rules! sums {
    ($rows:ident, $left:ident, $panel:ident, $depth:ident, $step:expr) => {{
        let mut sums = [[_mm512_setzero_si512(); 2]; $rows];
        let (left, panel) = ($left.as_ptr(), $panel.as_ptr());
        for k in 0..$depth {
            // SAFETY: k < depth; the caller gives depth * PANEL words.
            let right = unsafe {
                let at = panel.add(k * PANEL);
                [
                    _mm512_loadu_si512(at.cast()),
                    _mm512_loadu_si512(at.add(16).cast()),
                ]
            };
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: row < ROWS and k < depth; the caller gives ROWS * depth words.
                let word = _mm512_set1_epi32(unsafe { *left.add(row * $depth + k) } as i32);
                sums[0] = $step(sums[0], word, right[0]);
                sums[1] = $step(sums[1], word, right[1]);
            }
        }
        sums
    }};
}

#[target_feature(enable = "avx512f,avx512bf16")]
pub unsafe fn bfloat16<const ROWS: usize>(
    left: &[u32],
    panel: &[u32],
    depth: usize,
    out: &mut [[f32; PANEL]],
) {
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
    let sums = sums!(ROWS, left, panel, depth, step);
    for (sums, out) in sums.into_iter().zip(out) {
        for (half, sum) in sums.into_iter().enumerate() {
            // SAFETY: a row of `out` has two registers of numbers.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(16 * half), _mm512_castsi512_ps(sum)) };
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
pub unsafe fn int8<const ROWS: usize>(
    left: &[u32],
    panel: &[u32],
    depth: usize,
    row_scales: &[f32],
    scales: &[f32],
    offsets: &[i32],
    out: &mut [[f32; PANEL]],
) {
    let sums = sums!(ROWS, left, panel, depth, _mm512_dpbusd_epi32);
    assert!(scales.len() == PANEL && offsets.len() == PANEL);
    for ((sums, row_scale), out) in sums.into_iter().zip(row_scales).zip(out) {
        for (half, sum) in sums.into_iter().enumerate() {
            // SAFETY: two registers of scales, offsets and numbers of `out`, as asserted and as its type says.
            unsafe {
                let offset = _mm512_loadu_si512(offsets.as_ptr().add(16 * half).cast());
                let scale = _mm512_loadu_ps(scales.as_ptr().add(16 * half));
                let whole = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, offset));
                let value = _mm512_mul_ps(_mm512_mul_ps(whole, scale), _mm512_set1_ps(*row_scale));
                _mm512_storeu_ps(out.as_mut_ptr().add(16 * half), value);
            }
        }
    }
}
