//! Text in, token batches out. Knows nothing of Burn.

pub mod batch;
pub mod beir;
pub mod idf;
pub mod input;
mod jsonl;
pub mod output;
pub mod preprocess;
pub mod qrels;
mod random;
pub mod sample;
pub mod tokenize;
pub mod train_data;

pub use batch::{BatchLimit, TokenBatch, bucket};
pub use idf::{DocumentFrequencies, Idf, IdfCoverage, IdfError};
pub use preprocess::preprocess;
pub use sample::{BatchSampler, GroupId, SampleError, SamplerState};
pub use tokenize::{TokenizeError, Tokenizer};
pub use train_data::{TrainData, TrainDataError, TrainGroup, TrainSet};
