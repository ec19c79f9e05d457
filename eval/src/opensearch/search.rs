//! An index as a [`Searcher`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use model::SparseVector;
use serde::Deserialize;
use serde_json::Value;

use super::answer::{error_reason, is_passing_error};
use super::backoff::Backoff;
use super::client::Body;
use super::mapping::ID_FIELD;
use super::query::{QueryBuilder, QueryForm};
use super::{Client, OpenSearchError};
use crate::ranking::{Hit, rank_order};
use crate::search::{SearchError, Searcher};

/// How an index is searched.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchOptions {
    /// The form of the queries.
    pub form: QueryForm,
    /// Leaves out a query's weights up to this share of its largest.
    pub query_prune: Option<f32>,
    /// The field with the vectors; where none is named, the one that the index says or has.
    pub field: Option<String>,
    /// Queries in a request.
    pub batch: usize,
    /// Requests at a time.
    pub in_flight: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            form: QueryForm::default(),
            query_prune: None,
            field: None,
            batch: 32,
            in_flight: 4,
        }
    }
}

/// An index, or an alias, that is searched for vectors over given tokens.
///
/// A score is the dot product of the query with the document's [`super::stored_weight`]s, summed in float64 and given as
/// float32. In an index that this crate filled, ties are decided by the server as everywhere here: the id that is greater
/// bytewise comes first. In others, and with two phases, they are only put in that order among the documents found, so
/// that of those tied for the last place the server takes any.
pub struct SparseIndex {
    client: Client,
    index: String,
    field: String,
    has_ids: bool,
    names: Vec<String>,
    options: SearchOptions,
}

impl SparseIndex {
    /// Looks at the index's mapping. `names` are the tokens that queries' numbers stand for.
    ///
    /// # Errors
    ///
    /// If there is no such index, or no field with vectors in it.
    pub fn open(
        client: &Client,
        index: &str,
        names: Vec<String>,
        options: SearchOptions,
    ) -> Result<Self, OpenSearchError> {
        let refuse = |reason: String| OpenSearchError::Index {
            index: client.url(index),
            reason,
        };
        let answer = client.find(&format!("{index}/_mapping"))?;
        let answer = answer.ok_or_else(|| {
            refuse(
                "there is no such index: fill one with `ellzero-eval index` or `ingest`".to_owned(),
            )
        })?;
        let indices = answer.as_object().into_iter().flatten();
        let Some((_, index_mapping)) = indices.last() else {
            return Err(refuse("there is no index behind that name".to_owned()));
        };
        let mappings = &index_mapping["mappings"];
        let own = mappings["_meta"]["ellzero"]["field"].as_str();
        let field = match (&options.field, own) {
            (Some(field), _) => field.clone(),
            (None, Some(own)) => own.to_owned(),
            (None, None) => only_field(mappings).map_err(refuse)?,
        };
        let found = &mappings["properties"][field.as_str()]["type"];
        if !matches!(found.as_str(), Some("rank_features" | "sparse_vector")) {
            return Err(refuse(format!(
                "field `{field}` has type {found}, expected rank_features or sparse_vector"
            )));
        }
        Ok(Self {
            client: client.clone(),
            index: index.to_owned(),
            has_ids: own.is_some() && mappings["properties"][ID_FIELD]["type"] == "keyword",
            field,
            names,
            options,
        })
    }

    fn bodies(&self, queries: &[SparseVector], k: usize) -> Vec<Option<Value>> {
        let builder = QueryBuilder {
            field: &self.field,
            form: self.options.form,
            has_ids: self.has_ids,
            names: &self.names,
        };
        let pruned = |query: &SparseVector| match self.options.query_prune {
            Some(ratio) => builder.body(&query.clone().prune(ratio), k),
            None => builder.body(query, k),
        };
        queries.iter().map(pruned).collect()
    }

    /// The hits of a batch of bodies; searches that a busy server, or a lost node, did not answer are sent again.
    fn search_batch(&self, bodies: &[Option<Value>]) -> Result<Vec<Vec<Hit>>, OpenSearchError> {
        let mut results = vec![Vec::new(); bodies.len()];
        let mut open: Vec<usize> = (0..bodies.len())
            .filter(|&number| bodies[number].is_some())
            .collect();
        let mut backoff: Option<Backoff> = None;
        while !open.is_empty() {
            let mut lines = Vec::new();
            for body in open.iter().filter_map(|&number| bodies[number].as_ref()) {
                // Without all of its shards a search has found less than there is.
                lines.extend_from_slice(b"{\"allow_partial_search_results\":false}\n");
                lines.extend_from_slice(body.to_string().as_bytes());
                lines.push(b'\n');
            }
            let answer: MultiAnswer =
                self.client
                    .send("POST", &self.path(), Body::Lines(&lines))?;
            if answer.responses.len() != open.len() {
                let (found, expected) = (answer.responses.len(), open.len());
                return Err(OpenSearchError::NotOpenSearch {
                    url: self.client.url(&self.index),
                    reason: format!("{found} answers to {expected} searches"),
                });
            }
            let (mut again, mut last) = (Vec::new(), None);
            for (&number, response) in open.iter().zip(answer.responses) {
                match response.into_hits() {
                    Ok(hits) => results[number] = hits,
                    Err((status, error)) if is_passing_error(status, &error) => {
                        again.push(number);
                        last = Some((status, error));
                    }
                    Err((status, error)) => {
                        return Err(OpenSearchError::Refused {
                            url: self.client.url(&self.index),
                            status,
                            reason: error_reason(&error),
                        });
                    }
                }
            }
            if let Some((status, error)) = last {
                if again.len() < open.len() {
                    backoff = None;
                }
                let backoff = backoff.get_or_insert_with(|| self.client.backoff());
                if !backoff.wait(None) {
                    return Err(backoff.busy(
                        self.client.url(&self.index),
                        status,
                        error_reason(&error),
                    ));
                }
            }
            open = again;
        }
        Ok(results)
    }

