//! The schema of the YAML recipes: what may be written ([`raw`]) and what it means ([`resolved`]).
//!
//! A recipe is one flat mapping with the keys of the reference training code (and of the Hugging Face
//! `TrainingArguments` people use with it), so that recipes written for the reference run unchanged. Every key is
//! honoured, accepted with a warning, or refused by name with what to do instead:
//!
//! * [`raw::RawConfig`] has one typed field per honoured key;
//! * [`foreign`] is the table of all other known keys, each with the reason why it is refused or ignored;
//! * anything else is unknown and refused with the nearest known key.
//!
//! Downstream code sees [`TrainConfig`] only; no string is dispatched on after that. [`teachers`] is the schema of what
//! gives scores, in a recipe or in a file of its own.

mod choice;
mod error;
pub mod foreign;
pub mod raw;
mod resolve;
pub mod resolved;
mod scalar;
pub mod teachers;
mod yaml;

use std::path::Path;

pub use choice::{Choice, UnknownChoice};
pub use error::{ConfigError, Place};
pub use resolved::*;
pub use teachers::{TeacherConfig, TeacherKind, TeachersConfig, load_teachers};

/// A recipe and what the user should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedConfig {
    /// What to run.
    pub config: TrainConfig,
    /// Settings that have no effect here, each with its place and the reason.
    pub warnings: Vec<String>,
}

/// Reads the recipe at `path`, applies `overrides` (each `key=value`, the value as YAML) and resolves it.
///
/// Relative paths inside a recipe are left as they are: they count from the working directory.
///
/// # Errors
/// The file cannot be read, is not a YAML mapping, names an unknown or refused key, or holds a value of the wrong
/// type, out of range, or at odds with another one. The error names file, line and key.
pub fn load(path: &Path, overrides: &[String]) -> Result<LoadedConfig, ConfigError> {
    raw::RawConfig::read(path, overrides)?.resolve()
}

impl TrainConfig {
    /// The recipe as flat YAML, every key written out: [`load`] gives the same configuration back.
    pub fn to_yaml(&self) -> String {
        raw::RawConfig::from(self).to_yaml()
    }
}
