//! `mine`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use data::Hub;
use data::beir::BeirDir;
use data::output::AtomicFile;
use eval::bm25::{Bm25Encoder, Bm25Params};
use eval::mine::{PairSource, mine};
use eval::text_encoder::TextEncoder;

use super::compute::ComputeArguments;
use super::progress::{Progress, count_lines};
use super::{notice, positive};

#[derive(Debug, Args)]
#[command(
    after_help = "Writes rows {\"query\", \"pos\", \"negs\"}, one for each query and positive document, the \
                        hardest negatives first.\n\n\
                        Examples:\n  \
                        ellzero-eval mine --model bm25 --data beir/scifact --split train --output posnegs.jsonl\n  \
                        ellzero-eval mine --model bm25 --data beir/scifact --queries titles --sample 1000 \
                        --output titles.jsonl"
)]
pub struct MineArguments {
    /// Model directory, Hub id (ORG/NAME[@REVISION]), or bm25
    #[arg(long)]
    model: PathBuf,
    /// BEIR directory; may begin with hf://
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Which judgements
    #[arg(long, default_value = "train")]
    split: String,
    /// Where the queries come from
    #[arg(long, value_enum, default_value_t = QuerySource::Judged)]
    queries: QuerySource,
    /// With titles: draw this many documents [default: all]
    #[arg(long, value_name = "N", value_parser = positive)]
    sample: Option<usize>,
    /// With titles: decides which documents are drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Negatives per row
    #[arg(long, value_name = "K", default_value_t = 100, value_parser = positive)]
    depth: usize,
    /// JSON lines, plain, .gz, .zst, or - for standard output
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    compute: ComputeArguments,
}

/// Where queries come from.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum QuerySource {
    /// The judged queries of the split, with their relevant documents
    Judged,
    /// The documents' titles, with their texts
    Titles,
}

impl MineArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let dir = BeirDir::open(&Hub::for_command_line(quiet).data(&self.data)?)?;
        let encoder: Box<dyn TextEncoder> = match self.model.to_str() {
            Some("bm25") => Box::new(Bm25Encoder::fit(&dir, Bm25Params::default())?),
            _ => Box::new(self.compute.load(&self.model, quiet)?),
        };
        let source = match self.queries {
            QuerySource::Judged => PairSource::Judged {
                split: self.split.clone(),
            },
            QuerySource::Titles => PairSource::Titles {
                sample: self.sample,
                seed: self.seed,
            },
        };
        let mut file = AtomicFile::create(&self.output)?;
        let progress = Progress::new("indexing", count_lines(dir.corpus_path()), quiet);
        progress.update(0);
        let update = |documents| progress.update(documents);
        let summary = mine(
            encoder.as_ref(),
            &dir,
            &source,
            self.depth,
            &mut file,
            Some(&update),
        )?;
        file.finish()?;
        progress.finish();
        if summary.unknown > 0 {
            let unknown = summary.unknown;
            notice(
                quiet,
                &format!("skipped {unknown} judgements of unknown queries or documents"),
            );
        }
        notice(
            quiet,
            &format!("{} rows in {}", summary.rows, self.output.display()),
        );
        Ok(())
    }
}
