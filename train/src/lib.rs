//! Training of inference-free learned sparse retrievers.

pub mod loss;
pub mod schedule;
