//! Text in, token batches out. Knows nothing of Burn.

pub mod batch;
pub mod beir;
mod column_type;
pub mod convert;
pub mod dataset;
pub mod hf_dataset;
pub mod idf;
pub mod input;
pub mod inspect;
pub mod jsonl;
mod mapped;
pub mod output;
mod parquet_file;
pub mod prepare;
pub mod preprocess;
pub mod qrels;
mod random;
mod record_batches;
pub mod sample;
mod seen;
pub mod tokenize;
pub mod train_data;

pub use batch::{BatchLimit, TokenBatch, bucket};
pub use dataset::{Dataset, DatasetError};
pub use idf::{DocumentFrequencies, Idf, IdfCoverage, IdfError};
pub use preprocess::preprocess;
pub use sample::{BatchSampler, GroupId, SampleError, SamplerState};
pub use tokenize::{PairTokens, TokenizeError, Tokenizer};
pub use train_data::{RowCounts, TrainData, TrainDataError, TrainGroup, TrainSet};
