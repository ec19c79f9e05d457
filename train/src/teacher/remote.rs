//! `remote`: a server with the HTTP interface of text-embeddings-inference.
//!
//! `POST /rerank {"query", "texts", "raw_scores"}` answers `[{"index", "score"}]`, `POST /embed {"inputs"}` answers one
//! list of numbers a text, `POST /embed_sparse {"inputs"}` one list of `{"index", "value"}` a text. Texts longer than
//! the model reads are cut by the server (`"truncate": true`).

mod answer;
mod client;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use configs::teachers::{RemoteApi, RemoteTeacher};
use model::SparseVector;
use serde::Serialize;

use super::bi_encoder::{self, dense_dot, prefixed};
use super::{QueryDocuments, Teacher, TeacherError};
use answer::{Embedding, Ranked, SparseWeight};
use client::Client;
pub use client::RemoteError;

/// Scores by asking a server.
pub struct RemoteScorer {
    name: String,
    config: RemoteTeacher,
    client: Client,
}

#[derive(Serialize)]
struct RerankRequest<'a> {
    query: &'a str,
    texts: &'a [String],
    raw_scores: bool,
    truncate: bool,
}

#[derive(Serialize)]
struct EmbedRequest<'a> {
    inputs: &'a [String],
    truncate: bool,
}

/// One request: some documents of one query.
struct RerankJob {
    row: usize,
    documents: Range<usize>,
}

impl RemoteScorer {
    /// A teacher with that name; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// If the environment variable with the token is not set.
    pub fn new(name: String, config: &RemoteTeacher) -> Result<Self, RemoteError> {
        let path = match config.api {
            RemoteApi::Rerank => "rerank",
            RemoteApi::Embed => "embed",
            RemoteApi::EmbedSparse => "embed_sparse",
        };
        Ok(Self {
            client: Client::new(format!("{}/{path}", config.url), config)?,
            config: config.clone(),
            name,
        })
    }

    fn rerank(&self, queries: &[QueryDocuments]) -> Result<Vec<Vec<f32>>, RemoteError> {
        let jobs = queries.iter().enumerate().flat_map(|(row, query)| {
            let count = query.documents.len();
            let starts = (0..count).step_by(self.config.batch);
            starts.map(move |start| RerankJob {
                row,
                documents: start..count.min(start + self.config.batch),
            })
        });
        let jobs: Vec<RerankJob> = jobs.collect();
        let prefixes = &self.config.prefixes;
        let before_query = prefixes.query_prefix.as_deref();
        let before_document = prefixes.document_prefix.as_deref();
        let answers = in_parallel(jobs.len(), self.config.parallel, |job| {
            let RerankJob { row, documents } = &jobs[job];
            let texts = queries[*row].documents[documents.clone()].iter();
            let texts = texts.map(|text| prefixed(before_document, text.text));
            let texts: Vec<String> = texts.collect();
            let request = RerankRequest {
                query: &prefixed(before_query, queries[*row].query.text),
                texts: &texts,
                raw_scores: true,
                truncate: true,
            };
            let answer: Vec<Ranked> = self.client.ask(&request)?;
            let scores = answer::scores(answer, texts.len());
            scores.map_err(|reason| self.client.refuse(reason))
        })?;
        let mut scores = vec![Vec::new(); queries.len()];
        for (job, answer) in jobs.iter().zip(answers) {
            scores[job.row].extend(answer);
        }
        Ok(scores)
    }

    /// What the server makes of texts, in their order.
    fn embed<T: serde::de::DeserializeOwned, V: Send>(
        &self,
        texts: &[String],
        convert: impl Fn(Vec<T>, usize) -> Result<Vec<V>, String> + Sync,
    ) -> Result<Vec<V>, RemoteError> {
        let batches: Vec<&[String]> = texts.chunks(self.config.batch).collect();
        let answers = in_parallel(batches.len(), self.config.parallel, |batch| {
            let inputs = batches[batch];
            let answer = self.client.ask(&EmbedRequest {
                inputs,
                truncate: true,
            })?;
            convert(answer, inputs.len()).map_err(|reason| self.client.refuse(reason))
        })?;
        Ok(answers.into_iter().flatten().collect())
    }

    fn dense(&self, queries: &[QueryDocuments]) -> Result<Vec<Vec<f32>>, TeacherError> {
        let encode = |_, texts: &[String]| Ok(self.embed::<Embedding, _>(texts, answer::vectors)?);
        let scores = bi_encoder::score(queries, &self.config.prefixes, encode, |a, b| {
            // NaN where they have no product, which is told below with their lengths.
            match a.len() == b.len() {
                true => dense_dot(a, b),
                false => f32::NAN,
            }
        })?;
        if scores.iter().flatten().any(|score| score.is_nan()) {
            let reason = "its vectors are of several lengths; is there one model behind it?";
            return Err(self.client.refuse(reason.to_owned()).into());
        }
        Ok(scores)
    }
}

impl Teacher for RemoteScorer {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&self, queries: &[QueryDocuments]) -> Result<Vec<Vec<f32>>, TeacherError> {
        match self.config.api {
            RemoteApi::Rerank => Ok(self.rerank(queries)?),
            RemoteApi::Embed => self.dense(queries),
            RemoteApi::EmbedSparse => {
                let encode = |_, texts: &[String]| {
                    Ok(self.embed::<Vec<SparseWeight>, _>(texts, answer::sparse_vectors)?)
                };
                bi_encoder::score(queries, &self.config.prefixes, encode, SparseVector::dot)
            }
        }
    }
}

/// Does jobs `0..count` on at most `threads` threads; their results in order, or the error of the first job that
/// failed. No job is begun after a failure.
fn in_parallel<T: Send>(
    count: usize,
    threads: usize,
    run: impl Fn(usize) -> Result<T, RemoteError> + Sync,
) -> Result<Vec<T>, RemoteError> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let job = next.fetch_add(1, Ordering::Relaxed);
            if job >= count {
                break;
            }
            let result = run(job);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((job, result));
        }
        done
    };
    let mut results = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(count)).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().flat_map(|worker| {
            let joined = worker.join();
            joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        done.collect::<Vec<_>>()
    });
    results.sort_by_key(|(job, _)| *job);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests;
