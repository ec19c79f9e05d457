//! Scoring the documents of a segment, all of them or only those that can be among the best.
//!
//! Documents are taken in windows. In each, a token adds at most its query weight times the largest weight of its blocks
//! there. The tokens that add least, as long as all of them together stay below the bar (the score that the k-th best
//! document has so far), are not essential: a document with no other token cannot be among the best (MaxScore: Turtle and
//! Flood 1995; per block: Ding and Suel 2011). The essential tokens' postings are added up. Documents whose sum, and what
//! the other tokens can add, reach the bar are looked up in the other lists, the strongest first, until they cannot reach
//! it any more. Those that remain are scored anew in ascending order of token, as [`SparseVector::dot`] does it, so that
//! every score that is compared or returned is the same float32 sum.

use std::ops::Range;

use model::SparseVector;

use super::cursor::Cursor;
use super::segment::Segment;
use super::top_k::TopK;

/// Documents scored together: their sums fit into the first-level cache. A power of 2.
const WINDOW: usize = 4096;

/// A look-up costs as much as adding up this many postings.
const LOOKUP_POSTINGS: usize = 16;

/// With more candidates than this in a window, scoring all of it costs less than telling them apart.
const MANY_CANDIDATES: usize = WINDOW / 8;

/// Which documents are scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pruning {
    /// All that share a token with the query.
    Exhaustive,
    /// Those that can be among the best: the same result, sooner.
    Exact,
    /// Those that can exceed the k-th best score divided by this heap factor, in (0, 1]: some of the result may be
    /// missing, what is there has its exact score. 1 is [`Pruning::Exact`].
    Approximate(f32),
}

impl Pruning {
    /// What scores are divided by before they bar others; `None` where every posting counts.
    fn heap_factor(self, query: &SparseVector) -> Option<f64> {
        // With other weights than these, a block's largest weight bounds nothing.
        let is_bounded = |weight: f32| weight >= 0.0 && weight.is_finite();
        match self {
            _ if !query.weights.iter().all(|&weight| is_bounded(weight)) => None,
            Self::Exhaustive => None,
            Self::Exact => Some(1.0),
            Self::Approximate(factor) => Some(f64::from(factor)),
        }
    }

    /// A score that `k` documents of one of the `segments` have or exceed.
    pub fn floor(self, segments: &[Segment], query: &SparseVector, k: usize) -> f32 {
        if self.heap_factor(query).is_none() {
            return 0.0;
        }
        // Adding what is not negative never makes a float32 sum smaller.
        let of_segment = |segment: &Segment| {
            let product = |(token, weight)| weight * segment.weight_of_rank(token, k);
            query.iter().map(product).fold(0.0, f32::max)
        };
        segments.iter().map(of_segment).fold(0.0, f32::max)
    }
}

/// A query that is being answered in one segment.
pub struct MaxScore<'a> {
    segment: &'a Segment,
    /// Number of the segment's first document.
    first_doc: u32,
    /// Ascending by token.
    terms: Vec<Term<'a>>,
    /// What bounds have to reach, as a share of the bar; `None` where every posting counts.
    share: Option<f64>,
    /// Sums of the window's documents, all 0 between windows.
    sums: Box<[f32; WINDOW]>,
    /// Terms by bound, ascending.
    order: Vec<usize>,
    candidates: Vec<u32>,
    /// How many a window will have.
    expected_candidates: usize,
    /// For each candidate, what it has of the terms seen so far.
    partial: Vec<f32>,
}

struct Term<'a> {
    query_weight: f32,
    cursor: Cursor<'a>,
    /// What it adds at most to a score in this window.
    bound: f64,
}

