//! Training of inference-free learned sparse retrievers.

pub mod batch;
pub mod loss;
pub mod optimizer;
pub mod schedule;
pub mod step;
