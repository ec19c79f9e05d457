//! Is run B better than run A, or could chance explain it?

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Evaluation, Measure};

/// Two runs under one measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What was measured.
    pub measure: Measure,
    /// Means of the first and the second run over the queries that both evaluations have.
    pub means: [f64; 2],
    /// Queries on which the second run is better, equal, worse.
    pub wins_ties_losses: [usize; 3],
    /// Two-sided p-value of a paired randomisation test.
    pub p_value: f64,
    /// The p-value after Holm's correction for the number of measures.
    pub corrected: f64,
}

/// Compares two evaluations of the same measures, query by query.
///
/// The randomisation test flips the sign of each query's difference at random `rounds` times; the p-value is the
/// share of rounds, the observed one included, whose mean difference is at least as large (Smucker, Allan and
/// Carterette, CIKM 2007). The p-values are corrected by Holm's step-down method.
pub fn compare(
    first: &Evaluation,
    second: &Evaluation,
    rounds: usize,
    seed: u64,
) -> Vec<Comparison> {
    let pairs: Vec<(&Vec<f64>, &Vec<f64>)> = first
        .per_query
        .iter()
        .filter_map(|(query, values)| Some((values, second.per_query.get(query)?)))
        .collect();
    let mut comparisons: Vec<Comparison> = first
        .measures
        .iter()
        .enumerate()
        .map(|(index, &measure)| {
            let values: Vec<[f64; 2]> = pairs.iter().map(|(a, b)| [a[index], b[index]]).collect();
            compare_measure(measure, &values, rounds, seed)
        })
        .collect();
    correct(&mut comparisons);
    comparisons
}

fn compare_measure(measure: Measure, values: &[[f64; 2]], rounds: usize, seed: u64) -> Comparison {
    let differences: Vec<f64> = values
        .iter()
        .map(|[first, second]| second - first)
        .collect();
    let count = |holds: fn(f64) -> bool| differences.iter().filter(|&&value| holds(value)).count();
    let mean = |side: usize| {
        values.iter().map(|pair| pair[side]).sum::<f64>() / values.len().max(1) as f64
    };
    let p_value = randomisation_p(&differences, rounds, seed);
    Comparison {
        measure,
        means: [mean(0), mean(1)],
        wins_ties_losses: [
            count(|value| value > 0.0),
            count(|value| value == 0.0),
            count(|value| value < 0.0),
        ],
        p_value,
        corrected: p_value,
    }
}

fn randomisation_p(differences: &[f64], rounds: usize, seed: u64) -> f64 {
    // Equal queries change no sum, and rounding must not make the observed sum beat its own mirror image.
    let differences: Vec<f64> = differences
        .iter()
        .copied()
        .filter(|&value| value != 0.0)
        .collect();
    let observed = differences.iter().sum::<f64>().abs() - 1e-12;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let at_least = (0..rounds)
        .filter(|_| {
            let sum: f64 = differences
                .iter()
                .map(|value| {
                    if random.random::<bool>() {
                        *value
                    } else {
                        -value
                    }
                })
                .sum();
            sum.abs() >= observed
        })
        .count();
    (at_least + 1) as f64 / (rounds + 1) as f64
}

/// Holm: the i-th smallest of m p-values times m - i, never below a smaller one's.
fn correct(comparisons: &mut [Comparison]) {
    let mut order: Vec<usize> = (0..comparisons.len()).collect();
    order.sort_by(|&a, &b| comparisons[a].p_value.total_cmp(&comparisons[b].p_value));
    let mut floor: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        let scaled = comparisons[index].p_value * (order.len() - rank) as f64;
        floor = floor.max(scaled.min(1.0));
        comparisons[index].corrected = floor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(rows: &[[f64; 2]]) -> Evaluation {
        Evaluation {
            measures: vec![Measure::Ndcg(Some(10)), Measure::Mrr(None)],
            per_query: rows
                .iter()
                .enumerate()
                .map(|(query, row)| (query.to_string(), row.to_vec()))
                .collect(),
            mean: vec![0.0; 2],
        }
    }

    #[test]
    fn a_steady_gain_is_significant_and_noise_is_not() {
        let base: Vec<[f64; 2]> = (0..40).map(|i| [f64::from(i % 7) / 10.0, 0.5]).collect();
        let better: Vec<[f64; 2]> = base
            .iter()
            .enumerate()
            .map(|(i, row)| [row[0] + 0.1, if i % 2 == 0 { 0.6 } else { 0.4 }])
            .collect();
        let result = compare(&evaluation(&base), &evaluation(&better), 2000, 7);
        assert!(result[0].p_value < 0.01 && result[0].corrected == 2.0 * result[0].p_value);
        assert_eq!(result[0].wins_ties_losses, [40, 0, 0]);
        assert!(result[1].p_value > 0.5);
        assert_eq!(result[1].wins_ties_losses, [20, 0, 20]);
    }

    #[test]
    fn a_run_equals_itself() {
        let run = evaluation(&[[0.3, 1.0], [0.5, 0.0]]);
        for comparison in compare(&run, &run, 100, 0) {
            assert_eq!((comparison.p_value, comparison.corrected), (1.0, 1.0));
        }
    }
}
