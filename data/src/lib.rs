//! Text in, token batches out. Knows nothing of Burn.

pub mod batch;
pub mod beir;
pub mod idf;
pub mod input;
mod jsonl;
pub mod output;
pub mod preprocess;
pub mod qrels;
pub mod tokenize;

pub use batch::{BatchLimit, TokenBatch, bucket};
pub use idf::{DocumentFrequencies, Idf, IdfCoverage, IdfError};
pub use preprocess::preprocess;
pub use tokenize::{TokenizeError, Tokenizer};
