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

/// Keeps the documents with the `k` highest positive scores; ties go to the id that is greater bytewise.
pub struct TopK<'a> {
    k: usize,
    bar: f32,
    heap: BinaryHeap<Candidate<'a>>,
}

impl<'a> TopK<'a> {
    /// For `k` documents of `available`. At least `k` of them have scores of `floor` or more, or it is 0.
    pub fn new(k: usize, available: usize, floor: f32) -> Self {
        Self {
            k,
            bar: floor,
            heap: BinaryHeap::with_capacity(k.min(available)),
        }
    }

    /// A document with a lower score is not among the best; one with this score may be, by its id.
    pub fn bar(&self) -> f32 {
        self.bar
    }

    /// Takes document number `doc`, named `id`, if it is among the best so far.
    pub fn offer(&mut self, doc: u32, score: f32, id: impl FnOnce() -> &'a str) {
        if score <= 0.0 || score < self.bar || self.k == 0 {
            return;
        }
        let id = id();
        let candidate = Candidate { score, doc, id };
        if self.heap.len() < self.k {
            self.heap.push(candidate);
        } else if let Some(mut last) = self.heap.peek_mut() {
            if *last <= candidate {
                return;
            }
            *last = candidate;
        }
        if self.heap.len() == self.k {
            self.bar = self
                .heap
                .peek()
                .map_or(self.bar, |last| last.score.max(self.bar));
        }
    }

    /// Document numbers and scores, best first.
    pub fn into_sorted(self) -> Vec<(u32, f32)> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|candidate| (candidate.doc, candidate.score))
            .collect()
    }
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
        for k in [0usize, 1, 2, 19, 20, 181, 200, 5000] {
            // The lowest score that may be asked for, and none.
            let lowest = expected.get(k.wrapping_sub(1));
            for floor in [0.0, lowest.map_or(0.0, |&doc| scores[doc as usize])] {
                let mut top = TopK::new(k, 200, floor);
                for (doc, &score) in scores.iter().enumerate() {
                    top.offer(doc as u32, score, || &ids[doc]);
                }
                let found: Vec<u32> = top.into_sorted().into_iter().map(|(doc, _)| doc).collect();
                assert_eq!(
                    found,
                    expected[..k.min(expected.len())],
                    "k = {k}, floor {floor}"
                );
            }
        }
    }
}
