//! Tokens in, sparse vectors out: BERT, DistilBERT and GTE masked-LM encoders, the sparse head as a custom
//! autodiff op, and the Hugging Face directory layout.
//!
//! [`mono_t5`] is a teacher: query and document in, a score out.
//!
//! Nothing here knows of losses, data sets or indexes. Only [`hf`] knows Hugging Face key names, and only
//! [`device`] names a backend.

pub mod config;
pub mod device;
pub mod encoder;
pub mod hf;
pub mod inference;
mod kernel;
pub mod masked_lm;
pub mod mono_t5;
pub mod ops;
pub mod precision;
pub mod sparse;

pub use config::{EncoderConfig, Family, FeedForward, Positions};
pub use masked_lm::{MaskedLm, TokenTensors};
pub use mono_t5::{MonoT5, MonoT5Error, MonoT5Options};
pub use precision::{Precision, PrecisionError};
pub use sparse::{QueryWeights, SparseEncoder, SparseError, SparseOptions, SparseVector};
