//! The Hugging Face model directory: `config.json`, weights, tokenizer files, and the layouts that
//! sentence-transformers and OpenSearch read.
//!
//! The only home of Hugging Face key names (`keys.rs`, `t5_keys.rs`): the rest of the crate names its parameters
//! by module path. Reading is strict. Every parameter must be there with the shape that `config.json` implies, and every
//! tensor in the file must be known, so that a model never runs with silently missing or misplaced weights.

mod bi_encoder;
mod card;
mod checkpoint;
mod classifier;
mod config;
mod error;
mod export;
mod fill;
#[cfg(test)]
pub(crate) mod fixture;
mod head;
mod import;
mod inventory;
mod keys;
mod layout;
mod modules;
mod opensearch;
mod parameters;
mod sentence_transformers;
mod settings;
mod stored_tensor;
mod t5_config;
mod t5_keys;
mod t5_weights;
mod tokenizer_files;
mod weight_type;

pub use bi_encoder::{BiEncoderSettings, bi_encoder_settings, load_encoder, stored_max_len};
pub use classifier::load_classifier;
pub use config::load_config;
pub use error::{ExportError, ImportError};
pub use export::{ExportOptions, export, write_files};
pub use import::{ImportOptions, ImportReport, from_scratch, load};
pub use layout::{Layout, UnknownLayout, stored_activation};
pub use parameters::{NamedTensor, named_gradients, named_parameters, named_tensors};
pub(crate) use t5_config::load_t5_config;
pub(crate) use t5_weights::T5Weights;
pub use weight_type::{UnknownWeightType, WeightType};
