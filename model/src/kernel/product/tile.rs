//! What is summed in registers: some rows of the left-hand side with one panel of the right-hand side.

#![allow(unsafe_code)]

use pulp::Simd;

/// The sums over `depth` of `ROWS` rows with the columns of a panel.
///
/// # Shapes
///
/// - left: rows of `depth` values that begin `stride` apart, or where `BY_COLUMN` columns of `ROWS` values
/// - panel: `[depth, 2 registers]`
#[inline(always)]
pub fn tile<S: Simd, const ROWS: usize, const BY_COLUMN: bool>(
    simd: S,
    left: &[f32],
    stride: usize,
    panel: &[f32],
    depth: usize,
) -> [[S::f32s; 2]; ROWS] {
    let [row_step, step] = if BY_COLUMN { [1, ROWS] } else { [stride, 1] };
    assert!(depth == 0 || left.len() > (ROWS - 1) * row_step + (depth - 1) * step);
    let (panel, _) = S::as_simd_f32s(panel);
    assert!(panel.len() >= 2 * depth);
    let mut sums = [[simd.splat_f32s(0.0); 2]; ROWS];
    let (left, panel) = (left.as_ptr(), panel.as_ptr());
    for k in 0..depth {
        // SAFETY: k < depth, so that the reads end within the lengths asserted above.
        let right = unsafe { [*panel.add(2 * k), *panel.add(2 * k + 1)] };
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: row < ROWS and k < depth, as above.
            let value = simd.splat_f32s(unsafe { *left.add(row * row_step + k * step) });
            sums[0] = simd.mul_add_e_f32s(value, right[0], sums[0]);
            sums[1] = simd.mul_add_e_f32s(value, right[1], sums[1]);
        }
    }
    sums
}

/// Writes the sums of a row to as many columns as there are, or adds them.
#[inline(always)]
pub(super) fn store<S: Simd>(simd: S, sum: [S::f32s; 2], out: &mut [f32], add: bool) {
    if let ([low, high], []) = S::as_mut_simd_f32s(out) {
        for (part, sum) in [low, high].into_iter().zip(sum) {
            *part = if add { simd.add_f32s(*part, sum) } else { sum };
        }
        return;
    }
    let (low, high) = out.split_at_mut(S::F32_LANES.min(out.len()));
    for (part, sum) in [low, high].into_iter().zip(sum) {
        let before = match add {
            true => simd.partial_load_f32s(part),
            false => simd.splat_f32s(0.0),
        };
        simd.partial_store_f32s(part, simd.add_f32s(before, sum));
    }
}
