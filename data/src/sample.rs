//! The order of training: an endless stream of batches that is a pure function of the seed.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::random::{Purpose, generator, shuffle};

/// Why batches cannot be drawn.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SampleError {
    /// Nothing to draw.
    #[error(
        "no batch can be drawn: the data sets have {sizes:?} groups and a batch takes {batch_size}{}",
        if *drop_last { " (smaller last batches are dropped)" } else { "" }
    )]
    NoBatch {
        /// Groups of each data set.
        sizes: Vec<usize>,
        /// Groups per batch.
        batch_size: usize,
        /// Whether smaller last batches are dropped.
        drop_last: bool,
    },
    /// A data set has more groups than the sampler can number.
    #[error("data set {set} has {size} groups; at most 4294967295 are supported")]
    TooLarge {
        /// Position of the data set.
        set: usize,
        /// Its number of groups.
        size: usize,
    },
    /// The stored position belongs to other data or settings.
    #[error(
        "cannot continue the data order: the checkpoint was made with {name} {stored}, now it is {current}; \
         restore the data and settings of that run, or start a new one"
    )]
    Changed {
        /// What differs.
        name: &'static str,
        /// Its value in the checkpoint.
        stored: String,
        /// Its value now.
        current: String,
    },
}

/// A group of a data set: see [`TrainData::group`](crate::TrainData::group).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    /// Position of the data set.
    pub set: usize,
    /// Position of the group in it.
    pub group: usize,
}

/// Everything that determines the rest of the stream; stored with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplerState {
    /// Seed of the data order.
    pub seed: u64,
    /// Groups of each data set.
    pub sizes: Vec<usize>,
    /// Groups per batch.
    pub batch_size: usize,
    /// Whether smaller last batches are dropped.
    pub drop_last: bool,
    /// Batches drawn so far.
    pub position: u64,
}

/// Draws batches without end, epoch after epoch.
///
/// In an epoch every group occurs once (less the last, smaller batch of each data set with `drop_last`). Each
/// batch comes from one data set; the data sets take turns in random order, each as often as it has batches,
/// that is in proportion to its size.
pub struct BatchSampler {
    state: SamplerState,
    epoch: Epoch,
}

impl BatchSampler {
    /// Starts at the first batch. `sizes` are the numbers of groups of the data sets.
    ///
    /// # Errors
    /// [`SampleError::NoBatch`] when an epoch would have no batch, [`SampleError::TooLarge`].
    pub fn new(
        sizes: &[usize],
        batch_size: usize,
        drop_last: bool,
        seed: u64,
    ) -> Result<Self, SampleError> {
        if let Some(set) = sizes.iter().position(|&size| u32::try_from(size).is_err()) {
            let size = sizes[set];
            return Err(SampleError::TooLarge { set, size });
        }
        let state = SamplerState {
            seed,
            sizes: sizes.to_vec(),
            batch_size,
            drop_last,
            position: 0,
        };
        if batch_size == 0 || state.batches_per_epoch() == 0 {
            return Err(SampleError::NoBatch {
                sizes: sizes.to_vec(),
                batch_size,
                drop_last,
            });
        }
        let epoch = Epoch::new(&state, 0);
        Ok(Self { state, epoch })
    }

    /// Number of batches in an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.state.batches_per_epoch()
    }

    /// What to store for [`BatchSampler::restore`].
    pub fn state(&self) -> &SamplerState {
        &self.state
    }

    /// Continues exactly where `stored` was taken.
    ///
    /// # Errors
    /// [`SampleError::Changed`] when seed, sizes, batch size or `drop_last` differ.
    pub fn restore(&mut self, stored: &SamplerState) -> Result<(), SampleError> {
        let current = &self.state;
        let changed = |name, stored: &dyn std::fmt::Debug, current: &dyn std::fmt::Debug| {
            Err(SampleError::Changed {
                name,
                stored: format!("{stored:?}"),
                current: format!("{current:?}"),
            })
        };
        if stored.seed != current.seed {
            return changed("data seed", &stored.seed, &current.seed);
        }
        if stored.sizes != current.sizes {
            return changed("group counts", &stored.sizes, &current.sizes);
        }
        if stored.batch_size != current.batch_size {
            return changed("batch size", &stored.batch_size, &current.batch_size);
        }
        if stored.drop_last != current.drop_last {
            return changed("drop_last", &stored.drop_last, &current.drop_last);
        }
        self.seek(stored.position);
        Ok(())
    }

    /// Makes batch number `position`, counted from 0 over all epochs, the next one.
    pub fn seek(&mut self, position: u64) {
        let per_epoch = self.batches_per_epoch() as u64;
        let number = position / per_epoch;
        if number != self.epoch.number {
            self.epoch = Epoch::new(&self.state, number);
        }
        self.state.position = position;
    }
}

