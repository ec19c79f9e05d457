//! Custom autodiff ops, each with a hand-written backward pass and a reference in plain tensor operations.

pub mod sparse_head;

pub use sparse_head::sparse_head;
