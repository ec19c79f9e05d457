//! Loading an index as a whole, and putting it in the old one's place.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::address::check_index_name;
use super::bulk::{BulkOptions, BulkWriter};
use super::client::Body;
use super::document::write_document;
use super::generation::{Generation, aliased, delete, generations, meta};
use super::mapping::IndexSettings;
use super::{Client, OpenSearchError};

/// Time between two notes of how far loading is.
const NOTE_INTERVAL: Duration = Duration::from_secs(2);

/// How an index is loaded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LoadOptions {
    /// How the index is made.
    pub settings: IndexSettings,
    /// How documents are sent.
    pub bulk: BulkOptions,
    /// Adds documents to an index that is there, or replaces those with the same ids, instead of loading a new one.
    pub append: bool,
    /// Stands for the documents and their order: an unfinished load of the same ones is continued.
    pub fingerprint: Option<u32>,
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadSummary {
    /// The index that has the documents.
    pub index: String,
    /// Documents, those of an earlier run included.
    pub documents: usize,
    /// Documents that an earlier run had loaded.
    pub resumed: usize,
    /// Documents that the server was too busy for at first.
    pub rejected: usize,
}

/// Loads documents into a new index, `NAME-000001` or the next number, which takes the place of the one before it, the
/// alias `NAME`, at once and only when it is complete. The one before stays until the next load, for a way back.
///
/// The new index notes in its mapping how many of the first documents it has, so that a load that was killed continues.
/// Documents sent twice, since nobody noted them, are the same documents: `_id` decides.
pub struct Loader {
    client: Client,
    /// The alias, or what is appended to.
    name: String,
    index: String,
    field: String,
    append: bool,
    fingerprint: Option<u32>,
    resumed: usize,
    writer: BulkWriter,
    noted: (usize, Instant),
}

impl Loader {
    /// Makes the index, or finds the unfinished one.
    ///
    /// # Errors
    ///
    /// If `name` cannot be an index, is an index and not an alias, or, to append to, is not there.
    pub fn open(
        client: &Client,
        name: &str,
        options: LoadOptions,
    ) -> Result<Self, OpenSearchError> {
        check_index_name(name)?;
        let concrete = concrete_index(client, name)?;
        let field = &options.settings.field;
        let (index, resumed) = match (options.append, concrete) {
            (true, Some(mapping)) => {
                check_field(client, name, field, &mapping)?;
                (name.to_owned(), 0)
            }
            (true, None) => {
                return Err(refuse(client, name, "there is no such index to append to"));
            }
            (false, Some(mapping)) if mapping.get(name).is_some() => {
                return Err(refuse(
                    client,
                    name,
                    "an index, where an alias is expected that moves to each new load: give another name, or --append \
                     to add to it",
                ));
            }
            (false, _) => start_generation(client, name, &options)?,
        };
        Ok(Self {
            writer: BulkWriter::start(client, &index, options.bulk, resumed),
            client: client.clone(),
            name: name.to_owned(),
            index,
            field: options.settings.field,
            append: options.append,
            fingerprint: options.fingerprint,
            resumed,
            noted: (resumed, Instant::now()),
        })
    }

    /// Documents, counted from the first, that are there already: to be left out.
    pub fn resumed(&self) -> usize {
        self.resumed
    }

    /// Documents added so far, those of an earlier run included.
    pub fn added(&self) -> usize {
        self.writer.added()
    }

    /// Adds a document: a vector by tokens, and fields that are only kept, such as its text.
    ///
    /// Waits while the server has enough to do.
    ///
    /// # Errors
    ///
    /// If it, or one before it, was refused, or the server is gone for longer than we wait.
    pub fn add<'a>(
        &mut self,
        id: &str,
        kept: &[(&str, &str)],
        weights: impl IntoIterator<Item = (&'a str, f32)>,
    ) -> Result<(), OpenSearchError> {
        let field = &self.field;
        self.writer
            .add(id, |out| write_document(out, id, kept, field, weights))?;
        if !self.append && self.noted.1.elapsed() > NOTE_INTERVAL {
            let done = self.writer.done();
            if done > self.noted.0 {
                self.note(done, false)?;
            }
            self.noted = (done, Instant::now());
        }
        Ok(())
    }

