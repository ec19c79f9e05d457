//! OpenSearch as an engine, over HTTP: loading, searching, and setting up.
//!
//! [`Client`] repeats what a busy server or a lost node did not answer. [`Loader`] fills an index that takes the place of
//! the one before it when it is complete; [`SparseIndex`] searches; [`TemporaryIndex`] is both, for an evaluation.

mod address;
mod answer;
mod backoff;
mod batch;
mod bulk;
mod client;
mod document;
mod engine;
mod error;
mod generation;
mod ingest;
mod load;
mod mapping;
mod query;
mod search;
mod setup;
mod weight;

pub use address::{Address, Target};
pub use bulk::BulkOptions;
pub use client::{Client, ClientOptions};
pub use engine::TemporaryIndex;
pub use error::OpenSearchError;
pub use generation::{delete, delete_all};
pub use ingest::{IngestError, IngestJob};
pub use load::{LoadOptions, LoadSummary, Loader};
pub use mapping::{FieldType, IndexSettings, SEISMIC_TOKENS, Seismic, Server};
pub use query::{QueryForm, SeismicSearch, TwoPhase};
pub use search::{SearchOptions, SparseIndex};
pub use setup::{Setup, SetupRequest};
pub use weight::{DOT, stored_weight};
