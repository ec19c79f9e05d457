//! `index` and `search`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use eval::Run;
use eval::opensearch::{SearchOptions, SparseIndex, Target};
use eval::report::text_table;
use eval::run_file;
use eval::search::{IndexWriter, InvertedIndex, Searcher, Vocabulary, search_run};
use eval::text_encoder::TextEncoder;
use eval::vectors::{self, VectorRow};
use model::{SparseEncoder, SparseVector};

use super::compute::ComputeArguments;
use super::opensearch::{self, ConnectionArguments, LoadArguments, QueryArguments, QueryName};
use super::progress::{Progress, count_lines};
use super::{notice, positive, print};

/// Memory of a posting while an index is built.
const BYTES_PER_WEIGHT: usize = 16;

#[derive(Debug, Args)]
#[command(
    after_help = "Into a cluster, a new index, INDEX-000001 or the next number, is loaded behind the alias INDEX, which \
                        moves to it in one step when it is complete; the one before stays until the next load. The same \
                        command given again continues a load that was killed.\n\n\
                        Examples:\n  ellzero-eval index --input vectors.jsonl --output index\n  \
                        ellzero-eval index --input vectors.jsonl --output http://localhost:9200/docs"
)]
pub struct IndexArguments {
    /// Vectors as `encode` writes them, plain, .gz, .zst, or - for standard input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Directory to write the index into, or an index of an OpenSearch cluster,
    /// http[s]://[USER:PASSWORD@]HOST[:PORT]/INDEX
    #[arg(long, value_name = "DIR|URL/INDEX")]
    output: PathBuf,
    /// Memory for weights that are not on disk yet, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = positive)]
    memory_mib: usize,
    #[command(flatten)]
    load: LoadArguments,
}

impl IndexArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        if let Some(target) = opensearch::target(&self.output)? {
            return opensearch::load_vectors(&self.input, &target, &self.load, quiet);
        }
        let rows = vectors::read(&self.input)?;
        let mut writer =
            IndexWriter::create(&self.output, (self.memory_mib << 20) / BYTES_PER_WEIGHT)?;
        let mut vocabulary = Vocabulary::default();
        let progress = Progress::new("indexing", count_lines(&self.input), quiet);
        for (number, row) in rows.enumerate() {
            let row = row?;
            writer.add(&row.id, &vocabulary.intern_vector(row.vector))?;
            progress.update(number);
        }
        if writer.is_empty() {
            bail!("{}: there is no vector in it", self.input.display());
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
    /// Index directory, or an index of an OpenSearch cluster, http[s]://[USER:PASSWORD@]HOST[:PORT]/INDEX
    #[arg(long, value_name = "DIR|URL/INDEX")]
    index: PathBuf,
    /// Model directory or Hub id (ORG/NAME, or ORG/NAME@REVISION), for queries that are texts
    #[arg(long, required_unless_present = "query_vectors")]
    model: Option<PathBuf>,
    /// Query vectors as `encode --route query` writes them
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
    /// Field with the vectors [default: the one that the index has]
    #[arg(long, value_name = "NAME", help_heading = "OpenSearch")]
    field: Option<String>,
    #[command(flatten)]
    query: QueryArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
    #[command(flatten)]
    compute: ComputeArguments,
}

/// Where an index is.
enum Place {
    Directory(Box<InvertedIndex>),
    Cluster(Target),
}

impl SearchArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let place = self.place()?;
        match (&self.query_vectors, &self.model) {
            (Some(path), _) => self.search_vectors(place, path),
            (None, Some(model)) => self.search_texts(place, &self.compute.load(model, quiet)?),
            (None, None) => bail!("give --model and query texts, or --query-vectors"),
        }
    }

    fn place(&self) -> Result<Place> {
        Ok(match opensearch::target(&self.index)? {
            Some(target) => Place::Cluster(target),
            None => Place::Directory(Box::new(InvertedIndex::open(&self.index)?)),
        })
    }

    /// What searches, and its numbers for tokens: those of a cluster are of `tokens`, which all queries are over.
    fn open(
        &self,
        place: Place,
        tokens: impl FnOnce() -> Vocabulary,
    ) -> Result<(Box<dyn Searcher>, Vocabulary)> {
        let target = match place {
            Place::Cluster(target) => target,
            Place::Directory(index) => {
                let vocabulary = index.vocabulary();
                return Ok((index, vocabulary));
            }
        };
        let client = self.connection.client(target.address)?;
        let vocabulary = tokens();
        let options = SearchOptions {
            field: self.field.clone(),
            ..self.query.options()
        };
        let names = vocabulary.tokens().to_vec();
        let index = SparseIndex::open(&client, &target.index, names, options)?;
        Ok((Box::new(index), vocabulary))
    }

    fn search_vectors(&self, place: Place, path: &Path) -> Result<()> {
        if self.query.form == QueryName::Seismic {
            bail!(
                "--query-form seismic asks for token ids, which vectors do not have: give --model"
            );
        }
        let rows: Vec<VectorRow> = vectors::read(path)?.collect::<Result<_, _>>()?;
        let tokens = || rows.iter().flat_map(|row| row.vector.keys()).collect();
        let (index, vocabulary) = self.open(place, tokens)?;
        let (mut ids, mut queries) = (Vec::new(), Vec::new());
        for row in rows {
            ids.push(row.id);
            queries.push(vocabulary.vector(row.vector));
        }
        if queries.is_empty() {
            bail!("{}: there is no query in it", path.display());
        }
        let run = search_run(index.as_ref(), &ids, &queries, self.k.unwrap_or(100))?;
        if run.len() < ids.len() {
            bail!(
                "{}: {} query ids occur twice; ids must be unique",
                path.display(),
                ids.len() - run.len()
            );
        }
        self.write(self.run.as_deref().unwrap_or(Path::new("-")), &run)
    }

    fn search_texts(&self, place: Place, encoder: &SparseEncoder) -> Result<()> {
        let (index, vocabulary) =
            self.open(place, || encoder.token_names().into_iter().collect())?;
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
