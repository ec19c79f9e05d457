//! The k best of many scored documents, without sorting the rest.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::ranking::score_order;

/// A document number with its score. Of two, the greater is the one that ranks lower, so a max-heap keeps the
/// candidate to be replaced on top.
struct Candidate<'a> {
    score: f32,
    doc: u32,
    id: &'a str,
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        score_order(self.score, other.score).then_with(|| other.id.cmp(self.id))
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate<'_> {}

/// The documents with the `k` highest of the positive `scores`, best first; ties go to the id that is greater
/// bytewise. `id` names a document by its number.
pub fn top_k<'a>(scores: &[f32], k: usize, id: impl Fn(u32) -> &'a str) -> Vec<(u32, f32)> {
    let mut heap: BinaryHeap<Candidate> = BinaryHeap::with_capacity(k.min(scores.len()) + 1);
    let mut bar = 0.0;
    for (doc, &score) in scores.iter().enumerate() {
        if score <= 0.0 || score < bar || k == 0 {
            continue;
        }
        let doc = doc as u32;
        heap.push(Candidate {
            score,
            doc,
            id: id(doc),
        });
        if heap.len() > k {
            heap.pop();
        }
        if heap.len() == k {
            bar = heap.peek().map_or(0.0, |last| last.score);
        }
    }
    heap.into_sorted_vec()
        .into_iter()
        .map(|candidate| (candidate.doc, candidate.score))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_a_full_sort_for_every_k() {
        let scores: Vec<f32> = (0..200).map(|i| ((i * 37) % 11) as f32).collect();
        let ids: Vec<String> = (0..200)
            .map(|i| format!("d{}", (i * 7919) % 1000))
            .collect();
        let mut expected: Vec<u32> = (0..200).filter(|&doc| scores[doc as usize] > 0.0).collect();
        expected.sort_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            scores[b].total_cmp(&scores[a]).then(ids[b].cmp(&ids[a]))
        });
        for k in [0, 1, 2, 19, 20, 181, 200, 5000] {
            let found: Vec<u32> = top_k(&scores, k, |doc| &ids[doc as usize])
                .into_iter()
                .map(|(doc, _)| doc)
                .collect();
            assert_eq!(found, expected[..k.min(expected.len())], "k = {k}");
        }
    }
}
