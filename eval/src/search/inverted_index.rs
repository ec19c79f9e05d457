//! Search over postings by token.

use std::path::Path;

use model::SparseVector;
use rayon::prelude::*;

use super::max_score::{MaxScore, Pruning};
use super::segment::Segment;
use super::top_k::TopK;
use super::{IndexError, SearchError, Searcher, Vocabulary, chain};
use crate::metric::TokenCounts;
use crate::ranking::Hit;

/// For each token the documents that have it, with their weights: in memory, or mapped from files.
#[derive(Debug)]
pub struct InvertedIndex {
    pub(super) segments: Vec<Segment>,
    /// Number of each segment's first document.
    first_docs: Vec<u32>,
    pruning: Pruning,
}

impl InvertedIndex {
    /// Maps the index in the folder `dir`, verifying its checksums.
    ///
    /// # Errors
    ///
    /// If there is none, or it was damaged or written by another version.
    pub fn open(dir: &Path) -> Result<Self, IndexError> {
        Ok(Self::of_segments(chain::open(dir)?))
    }

    /// The segments in this order, searched with [`Pruning::Exact`].
    pub(super) fn of_segments(segments: Vec<Segment>) -> Self {
        let mut documents = 0;
        let first_docs = segments.iter().map(|segment| {
            let first = documents;
            documents += segment.documents.len() as u32;
            first
        });
        Self {
            first_docs: first_docs.collect(),
            segments,
            pruning: Pruning::Exact,
        }
    }

    /// From now on, [`Self::best`] scores these documents.
    pub fn set_pruning(&mut self, pruning: Pruning) {
        self.pruning = pruning;
    }

    /// Number of documents.
    pub fn num_documents(&self) -> usize {
        let segments = self.segments.iter();
        segments.map(|segment| segment.documents.len()).sum()
    }

    /// Number of non-zero weights.
    pub fn num_postings(&self) -> usize {
        let tokens = 0..self.num_tokens() as u32;
        tokens.map(|token| self.document_frequency(token)).sum()
    }

    /// Number of parts, one more with each [`append`](super::IndexWriter::append).
    pub fn num_segments(&self) -> usize {
        self.segments.len()
    }

    /// Size of ids, tokens and postings, in memory or on disk.
    pub fn num_bytes(&self) -> usize {
        self.segments.iter().map(Segment::num_bytes).sum()
    }

    /// The id of document number `doc`.
    pub fn document_id(&self, doc: u32) -> &str {
        let number = self.first_docs.partition_point(|&first| first <= doc) - 1;
        let doc = doc - self.first_docs[number];
        self.segments[number].documents.get(doc as usize)
    }

    /// The token strings by which queries find their numbers.
    pub fn vocabulary(&self) -> Vocabulary {
        let newest = self.segments.last();
        newest.map_or_else(Vocabulary::default, |segment| {
            segment.tokens.iter().collect()
        })
    }

    /// The documents that have `token`, ascending by number, with their weights.
    pub fn postings(&self, token: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        let segments = self.segments.iter().zip(&self.first_docs);
        segments.flat_map(move |(segment, first)| {
            let postings = segment.list(token).iter();
            postings.map(move |(doc, weight)| (first + doc, weight))
        })
    }

    /// In how many documents each token occurs.
    pub fn token_counts(&self) -> TokenCounts {
        let tokens = 0..self.num_tokens() as u32;
        let counts = tokens.map(|token| self.document_frequency(token) as u64);
        TokenCounts::from_counts(counts.collect(), self.num_documents() as u64)
    }

    /// Number of non-zero weights of each document.
    pub fn document_lengths(&self) -> Vec<u32> {
        let mut lengths = vec![0; self.num_documents()];
        for token in 0..self.num_tokens() as u32 {
            for (doc, _) in self.postings(token) {
                lengths[doc as usize] += 1;
            }
        }
        lengths
    }

    /// The `k` best documents for each query, as numbers with scores, best first, in the order of `queries`.
    ///
    /// A score is the float32 sum that [`SparseVector::dot`] gives, and ties go to the id that is greater bytewise,
    /// however the documents are divided into segments and whatever [`Pruning`] leaves out.
    pub fn best(&self, queries: &[SparseVector], k: usize) -> Vec<Vec<(u32, f32)>> {
        match queries {
            // Not worth waking another thread.
            [query] => vec![self.best_of_one(query, k)],
            _ => queries
                .par_iter()
                .map(|query| self.best_of_one(query, k))
                .collect(),
        }
    }

    fn best_of_one(&self, query: &SparseVector, k: usize) -> Vec<(u32, f32)> {
        let floor = self.pruning.floor(&self.segments, query, k);
        let mut top = TopK::new(k, self.num_documents(), floor);
        for (segment, &first_doc) in self.segments.iter().zip(&self.first_docs) {
            MaxScore::new(segment, first_doc, query, self.pruning).collect(&mut top);
        }
        top.into_sorted()
    }

    /// By which a segment that follows names the last one.
    pub(super) fn checksum(&self) -> u32 {
        self.segments.last().map_or(0, |segment| segment.checksum)
    }

    fn document_frequency(&self, token: u32) -> usize {
        let segments = self.segments.iter();
        segments.map(|segment| segment.list(token).len()).sum()
    }

    fn num_tokens(&self) -> usize {
        let lists = self.segments.iter().map(Segment::num_lists);
        lists.max().unwrap_or(0)
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
    use crate::search::IndexBuilder;

    fn vector(entries: &[(u32, f32)]) -> SparseVector {
        entries.iter().copied().collect()
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
        assert_eq!(index.postings(3).collect::<Vec<_>>(), [(0, 1.0), (2, 2.0)]);
        assert!(index.num_bytes() > 3 && index.num_segments() == 1);
    }
}