impl<'a> MaxScore<'a> {
    /// For one query; the segment's documents are numbered from `first_doc`.
    pub fn new(
        segment: &'a Segment,
        first_doc: u32,
        query: &SparseVector,
        pruning: Pruning,
    ) -> Self {
        let terms: Vec<Term> = query
            .iter()
            .map(|(token, query_weight)| (query_weight, segment.list(token)))
            .filter(|(_, list)| list.num_blocks() > 0)
            .map(|(query_weight, list)| Term {
                query_weight,
                cursor: Cursor::new(list),
                bound: 0.0,
            })
            .collect();
        // Rounding up in a score, and down in the sum it is compared by, at each product and each addition.
        let slack = (1.0 + f64::from(f32::EPSILON)).powi(terms.len() as i32 + 2);
        Self {
            segment,
            first_doc,
            share: pruning
                .heap_factor(query)
                .map(|factor| 1.0 / (factor * slack)),
            order: (0..terms.len()).collect(),
            terms,
            sums: Box::new([0.0; WINDOW]),
            candidates: Vec::new(),
            expected_candidates: 0,
            partial: Vec::new(),
        }
    }

    /// Offers the segment's documents.
    pub fn collect(mut self, top: &mut TopK<'a>) {
        if self.terms.is_empty() {
            return;
        }
        let documents = self.segment.documents.len();
        for start in (0..documents).step_by(WINDOW) {
            let window = start as u32..(start + WINDOW).min(documents) as u32;
            for term in &mut self.terms {
                term.move_to(window.clone());
            }
            let Some(share) = self.share else {
                self.score_all(window.start, top);
                continue;
            };
            // No bound exceeds the largest float32, which a sum may; and products may be subnormal.
            let least = self.terms.len() as f64 * f64::from(f32::from_bits(1));
            let bar = f64::from(top.bar().min(f32::MAX)) * share - least;
            match self.non_essential(bar) {
                all if all == self.terms.len() => {}
                count if self.looking_up_pays(count) => {
                    self.score_candidates(window.start, count, bar, top);
                }
                _ => self.score_all(window.start, top),
            }
        }
    }

    /// Orders the terms by bound. How many, taken from the lowest, cannot reach `bar` together.
    fn non_essential(&mut self, bar: f64) -> usize {
        let terms = &self.terms;
        let by_bound = |&a: &usize, &b: &usize| terms[a].bound.total_cmp(&terms[b].bound);
        self.order.sort_unstable_by(by_bound);
        let mut sum = 0.0;
        let mut order = self.order.iter();
        let first_essential = order.position(|&term| {
            sum += terms[term].bound;
            sum >= bar
        });
        first_essential.unwrap_or(terms.len())
    }

    /// Whether it takes fewer postings to add up the essential terms, all but the first `count` of `order`, and to look up
    /// as many candidates as there were last, than to add up all terms.
    fn looking_up_pays(&mut self, count: usize) -> bool {
        let look_ups = LOOKUP_POSTINGS * self.expected_candidates;
        // Fewer are expected each time, so that one bad window does not decide for all that follow.
        self.expected_candidates -= self.expected_candidates.div_ceil(8);
        let terms = self.order.iter().enumerate();
        let (saved, spent) = terms.fold((0, 0), |(saved, spent), (rank, &term)| {
            let postings = self.terms[term].cursor.len_bound();
            let looked_up = postings.min(look_ups);
            match rank < count {
                true => (saved + postings, spent + 2 * looked_up),
                false => (saved, spent + looked_up),
            }
        });
        saved > spent
    }

    /// Adds up all terms, in ascending order of token: the sums are scores.
    fn score_all(&mut self, start: u32, top: &mut TopK<'a>) {
        for term in &mut self.terms {
            term.add_to(&mut self.sums);
        }
        for_each_from(top.bar(), start, &self.sums, |doc, score| {
            offer(top, self.segment, self.first_doc, doc, score);
        });
        self.sums.fill(0.0);
    }

