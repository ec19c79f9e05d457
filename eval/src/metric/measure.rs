//! The measures of one ranked list, defined as in trec_eval.

use std::fmt;
use std::str::FromStr;

/// A measure of ranking quality, optionally cut off at a rank.
///
/// A judgement above 0 is relevant; missing and negative judgements gain nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// `ndcg@k` (trec_eval `ndcg_cut_k`) or `ndcg`: sum of `gain / log2(rank + 1)`, linear gain, over the same
    /// sum for the best possible ranking of all judged documents.
    Ndcg(Option<usize>),
    /// `map@k` (`map_cut_k`) or `map`: mean of the precision at each relevant document retrieved, divided by
    /// the number of relevant documents.
    Map(Option<usize>),
    /// `recall@k`: share of the relevant documents that are retrieved.
    Recall(Option<usize>),
    /// `p@k`: share of the first k ranks that hold a relevant document.
    Precision(usize),
    /// `mrr@k` or `mrr` (`recip_rank`): one over the rank of the first relevant document.
    Mrr(Option<usize>),
}

/// A name that is not a measure.
#[derive(Debug, thiserror::Error)]
#[error(
    "measure `{0}` is not known: expected ndcg, map, recall or mrr with an optional cut-off, or p with one, \
     like ndcg@10"
)]
pub struct UnknownMeasure(String);

impl Measure {
    /// The measures that every report carries.
    pub const STANDARD: [Self; 5] = [
        Self::Ndcg(Some(10)),
        Self::Map(Some(100)),
        Self::Recall(Some(100)),
        Self::Precision(10),
        Self::Mrr(Some(10)),
    ];

    /// The value for one query.
    ///
    /// `gains` are the judgements of the retrieved documents in rank order, 0 for unjudged ones; `judged` are all
    /// judgements of the query.
    pub fn of(self, gains: &[i32], judged: &[i32]) -> f64 {
        let relevant = judged.iter().filter(|&&gain| gain > 0).count();
        if relevant == 0 {
            return 0.0;
        }
        match self {
            Self::Ndcg(cut) => ndcg(top(gains, cut), judged, cut),
            Self::Map(cut) => precision_sum(top(gains, cut)) / relevant as f64,
            Self::Recall(cut) => count_relevant(top(gains, cut)) as f64 / relevant as f64,
            Self::Precision(cut) => count_relevant(top(gains, Some(cut))) as f64 / cut as f64,
            Self::Mrr(cut) => top(gains, cut)
                .iter()
                .position(|&gain| gain > 0)
                .map_or(0.0, |index| 1.0 / (index + 1) as f64),
        }
    }
}

fn top(gains: &[i32], cut: Option<usize>) -> &[i32] {
    &gains[..cut.unwrap_or(usize::MAX).min(gains.len())]
}

fn count_relevant(gains: &[i32]) -> usize {
    gains.iter().filter(|&&gain| gain > 0).count()
}

fn ndcg(gains: &[i32], judged: &[i32], cut: Option<usize>) -> f64 {
    let mut ideal = judged.to_vec();
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    discounted(gains) / discounted(top(&ideal, cut))
}

fn discounted(gains: &[i32]) -> f64 {
    gains
        .iter()
        .enumerate()
        .filter(|&(_, &gain)| gain > 0)
        .map(|(index, &gain)| f64::from(gain) / ((index + 2) as f64).log2())
        .fold(0.0, |sum, gain| sum + gain)
}

fn precision_sum(gains: &[i32]) -> f64 {
    let (mut found, mut sum) = (0, 0.0);
    for (index, _) in gains.iter().enumerate().filter(|&(_, &gain)| gain > 0) {
        found += 1;
        sum += f64::from(found) / (index + 1) as f64;
    }
    sum
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, cut) = match *self {
            Self::Ndcg(cut) => ("ndcg", cut),
            Self::Map(cut) => ("map", cut),
            Self::Recall(cut) => ("recall", cut),
            Self::Precision(cut) => ("p", Some(cut)),
            Self::Mrr(cut) => ("mrr", cut),
        };
        match cut {
            Some(cut) => write!(f, "{name}@{cut}"),
            None => f.write_str(name),
        }
    }
}

impl FromStr for Measure {
    type Err = UnknownMeasure;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownMeasure(text.to_owned());
        let (name, cut) = match text.split_once('@') {
            Some((name, cut)) => {
                let cut: usize = cut.parse().map_err(|_| unknown())?;
                (
                    name,
                    Some(cut).filter(|&cut| cut > 0).ok_or_else(unknown)?.into(),
                )
            }
            None => (text, None),
        };
        match (name.to_ascii_lowercase().as_str(), cut) {
            ("ndcg", cut) => Ok(Self::Ndcg(cut)),
            ("map", cut) => Ok(Self::Map(cut)),
            ("recall", cut) => Ok(Self::Recall(cut)),
            ("p", Some(cut)) => Ok(Self::Precision(cut)),
            ("mrr", cut) => Ok(Self::Mrr(cut)),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_figures_worked_by_hand() {
        // Ranks 1..4 hold gains 0 3 0 1; one more document with judgement 2 was not retrieved.
        let (gains, judged) = ([0, 3, 0, 1], [3, 1, 2, 0, -1]);
        let dcg = 3.0 / 3f64.log2() + 1.0 / 5f64.log2();
        let ideal = 3.0 + 2.0 / 3f64.log2() + 1.0 / 4f64.log2();
        let expected = [
            ("ndcg", dcg / ideal),
            ("ndcg@2", (3.0 / 3f64.log2()) / (3.0 + 2.0 / 3f64.log2())),
            ("map", (0.5 + 0.5) / 3.0),
            ("map@3", 0.5 / 3.0),
            ("recall@3", 1.0 / 3.0),
            ("p@4", 0.5),
            ("p@10", 0.2),
            ("mrr", 0.5),
            ("mrr@1", 0.0),
        ];
        for (name, value) in expected {
            let measure: Measure = name.parse().expect("a measure");
            assert!(
                (measure.of(&gains, &judged) - value).abs() < 1e-12,
                "{name}"
            );
            assert_eq!(measure.to_string(), name);
        }
    }

    #[test]
    fn nothing_relevant_scores_zero() {
        for measure in Measure::STANDARD {
            assert_eq!(measure.of(&[0, 0], &[0, -2]), 0.0);
            assert_eq!(measure.of(&[], &[1]), 0.0);
        }
    }

    #[test]
    fn refuses_other_names() {
        for name in ["", "ndcg@0", "ndcg@x", "p", "bpref"] {
            assert!(name.parse::<Measure>().is_err(), "{name}");
        }
    }
}
