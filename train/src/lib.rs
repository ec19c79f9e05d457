//! Training of inference-free learned sparse retrievers.

pub mod loss;
pub mod optimizer;
pub mod schedule;