impl Iterator for BatchSampler {
    /// Epoch from 0, and the groups of the batch.
    type Item = (usize, Vec<GroupId>);

    fn next(&mut self) -> Option<Self::Item> {
        let per_epoch = self.batches_per_epoch() as u64;
        let batch = self.epoch.batch(
            (self.state.position % per_epoch) as usize,
            self.state.batch_size,
        );
        let epoch = self.epoch.number as usize;
        self.seek(self.state.position + 1);
        Some((epoch, batch))
    }
}

impl SamplerState {
    fn batches(&self, size: usize) -> usize {
        if self.drop_last {
            size / self.batch_size
        } else {
            size.div_ceil(self.batch_size)
        }
    }

    fn batches_per_epoch(&self) -> usize {
        self.sizes.iter().map(|&size| self.batches(size)).sum()
    }
}

/// The order of one epoch.
struct Epoch {
    number: u64,
    /// Of every batch: its data set, and how many batches of that set come before it.
    turns: Vec<(u32, u32)>,
    /// Of every data set: its groups in random order.
    orders: Vec<Vec<u32>>,
}

impl Epoch {
    fn new(state: &SamplerState, number: u64) -> Self {
        let mut turns = Vec::with_capacity(state.batches_per_epoch());
        let mut orders = Vec::with_capacity(state.sizes.len());
        for (set, &size) in (0_u32..).zip(&state.sizes) {
            turns.extend(std::iter::repeat_n((set, 0), state.batches(size)));
            let mut order: Vec<u32> = (0..size as u32).collect();
            let purpose = Purpose::GroupOrder;
            let mut rng = generator(state.seed, purpose, number, set.into());
            shuffle(&mut order, &mut rng);
            orders.push(order);
        }
        shuffle(
            &mut turns,
            &mut generator(state.seed, Purpose::SetOrder, number, 0),
        );
        let mut drawn = vec![0; orders.len()];
        for (set, turn) in &mut turns {
            *turn = drawn[*set as usize];
            drawn[*set as usize] += 1;
        }
        Self {
            number,
            turns,
            orders,
        }
    }

    fn batch(&self, index: usize, batch_size: usize) -> Vec<GroupId> {
        let (set, turn) = self.turns[index];
        let set = set as usize;
        let rest = &self.orders[set][turn as usize * batch_size..];
        rest.iter()
            .take(batch_size)
            .map(|&group| GroupId {
                set,
                group: group as usize,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_epoch_holds_every_group_once_and_batches_do_not_mix_sets() {
        let mut sampler = BatchSampler::new(&[10, 0, 7], 4, false, 3).unwrap();
        assert_eq!(sampler.batches_per_epoch(), 5);
        let mut orders = Vec::new();
        for epoch in 0..3 {
            let batches: Vec<_> = sampler.by_ref().take(5).collect();
            assert!(batches.iter().all(|(number, _)| *number == epoch));
            assert!(
                batches
                    .iter()
                    .all(|(_, batch)| batch.iter().all(|id| id.set == batch[0].set))
            );
            let groups: Vec<_> = batches.into_iter().flat_map(|(_, batch)| batch).collect();
            assert_eq!(groups.iter().collect::<BTreeSet<_>>().len(), 17);
            assert_eq!(groups.len(), 17);
            orders.push(groups);
        }
        assert_ne!(orders[0], orders[1]);
    }

    #[test]
    fn drop_last_keeps_full_batches_only() {
        let mut sampler = BatchSampler::new(&[10, 7], 4, true, 3).unwrap();
        assert_eq!(sampler.batches_per_epoch(), 3);
        assert!(sampler.by_ref().take(9).all(|(_, batch)| batch.len() == 4));
        assert!(BatchSampler::new(&[3], 4, true, 0).is_err());
        assert!(BatchSampler::new(&[], 4, false, 0).is_err());
        assert!(BatchSampler::new(&[3], 0, false, 0).is_err());
    }

    #[test]
    fn restoring_continues_the_same_stream() {
        let mut sampler = BatchSampler::new(&[30, 11], 4, false, 9).unwrap();
        for _ in 0..27 {
            sampler.next();
        }
        let json = serde_json::to_string(sampler.state()).unwrap();
        let state: SamplerState = serde_json::from_str(&json).unwrap();
        let mut resumed = BatchSampler::new(&[30, 11], 4, false, 9).unwrap();
        resumed.restore(&state).unwrap();
        for _ in 0..30 {
            assert_eq!(resumed.next(), sampler.next());
        }
        let mut other = BatchSampler::new(&[30, 12], 4, false, 9).unwrap();
        let message = other.restore(&state).unwrap_err().to_string();
        assert!(
            message.contains("group counts [30, 11], now it is [30, 12]"),
            "{message}"
        );
    }
}
