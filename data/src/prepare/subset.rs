//! A random part of a data set.

use std::path::Path;

use super::{PrepareError, SCATTERED_ROWS};
use crate::dataset::Dataset;
use crate::output::AtomicFile;
use crate::random::{Purpose, below, generator};

/// What [`sample`] read and wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleCounts {
    /// Rows of the input.
    pub rows: usize,
    /// Rows written.
    pub kept: usize,
}

/// Writes `count` rows of a data set as JSON lines, in their order, each set of rows as likely as any other; all rows
/// where there are fewer. The rows are a function of their number, `count` and `seed`. `on_row` is called after every
/// row written.
///
/// # Errors
/// [`PrepareError`], naming file and row, or the path that cannot be written.
pub fn sample(
    input: &Path,
    output: &Path,
    count: usize,
    seed: u64,
    on_row: &mut dyn FnMut(),
) -> Result<SampleCounts, PrepareError> {
    let dataset = Dataset::open(input)?;
    let drawn = reservoir(dataset.len(), count, seed);
    let mut file = AtomicFile::create(output)?;
    for (written, &row) in drawn.iter().enumerate() {
        file.write_line(&dataset.json(row)?)?;
        on_row();
        if written % SCATTERED_ROWS == SCATTERED_ROWS - 1 {
            dataset.release();
        }
    }
    file.finish()?;
    Ok(SampleCounts {
        rows: dataset.len(),
        kept: drawn.len(),
    })
}

/// `count` of the numbers below `rows`, in ascending order: algorithm R (Vitter 1985) over row numbers, so that no row
/// is held in memory.
fn reservoir(rows: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut rng = generator(seed, Purpose::SampledRows, 0, 0);
    let mut drawn: Vec<usize> = (0..rows.min(count)).collect();
    for row in drawn.len()..rows {
        let place = below(&mut rng, row + 1);
        if let Some(earlier) = drawn.get_mut(place) {
            *earlier = row;
        }
    }
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_as_likely() {
        let mut counts = [0; 10];
        for seed in 0..2000 {
            let drawn = reservoir(10, 3, seed);
            assert_eq!(drawn.len(), 3);
            assert!(drawn.is_sorted_by(|a, b| a < b));
            drawn.iter().for_each(|&row| counts[row] += 1);
        }
        assert!(
            counts.iter().all(|&count| (520..680).contains(&count)),
            "{counts:?}"
        );
        // A change here changes every recorded sample.
        assert_eq!(reservoir(1000, 5, 42), [112, 778, 925, 955, 961]);
    }

    #[test]
    fn rows_are_written_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let [input, output] = ["a.jsonl.gz", "b.jsonl"].map(|name| dir.path().join(name));
        let mut file = AtomicFile::create(&input).unwrap();
        for row in 0..50 {
            file.write_line(&format!("{{\"b\":{row},  \"a\": \"é\"}}"))
                .unwrap();
        }
        file.finish().unwrap();
        let draw = |count, seed| {
            let counts = sample(&input, &output, count, seed, &mut || ()).unwrap();
            assert_eq!((counts.rows, counts.kept), (50, count.min(50)));
            std::fs::read_to_string(&output).unwrap()
        };
        let first = draw(7, 1);
        assert_eq!(first, draw(7, 1));
        assert_ne!(first, draw(7, 2));
        assert_eq!(first.lines().count(), 7);
        assert!(first.lines().all(|line| line.ends_with(",  \"a\": \"é\"}")));
        assert_eq!(draw(99, 1).lines().count(), 50);
        assert_eq!(draw(0, 1), "");
    }
}
