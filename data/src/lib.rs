//! Text in, token batches out. Knows nothing of Burn.

pub mod batch;

pub use batch::TokenBatch;
