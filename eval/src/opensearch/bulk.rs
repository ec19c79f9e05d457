//! Documents to an index, several requests in flight.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use serde::Deserialize;
use serde_json::Value;

use super::answer::{error_reason, is_passing_error};
use super::backoff::Backoff;
use super::batch::Batch;
use super::client::Body;
use super::{Client, OpenSearchError};

/// How documents are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkOptions {
    /// Size of a request's body.
    pub body_bytes: usize,
    /// Requests at a time.
    pub in_flight: usize,
}

impl Default for BulkOptions {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            in_flight: 4,
        }
    }
}

/// Sends documents in the background; memory stays below `in_flight + 2` bodies. Adding waits while all requests are in
/// flight, and each of those waits while the server is busy.
pub(super) struct BulkWriter {
    batch: Batch,
    options: BulkOptions,
    sender: Option<SyncSender<Batch>>,
    workers: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    index: String,
    /// The first thing that went wrong.
    failure: Mutex<Option<OpenSearchError>>,
    rows: Mutex<Rows>,
    rejected: AtomicUsize,
}

impl BulkWriter {
    /// `first_row` is the number of the next document among all of them.
    pub fn start(client: &Client, index: &str, options: BulkOptions, first_row: usize) -> Self {
        let (sender, receiver) = sync_channel(1);
        let receiver = Arc::new(Mutex::new(receiver));
        let rows = Rows {
            done: first_row,
            ..Rows::default()
        };
        let shared = Arc::new(Shared {
            client: client.clone(),
            index: index.to_owned(),
            failure: Mutex::default(),
            rows: Mutex::new(rows),
            rejected: AtomicUsize::new(0),
        });
        let worker = |_| {
            let (shared, receiver) = (Arc::clone(&shared), Arc::clone(&receiver));
            thread::spawn(move || shared.work(&receiver))
        };
        Self {
            workers: (0..options.in_flight.max(1)).map(worker).collect(),
            batch: Batch::starting_at(first_row),
            options,
            sender: Some(sender),
            shared,
        }
    }

    /// Adds a document: its id, and what `write` writes as its JSON object.
    pub fn add(
        &mut self,
        id: &str,
        write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> Result<(), OpenSearchError> {
        self.batch
            .push(id, write)
            .map_err(|error| OpenSearchError::Index {
                index: self.shared.index.clone(),
                reason: format!("document `{id}`: {error}"),
            })?;
        match self.batch.lines.len() < self.options.body_bytes {
            true => Ok(()),
            false => self.send(),
        }
    }

    /// Documents, counted from the first, that the server has, none before them missing.
    pub fn done(&self) -> usize {
        lock(&self.shared.rows).done
    }

    /// Documents added, those before the first included.
    pub fn added(&self) -> usize {
        self.batch.first_row + self.batch.ends.len()
    }

    /// Documents that the server was too busy for, and that were sent again.
    pub fn rejected(&self) -> usize {
        self.shared.rejected.load(Ordering::Relaxed)
    }

    /// Waits until everything is there.
    pub fn flush(&mut self) -> Result<(), OpenSearchError> {
        let sent = self.send();
        self.sender = None;
        for worker in self.workers.drain(..) {
            // A panic there has been printed, and what it had to do counts as not done.
            let _ = worker.join();
        }
        sent?;
        self.check()
    }

    fn send(&mut self) -> Result<(), OpenSearchError> {
        self.check()?;
        if self.batch.ends.is_empty() {
            return Ok(());
        }
        let next = Batch::starting_at(self.added());
        let batch = std::mem::replace(&mut self.batch, next);
        if let Some(sender) = &self.sender {
            // Fails only if every worker is gone, after the first failure.
            let _ = sender.send(batch);
        }
        self.check()
    }

    fn check(&self) -> Result<(), OpenSearchError> {
        lock(&self.shared.failure).take().map_or(Ok(()), Err)
    }
}

/// What is not sent by then is not sent.
impl Drop for BulkWriter {
    fn drop(&mut self) {
        self.sender = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn work(&self, batches: &Mutex<Receiver<Batch>>) {
        loop {
            let received = lock(batches).recv();
            let Ok(batch) = received else {
                return;
            };
            let (first, end) = (batch.first_row, batch.first_row + batch.ends.len());
            match self.send(batch) {
                Ok(()) => lock(&self.rows).complete(first, end),
                Err(error) => {
                    lock(&self.failure).get_or_insert(error);
                    return;
                }
            }
        }
    }

    /// Sends a batch, and those of its documents again that the server was too busy for.
    fn send(&self, mut batch: Batch) -> Result<(), OpenSearchError> {
        let path = format!(
            "{}/_bulk?filter_path=errors,items.*.status,items.*.error",
            self.index
        );
        let mut backoff: Option<Backoff> = None;
        loop {
            let answer: BulkAnswer = self.client.send("POST", &path, Body::Lines(&batch.lines))?;
            if !answer.errors {
                return Ok(());
            }
            let (again, last) = self.rejected_items(&batch, &answer)?;
            let Some(last) = last else {
                return Ok(());
            };
            self.rejected.fetch_add(again.len(), Ordering::Relaxed);
            if again.len() < batch.ends.len() {
                backoff = None; // some got through
            }
            let backoff = backoff.get_or_insert_with(|| self.client.backoff());
            if !backoff.wait(None) {
                return Err(backoff.busy(
                    self.client.url(&self.index),
                    last.status,
                    error_reason(&last.error),
                ));
            }
            batch = batch.only(&again);
        }
    }

    /// The numbers of the items to send again, and the last of their answers.
    fn rejected_items<'a>(
        &self,
        batch: &Batch,
        answer: &'a BulkAnswer,
    ) -> Result<(Vec<usize>, Option<&'a Item>), OpenSearchError> {
        if answer.items.len() != batch.ends.len() {
            let (found, expected) = (answer.items.len(), batch.ends.len());
            return Err(OpenSearchError::NotOpenSearch {
                url: self.client.url(&self.index),
                reason: format!("{found} answers to {expected} documents"),
            });
        }
        let (mut again, mut last) = (Vec::new(), None);
        for (number, item) in answer.items.iter().flat_map(BTreeMap::values).enumerate() {
            if is_passing_error(item.status, &item.error) {
                again.push(number);
                last = Some(item);
            } else if item.status >= 300 {
                return Err(OpenSearchError::Document {
                    url: self.client.url(&self.index),
                    id: batch.id(number),
                    status: item.status,
                    reason: error_reason(&item.error),
                });
            }
        }
        Ok((again, last))
    }
}

#[derive(Deserialize)]
struct BulkAnswer {
    errors: bool,
    #[serde(default)]
    items: Vec<BTreeMap<String, Item>>,
}

#[derive(Deserialize)]
struct Item {
    status: u16,
    #[serde(default)]
    error: Value,
}

/// Which rows are done, where batches end in any order.
#[derive(Debug, Default)]
struct Rows {
    /// All rows before this one are.
    done: usize,
    /// Start and end of further batches.
    later: BTreeMap<usize, usize>,
}

impl Rows {
    fn complete(&mut self, first: usize, end: usize) {
        self.later.insert(first, end);
        while let Some(end) = self.later.remove(&self.done) {
            self.done = end;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_done_when_those_before_them_are() {
        let mut rows = Rows {
            done: 10,
            ..Rows::default()
        };
        for (first, end, done) in [(20, 25, 10), (15, 20, 10), (10, 15, 25), (25, 26, 26)] {
            rows.complete(first, end);
            assert_eq!(rows.done, done);
        }
        assert!(rows.later.is_empty());
    }
}
