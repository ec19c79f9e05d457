//! Training of inference-free learned sparse retrievers.
//!
//! [`setup`] loads and checks what a recipe names, [`trainer`] is the loop, [`step`] what it differentiates,
//! [`loss`] the objective, [`teacher`] who it learns from, [`optimizer`] and [`schedule`] how parameters move,
//! [`checkpoint`] and [`run_dir`] what is left on the disk. The library never prints: an [`Observer`] is told what
//! happens.

pub mod batch;
pub mod checkpoint;
pub mod error;
pub mod evaluation;
pub mod figures;
mod freeze;
pub mod grad_cache;
pub mod loss;
pub mod memory;
pub mod metrics;
pub mod optimizer;
pub mod run_dir;
pub mod schedule;
pub mod setup;
pub mod step;
pub mod teacher;
pub mod trainer;

pub use error::TrainError;
pub use run_dir::{RunDir, Start};
pub use setup::{Setup, TrainState};
pub use trainer::{Observer, Outcome, train};
