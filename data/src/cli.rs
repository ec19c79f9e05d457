//! The command line of `ellzero-data`.

mod prepare;
mod tokenizer;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use data::beir::{BeirDir, Documents};
use data::hub::Files;
use data::output::AtomicFile;
use data::qrels::UnknownIds;
use data::{Dataset, DocumentFrequencies, Hub, Idf, Tokenizer};

use crate::progress::Progress;
use prepare::{BeirArgs, DedupArgs, MsmarcoArgs, SampleArgs, SplitArgs, TitlesArgs};
use tokenizer::TokenizerArgs;

/// Prepares and examines training data.
#[derive(Debug, Parser)]
#[command(name = "ellzero-data", version)]
pub struct Cli {
    /// Say nothing but errors and results
    #[arg(long, global = true)]
    quiet: bool,
    /// Number of threads [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Idf(IdfArgs),
    Convert(ConvertArgs),
    Inspect(InspectArgs),
    Beir(BeirArgs),
    QueriesFromTitles(TitlesArgs),
    Sample(SampleArgs),
    Split(SplitArgs),
    Dedup(DedupArgs),
    Msmarco(MsmarcoArgs),
    Tokenizer(TokenizerArgs),
}

/// Compute the IDF table of a corpus: the query weights of an inference-free model
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  ellzero-data idf --corpus scifact/corpus.jsonl --tokenizer google-bert/bert-base-uncased \
                        --output idf.json\n\nThe weight of a token is ln(1 + (N - df + 0.5) / (df + 0.5)), and 1 for \
                        tokens that occur nowhere."
)]
struct IdfArgs {
    /// Rows {"_id" or "id", "title"?, "text"}: JSON lines (.gz, .zst, - for standard input), a Parquet file or a folder of
    /// them, or a save_to_disk directory; may begin with hf://
    #[arg(long, value_name = "PATH")]
    corpus: PathBuf,
    /// Model directory, Hub id (ORG/NAME, or ORG/NAME@REVISION), or a tokenizer.json or vocab.txt
    #[arg(long, value_name = "MODEL")]
    tokenizer: PathBuf,
    /// Where to write token -> weight; - is standard output
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// Convert between Hugging Face save_to_disk directories, JSON lines and Parquet
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ellzero-data convert --input data/msmarco_ft --output msmarco_ft.jsonl.zst\n  \
                        ellzero-data convert --input train.jsonl --output data/train\n  \
                        ellzero-data convert --input train-00000-of-00001.parquet --output train.jsonl"
)]
struct ConvertArgs {
    /// A save_to_disk directory, a .parquet file or a folder of them, or a JSON lines file (.gz, .zst, - for standard
    /// input); may begin with hf://
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// A .jsonl file (.gz, .zst, - for standard output) or a .parquet file, or else a new directory
    #[arg(long, value_name = "PATH")]
    output: PathBuf,
}

/// Show kind, columns, number of rows, first rows and lengths of a data set
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ellzero-data inspect data/msmarco_ft --tokenizer google-bert/bert-base-uncased\n  \
                        ellzero-data inspect hf://datasets/BeIR/scifact/corpus.jsonl.gz"
)]
struct InspectArgs {
    /// A save_to_disk directory, a Parquet or JSON lines file, or a BEIR directory; may begin with hf://
    path: PathBuf,
    /// Rows to show
    #[arg(long, value_name = "N", default_value_t = 2)]
    rows: usize,
    /// Measure texts in tokens (special tokens included) instead of words: a model directory, Hub id,
    /// tokenizer.json or vocab.txt
    #[arg(long, value_name = "MODEL")]
    tokenizer: Option<PathBuf>,
}

/// Does what the command line says.
pub fn run(cli: Cli) -> Result<()> {
    if let Some(threads) = cli.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build_global()
            .context("cannot start the threads")?;
    }
    let (hub, quiet) = (Hub::for_command_line(cli.quiet), cli.quiet);
    match cli.command {
        Command::Idf(args) => idf(&args, &hub, quiet),
        Command::Convert(args) => convert(&args, &hub, quiet),
        Command::Inspect(args) => inspect(&args, &hub),
        Command::Beir(args) => args.run(&hub, quiet),
        Command::QueriesFromTitles(args) => args.run(&hub, quiet),
        Command::Sample(args) => args.run(&hub, quiet),
        Command::Split(args) => args.run(&hub, quiet),
        Command::Dedup(args) => args.run(&hub, quiet),
        Command::Msmarco(args) => args.run(&hub, quiet),
        Command::Tokenizer(args) => args.run(&hub, quiet),
    }
}

