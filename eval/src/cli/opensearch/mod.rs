//! OpenSearch: `ingest`, `opensearch`, and what other commands need to use it.

mod arguments;
mod load;
mod setup;

pub use arguments::{
    ConnectionArguments, EngineArguments, HEADING, LoadArguments, QueryArguments, QueryName, target,
};
pub use load::{IngestArguments, load_vectors};
pub use setup::OpenSearchArguments;
