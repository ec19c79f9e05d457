//! Measures of rankings and of sparsity. Nothing here sees a tensor or a file.

mod measure;
mod significance;
mod sparsity;

use std::collections::BTreeMap;

use data::beir::Qrels;

use crate::ranking::{Hit, Run, rank_order};

pub use measure::{Measure, UnknownMeasure};
pub use significance::{Comparison, compare, compare_all};
pub use sparsity::{TokenCounts, flops};

/// Which queries enter an average.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Average {
    /// Every judged query; one that the run lacks scores 0.
    #[default]
    Judged,
    /// The queries that are both judged and in the run, as pytrec_eval and BEIR average.
    Retrieved,
}

/// Values of several measures, per query and averaged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evaluation {
    /// What was measured.
    pub measures: Vec<Measure>,
    /// One value for each measure, by query id; only the queries that enter the average.
    pub per_query: BTreeMap<String, Vec<f64>>,
    /// The averages, one for each measure; 0 where no query entered.
    pub mean: Vec<f64>,
}

impl Evaluation {
    /// Number of queries averaged over.
    pub fn queries(&self) -> usize {
        self.per_query.len()
    }

    /// The average of `measure`, if it was measured.
    pub fn mean_of(&self, measure: Measure) -> Option<f64> {
        let index = self.measures.iter().position(|&known| known == measure)?;
        Some(self.mean[index])
    }
}

/// Judges `run` by `qrels`.
pub fn evaluate(qrels: &Qrels, run: &Run, measures: &[Measure], average: Average) -> Evaluation {
    let per_query: BTreeMap<String, Vec<f64>> = qrels
        .iter()
        .filter(|(query, _)| average == Average::Judged || run.contains_key(*query))
        .map(|(query, judgements)| {
            let hits = run.get(query).map_or(&[][..], Vec::as_slice);
            let gains = ranked_gains(hits, judgements);
            let judged: Vec<i32> = judgements.values().copied().collect();
            let values = measures.iter().map(|measure| measure.of(&gains, &judged));
            (query.clone(), values.collect())
        })
        .collect();
    let count = per_query.len().max(1) as f64;
    let mean = (0..measures.len())
        .map(|index| {
            per_query
                .values()
                .fold(0.0, |sum, values| sum + values[index])
                / count
        })
        .collect();
    Evaluation {
        measures: measures.to_vec(),
        per_query,
        mean,
    }
}

fn ranked_gains(hits: &[Hit], judgements: &BTreeMap<String, i32>) -> Vec<i32> {
    let mut ranked: Vec<&Hit> = hits.iter().collect();
    ranked.sort_by(|left, right| rank_order(left, right));
    ranked
        .into_iter()
        .map(|hit| judgements.get(&hit.id).copied().unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(id: &str, score: f32) -> Hit {
        Hit {
            id: id.to_owned(),
            score,
        }
    }

    #[test]
    fn averages_over_judged_or_over_retrieved_queries() {
        let judgement = |doc: &str| BTreeMap::from([(doc.to_owned(), 1)]);
        let qrels = Qrels::from([("q1".into(), judgement("a")), ("q2".into(), judgement("b"))]);
        let run = Run::from([
            ("q1".into(), vec![hit("x", 1.0), hit("a", 2.0)]),
            ("unjudged".into(), vec![hit("b", 1.0)]),
        ]);
        let measures = [Measure::Mrr(None)];
        let judged = evaluate(&qrels, &run, &measures, Average::Judged);
        assert_eq!((judged.queries(), judged.mean[0]), (2, 0.5));
        let retrieved = evaluate(&qrels, &run, &measures, Average::Retrieved);
        assert_eq!(
            (retrieved.queries(), retrieved.mean_of(measures[0])),
            (1, Some(1.0))
        );
    }

    #[test]
    fn no_query_averages_to_zero() {
        let evaluation = evaluate(
            &Qrels::new(),
            &Run::new(),
            &Measure::STANDARD,
            Average::Judged,
        );
        assert_eq!(
            format!("{:?}", evaluation.mean),
            "[0.0, 0.0, 0.0, 0.0, 0.0]"
        );
    }
}
