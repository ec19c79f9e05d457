//! Our numbers against the reference's, element by element, with the tolerances of [`tolerance`].
//!
//! The tests find out from the files what there is to compare: models, layers, activations, loss cases, steps,
//! data sets. A case whose name they do not understand fails; so does a folder without any case.

pub mod encoder;
mod gte;
mod hf_dataset;
mod loading;
mod losses;
mod metrics;
mod mlm;
mod mono_t5;
mod schedules;
pub mod sparse;
mod sums;
pub mod teachers;
mod text;
mod tokenizer;
pub mod tolerance;
pub mod training;
