//! What differs between the tasks of a run before its first step: the data, and what makes batches of them.

use std::fmt::Display;
use std::path::Path;

use configs::{Task, TrainConfig};
use data::{GroupId, Tokenizer, TrainData};

use crate::batch::{BatchError, BatchMaker};
use crate::error::TrainError;
use crate::masked_lm::{MaskedBatchMaker, MaskedLmData};
use crate::teacher::OnlineTeachers;

/// What a run learns from.
pub enum TaskData {
    /// Groups of a query and its documents.
    Ranking(TrainData),
    /// Documents.
    MaskedLm(MaskedLmData),
}

/// What makes a run's batches.
pub enum Feed<'a> {
    /// Of groups.
    Ranking(BatchMaker<'a>),
    /// Of documents.
    MaskedLm(MaskedBatchMaker<'a>),
}

impl TaskData {
    /// Opens the data of a recipe.
    ///
    /// # Errors
    ///
    /// If they cannot be read, or are not what the task needs.
    pub fn open(config: &TrainConfig, tokenizer: &Tokenizer) -> Result<Self, TrainError> {
        match &config.task {
            Task::Ranking => Ok(Self::Ranking(TrainData::open(&config.data)?)),
            Task::MaskedLm(task) => MaskedLmData::open(config, task, tokenizer).map(Self::MaskedLm),
        }
    }

    /// What makes batches of them; `teachers` score groups.
    pub fn feed<'a>(
        &'a self,
        config: &TrainConfig,
        tokenizer: &'a Tokenizer,
        teachers: Option<&'a OnlineTeachers>,
    ) -> Feed<'a> {
        match self {
            Self::Ranking(data) => Feed::Ranking(BatchMaker {
                data,
                tokenizer,
                preprocess: config.model.preprocess,
                max_seq_len: config.data.max_seq_len,
                needs_scores: config.loss.needs_scores().is_some(),
                teachers,
                in_batch: config.loss.in_batch_negatives,
            }),
            Self::MaskedLm(data) => Feed::MaskedLm(MaskedBatchMaker {
                sequences: data.sequences(config, tokenizer),
                masking: &data.masking,
                seed: config.run.data_seed,
            }),
        }
    }

    /// What became of the rows of each data set, in sentences.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Self::Ranking(data) => {
                let sets = data.sets().iter();
                sets.map(|set| note(set.path(), &set.counts())).collect()
            }
            Self::MaskedLm(data) => {
                let sets = data.texts.sets().iter();
                sets.map(|set| note(set.path(), &set.counts())).collect()
            }
        }
    }
}

impl Feed<'_> {
    /// Number of groups or sequences of each data set.
    pub fn sizes(&self) -> Vec<usize> {
        match self {
            Self::Ranking(maker) => maker.data.sizes(),
            Self::MaskedLm(maker) => maker.sequences.sizes(),
        }
    }

    /// Makes a batch of the first of each data set: enough to see whether texts can be tokenized and scores are there.
    ///
    /// # Errors
    ///
    /// What would keep the run from its first batch.
    pub fn check(&self) -> Result<(), BatchError> {
        let sizes = self.sizes().into_iter().enumerate();
        let first: Vec<GroupId> = sizes
            .filter(|(_, size)| *size > 0)
            .map(|(set, _)| GroupId { set, group: 0 })
            .collect();
        match self {
            Self::Ranking(maker) => maker.make(&first).map(drop),
            Self::MaskedLm(maker) => maker.make(0, &first).map(drop),
        }
    }
}

fn note(path: &Path, counts: &impl Display) -> String {
    format!("{}: {counts}", path.display())
}
