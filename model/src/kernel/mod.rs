//! What the CPU kernels of [`crate::ops`] share: matrix products and elementary functions on slices.
//!
//! No tensor and no model is known here. One source serves every instruction set; `pulp` compiles it for each and
//! picks at run time.

mod lines;
pub mod math;
pub mod product;
pub mod reduced;

use rayon::prelude::*;

/// Runs `body` compiled for the best instruction set of this machine: its loops are vectorised with it.
///
/// Only what is inlined is compiled for it: the closure must be `#[inline(always)]`, and so must what it calls.
#[inline]
pub fn vectorised<R>(body: impl FnOnce() -> R) -> R {
    struct Body<F>(F);
    impl<R, F: FnOnce() -> R> pulp::WithSimd for Body<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _simd: S) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Body(body))
}

/// Rows of a task that multiplies `rows` rows: a multiple of the tallest tile, no more than stay in cache, and such that
/// all threads are done at nearly the same time.
pub fn block_rows(rows: usize) -> usize {
    let threads = rayon::current_num_threads();
    let busiest = |block: usize| {
        let whole = rows / block;
        match whole % threads {
            0 => whole / threads * block + rows % block,
            _ => (whole / threads + 1) * block,
        }
    };
    let blocks = (3..=9).rev().map(|tiles| 14 * tiles);
    blocks.min_by_key(|&block| busiest(block)).unwrap_or(14)
}

/// Lanes of sums and maxima: as many partial results as fit into a few registers.
const LANES: usize = 32;

/// The largest value; the lowest float32 where there is none.
#[inline(always)]
pub fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::MIN; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    let all = lanes.iter().chain(rest);
    all.fold(
        f32::MIN,
        |largest, &value| if value > largest { value } else { largest },
    )
}

/// The sum of `f(i)` for `i` below `count`, in an order that depends on `count` alone.
#[inline(always)]
pub fn sum_of(count: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let whole = count / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(start + lane);
        }
    }
    for i in whole..count {
        lanes[i - whole] += f(i);
    }
    lanes.iter().sum()
}

/// Sums over the rows of `[rows, columns]`, in an order that does not depend on the number of threads.
pub fn column_sums(values: &[f32], columns: usize) -> Vec<f32> {
    /// Rows summed on their own.
    const ROWS: usize = 64;
    let partial: Vec<Vec<f32>> = values
        .par_chunks((ROWS * columns).max(1))
        .map(|rows| {
            let mut sums = vec![0.0; columns];
            vectorised(
                #[inline(always)]
                || {
                    for row in rows.chunks_exact(columns) {
                        sums.iter_mut()
                            .zip(row)
                            .for_each(|(sum, value)| *sum += value);
                    }
                },
            );
            sums
        })
        .collect();
    let mut sums = vec![0.0; columns];
    for part in partial {
        sums.iter_mut()
            .zip(part)
            .for_each(|(sum, value)| *sum += value);
    }
    sums
}

/// The rows of each document.
pub fn split_rows<'a>(
    values: &'a mut [f32],
    lengths: &[usize],
    width: usize,
) -> Vec<&'a mut [f32]> {
    let mut rest = values;
    let split = |&length: &usize| {
        let (rows, tail) = std::mem::take(&mut rest).split_at_mut(length * width);
        rest = tail;
        rows
    };
    lengths.iter().map(split).collect()
}
