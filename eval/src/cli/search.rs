//! `index` and `search`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use data::Hub;
use eval::explain::TokenMatch;
use eval::run_file;
use eval::search::{IndexWriter, InvertedIndex, Pruning, Searcher, Vocabulary, merge, search_run};
use eval::{Run, vectors};
use model::{SparseEncoder, SparseVector};

use super::compute::ComputeArguments;
use super::hits::{Display, DisplayArguments, Found, QueryHits};
use super::progress::{Progress, count_lines};
use super::{notice, positive};

/// Memory of a posting while an index is built.
const BYTES_PER_WEIGHT: usize = 16;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
                        ellzero-eval index --input vectors.jsonl --output index\n  \
                        ellzero-eval index --append --input more.jsonl --output index\n  \
                        ellzero-eval index --merge --output index")]
pub struct IndexArguments {
    /// Vectors as `encode` writes them, plain, .gz, .zst, or - for standard input; may begin with hf://
    #[arg(long, value_name = "FILE", required_unless_present = "merge")]
    input: Option<PathBuf>,
    /// Directory to write the index into
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Memory for weights that are not on disk yet, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = positive)]
    memory_mib: usize,
    /// Add the vectors to the index that is there, as another segment
    #[arg(long, requires = "input")]
    append: bool,
    /// Make one segment of the index that is there, after adding what --append adds
    #[arg(long)]
    merge: bool,
}

impl IndexArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        if let Some(input) = &self.input {
            let input = Hub::for_command_line(quiet).data(input)?;
            self.write(&input, quiet)?;
        }
        if self.merge {
            let segments = merge(&self.output)?;
            notice(quiet, &format!("{segments} segments merged into one"));
        }
        Ok(())
    }

    fn write(&self, input: &Path, quiet: bool) -> Result<()> {
        let rows = vectors::read(input)?;
        let block_postings = (self.memory_mib << 20) / BYTES_PER_WEIGHT;
        let mut writer = match self.append {
            true => IndexWriter::append(&self.output, block_postings)?,
            false => IndexWriter::create(&self.output, block_postings)?,
        };
        let mut vocabulary = writer.vocabulary();
        let progress = Progress::new("indexing", count_lines(input), quiet);
        for (number, row) in rows.enumerate() {
            let row = row?;
            writer.add(&row.id, &vocabulary.intern_vector(row.vector))?;
            progress.update(number);
        }
        if writer.is_empty() {
            bail!("{}: there is no vector in it", input.display());
        }
        let documents = writer.finish(vocabulary.tokens())?;
        progress.finish();
        notice(
            quiet,
            &format!(
                "{documents} documents with {} distinct tokens in {}",
                vocabulary.tokens().len(),
                self.output.display()
            ),
        );
        Ok(())
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Under each query its hits: rank, score, id, and the tokens that it shares with the query, with \
                        their shares of the score. With --corpus also the title and the part of the text with most of \
                        them.\n\n\
                        Examples:\n  \
                        ellzero-eval search --model outputs/scifact/final --index index --corpus corpus.jsonl \
                        \"what is a vaccine\"\n  \
                        ellzero-eval search --index index --query-vectors queries.jsonl --k 100 --run out.trec"
)]
pub struct SearchArguments {
    /// Index directory
    #[arg(long, value_name = "DIR")]
    index: PathBuf,
    /// Model directory or Hub id (ORG/NAME, or ORG/NAME@REVISION), for queries that are texts
    #[arg(long, required_unless_present = "query_vectors")]
    model: Option<PathBuf>,
    /// Query vectors as `encode --route query` writes them; may begin with hf://
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "queries"])]
    query_vectors: Option<PathBuf>,
    /// Number of documents for each query [default: 10, or 100 with --query-vectors]
    #[arg(long, value_name = "K", value_parser = positive)]
    k: Option<usize>,
    /// Write a TREC run (- for standard output); texts are numbered from 1
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,
    /// Query texts
    #[arg(value_name = "QUERY", required_unless_present = "query_vectors")]
    queries: Vec<String>,
    /// Score every document that shares a token with the query: the same result, later
    #[arg(long)]
    exhaustive: bool,
    /// Pass over documents that cannot exceed the k-th best score divided by this heap factor, in (0, 1]: sooner, and
    /// some of the result may be missing
    #[arg(long, value_name = "FACTOR", value_parser = heap_factor, conflicts_with = "exhaustive")]
    approximate: Option<f32>,
    #[command(flatten)]
    display: DisplayArguments,
    #[command(flatten)]
    compute: ComputeArguments,
}

