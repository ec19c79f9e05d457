//! Exact search over postings by token.

use std::path::Path;

use model::SparseVector;
use rayon::prelude::*;

use super::section::{Section, StringTable};
use super::top_k::top_k;
use super::{IndexError, SearchError, Searcher, Vocabulary, index_file};
use crate::metric::TokenCounts;
use crate::ranking::Hit;

/// Size of one posting: a 32-bit document number and a 32-bit weight.
pub(super) const POSTING_BYTES: usize = 8;

/// For each token the documents that have it, with their weights: in memory, or mapped from a file.
#[derive(Debug)]
pub struct InvertedIndex {
    pub(super) documents: StringTable,
    /// Token strings; none for an index that was built with its tokenizer's ids in memory.
    pub(super) tokens: StringTable,
    /// Where each token's postings start, counted in postings, and the end of the last.
    pub(super) offsets: Section,
    pub(super) postings: Section,
}

impl InvertedIndex {
    /// Maps the index in the folder `dir`, verifying its checksums.
    ///
    /// # Errors
    ///
    /// If there is none, or it was damaged or written by another version.
    pub fn open(dir: &Path) -> Result<Self, IndexError> {
        index_file::open(dir)
    }

    /// Number of documents.
    pub fn num_documents(&self) -> usize {
        self.documents.len()
    }

    /// Number of non-zero weights.
    pub fn num_postings(&self) -> usize {
        self.postings.len() / POSTING_BYTES
    }

    /// The id of document number `doc`.
    pub fn document_id(&self, doc: u32) -> &str {
        self.documents.get(doc as usize)
    }

    /// The token strings by which queries find their numbers.
    pub fn vocabulary(&self) -> Vocabulary {
        self.tokens.iter().collect()
    }

    /// The documents that have `token`, ascending by number, with their weights.
    pub fn postings(&self, token: u32) -> impl ExactSizeIterator<Item = (u32, f32)> + '_ {
        let token = token as usize;
        let range = if token + 1 < self.offsets.offset_count() {
            self.offsets.offset(token) as usize..self.offsets.offset(token + 1) as usize
        } else {
            0..0
        };
        self.postings.as_chunks::<POSTING_BYTES>().0[range]
            .iter()
            .map(|&[a, b, c, d, e, f, g, h]| {
                (
                    u32::from_le_bytes([a, b, c, d]),
                    f32::from_le_bytes([e, f, g, h]),
                )
            })
    }

    /// In how many documents each token occurs.
    pub fn token_counts(&self) -> TokenCounts {
        let tokens = self.offsets.offset_count() as u32 - 1;
        let counts = (0..tokens).map(|token| self.postings(token).len() as u64);
        TokenCounts::from_counts(counts.collect(), self.num_documents() as u64)
    }

    /// Number of non-zero weights of each document.
    pub fn document_lengths(&self) -> Vec<u32> {
        let mut lengths = vec![0; self.num_documents()];
        for posting in self.postings.as_chunks::<POSTING_BYTES>().0 {
            let [a, b, c, d, ..] = *posting;
            lengths[u32::from_le_bytes([a, b, c, d]) as usize] += 1;
        }
        lengths
    }

    /// The `k` best documents for each query, as numbers with scores, best first, in the order of `queries`.
    pub fn best(&self, queries: &[SparseVector], k: usize) -> Vec<Vec<(u32, f32)>> {
        let scores = || vec![0.0; self.num_documents()];
        queries
            .par_iter()
            .map_init(scores, |scores, query| self.best_of_one(query, k, scores))
            .collect()
    }

    /// Term at a time in ascending order of token, so that a score is the same float32 sum as
    /// [`SparseVector::dot`]. `scores` is all zero before and after.
    fn best_of_one(&self, query: &SparseVector, k: usize, scores: &mut [f32]) -> Vec<(u32, f32)> {
        for (token, query_weight) in query.iter() {
            for (doc, weight) in self.postings(token) {
                scores[doc as usize] += query_weight * weight;
            }
        }
        let best = top_k(scores, k, |doc| self.document_id(doc));
        scores.fill(0.0);
        best
    }
}

impl Searcher for InvertedIndex {
    fn search(&self, queries: &[SparseVector], k: usize) -> Result<Vec<Vec<Hit>>, SearchError> {
        let hit = |(doc, score)| Hit {
            id: self.document_id(doc).to_owned(),
            score,
        };
        let best = self.best(queries, k).into_iter();
        Ok(best
            .map(|hits| hits.into_iter().map(hit).collect())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranking::rank_order;
    use crate::search::IndexBuilder;

    fn vector(entries: &[(u32, f32)]) -> SparseVector {
        entries.iter().copied().collect()
    }

    /// Vectors of small integers, so that many scores tie.
    fn pseudo_random(count: u32, tokens: u32) -> Vec<SparseVector> {
        let mut state = 1u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        (0..count)
            .map(|_| {
                (0..tokens)
                    .map(|token| (token, next()))
                    .filter(|(_, draw)| draw % 4 == 0)
                    .map(|(token, draw)| (token, (1 + draw / 4 % 3) as f32))
                    .collect()
            })
            .collect()
    }

    #[test]
    fn equals_scoring_every_document() {
        let documents = pseudo_random(120, 30);
        let queries = pseudo_random(25, 30);
        let mut builder = IndexBuilder::default();
        for (doc, vector) in documents.iter().enumerate() {
            builder.add(&format!("d{doc}"), vector).expect("new id");
        }
        let index = builder.finish().expect("unique ids");
        for k in [1, 10, 500] {
            let results = index.search(&queries, k).expect("embedded search");
            for (query, hits) in queries.iter().zip(results) {
                let mut all: Vec<Hit> = documents
                    .iter()
                    .enumerate()
                    .map(|(doc, vector)| Hit {
                        id: format!("d{doc}"),
                        score: query.dot(vector),
                    })
                    .filter(|hit| hit.score > 0.0)
                    .collect();
                all.sort_by(rank_order);
                all.truncate(k);
                assert_eq!(hits, all, "k = {k}");
            }
        }
    }

    #[test]
    fn empty_queries_unknown_tokens_and_empty_collections_find_nothing() {
        let mut builder = IndexBuilder::default();
        builder.add("a", &vector(&[(1, 1.0)])).expect("new id");
        let index = builder.finish().expect("unique ids");
        let queries = [vector(&[]), vector(&[(0, 1.0), (2, 1.0), (u32::MAX, 1.0)])];
        assert_eq!(
            index.search(&queries, 5).expect("embedded search"),
            [vec![], vec![]]
        );
        let empty = IndexBuilder::default().finish().expect("no duplicates");
        assert_eq!(
            empty
                .search(&[vector(&[(1, 1.0)])], 5)
                .expect("embedded search"),
            [vec![]]
        );
        assert_eq!(empty.token_counts().mean_length(), 0.0);
    }

    #[test]
    fn counts_lengths_and_documents() {
        let mut builder = IndexBuilder::default();
        for (id, entries) in [
            ("a", vec![(0, 1.0), (3, 1.0)]),
            ("b", vec![]),
            ("c", vec![(3, 2.0)]),
        ] {
            builder.add(id, &vector(&entries)).expect("new id");
        }
        let index = builder.finish().expect("unique ids");
        assert_eq!(index.document_lengths(), [2, 0, 1]);
        assert_eq!(
            index.token_counts(),
            TokenCounts::from_counts(vec![1, 0, 0, 2], 3)
        );
        assert_eq!((index.num_documents(), index.num_postings()), (3, 3));
    }
}
