//! `index` and `search`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use data::Hub;
use eval::explain::TokenMatch;
use eval::opensearch::{SearchOptions, SparseIndex, Target};
use eval::run_file;
use eval::search::{IndexWriter, InvertedIndex, Pruning, Searcher, Vocabulary, merge, search_run};
use eval::text_encoder::TextEncoder;
use eval::vectors::{self, VectorRow};
use eval::{Hit, Run};
use model::{SparseEncoder, SparseVector};

use super::compute::ComputeArguments;
use super::hits::{Display, DisplayArguments, Found, QueryHits};
use super::opensearch::{self, ConnectionArguments, LoadArguments, QueryArguments, QueryName};
use super::progress::{Progress, count_lines};
use super::{notice, positive};

/// Memory of a posting while an index is built.
const BYTES_PER_WEIGHT: usize = 16;

#[derive(Debug, Args)]
#[command(
    after_help = "Into a cluster, a new index, INDEX-000001 or the next number, is loaded behind the alias INDEX, which \
                        moves to it in one step when it is complete; the one before stays until the next load. The same \
                        command given again continues a load that was killed.\n\n\
                        Examples:\n  \
                        ellzero-eval index --input vectors.jsonl --output index\n  \
                        ellzero-eval index --append --input more.jsonl --output index\n  \
                        ellzero-eval index --merge --output index\n  \
                        ellzero-eval index --input vectors.jsonl --output http://localhost:9200/docs"
)]
pub struct IndexArguments {
    /// Vectors as `encode` writes them, plain, .gz, .zst, or - for standard input; may begin with hf://
    #[arg(long, value_name = "FILE", required_unless_present = "merge")]
    input: Option<PathBuf>,
    /// Directory to write the index into, or an index of an OpenSearch cluster,
    /// `http[s]://[USER:PASSWORD@]HOST[:PORT]/INDEX`
    #[arg(long, value_name = "DIR|URL/INDEX")]
    output: PathBuf,
    /// Memory for weights that are not on disk yet, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = positive)]
    memory_mib: usize,
    /// Add the vectors to the index that is there: in a directory as another segment, in a cluster replacing documents
    /// with the same ids
    #[arg(long, requires = "input")]
    append: bool,
    /// Make one segment of the index directory that is there, after adding what --append adds
    #[arg(long)]
    merge: bool,
    #[command(flatten)]
    load: LoadArguments,
}

impl IndexArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let target = opensearch::target(&self.output)?;
        if self.merge && target.is_some() {
            bail!("--merge is for an index directory: a cluster merges its segments itself");
        }
        if let Some(input) = &self.input {
            let input = Hub::for_command_line(quiet).data(input)?;
            match target {
                Some(target) => {
                    opensearch::load_vectors(&input, &target, &self.load, self.append, quiet)?;
                }
                None => self.write(&input, quiet)?,
            }
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
                        their shares of the score; a cluster does not say which these are. With --corpus also the title \
                        and the part of the text with most of them.\n\n\
                        Examples:\n  \
                        ellzero-eval search --model outputs/scifact/final --index index --corpus corpus.jsonl \
                        \"what is a vaccine\"\n  \
                        ellzero-eval search --index index --query-vectors queries.jsonl --k 100 --run out.trec"
)]
pub struct SearchArguments {
    /// Index directory, or an index of an OpenSearch cluster, `http[s]://[USER:PASSWORD@]HOST[:PORT]/INDEX`
    #[arg(long, value_name = "DIR|URL/INDEX")]
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
    /// Field with the vectors [default: the one that the index has]
    #[arg(long, value_name = "NAME", help_heading = opensearch::HEADING)]
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

/// What searches.
enum Index {
    Embedded(Box<InvertedIndex>),
    Cluster(Box<SparseIndex>),
}

impl SearchArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let place = self.place()?;
        match (&self.query_vectors, &self.model) {
            (Some(path), _) => {
                let path = Hub::for_command_line(quiet).data(path)?;
                self.search_vectors(place, &path)
            }
            (None, Some(model)) => self.search_texts(place, &self.compute.load(model, quiet)?),
            (None, None) => bail!("give --model and query texts, or --query-vectors"),
        }
    }

    fn place(&self) -> Result<Place> {
        if let Some(target) = opensearch::target(&self.index)? {
            if self.exhaustive || self.approximate.is_some() {
                bail!(
                    "--exhaustive and --approximate are for an index directory: how a cluster searches is said by \
                     --query-form"
                );
            }
            return Ok(Place::Cluster(target));
        }
        let mut index = InvertedIndex::open(&self.index)?;
        index.set_pruning(match self.approximate {
            Some(factor) => Pruning::Approximate(factor),
            None if self.exhaustive => Pruning::Exhaustive,
            None => Pruning::Exact,
        });
        Ok(Place::Directory(Box::new(index)))
    }

    /// What searches, and its numbers for tokens: those of a cluster are of `tokens`, which all queries are over.
    fn open(
        &self,
        place: Place,
        tokens: impl FnOnce() -> Vocabulary,
    ) -> Result<(Index, Vocabulary)> {
        let target = match place {
            Place::Cluster(target) => target,
            Place::Directory(index) => {
                let vocabulary = index.vocabulary();
                return Ok((Index::Embedded(index), vocabulary));
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
        Ok((Index::Cluster(Box::new(index)), vocabulary))
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
        let run = search_run(index.searcher(), &ids, &queries, self.k.unwrap_or(100))?;
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
        let encoded = encoder.encode_queries(&self.queries)?;
        let queries: Vec<SparseVector> = encoded
            .iter()
            .map(|query| by_name(query, encoder, &vocabulary))
            .collect();
        let k = self.k.unwrap_or(10);
        if let Some(path) = &self.run {
            let run = (1..)
                .map(|number: usize| number.to_string())
                .zip(index.searcher().search(&queries, k)?)
                .collect();
            return self.write(path, &run);
        }
        let found = index.find(&queries, k, &vocabulary)?.into_iter();
        let results: Vec<QueryHits> = found
            .zip(self.queries.iter().zip(&encoded))
            .map(|(hits, (text, encoded))| QueryHits {
                text,
                tokens: token_names(encoded, encoder),
                hits,
            })
            .collect();
        Display::new(&self.display, encoder)?.show(&results)
    }

    fn write(&self, path: &Path, run: &Run) -> Result<()> {
        run_file::write(path, run, "ellzero").context("cannot write the run")
    }
}

impl Index {
    fn searcher(&self) -> &dyn Searcher {
        match self {
            Self::Embedded(index) => &**index,
            Self::Cluster(index) => &**index,
        }
    }

    /// The `k` best documents for each query; a cluster does not say which tokens they share with it.
    fn find(
        &self,
        queries: &[SparseVector],
        k: usize,
        vocabulary: &Vocabulary,
    ) -> Result<Vec<Vec<Found>>> {
        match self {
            Self::Embedded(index) => {
                let best = index.best(queries, k).into_iter().zip(queries);
                let results = best.map(|(hits, query)| found(&hits, query, index, vocabulary));
                Ok(results.collect())
            }
            Self::Cluster(index) => {
                let unexplained = |hit: Hit| Found {
                    id: hit.id,
                    row: None,
                    score: hit.score,
                    matches: Vec::new(),
                };
                let results = index.search(queries, k)?.into_iter();
                let results = results.map(|hits| hits.into_iter().map(unexplained).collect());
                Ok(results.collect())
            }
        }
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
            row: Some(doc as usize),
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
