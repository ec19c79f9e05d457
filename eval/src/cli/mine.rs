//! `mine`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use data::Hub;
use data::beir::BeirDir;
use data::hub::Files;
use eval::bm25::{Bm25Encoder, Bm25Params};
use eval::mine::{MineJob, MineProgress, MineSummary, PairSource, Selection};
use eval::search::{Engine, INDEX_FILE};
use eval::text_encoder::TextEncoder;

use super::compute::ComputeArguments;
use super::fingerprint;
use super::opensearch::EngineArguments;
use super::progress::{Progress, count_lines};
use super::{notice, positive};

#[derive(Debug, Args)]
#[command(
    after_help = "Writes rows {\"query\", \"pos\", \"negs\"}, one for each query and positive document, the \
                        hardest negatives first.\n\
                        Until it is complete, the output is called OUTPUT.partial-XXXXXXXX, and the index lies in \
                        OUTPUT.index-XXXXXXXX unless --index names a folder; the same command given again goes on \
                        with both.\n\n\
                        Examples:\n  \
                        ellzero-eval mine --model bm25 --data beir/scifact --split train --output posnegs.jsonl\n  \
                        ellzero-eval mine --model bm25 --data beir/scifact --queries titles --sample 1000 \
                        --output titles.jsonl"
)]
pub struct MineArguments {
    /// Model directory, Hub id (ORG/NAME, or ORG/NAME@REVISION), or bm25
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
    /// Decides which documents are drawn with titles, and which negatives
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Documents considered as negatives of a query, the best ones that are not positives
    #[arg(long, value_name = "K", default_value_t = 100, value_parser = positive)]
    depth: usize,
    /// Pass over the best N documents first: often they are relevant and nobody said so
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: usize,
    /// Draw N of the documents considered [default: all]
    #[arg(long, value_name = "N", value_parser = positive)]
    negatives: Option<usize>,
    /// Leave out near duplicates of a positive: 4 of 5 word triples in common
    #[arg(long)]
    drop_near_positives: bool,
    /// Index of the corpus, as `index` writes it from `encode`; where there is none yet, it is built there and stays
    #[arg(long, value_name = "DIR", conflicts_with = "opensearch")]
    index: Option<PathBuf>,
    /// Memory for weights that are not on disk yet, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = positive)]
    memory_mib: usize,
    /// JSON lines, plain, .gz, .zst, or - for standard output
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    engine: EngineArguments,
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
        let hub = Hub::for_command_line(quiet);
        let dir = BeirDir::open(&hub.data(&self.data)?)?;
        let encoder: Box<dyn TextEncoder> = match self.is_bm25() {
            true => Box::new(Bm25Encoder::fit(&dir, Bm25Params::default())?),
            false => Box::new(self.compute.load(&self.model, quiet)?),
        };
        let fingerprint = self.fingerprint(&dir, &hub)?;
        let names = || encoder.token_names();
        // Positives are found too, and those of one query are few.
        let depth = self.depth + self.skip + 1000;
        let engine = self.engine.open("mine", names, depth)?;
        let job = MineJob {
            encoder: encoder.as_ref(),
            dir: &dir,
            source: match self.queries {
                QuerySource::Judged => PairSource::Judged {
                    split: self.split.clone(),
                },
                QuerySource::Titles => PairSource::Titles {
                    sample: self.sample,
                    seed: self.seed,
                },
            },
            selection: Selection {
                skip: self.skip,
                depth: self.depth,
                count: self.negatives,
                seed: self.seed,
                drop_near_positives: self.drop_near_positives,
            },
            engine: engine.as_ref().map(|engine| engine as &dyn Engine),
            index: &self.index_folder(fingerprint),
            memory_mib: self.memory_mib,
            output: &self.output,
            fingerprint,
        };
        let indexing = Progress::new("indexing", count_lines(dir.corpus_path()), quiet);
        let mut mining: Option<Progress> = None;
        let result = job.run(&mut |progress| match progress {
            MineProgress::Indexed(documents) => indexing.update(documents),
            MineProgress::Mined { rows, total } => {
                indexing.finish();
                mining
                    .get_or_insert_with(|| Progress::new("mining", Some(total), quiet))
                    .update(rows);
            }
        });
        mining.iter().for_each(Progress::finish);
        // An index of ours goes with the last row; until then it stays, unless it is not one yet.
        let is_useless = result.is_ok() || !job.index.join(INDEX_FILE).exists();
        if self.index.is_none() && is_useless && job.index.exists() {
            fs::remove_dir_all(job.index)
                .with_context(|| format!("cannot remove {}", job.index.display()))?;
        }
        self.report(&result?, quiet);
        Ok(())
    }

    fn report(&self, summary: &MineSummary, quiet: bool) {
        if summary.unknown > 0 {
            let unknown = summary.unknown;
            notice(
                quiet,
                &format!("skipped {unknown} judgements of unknown queries or documents"),
            );
        }
        let resumed = match summary.resumed {
            0 => String::new(),
            rows => format!(", {rows} of them from an earlier run"),
        };
        let (rows, output) = (summary.rows, self.output.display());
        notice(quiet, &format!("{rows} rows in {output}{resumed}"));
    }

    fn is_bm25(&self) -> bool {
        self.model.as_os_str() == "bm25"
    }

    /// Beside the output, or among the temporary files where that is no file.
    fn index_folder(&self, fingerprint: u32) -> PathBuf {
        if let Some(folder) = &self.index {
            return folder.clone();
        }
        let is_stream = self.output.as_os_str() == "-"
            || self.output.metadata().is_ok_and(|meta| !meta.is_file());
        let mut name = match is_stream {
            true => std::env::temp_dir().join("ellzero-mine").into_os_string(),
            false => self.output.clone().into_os_string(),
        };
        name.push(format!(".index-{fingerprint:08x}"));
        PathBuf::from(name)
    }

    /// A checksum over everything that decides what the output is.
    fn fingerprint(&self, dir: &BeirDir, hub: &Hub) -> Result<u32> {
        let Self {
            split,
            queries,
            sample,
            seed,
            depth,
            skip,
            negatives,
            drop_near_positives,
            ..
        } = self;
        let corpus = fingerprint::stamp(dir.corpus_path())?;
        let options = format!(
            "{corpus} {split} {queries:?} {sample:?} {seed} {depth} {skip} {negatives:?} {drop_near_positives} {}{}",
            self.compute.vector_options(),
            self.engine.fingerprint().unwrap_or_default()
        );
        let mut files = vec![dir.queries_path().to_path_buf()];
        if let QuerySource::Judged = queries {
            files.push(dir.qrels_path(split)?);
        }
        if !self.is_bm25() {
            files.extend(fingerprint::files_of(
                &hub.model(&self.model, Files::Model)?,
            )?);
            files.extend(self.compute.idf(hub)?);
        }
        fingerprint::of(&options, &files)
    }
}
