//! `index` and `search`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use data::Hub;
use eval::report::text_table;
use eval::run_file;
use eval::search::{IndexWriter, InvertedIndex, Searcher, Vocabulary, search_run};
use eval::{Run, vectors};
use model::{SparseEncoder, SparseVector};

use super::compute::ComputeArguments;
use super::progress::{Progress, count_lines};
use super::{notice, positive, print};

/// Memory of a posting while an index is built.
const BYTES_PER_WEIGHT: usize = 16;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ellzero-eval index --input vectors.jsonl --output index")]
pub struct IndexArguments {
    /// Vectors as `encode` writes them, plain, .gz, .zst, or - for standard input; may begin with hf://
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Directory to write the index into
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Memory for weights that are not on disk yet, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = positive)]
    memory_mib: usize,
}

impl IndexArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let input = Hub::for_command_line(quiet).data(&self.input)?;
        let rows = vectors::read(&input)?;
        let mut writer =
            IndexWriter::create(&self.output, (self.memory_mib << 20) / BYTES_PER_WEIGHT)?;
        let mut vocabulary = Vocabulary::default();
        let progress = Progress::new("indexing", count_lines(&input), quiet);
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
#[command(after_help = "Examples:\n  \
                        ellzero-eval search --model outputs/scifact/final --index index \"what is a vaccine\"\n  \
                        ellzero-eval search --index index --query-vectors queries.jsonl --k 100 --run out.trec")]
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
    #[command(flatten)]
    compute: ComputeArguments,
}

impl SearchArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let index = InvertedIndex::open(&self.index)?;
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
        let queries: Vec<SparseVector> = encoder
            .encode_queries(&self.queries)?
            .iter()
            .map(|query| by_name(query, encoder, &vocabulary))
            .collect();
        let results = index.search(&queries, self.k.unwrap_or(10))?;
        if let Some(path) = &self.run {
            let run = (1..)
                .map(|number: usize| number.to_string())
                .zip(results)
                .collect();
            return self.write(path, &run);
        }
        for (text, hits) in self.queries.iter().zip(results) {
            let rows: Vec<Vec<String>> = hits
                .into_iter()
                .map(|hit| vec![hit.id, format!("{:.4}", hit.score)])
                .collect();
            print(&format!("{text}\n{}", text_table(&rows)))?;
        }
        Ok(())
    }

    fn write(&self, path: &Path, run: &Run) -> Result<()> {
        run_file::write(path, run, "ellzero").context("cannot write the run")
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
