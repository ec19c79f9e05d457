//! What evaluating one data set gives.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sample::DocumentSample;
use crate::metric::Evaluation;
use crate::ranking::Run;

/// The figures of one data set; serialized, an entry of `results.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DatasetReport {
    /// nDCG@10, averaged over all judged queries as the other measures are.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// Mean average precision of the first 100 ranks.
    #[serde(rename = "map@100")]
    pub map_at_100: f64,
    /// Recall of the first 100 ranks.
    #[serde(rename = "recall@100")]
    pub recall_at_100: f64,
    /// Precision of the first 10 ranks.
    #[serde(rename = "p@10")]
    pub p_at_10: f64,
    /// Mean reciprocal rank within the first 10.
    #[serde(rename = "mrr@10")]
    pub mrr_at_10: f64,
    /// Mean number of multiplications for one query and one document.
    pub flops: f64,
    /// Mean number of tokens of a query vector.
    pub q_length: f64,
    /// Mean number of tokens of a document vector.
    pub d_length: f64,
    /// Documents indexed.
    pub docs: usize,
    /// Judged queries.
    pub queries: usize,
    /// Size of the index, divided by the number of documents; 0 where the engine does not say.
    pub index_bytes_per_doc: f64,
    /// Documents encoded and indexed per second.
    pub docs_per_s: f64,
    /// Time to encode and search one query, alone.
    pub query_latency_ms: Latency,
    /// What the figures were computed from.
    #[serde(skip)]
    pub details: Details,
}

/// Percentiles of a duration in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// Everything behind a [`DatasetReport`] that is no single figure.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Details {
    /// The ranking of each judged query.
    pub run: Run,
    /// [`crate::metric::Measure::STANDARD`] per query.
    pub evaluation: Evaluation,
    /// Text of each judged query, by id.
    pub queries: BTreeMap<String, String>,
    /// How many document vectors have so many tokens.
    pub document_lengths: BTreeMap<u32, u64>,
    /// A few documents with their weights.
    pub samples: Vec<DocumentSample>,
    /// What the judgements name but the collection lacks, in words; empty if there is nothing to say.
    pub notes: Vec<String>,
}

impl DatasetReport {
    /// The names and values of the figures that averages are made of, in order.
    pub fn figures(&self) -> [(&'static str, f64); 8] {
        [
            ("ndcg@10", self.ndcg_at_10),
            ("map@100", self.map_at_100),
            ("recall@100", self.recall_at_100),
            ("p@10", self.p_at_10),
            ("mrr@10", self.mrr_at_10),
            ("flops", self.flops),
            ("q_length", self.q_length),
            ("d_length", self.d_length),
        ]
    }
}

impl Latency {
    /// Percentiles of `durations_ms`; zeros if there are none.
    pub fn of(mut durations_ms: Vec<f64>) -> Self {
        durations_ms.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * durations_ms.len() as f64).ceil() as usize;
            durations_ms
                .get(rank.saturating_sub(1))
                .copied()
                .unwrap_or(0.0)
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let latency = Latency::of((1..=200).rev().map(f64::from).collect());
        assert_eq!((latency.p50, latency.p99), (100.0, 198.0));
        let one = Latency::of(vec![3.0]);
        assert_eq!((one.p50, one.p99), (3.0, 3.0));
        assert_eq!(Latency::of(vec![]), Latency::default());
    }
}