    /// Scores the documents that reach `bar` by what they have of the essential terms and what the first `count` terms
    /// of `order` can add.
    fn score_candidates(&mut self, start: u32, count: usize, bar: f64, top: &mut TopK<'a>) {
        let (non_essential, essential) = self.order.split_at(count);
        for &term in essential {
            self.terms[term].add_to(&mut self.sums);
        }
        let bound = |term: usize| self.terms[term].bound;
        // What the terms below each can add.
        let rests: Vec<f64> = non_essential
            .iter()
            .scan(0.0, |sum, &term| {
                *sum += bound(term);
                Some(*sum)
            })
            .collect();
        let (candidates, partial) = (&mut self.candidates, &mut self.partial);
        candidates.clear();
        partial.clear();
        for_each_from(
            least_sum(bar, rests[count - 1]),
            start,
            &self.sums,
            |doc, sum| {
                candidates.push(doc);
                partial.push(sum);
            },
        );
        self.sums.fill(0.0);
        self.expected_candidates = candidates.len();
        if candidates.len() > MANY_CANDIDATES {
            return self.score_all(start, top);
        }
        for (rank, &term) in non_essential.iter().enumerate().rev() {
            self.terms[term].add_to_some(candidates, partial, &mut self.sums);
            let below = rank.checked_sub(1).map_or(0.0, |rank| rests[rank]);
            retain(candidates, partial, least_sum(bar, below));
        }
        partial.fill(0.0);
        for term in &mut self.terms {
            term.add_to_some(candidates, partial, &mut self.sums);
        }
        for (&doc, &score) in candidates.iter().zip(partial.iter()) {
            offer(top, self.segment, self.first_doc, doc, score);
        }
    }
}

impl Term<'_> {
    fn move_to(&mut self, window: Range<u32>) {
        self.cursor.move_to(window);
        self.bound = f64::from(self.query_weight) * f64::from(self.cursor.max_weight());
    }

    /// Adds its share to the sums of all documents of the window.
    fn add_to(&mut self, sums: &mut [f32; WINDOW]) {
        let query_weight = self.query_weight;
        self.cursor.for_each(|doc, weight| {
            sums[doc as usize & (WINDOW - 1)] += query_weight * weight;
        });
    }

    /// Adds its share to the sums of some documents of the window, by looking them up or, if that costs less, by way of
    /// `all`, which is all 0 before and after.
    fn add_to_some(&mut self, docs: &[u32], sums: &mut [f32], all: &mut [f32; WINDOW]) {
        if docs.len() * LOOKUP_POSTINGS > self.cursor.len_bound() {
            self.add_to(all);
            for (&doc, sum) in docs.iter().zip(sums) {
                *sum += all[doc as usize & (WINDOW - 1)];
            }
            all.fill(0.0);
            return;
        }
        let query_weight = self.query_weight;
        self.cursor.for_each_of(docs, |place, weight| {
            sums[place] += query_weight * weight;
        });
    }
}

fn offer<'a>(top: &mut TopK<'a>, segment: &'a Segment, first_doc: u32, doc: u32, score: f32) {
    top.offer(first_doc + doc, score, || {
        segment.documents.get(doc as usize)
    });
}

/// The least sum with which a document can reach `bar` if others add at most `rest`.
fn least_sum(bar: f64, rest: f64) -> f32 {
    ((bar - rest) as f32).next_down()
}

/// Hands over the documents with positive sums of `least` or more; the first one is number `start`.
fn for_each_from(least: f32, start: u32, sums: &[f32; WINDOW], mut visit: impl FnMut(u32, f32)) {
    const CHUNK: usize = 16;
    let least = least.max(f32::from_bits(1));
    for (chunk, sums) in sums.as_chunks::<CHUNK>().0.iter().enumerate() {
        if !sums.iter().fold(false, |any, &sum| any | (sum >= least)) {
            continue;
        }
        for (index, &sum) in sums.iter().enumerate() {
            if sum >= least {
                visit(start + (chunk * CHUNK + index) as u32, sum);
            }
        }
    }
}

/// Keeps the documents with sums of `least` or more.
fn retain(docs: &mut Vec<u32>, sums: &mut Vec<f32>, least: f32) {
    let mut kept = 0;
    for index in 0..docs.len() {
        if sums[index] >= least {
            (docs[kept], sums[kept]) = (docs[index], sums[index]);
            kept += 1;
        }
    }
    docs.truncate(kept);
    sums.truncate(kept);
}