    /// Removes the new index. What was appended stays.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub fn discard(self) -> Result<(), OpenSearchError> {
        let Self {
            client,
            index,
            append,
            writer,
            ..
        } = self;
        drop(writer);
        match append {
            true => Ok(()),
            false => delete(&client, &index),
        }
    }

    /// Waits for the last document and notes how many there are, for a later run to continue.
    ///
    /// # Errors
    ///
    /// If a document was refused, or the server is gone.
    pub fn pause(mut self) -> Result<LoadSummary, OpenSearchError> {
        self.writer.flush()?;
        if !self.append {
            self.note(self.writer.done(), false)?;
        }
        Ok(self.summary())
    }

    /// Waits for the last document, makes all of them findable, and moves the alias.
    ///
    /// # Errors
    ///
    /// If a document was refused, an id occurs twice, or the server does not do its part.
    pub fn finish(mut self) -> Result<LoadSummary, OpenSearchError> {
        self.writer.flush()?;
        if !self.append {
            let settings = json!({"index": {"refresh_interval": Value::Null}});
            self.put("_settings", &settings)?;
        }
        let _: Value =
            self.client
                .send("POST", &format!("{}/_refresh", self.index), Body::Empty)?;
        let documents = self.added();
        if !self.append {
            let found = count(&self.client, &self.index)?;
            if found != documents {
                return Err(OpenSearchError::Count {
                    index: self.client.url(&self.index),
                    added: documents,
                    found,
                });
            }
            self.note(documents, true)?;
            self.swap()?;
        }
        Ok(self.summary())
    }

    fn summary(&self) -> LoadSummary {
        LoadSummary {
            index: self.index.clone(),
            documents: self.added(),
            resumed: self.resumed,
            rejected: self.writer.rejected(),
        }
    }

    /// Writes down how many rows are there.
    fn note(&self, rows: usize, is_complete: bool) -> Result<(), OpenSearchError> {
        self.put(
            "_mapping",
            &json!({"_meta": meta(&self.field, self.fingerprint, rows, is_complete)}),
        )
    }

    fn put(&self, what: &str, body: &Value) -> Result<(), OpenSearchError> {
        let path = format!("{}/{what}", self.index);
        let _: Value = self.client.send("PUT", &path, Body::Json(body))?;
        Ok(())
    }

    /// Moves the alias in one step, and removes earlier indices but for the one it leaves.
    fn swap(&self) -> Result<(), OpenSearchError> {
        let old = aliased(&self.client, &self.name)?;
        let removals = old.iter().filter(|index| **index != self.index);
        let mut actions: Vec<Value> = removals
            .map(|index| json!({"remove": {"index": index, "alias": self.name}}))
            .collect();
        actions.push(json!({"add": {"index": self.index, "alias": self.name}}));
        let _: Value =
            self.client
                .send("POST", "_aliases", Body::Json(&json!({"actions": actions})))?;
        let mut all = generations(&self.client, &self.name)?;
        let own = all
            .iter()
            .position(|generation| generation.index == self.index);
        all.truncate(own.unwrap_or(0)); // a later one is another run's
        let older = all
            .iter()
            .filter(|generation| !old.contains(&generation.index));
        older
            .map(|generation| &generation.index)
            .try_for_each(|index| delete(&self.client, index))
    }
}

fn refuse(client: &Client, name: &str, reason: &str) -> OpenSearchError {
    OpenSearchError::Index {
        index: client.url(name),
        reason: reason.to_owned(),
    }
}

/// The unfinished index of the same documents and the number of those it has, or a new index.
fn start_generation(
    client: &Client,
    name: &str,
    options: &LoadOptions,
) -> Result<(String, usize), OpenSearchError> {
    let all = generations(client, name)?;
    let is_ours = |generation: &&Generation| {
        !generation.is_complete
            && generation.fingerprint.is_some()
            && generation.fingerprint == options.fingerprint
    };
    if let Some(generation) = all.iter().rev().find(is_ours) {
        return Ok((generation.index.clone(), generation.rows));
    }
    let number = all.last().map_or(1, |last| last.number + 1);
    let index = format!("{name}-{number:06}");
    let mut body = options.settings.body();
    body["settings"]["index"]["refresh_interval"] = json!("-1");
    body["mappings"]["_meta"] = meta(&options.settings.field, options.fingerprint, 0, false);
    let repeated = client.repeated();
    // Until its copies are there, a shard is lost with its node. A cluster of too few nodes never has them: load anyway.
    let path = format!("{index}?wait_for_active_shards=all&timeout=30s");
    match client.send::<Value>("PUT", &path, Body::Json(&body)) {
        // The answer to an earlier try was lost.
        Err(error) if error.is_already_there() && client.repeated() > repeated => {}
        other => {
            other?;
        }
    }
    Ok((index, 0))
}

/// The mapping of what `name` stands for, by index; `None` if it stands for nothing.
fn concrete_index(client: &Client, name: &str) -> Result<Option<Value>, OpenSearchError> {
    let mapping = client.find(&format!("{name}/_mapping"))?;
    Ok(mapping.filter(|mapping| {
        mapping
            .as_object()
            .is_some_and(|indices| !indices.is_empty())
    }))
}

fn check_field(
    client: &Client,
    name: &str,
    field: &str,
    mapping: &Value,
) -> Result<(), OpenSearchError> {
    let indices = mapping.as_object().into_iter().flatten();
    for (_, index) in indices {
        let kind = &index["mappings"]["properties"][field]["type"];
        if kind != "rank_features" && kind != "sparse_vector" {
            let reason = format!(
                "field `{field}` has type {kind}, expected rank_features: name another with --field"
            );
            return Err(refuse(client, name, &reason));
        }
    }
    Ok(())
}

/// Documents in an index, all of its shards counted.
fn count(client: &Client, index: &str) -> Result<usize, OpenSearchError> {
    let path = format!("{index}/_count");
    let mut backoff = client.backoff();
    loop {
        let answer = client.get(&path)?;
        let count = answer["count"]
            .as_u64()
            .ok_or_else(|| OpenSearchError::NotOpenSearch {
                url: client.url(&path),
                reason: format!("expected a count, found {answer}"),
            })?;
        if answer["_shards"]["failed"] == 0 {
            return Ok(count as usize);
        }
        if !backoff.wait(None) {
            return Err(backoff.busy(
                client.url(&path),
                200,
                "not all shards have answered".to_owned(),
            ));
        }
    }
}