fn tokenizer_at(path: &Path, hub: &Hub) -> Result<Tokenizer> {
    let path = hub.model(path, Files::Tokenizer)?;
    let tokenizer = if path.is_file() {
        Tokenizer::from_file(&path)
    } else {
        Tokenizer::from_dir(&path)
    };
    Ok(tokenizer?)
}

fn idf(args: &IdfArgs, hub: &Hub, quiet: bool) -> Result<()> {
    let tokenizer = tokenizer_at(&args.tokenizer, hub)?;
    let corpus = hub.data(&args.corpus)?;
    let mut progress = Progress::new("documents", quiet);
    let texts = Documents::open(&corpus)?.ids_unchecked().map(|document| {
        progress.advance();
        Ok::<_, anyhow::Error>(document?.contents())
    });
    let frequencies = DocumentFrequencies::count(texts, &tokenizer)?;
    anyhow::ensure!(
        frequencies.documents > 0,
        "{}: no document with text in it",
        args.corpus.display()
    );
    Idf::from_document_frequencies(&frequencies).save(&args.output, &tokenizer)?;
    let seen = frequencies
        .counts
        .iter()
        .filter(|&&count| count > 0)
        .count();
    let size = tokenizer.vocab_size();
    progress.finish(&format!(
        "{seen} of {size} tokens occur in {} documents",
        frequencies.documents
    ));
    Ok(())
}

fn convert(args: &ConvertArgs, hub: &Hub, quiet: bool) -> Result<()> {
    let input = hub.data(&args.input)?;
    let mut progress = Progress::new("rows", quiet);
    data::convert::convert(&input, &args.output, &mut || progress.advance())?;
    progress.finish(&format!("written to {}", args.output.display()));
    Ok(())
}

fn inspect(args: &InspectArgs, hub: &Hub) -> Result<()> {
    let tokenizer = args.tokenizer.as_deref();
    let tokenizer = tokenizer.map(|path| tokenizer_at(path, hub)).transpose()?;
    let path = hub.data(&args.path)?;
    let mut out = AtomicFile::create(Path::new("-"))?;
    if !BeirDir::is_at(&path) {
        inspect_dataset(&path, args.rows, tokenizer.as_ref(), &mut out)?;
        return Ok(out.finish()?);
    }
    let beir = BeirDir::open(&path)?;
    for (title, path) in [
        ("corpus", beir.corpus_path()),
        ("queries", beir.queries_path()),
    ] {
        writeln!(out, "{title}: {}", path.display())?;
        inspect_dataset(path, args.rows, tokenizer.as_ref(), &mut out)?;
    }
    inspect_judgements(&beir, &mut out)?;
    Ok(out.finish()?)
}

fn inspect_dataset(
    path: &Path,
    rows: usize,
    tokenizer: Option<&Tokenizer>,
    out: &mut impl Write,
) -> Result<()> {
    let dataset = Dataset::open(path)?;
    let found = match tokenizer {
        None => data::inspect::inspect(
            &dataset,
            "words",
            |text| text.split_whitespace().count(),
            rows,
        )?,
        Some(tokenizer) => {
            // A text that cannot be tokenized has no tokens.
            let tokens = |text: &str| {
                tokenizer
                    .encode(text, usize::MAX)
                    .map_or(0, |ids| ids.len())
            };
            data::inspect::inspect(&dataset, "tokens", tokens, rows)?
        }
    };
    write!(out, "{found}")?;
    Ok(())
}

fn inspect_judgements(beir: &BeirDir, out: &mut impl Write) -> Result<()> {
    let mut documents = HashSet::new();
    for document in beir.documents()? {
        documents.insert(document?.id);
    }
    let queries = beir.queries()?.into_iter().map(|query| query.id);
    let queries: HashSet<String> = queries.collect();
    for split in beir.splits() {
        let qrels = beir.qrels(&split)?;
        let judgements: usize = qrels.values().map(|documents| documents.len()).sum();
        write!(
            out,
            "judgements, {split}: {} queries, {judgements} judgements",
            qrels.len()
        )?;
        let unknown = UnknownIds::find(
            &qrels,
            |id| queries.contains(id),
            |id| documents.contains(id),
        );
        if !unknown.is_empty() {
            write!(out, "; {unknown}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}
