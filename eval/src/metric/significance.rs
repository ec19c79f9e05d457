//! Is run B better than run A, or could chance explain it?

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use statrs::function::beta::beta_reg;

use super::{Evaluation, Measure};

/// The share of resampled means that lies within [`Comparison::interval`].
const CONFIDENCE: f64 = 0.95;

/// Two runs under one measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What was measured.
    pub measure: Measure,
    /// Means of the first and the second run over the queries that both evaluations have.
    pub means: [f64; 2],
    /// Bounds of the mean difference, second minus first, with 95 % confidence: percentiles of its bootstrap
    /// distribution (queries drawn anew with replacement).
    pub interval: [f64; 2],
    /// Queries on which the second run is better, equal, worse.
    pub wins_ties_losses: [usize; 3],
    /// Two-sided p-value of a paired randomisation test.
    pub p_value: f64,
    /// The p-value after Holm's correction for the number of comparisons.
    pub corrected: f64,
    /// Two-sided p-value of Student's paired t-test.
    pub t_p_value: f64,
    /// The same after Holm's correction.
    pub t_corrected: f64,
}

/// Compares two evaluations of the same measures, query by query: see [`compare_all`].
pub fn compare(
    first: &Evaluation,
    second: &Evaluation,
    rounds: usize,
    seed: u64,
) -> Vec<Comparison> {
    let mut comparisons = compare_all(first, std::slice::from_ref(second), rounds, seed);
    comparisons.pop().unwrap_or_default()
}

/// Compares each of several evaluations with the first one, query by query, under the same measures.
///
/// The randomisation test flips the sign of each query's difference at random `rounds` times; the p-value is the
/// share of rounds, the observed one included, whose mean difference is at least as large (Smucker, Allan and
/// Carterette, CIKM 2007). The t-test is that of the mean difference. The p-values of either test are corrected by
/// Holm's step-down method for all comparisons made here, measures times evaluations.
pub fn compare_all(
    first: &Evaluation,
    others: &[Evaluation],
    rounds: usize,
    seed: u64,
) -> Vec<Vec<Comparison>> {
    let mut comparisons: Vec<Comparison> = others
        .iter()
        .flat_map(|other| compare_measures(first, other, rounds, seed))
        .collect();
    let corrected = holm(comparisons.iter().map(|found| found.p_value).collect());
    let t_corrected = holm(comparisons.iter().map(|found| found.t_p_value).collect());
    for (index, comparison) in comparisons.iter_mut().enumerate() {
        comparison.corrected = corrected[index];
        comparison.t_corrected = t_corrected[index];
    }
    let mut comparisons = comparisons.into_iter();
    others
        .iter()
        .map(|_| comparisons.by_ref().take(first.measures.len()).collect())
        .collect()
}

fn compare_measures(
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
    (0..first.measures.len())
        .into_par_iter()
        .map(|index| {
            let values: Vec<[f64; 2]> = pairs.iter().map(|(a, b)| [a[index], b[index]]).collect();
            compare_measure(first.measures[index], &values, rounds, seed)
        })
        .collect()
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
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let p_value = randomisation_p(&differences, rounds, &mut random);
    let t_p_value = t_test_p(&differences);
    Comparison {
        measure,
        means: [mean(0), mean(1)],
        interval: bootstrap_interval(&differences, rounds, &mut random),
        wins_ties_losses: [
            count(|value| value > 0.0),
            count(|value| value == 0.0),
            count(|value| value < 0.0),
        ],
        p_value,
        corrected: p_value,
        t_p_value,
        t_corrected: t_p_value,
    }
}

