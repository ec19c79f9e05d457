//! Finding the documents with the largest dot product with a query.

mod builder;
mod chain;
mod cursor;
mod error;
#[cfg(test)]
mod exactness;
mod inverted_index;
mod max_score;
mod posting_block;
mod posting_list;
mod rows;
mod section;
mod segment;
mod segment_file;
mod top_k;
mod vocabulary;
mod writer;

use crate::ranking::{Hit, Run};
use model::SparseVector;

pub use builder::IndexBuilder;
pub use chain::{INDEX_FILE, merge};
pub use error::{IndexError, SearchError};
pub use inverted_index::InvertedIndex;
pub use max_score::Pruning;
pub use vocabulary::Vocabulary;
pub use writer::IndexWriter;

/// Something that ranks a collection's documents for sparse queries.
pub trait Searcher {
    /// The `k` best documents for each query, best first, in the order of `queries`.
    ///
    /// Documents that share no token with the query are never returned, so a list may be shorter than `k`.
    ///
    /// # Errors
    ///
    /// If the engine fails; the embedded one never does.
    fn search(&self, queries: &[SparseVector], k: usize) -> Result<Vec<Vec<Hit>>, SearchError>;
}

/// A search engine elsewhere: it takes documents first, and answers queries then.
pub trait Engine: Searcher {
    /// Takes documents, ids and vectors in the same order; every id once.
    ///
    /// # Errors
    ///
    /// If the engine fails, or refuses a document.
    fn add(&self, ids: &[String], vectors: &[SparseVector]) -> Result<(), SearchError>;

    /// Makes what was added findable.
    ///
    /// # Errors
    ///
    /// If the engine fails, or has not all documents.
    fn finish(&self) -> Result<(), SearchError>;
}

/// Searches for every query and drops the document whose id is the query's own.
///
/// # Errors
///
/// If the engine fails.
pub fn search_run(
    searcher: &dyn Searcher,
    query_ids: &[String],
    queries: &[SparseVector],
    k: usize,
) -> Result<Run, SearchError> {
    let results = searcher.search(queries, k.saturating_add(1))?;
    Ok(query_ids
        .iter()
        .zip(results)
        .map(|(id, mut hits)| {
            hits.retain(|hit| hit.id != *id);
            hits.truncate(k);
            (id.clone(), hits)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_k_hits_and_none_of_them_the_query_itself() {
        let mut builder = IndexBuilder::default();
        for (id, weight) in [("q1", 9.0), ("a", 3.0), ("b", 2.0), ("c", 1.0)] {
            builder
                .add(id, &[(5, weight)].into_iter().collect())
                .expect("new id");
        }
        let index = builder.finish().expect("no duplicates");
        let queries: Vec<SparseVector> = vec![[(5, 1.0)].into_iter().collect(); 2];
        let run = search_run(&index, &["q1".into(), "q2".into()], &queries, 2).expect("found");
        let ids =
            |query: &str| -> Vec<&str> { run[query].iter().map(|hit| hit.id.as_str()).collect() };
        assert_eq!(ids("q1"), ["a", "b"]);
        assert_eq!(ids("q2"), ["q1", "a"]);
    }
}
