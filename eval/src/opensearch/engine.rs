//! A cluster as the engine of an evaluation, or of mining: it gets the documents and answers the queries.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use model::SparseVector;

use super::generation::delete_all;
use super::load::{LoadOptions, Loader};
use super::search::{SearchOptions, SparseIndex};
use super::{Client, OpenSearchError};
use crate::ranking::Hit;
use crate::search::{Engine, SearchError, Searcher};

/// An index for the time that this lives: it is removed in the end.
pub struct TemporaryIndex {
    client: Client,
    name: String,
    names: Vec<String>,
    options: SearchOptions,
    loader: Mutex<Option<Loader>>,
    index: OnceLock<SparseIndex>,
}

impl TemporaryIndex {
    /// Makes the index. `names` are the tokens of the vectors that come.
    ///
    /// # Errors
    ///
    /// If the server does not make it.
    pub fn create(
        client: &Client,
        name: &str,
        names: Vec<String>,
        load: LoadOptions,
        search: SearchOptions,
    ) -> Result<Self, OpenSearchError> {
        let loader = Loader::open(client, name, load)?;
        Ok(Self {
            client: client.clone(),
            name: name.to_owned(),
            names,
            options: search,
            loader: Mutex::new(Some(loader)),
            index: OnceLock::new(),
        })
    }

    fn loader(&self) -> MutexGuard<'_, Option<Loader>> {
        self.loader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for TemporaryIndex {
    fn add(&self, ids: &[String], vectors: &[SparseVector]) -> Result<(), SearchError> {
        let mut loader = self.loader();
        let Some(loader) = loader.as_mut() else {
            return Err(SearchError(format!("{} is complete already", self.name)));
        };
        for (id, vector) in ids.iter().zip(vectors) {
            let named = vector.iter().filter_map(|(token, weight)| {
                Some((self.names.get(token as usize)?.as_str(), weight))
            });
            loader.add(id, &[], named).map_err(failure)?;
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), SearchError> {
        let Some(loader) = self.loader().take() else {
            return Ok(());
        };
        loader.finish().map_err(failure)?;
        let index = SparseIndex::open(
            &self.client,
            &self.name,
            self.names.clone(),
            self.options.clone(),
        );
        // Nobody else has put one there: this was the only loader.
        let _ = self.index.set(index.map_err(failure)?);
        Ok(())
    }
}

impl Searcher for TemporaryIndex {
    fn search(&self, queries: &[SparseVector], k: usize) -> Result<Vec<Vec<Hit>>, SearchError> {
        match self.index.get() {
            Some(index) => index.search(queries, k),
            None => Err(SearchError(format!("{} is not complete yet", self.name))),
        }
    }
}

/// A server that is gone keeps the index.
impl Drop for TemporaryIndex {
    fn drop(&mut self) {
        drop(self.loader().take());
        let _ = delete_all(&self.client, &self.name);
    }
}

fn failure(error: OpenSearchError) -> SearchError {
    SearchError(error.to_string())
}