fn randomisation_p(differences: &[f64], rounds: usize, random: &mut impl Rng) -> f64 {
    // Equal queries change no sum, and rounding must not make the observed sum beat its own mirror image.
    let differences: Vec<f64> = differences
        .iter()
        .copied()
        .filter(|&value| value != 0.0)
        .collect();
    let observed = differences.iter().sum::<f64>().abs() - 1e-12;
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

/// `t = mean / (standard deviation / sqrt n)` with n - 1 degrees of freedom; the p-value is the regularised incomplete
/// beta function at `(n - 1) / (n - 1 + t²)`. 1 where all differences are 0 or there is only one.
fn t_test_p(differences: &[f64]) -> f64 {
    let count = differences.len() as f64;
    let freedom = count - 1.0;
    let mean = differences.iter().sum::<f64>() / count;
    let squares: f64 = differences.iter().map(|value| (value - mean).powi(2)).sum();
    if freedom < 1.0 || mean == 0.0 {
        return 1.0;
    }
    // Without rounding errors the same difference everywhere has no deviation at all.
    if squares <= count * (1e-14 * mean).powi(2) {
        return 0.0;
    }
    let t_squared = mean * mean * count * freedom / squares;
    beta_reg(freedom / 2.0, 0.5, freedom / (freedom + t_squared))
}

fn bootstrap_interval(differences: &[f64], rounds: usize, random: &mut impl Rng) -> [f64; 2] {
    let count = differences.len();
    if count == 0 || rounds == 0 {
        return [0.0; 2];
    }
    let mut mean = || {
        let drawn = (0..count).map(|_| differences[random.random_range(0..count)]);
        drawn.sum::<f64>() / count as f64
    };
    let mut means: Vec<f64> = (0..rounds).map(|_| mean()).collect();
    means.sort_by(f64::total_cmp);
    let outside = (rounds as f64 * (1.0 - CONFIDENCE) / 2.0) as usize;
    [means[outside], means[rounds - 1 - outside]]
}

/// Holm: the i-th smallest of m p-values times m - i, never below a smaller one's.
fn holm(p_values: Vec<f64>) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut floor: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        let scaled = p_values[index] * (order.len() - rank) as f64;
        floor = floor.max(scaled.min(1.0));
        corrected[index] = floor;
    }
    corrected
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
                .map(|(query, row)| (format!("{query:04}"), row.to_vec()))
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
        assert!((result[0].interval[0] - 0.1).abs() < 1e-9);
        assert!(result[0].t_p_value < 1e-9);
        assert!(result[1].p_value > 0.5 && result[1].t_p_value > 0.5);
        assert!(result[1].interval[0] < 0.0 && result[1].interval[1] > 0.0);
        assert_eq!(result[1].wins_ties_losses, [20, 0, 20]);
    }

    #[test]
    fn a_run_equals_itself() {
        let run = evaluation(&[[0.3, 1.0], [0.5, 0.0]]);
        for comparison in compare(&run, &run, 100, 0) {
            assert_eq!((comparison.p_value, comparison.corrected), (1.0, 1.0));
            assert_eq!((comparison.t_p_value, comparison.t_corrected), (1.0, 1.0));
            assert_eq!(comparison.interval, [0.0, 0.0]);
        }
        assert_eq!(compare(&Evaluation::default(), &run, 10, 0), []);
        let nothing = Evaluation {
            per_query: Default::default(),
            ..run.clone()
        };
        assert_eq!(compare(&run, &nothing, 10, 0)[0].means, [0.0, 0.0]);
    }

    /// Numbers of a linear congruential generator.
    fn series(count: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let next = |_| {
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            ((state >> 8) % 1000) as f64 / 1000.0
        };
        (0..count).map(next).collect()
    }

    /// From scipy 1.17.1 and numpy 2.4.6, with `series` in Python:
    ///
    /// ```python
    /// def series(n, state):
    ///     out = []
    ///     for _ in range(n):
    ///         state = (state * 1103515245 + 12345) % 2**31
    ///         out.append((state >> 8) % 1000 / 1000)
    ///     return numpy.array(out)
    /// scipy.stats.ttest_rel(series(n, 2) + shift, series(n, 1)).pvalue
    /// ```
    #[test]
    fn t_tests_are_those_of_scipy() {
        for (count, shift, expected) in [
            (2, 0.1, 0.012_604_684_788_633_509),
            (5, 0.0, 0.510_191_162_782_014_3),
            (30, 0.05, 0.228_508_741_580_235_07),
            (300, 0.02, 0.229_062_716_218_692_95),
            (300, 0.3, 1.237_973_648_151_407_7e-30),
            (2000, 0.01, 0.159_801_752_509_551_17),
        ] {
            let differences: Vec<f64> = series(count, 1)
                .into_iter()
                .zip(series(count, 2))
                .map(|(a, b)| b + shift - a)
                .collect();
            let found = t_test_p(&differences);
            assert!(
                (found - expected).abs() <= 1e-9 * expected,
                "{count} {shift}: {found} instead of {expected}"
            );
        }
        assert_eq!(t_test_p(&[0.1; 3]), 0.0);
        assert_eq!(t_test_p(&[0.1]), 1.0);
    }

    /// `statsmodels.stats.multitest.multipletests(p, method="holm")`'s definition, worked by hand.
    #[test]
    fn holm_never_swaps_two_p_values() {
        let found = holm(vec![0.03, 0.01, 0.04, 0.9]);
        let expected = [0.09, 0.04, 0.09, 0.9];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!(holm(vec![0.6, 0.7]), [1.0, 1.0]);
    }

    #[test]
    fn more_comparisons_are_corrected_more() {
        let base = evaluation(&series(30, 5).iter().map(|v| [*v, 0.5]).collect::<Vec<_>>());
        let other = evaluation(
            &series(30, 6)
                .iter()
                .map(|v| [v + 0.3, 0.5])
                .collect::<Vec<_>>(),
        );
        let two = compare(&base, &other, 1000, 0);
        let four = compare_all(&base, &[other.clone(), base.clone()], 1000, 0);
        assert_eq!((four.len(), four[0].len()), (2, 2));
        assert_eq!(four[0][0].t_p_value, two[0].t_p_value);
        assert_eq!(four[0][0].t_corrected, 2.0 * two[0].t_corrected);
        assert_eq!(four[1][0].means[0], four[1][0].means[1]);
    }
}
