//! The command line of `ellzero-eval`: what was said becomes calls of the library.

mod beir;
mod compare;
mod compute;
mod datasets;
mod encode;
mod explain;
mod fingerprint;
mod hits;
mod metrics;
mod mine;
mod opensearch;
mod progress;
mod report;
mod search;

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

/// Encode texts as sparse vectors, index and search them, and judge the rankings.
#[derive(Debug, Parser)]
#[command(name = "ellzero-eval", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: CommonArguments,
}

/// What every command understands.
#[derive(Debug, Args)]
struct CommonArguments {
    /// Threads to use [default: all cores]
    #[arg(long, global = true, display_order = 1000, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// No progress and no notices, only results and errors
    #[arg(long, global = true, display_order = 1000)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Encode a file of texts as sparse vectors; a killed run continues where it stopped
    Encode(encode::EncodeArguments),
    /// Build an index from a file of vectors
    Index(search::IndexArguments),
    /// Search an index, for texts or for a file of query vectors
    Search(search::SearchArguments),
    /// Evaluate a model on BEIR directories
    Beir(beir::BeirArguments),
    /// Evaluate BM25 on BEIR directories: the baseline
    Bm25(beir::Bm25Arguments),
    /// Judge a run file
    Metrics(metrics::MetricsArguments),
    /// Say whether runs are significantly better than a first one
    Compare(compare::CompareArguments),
    /// Draw one page of the results of several evaluations
    Report(report::ReportArguments),
    /// Collect hard negatives for training
    Mine(mine::MineArguments),
    /// Encode a file of texts into an index of an OpenSearch cluster
    Ingest(opensearch::IngestArguments),
    /// Set up an OpenSearch cluster that encodes texts itself
    #[command(name = "opensearch")]
    OpenSearch(opensearch::OpenSearchArguments),
    /// Show which tokens a query and a document share, and what each adds to the score
    Explain(explain::ExplainArguments),
}

/// Runs a command.
pub fn run(arguments: Arguments) -> Result<()> {
    let Arguments { command, common } = arguments;
    if let Some(threads) = common.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build_global()
            .context("cannot start the threads")?;
    }
    match command {
        Command::Encode(arguments) => arguments.run(common.quiet),
        Command::Index(arguments) => arguments.run(common.quiet),
        Command::Search(arguments) => arguments.run(common.quiet),
        Command::Beir(arguments) => arguments.run(common.quiet),
        Command::Bm25(arguments) => arguments.run(common.quiet),
        Command::Metrics(arguments) => arguments.run(common.quiet),
        Command::Compare(arguments) => arguments.run(),
        Command::Report(arguments) => arguments.run(),
        Command::Mine(arguments) => arguments.run(common.quiet),
        Command::Ingest(arguments) => arguments.run(common.quiet),
        Command::OpenSearch(arguments) => arguments.run(common.quiet),
        Command::Explain(arguments) => arguments.run(common.quiet),
    }
}

/// Writes a result to standard output.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Says something on standard error that is neither result nor failure.
fn notice(quiet: bool, text: &str) {
    if !quiet {
        // Nothing depends on somebody reading it.
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// A number above 0.
fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a whole number above 0".to_owned()),
    }
}

/// A share of the largest weight.
fn ratio(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(ratio) if (0.0..1.0).contains(&ratio) => Ok(ratio),
        _ => Err("expected a number from 0 to 1, 1 excluded".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent_and_every_command_has_an_example() {
        Arguments::command().debug_assert();
        for command in Arguments::command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.contains("ellzero-eval"), "{}", command.get_name());
        }
    }
}
