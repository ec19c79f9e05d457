//! Evaluation on BEIR directories: encode the documents, index them, search every judged query, judge.

mod catalog;
mod report;
mod sample;
mod stored;

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use data::beir::{BeirDir, BeirError, Qrels};
use data::qrels::UnknownIds;
use data::{Idf, Tokenizer};
use model::SparseVector;
use model::sparse::SparseError;

use crate::metric::{self, Average, Measure, TokenCounts};
use crate::ranking::Run;
use crate::search::{
    Engine, IndexBuilder, IndexError, InvertedIndex, SearchError, Searcher, search_run,
};
use crate::text_encoder::{LexicalEncoder, TextEncoder};

pub use catalog::{BEIR_13, KnownDataset, NANO_BEIR, known_datasets};
pub use report::{DatasetReport, Details, Latency};
pub use sample::{DocumentSample, Sampler};
pub use stored::{StoredError, StoredReport};

/// Documents encoded at a time: enough to sort them into batches of equal length.
const CHUNK_DOCS: usize = 1024;

/// How to evaluate.
#[derive(Clone, Copy)]
pub struct EvalOptions<'a> {
    /// Length of the rankings.
    pub depth: usize,
    /// Queries that are timed one at a time; 0 leaves the latency at 0.
    pub timed_queries: usize,
    /// Told the number of documents done so far.
    pub progress: Option<&'a dyn Fn(usize)>,
    /// Searches in place of the embedded index, which then only counts.
    pub engine: Option<&'a dyn Engine>,
}

impl Default for EvalOptions<'_> {
    fn default() -> Self {
        Self {
            depth: 100,
            timed_queries: 200,
            progress: None,
            engine: None,
        }
    }
}

/// Why an evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The data set cannot be read.
    #[error(transparent)]
    Beir(#[from] BeirError),
    /// A text cannot be encoded.
    #[error(transparent)]
    Encode(#[from] SparseError),
    /// The documents cannot be indexed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The queries cannot be searched.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// Nothing to search in.
    #[error("data set {0}: there is no document in corpus.jsonl")]
    NoDocuments(String),
    /// Nothing to search for.
    #[error(
        "data set {dir}: none of the {judged} queries judged in split `{split}` is in queries.jsonl"
    )]
    NoQueries {
        /// Its name.
        dir: String,
        /// The split.
        split: String,
        /// Queries with judgements.
        judged: usize,
    },
}

/// Evaluates what needs no model: IDF-weighted queries against `log1p(tf)` of the documents' tokens.
///
/// # Errors
///
/// If the data set cannot be read or a text cannot be tokenized.
pub fn evaluate_lexical(
    dir: &BeirDir,
    split: &str,
    tokenizer: &Tokenizer,
    idf: &Idf,
    options: &EvalOptions,
) -> Result<DatasetReport, EvalError> {
    evaluate(&LexicalEncoder { tokenizer, idf }, dir, split, options)
}

/// Evaluates an encoder, such as [`model::SparseEncoder`], on one split of a BEIR directory, all in memory.
///
/// Averages are over every judged query. A hit whose id is the query's own is dropped.
///
/// # Errors
///
/// If the data set cannot be read or a text cannot be encoded.
pub fn evaluate(
    encoder: &dyn TextEncoder,
    dir: &BeirDir,
    split: &str,
    options: &EvalOptions,
) -> Result<DatasetReport, EvalError> {
    let qrels = dir.qrels(split)?;
    let queries: BTreeMap<String, String> = dir
        .queries()?
        .into_iter()
        .filter(|query| qrels.contains_key(&query.id))
        .map(|query| (query.id, query.text))
        .collect();
    if queries.is_empty() {
        return Err(EvalError::NoQueries {
            dir: dir.name(),
            split: split.to_owned(),
            judged: qrels.len(),
        });
    }
    let start = Instant::now();
    let mut sampler = Sampler::default();
    let index = index_with(encoder, dir, options, &mut sampler)?;
    let searcher: &dyn Searcher = match options.engine {
        Some(engine) => engine,
        None => &index,
    };
    let docs_per_s = index.num_documents() as f64 / start.elapsed().as_secs_f64();
    let (ids, texts): (Vec<String>, Vec<String>) = queries.clone().into_iter().unzip();
    let vectors = encoder.encode_queries(&texts)?;
    let run = search_run(searcher, &ids, &vectors, options.depth)?;
    let latency = time_queries(
        encoder,
        searcher,
        &texts[..options.timed_queries.min(texts.len())],
        options.depth,
    )?;
    let mut report = judge(&index, &qrels, queries, &vectors, run);
    report.docs_per_s = docs_per_s;
    report.query_latency_ms = latency;
    report.details.samples = sampler.finish(encoder)?;
    Ok(report)
}

