//! Training of inference-free learned sparse retrievers, and of the masked-LMs that they start from.
//!
//! [`mod@fetch`] brings what a recipe names on the Hub here, [`setup`] loads and checks it, [`task`] its data, [`trainer`]
//! is the loop, [`step`] what it differentiates ([`masked_lm`] where that is no ranking), [`loss`] the objective,
//! [`teacher`] who it learns from, [`targets`] what it must go on to learn, [`optimizer`] and [`schedule`] how parameters move, [`checkpoint`] and [`run_dir`]
//! what is left on the disk. The library never prints: an [`Observer`] is told what happens.

mod ahead;
pub mod batch;
pub mod checkpoint;
pub mod error;
pub mod evaluation;
pub mod fetch;
pub mod figures;
mod freeze;
pub mod grad_cache;
pub mod loss;
pub mod masked_lm;
pub mod memory;
pub mod metrics;
pub mod optimizer;
pub mod run_dir;
pub mod schedule;
pub mod setup;
pub mod step;
pub mod targets;
pub mod task;
pub mod teacher;
pub mod trainer;

pub use error::TrainError;
pub use fetch::{Fetched, fetch, fetch_teachers};
pub use run_dir::{RunDir, Start};
pub use setup::{Setup, TrainState};
pub use trainer::{Observer, Outcome, train};
