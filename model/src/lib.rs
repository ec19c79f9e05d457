//! Tokens in, sparse vectors out: BERT, DistilBERT and GTE masked-LM encoders, the sparse head as a custom
//! autodiff op, and the Hugging Face directory layout. Beside them the models that only teach: dense bi-encoders,
//! cross-encoders, and [`mono_t5`].
//!
//! Nothing here knows of losses, data sets or indexes. Only [`hf`] knows Hugging Face key names, and only
//! [`device`] names a backend.

pub mod classifier;
pub mod config;
pub mod cross_encoder;
pub mod dense_encoder;
pub mod device;
pub mod encoder;
pub mod hf;
pub mod inference;
mod kernel;
pub mod masked_lm;
pub mod mono_t5;
pub mod ops;
pub mod pooling;
pub mod precision;
pub mod sparse;
pub mod vocabulary;

pub use classifier::SequenceClassifier;
pub use config::{EncoderConfig, Family, FeedForward, Positions};
pub use cross_encoder::{CrossEncoder, CrossEncoderError, CrossEncoderOptions};
pub use dense_encoder::{DenseEncoder, DenseError, DenseOptions};
pub use masked_lm::{MaskedLm, TokenTensors};
pub use mono_t5::{MonoT5, MonoT5Error, MonoT5Options};
pub use pooling::Pooling;
pub use precision::{Precision, PrecisionError};
pub use sparse::{QueryWeights, SparseEncoder, SparseError, SparseOptions, SparseVector};
