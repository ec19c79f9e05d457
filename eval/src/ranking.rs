//! A ranked list: what search returns, run files hold, and metrics judge.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// One retrieved document.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Document id.
    pub id: String,
    /// Relevance; only its order matters.
    pub score: f32,
}

/// Hits of each query, by query id. The lists may be in any order: [`rank_order`] decides.
pub type Run = BTreeMap<String, Vec<Hit>>;

/// The order of a ranking, as trec_eval has it: float32 score descending, then document id descending bytewise.
pub fn rank_order(left: &Hit, right: &Hit) -> Ordering {
    score_order(left.score, right.score).then_with(|| right.id.cmp(&left.id))
}

/// Higher scores first; 0.0 and -0.0 are equal.
pub(crate) fn score_order(left: f32, right: f32) -> Ordering {
    right
        .partial_cmp(&left)
        .unwrap_or_else(|| right.total_cmp(&left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_higher_id_bytewise() {
        let mut hits: Vec<Hit> = [
            ("d10", 1.0),
            ("d9", 1.0),
            ("é", 1.0),
            ("z", -0.0),
            ("zz", 0.0),
            ("a", 2.0),
        ]
        .map(|(id, score)| Hit {
            id: id.to_owned(),
            score,
        })
        .into();
        hits.sort_by(rank_order);
        let ids: Vec<&str> = hits.iter().map(|hit| hit.id.as_str()).collect();
        assert_eq!(ids, ["a", "é", "d9", "d10", "zz", "z"]);
    }
}
