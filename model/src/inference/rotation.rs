//! Rotary positions in packed rows.

use crate::encoder::Rotary;
use crate::kernel::vectorised;

/// Cosines and sines of the angles at all positions.
pub(super) struct Rotation {
    /// `[positions, pairs]`
    cosines: Vec<f32>,
    /// `[positions, pairs]`
    sines: Vec<f32>,
    /// Pairs of a head.
    pairs: usize,
}

impl Rotation {
    pub(super) fn new(rotary: &Rotary, positions: usize) -> Self {
        let [cosines, sines] = rotary.table(positions);
        Self {
            cosines,
            sines,
            pairs: rotary.pairs(),
        }
    }

    /// Turns the heads in the first `turned` columns of every row by its position; positions are taken as rows are.
    ///
    /// # Shapes
    ///
    /// - rows: `[rows, width]`
    pub(super) fn apply(
        &self,
        rows: &mut [f32],
        [width, turned]: [usize; 2],
        positions: &mut impl Iterator<Item = usize>,
    ) {
        for (row, position) in rows.chunks_exact_mut(width).zip(positions) {
            let cosines = &self.cosines[position * self.pairs..][..self.pairs];
            let sines = &self.sines[position * self.pairs..][..self.pairs];
            vectorised(
                #[inline(always)]
                || {
                    for head in row[..turned].chunks_exact_mut(2 * self.pairs) {
                        turn(head, cosines, sines);
                    }
                },
            );
        }
    }
}

/// As [`crate::encoder::Rotation::apply`], of one head.
#[inline(always)]
fn turn(head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let (first, second) = head.split_at_mut(cosines.len());
    let pairs = first.iter_mut().zip(second).zip(cosines).zip(sines);
    for (((x, y), cosine), sine) in pairs {
        (*x, *y) = (*x * cosine - *y * sine, *y * cosine + *x * sine);
    }
}