impl SearchArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let mut index = InvertedIndex::open(&self.index)?;
        index.set_pruning(match self.approximate {
            Some(factor) => Pruning::Approximate(factor),
            None if self.exhaustive => Pruning::Exhaustive,
            None => Pruning::Exact,
        });
        match (&self.query_vectors, &self.model) {
            (Some(path), _) => {
                let path = Hub::for_command_line(quiet).data(path)?;
                self.search_vectors(&index, &path)
            }
            (None, Some(model)) => self.search_texts(&index, &self.compute.load(model, quiet)?),
            (None, None) => bail!("give --model and query texts, or --query-vectors"),
        }
    }

    fn search_vectors(&self, index: &InvertedIndex, path: &Path) -> Result<()> {
        let vocabulary = index.vocabulary();
        let (mut ids, mut queries) = (Vec::new(), Vec::new());
        for row in vectors::read(path)? {
            let row = row?;
            ids.push(row.id);
            queries.push(vocabulary.vector(row.vector));
        }
        if queries.is_empty() {
            bail!("{}: there is no query in it", path.display());
        }
        let run = search_run(index, &ids, &queries, self.k.unwrap_or(100))?;
        if run.len() < ids.len() {
            bail!(
                "{}: {} query ids occur twice; ids must be unique",
                path.display(),
                ids.len() - run.len()
            );
        }
        self.write(self.run.as_deref().unwrap_or(Path::new("-")), &run)
    }

    fn search_texts(&self, index: &InvertedIndex, encoder: &SparseEncoder) -> Result<()> {
        let vocabulary = index.vocabulary();
        let encoded = encoder.encode_queries(&self.queries)?;
        let queries: Vec<SparseVector> = encoded
            .iter()
            .map(|query| by_name(query, encoder, &vocabulary))
            .collect();
        let k = self.k.unwrap_or(10);
        if let Some(path) = &self.run {
            let run = (1..)
                .map(|number: usize| number.to_string())
                .zip(index.search(&queries, k)?)
                .collect();
            return self.write(path, &run);
        }
        let best = index.best(&queries, k).into_iter().zip(&queries);
        let results: Vec<QueryHits> = best
            .zip(self.queries.iter().zip(&encoded))
            .map(|((hits, query), (text, encoded))| QueryHits {
                text,
                tokens: token_names(encoded, encoder),
                hits: found(&hits, query, index, &vocabulary),
            })
            .collect();
        Display::new(&self.display, encoder)?.show(&results)
    }

    fn write(&self, path: &Path, run: &Run) -> Result<()> {
        run_file::write(path, run, "ellzero").context("cannot write the run")
    }
}

fn token_names(query: &SparseVector, encoder: &SparseEncoder) -> Vec<String> {
    let names = query
        .ids
        .iter()
        .filter_map(|&id| encoder.tokenizer().token(id));
    names.map(str::to_owned).collect()
}

/// What each hit has in common with the query.
fn found(
    hits: &[(u32, f32)],
    query: &SparseVector,
    index: &InvertedIndex,
    vocabulary: &Vocabulary,
) -> Vec<Found> {
    let places: HashMap<u32, usize> = (0..).zip(hits).map(|(place, hit)| (hit.0, place)).collect();
    let mut matches: Vec<Vec<TokenMatch>> = vec![Vec::new(); hits.len()];
    for (token, query_weight) in query.iter() {
        for (doc, document_weight) in index.postings(token) {
            if let Some(&place) = places.get(&doc) {
                matches[place].push(TokenMatch {
                    token,
                    query_weight,
                    document_weight,
                });
            }
        }
    }
    let name = |token: u32| vocabulary.token(token).unwrap_or_default().to_owned();
    let found = |(&(doc, score), mut matches): (&(u32, f32), Vec<TokenMatch>)| {
        matches.sort_by(|a, b| b.product().total_cmp(&a.product()));
        Found {
            id: index.document_id(doc).to_owned(),
            row: doc as usize,
            score,
            matches: matches
                .into_iter()
                .map(|found| (name(found.token), found))
                .collect(),
        }
    };
    hits.iter().zip(matches).map(found).collect()
}

fn heap_factor(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(factor) if factor > 0.0 && factor <= 1.0 => Ok(factor),
        _ => Err("expected a number above 0 and up to 1".into()),
    }
}

/// The query over the index's own numbering of tokens.
fn by_name(query: &SparseVector, encoder: &SparseEncoder, vocabulary: &Vocabulary) -> SparseVector {
    let tokenizer = encoder.tokenizer();
    vocabulary.vector(
        query
            .iter()
            .filter_map(|(id, weight)| Some((tokenizer.token(id)?, weight))),
    )
}
