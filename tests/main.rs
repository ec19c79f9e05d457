//! The integration tests: one binary, so that it links once.
//!
//! * [`golden`]: numbers made by the reference code, read from `fixtures/` or the folder that `ELLZERO_GOLDEN` names.
//! * [`end_to_end`]: real data and weights, batch invariance, reproducible and resumed training, other tools.
//! * [`cli`]: the binaries, with good and bad input.
//! * [`hub`]: downloads, from a server on this machine.
//! * [`opensearch`]: loading, searching and evaluation, on real OpenSearch nodes.
//! * `gpu`: one forward pass, one training step and the kernels on a GPU driver (feature `wgpu` or `cuda`).
//!
//! `cargo test -p tests golden` runs one of them. What a machine lacks is skipped with a line that says so
//! (`--nocapture` shows it); with `CI=true` missing real data is a failure.

mod cli;
mod compare;
mod damage;
mod end_to_end;
mod fixture;
mod golden;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod gpu;
mod hub;
mod needs;
mod opensearch;
mod weights;