    fn path(&self) -> String {
        format!(
            "{}/_msearch?filter_path=responses.status,responses.error,responses.timed_out,responses._shards.failed,\
             responses.hits.hits._id,responses.hits.hits._score",
            self.index
        )
    }
}

/// The one field that can be searched.
fn only_field(mappings: &Value) -> Result<String, String> {
    let properties = mappings["properties"].as_object().into_iter().flatten();
    let is_vector = |kind: &Value| kind == "rank_features" || kind == "sparse_vector";
    let fields: Vec<&str> = properties
        .filter(|(_, property)| is_vector(&property["type"]))
        .map(|(name, _)| name.as_str())
        .collect();
    match fields[..] {
        [field] => Ok(field.to_owned()),
        [] => Err("there is no field of type rank_features or sparse_vector in it".to_owned()),
        _ => Err(format!(
            "name one of its fields with --field: {}",
            fields.join(", ")
        )),
    }
}

impl Searcher for SparseIndex {
    fn search(&self, queries: &[SparseVector], k: usize) -> Result<Vec<Vec<Hit>>, SearchError> {
        let bodies = self.bodies(queries, k);
        let batches: Vec<&[Option<Value>]> = bodies.chunks(self.options.batch.max(1)).collect();
        let next = AtomicUsize::new(0);
        let results = Mutex::new(vec![Vec::new(); batches.len()]);
        let work = || -> Result<(), OpenSearchError> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(batch) = batches.get(number) else {
                    return Ok(());
                };
                let hits = self.search_batch(batch).inspect_err(|_| {
                    next.store(batches.len(), Ordering::Relaxed); // the others need not go on
                })?;
                results.lock().unwrap_or_else(PoisonError::into_inner)[number] = hits;
            }
        };
        let workers = self.options.in_flight.clamp(1, batches.len().max(1));
        thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
        .map_err(|error| SearchError(error.to_string()))?;
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(results.into_iter().flatten().collect())
    }
}

#[derive(Deserialize)]
struct MultiAnswer {
    #[serde(default)]
    responses: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    status: u16,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    timed_out: bool,
    #[serde(default, rename = "_shards")]
    shards: Shards,
    #[serde(default)]
    hits: Hits,
}

#[derive(Deserialize, Default)]
struct Shards {
    #[serde(default)]
    failed: usize,
}

#[derive(Deserialize, Default)]
struct Hits {
    #[serde(default)]
    hits: Vec<RawHit>,
}

#[derive(Deserialize)]
struct RawHit {
    _id: String,
    _score: f32,
}

impl Response {
    /// The hits in our order, or a status with an error.
    fn into_hits(self) -> Result<Vec<Hit>, (u16, Value)> {
        if !self.error.is_null() || self.status >= 300 {
            return Err((self.status, self.error));
        }
        if self.timed_out || self.shards.failed > 0 {
            return Err((503, Value::from("not all shards have answered")));
        }
        let hit = |RawHit {
                       _id: id,
                       _score: score,
                   }| Hit { id, score };
        let mut hits: Vec<Hit> = self.hits.hits.into_iter().map(hit).collect();
        hits.sort_by(rank_order);
        Ok(hits)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_hits_in_order_or_errors() {
        let parse = |value: Value| {
            serde_json::from_value::<Response>(value)
                .expect("an answer")
                .into_hits()
        };
        let hits = json!([{"_id": "a", "_score": 1.0}, {"_id": "b", "_score": 1.0}, {"_id": "c", "_score": 2.0}]);
        let found = parse(
            json!({"status": 200, "timed_out": false, "_shards": {"failed": 0}, "hits": {"hits": hits}}),
        );
        let ids: Vec<String> = found.expect("hits").into_iter().map(|hit| hit.id).collect();
        assert_eq!(ids, ["c", "b", "a"]);
        assert_eq!(parse(json!({"status": 200})), Ok(Vec::new()));
        assert_eq!(
            parse(json!({"status": 429, "error": {"reason": "x"}})).map_err(|error| error.0),
            Err(429)
        );
        for partial in [
            json!({"timed_out": true}),
            json!({"_shards": {"failed": 1}}),
        ] {
            let mut answer = partial;
            answer["status"] = json!(200);
            assert_eq!(parse(answer).map_err(|error| error.0), Err(503));
        }
    }

    #[test]
    fn the_field_is_found_or_asked_for() {
        let fields = |properties: Value| only_field(&json!({"properties": properties}));
        let vector = json!({"type": "rank_features"});
        assert_eq!(
            fields(json!({"a": {"type": "text"}, "b": vector})),
            Ok("b".to_owned())
        );
        assert!(
            fields(json!({"a": vector, "b": vector}))
                .expect_err("two")
                .contains("a, b")
        );
        assert!(fields(json!({})).is_err());
    }
}
