//! Sparse retrieval from text to measures: encoding, an exact inverted index, BM25, TREC runs, and reports.

pub mod beir;
pub mod bm25;
pub mod encode;
pub mod explain;
pub mod metric;
pub mod mine;
pub mod opensearch;
pub mod ranking;
pub mod report;
pub mod run_file;
pub mod search;
pub mod text_encoder;
pub mod vectors;

pub use ranking::{Hit, Run};