/// Encodes and indexes all documents of a BEIR directory, and shows each to the sampler.
///
/// # Errors
///
/// If the documents cannot be read or encoded.
pub fn index_documents(
    encoder: &dyn TextEncoder,
    dir: &BeirDir,
    progress: Option<&dyn Fn(usize)>,
    sampler: &mut Sampler,
) -> Result<InvertedIndex, EvalError> {
    let options = EvalOptions {
        progress,
        ..EvalOptions::default()
    };
    index_with(encoder, dir, &options, sampler)
}

/// The embedded index; the engine, if there is one, gets the same documents.
fn index_with(
    encoder: &dyn TextEncoder,
    dir: &BeirDir,
    options: &EvalOptions,
    sampler: &mut Sampler,
) -> Result<InvertedIndex, EvalError> {
    let mut builder = IndexBuilder::default();
    let mut documents = dir.documents()?;
    loop {
        let chunk: Vec<(String, String)> = documents
            .by_ref()
            .take(CHUNK_DOCS)
            .map(|document| document.map(|document| (document.contents(), document.id)))
            .collect::<Result<_, BeirError>>()?;
        if chunk.is_empty() {
            break;
        }
        let (texts, ids): (Vec<String>, Vec<String>) = chunk.into_iter().unzip();
        let vectors = encoder.encode_documents(&texts)?;
        if let Some(engine) = options.engine {
            engine.add(&ids, &vectors)?;
        }
        for ((id, text), vector) in ids.iter().zip(&texts).zip(&vectors) {
            builder.add(id, vector)?;
            sampler.offer(id, text, vector);
        }
        if let Some(progress) = options.progress {
            progress(builder.len());
        }
    }
    if builder.is_empty() {
        return Err(EvalError::NoDocuments(dir.name()));
    }
    if let Some(engine) = options.engine {
        engine.finish()?;
    }
    Ok(builder.finish()?)
}

/// Encodes and searches queries one at a time.
fn time_queries(
    encoder: &dyn TextEncoder,
    searcher: &dyn Searcher,
    texts: &[String],
    depth: usize,
) -> Result<Latency, EvalError> {
    let durations_ms = texts
        .iter()
        .map(|text| {
            let start = Instant::now();
            searcher.search(&encoder.encode_queries(std::slice::from_ref(text))?, depth)?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        })
        .collect::<Result<_, EvalError>>()?;
    Ok(Latency::of(durations_ms))
}

fn judge(
    index: &InvertedIndex,
    qrels: &Qrels,
    queries: BTreeMap<String, String>,
    vectors: &[SparseVector],
    run: Run,
) -> DatasetReport {
    let evaluation = metric::evaluate(qrels, &run, &Measure::STANDARD, Average::Judged);
    let [ndcg_at_10, map_at_100, recall_at_100, p_at_10, mrr_at_10] =
        std::array::from_fn(|index| evaluation.mean[index]);
    let query_counts: TokenCounts = vectors.iter().collect();
    let document_counts = index.token_counts();
    let mut document_lengths = BTreeMap::new();
    for length in index.document_lengths() {
        *document_lengths.entry(length).or_default() += 1;
    }
    DatasetReport {
        ndcg_at_10,
        map_at_100,
        recall_at_100,
        p_at_10,
        mrr_at_10,
        flops: metric::flops(&query_counts, &document_counts),
        q_length: query_counts.mean_length(),
        d_length: document_counts.mean_length(),
        docs: index.num_documents(),
        queries: evaluation.queries(),
        index_bytes_per_doc: index.num_bytes() as f64 / index.num_documents().max(1) as f64,
        docs_per_s: 0.0,
        query_latency_ms: Latency::default(),
        details: Details {
            notes: notes(index, qrels, &queries),
            run,
            evaluation,
            queries,
            document_lengths,
            samples: Vec::new(),
        },
    }
}

/// Counts what the judgements name but the data set lacks. Such judgements stay: the measures are those that any
/// tool computes from the same run and judgements.
fn notes(index: &InvertedIndex, qrels: &Qrels, queries: &BTreeMap<String, String>) -> Vec<String> {
    let known: HashSet<&str> = (0..index.num_documents())
        .map(|doc| index.document_id(doc as u32))
        .collect();
    let unknown = UnknownIds::find(
        qrels,
        |id| queries.contains_key(id),
        |id| known.contains(id),
    );
    if unknown.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "{unknown}: such queries score 0, such documents count as not found"
    )]
}
