//! Training data.

use std::path::{Path, PathBuf};

use configs::DataConfig;
use thiserror::Error;

use crate::sample::GroupId;

/// Why training data could not be read.
#[derive(Debug, Error)]
pub enum TrainDataError {
    /// No group can be made.
    #[error("{}: no training groups", path.display())]
    Empty {
        /// Data set at fault.
        path: PathBuf,
    },
}

/// What one query of a training batch is scored against.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainGroup {
    /// The query's text.
    pub query: String,
    /// Its documents; of `posnegs` data the positive comes first.
    pub docs: Vec<String>,
    /// The teacher's scores of the documents, unscaled, where the data has any.
    pub scores: Option<Vec<f32>>,
}

/// One data set, cut into groups.
pub struct TrainSet {
    path: PathBuf,
    groups: usize,
}

/// Training data, cut into groups and read on demand.
pub struct TrainData {
    sets: Vec<TrainSet>,
}

impl TrainData {
    /// Opens.
    ///
    /// # Errors
    /// [`TrainDataError`].
    pub fn open(config: &DataConfig) -> Result<Self, TrainDataError> {
        let path = match &config.source {
            configs::TrainSource::File(path) | configs::TrainSource::Dir(path) => path.clone(),
        };
        Err(TrainDataError::Empty { path })
    }

    /// The data sets.
    pub fn sets(&self) -> &[TrainSet] {
        &self.sets
    }

    /// Number of groups of each data set, as [`BatchSampler::new`](crate::BatchSampler::new) wants them.
    pub fn sizes(&self) -> Vec<usize> {
        self.sets.iter().map(TrainSet::groups).collect()
    }

    /// Number of groups of all data sets.
    pub fn len(&self) -> usize {
        self.sizes().iter().sum()
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads one group.
    ///
    /// # Errors
    /// [`TrainDataError`].
    pub fn group(&self, id: GroupId) -> Result<TrainGroup, TrainDataError> {
        Err(TrainDataError::Empty {
            path: self.sets[id.set].path.clone(),
        })
    }
}

impl TrainSet {
    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.groups
    }
}
