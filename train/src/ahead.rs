//! Batches made by another thread while steps compute.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use data::mlm::MaskedTexts;
use data::{BatchSampler, GroupId};

use crate::batch::{BatchError, TokenizedBatch};
use crate::task::Feed;

/// Batches that wait, tokenized, while a step computes.
const BATCHES_AHEAD: usize = 2;

/// The batches of a run, of its task's kind.
pub(crate) enum Batches {
    /// Queries and documents.
    Ranking(Made<TokenizedBatch>),
    /// Masked sequences.
    MaskedLm(Made<MaskedTexts>),
}

/// Made batches in their order, or why there is none.
pub(crate) struct Made<B>(Receiver<Result<B, BatchError>>);

impl Batches {
    /// Starts to make them, a few ahead of those that are taken.
    pub(crate) fn make<'scope>(
        scope: &'scope Scope<'scope, '_>,
        sampler: BatchSampler,
        feed: Feed<'scope>,
    ) -> Self {
        match feed {
            Feed::Ranking(maker) => {
                Self::Ranking(Made::start(scope, sampler, move |_, ids| maker.make(ids)))
            }
            Feed::MaskedLm(maker) => {
                let make = move |epoch, ids: &[GroupId]| maker.make(epoch, ids);
                Self::MaskedLm(Made::start(scope, sampler, make))
            }
        }
    }
}

impl<B: Send> Made<B> {
    fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        sampler: BatchSampler,
        make: impl Fn(usize, &[GroupId]) -> Result<B, BatchError> + Send + 'scope,
    ) -> Self
    where
        B: 'scope,
    {
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        scope.spawn(move || make_batches(sampler, make, &sender));
        Self(batches)
    }

    /// The next batch.
    pub(crate) fn next(&self) -> Result<B, BatchError> {
        self.0
            .recv()
            .expect("batches do not end before the run, but for an error")
    }
}

/// Makes batch after batch until nobody wants more, or one cannot be made.
fn make_batches<B>(
    sampler: BatchSampler,
    make: impl Fn(usize, &[GroupId]) -> Result<B, BatchError>,
    sender: &SyncSender<Result<B, BatchError>>,
) {
    for (epoch, ids) in sampler {
        let batch = make(epoch, &ids);
        let failed = batch.is_err();
        if sender.send(batch).is_err() || failed {
            return;
        }
    }
}
