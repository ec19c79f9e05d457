//! `encode`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Result;
use clap::{Args, ValueEnum};
use data::Hub;
use data::hub::Files;
use eval::encode::{EncodeJob, Route, Shard};

use super::compute::ComputeArguments;
use super::fingerprint;
use super::progress::{Progress, count_lines};
use super::{notice, positive};

#[derive(Debug, Args)]
#[command(
    after_help = "Rows in: {\"_id\" or \"id\", \"title\"?, \"text\"}. Rows out: \
                        {\"id\":\"...\",\"vector\":{\"token\":weight,...}}, in the same order.\n\
                        Until it is complete, the output is called OUTPUT.partial-XXXXXXXX; the same command given \
                        again continues it.\n\n\
                        Example:\n  ellzero-eval encode --model outputs/scifact/final --input corpus.jsonl.gz \
                        --output vectors.jsonl.zst"
)]
pub struct EncodeArguments {
    /// Model directory or Hub id (ORG/NAME, or ORG/NAME@REVISION)
    #[arg(long)]
    model: PathBuf,
    /// JSON lines (.gz, .zst, - for standard input), a Parquet file or a folder of them, or a save_to_disk directory; may
    /// begin with hf://
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// JSON lines, plain, .gz, .zst, or - for standard output
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Which side the texts are on
    #[arg(long, value_enum, default_value_t = RouteName::Document)]
    route: RouteName,
    /// Keep the K largest weights of each row
    #[arg(long, value_name = "K", value_parser = positive)]
    top_k: Option<usize>,
    /// Encode only rows I, I+N, I+2N, ... of the input, I from 0 to N-1
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    shard: ShardName,
    #[command(flatten)]
    compute: ComputeArguments,
}

/// [`Route`] as written on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RouteName {
    Document,
    Query,
}

/// [`Shard`] as written on the command line.
#[derive(Debug, Clone, Copy)]
struct ShardName(Shard);

impl FromStr for ShardName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, count)| {
            let shard = Shard {
                index: index.parse().ok()?,
                count: count.parse().ok()?,
            };
            (shard.index < shard.count).then_some(shard)
        });
        numbers
            .map(Self)
            .ok_or_else(|| "expected I/N with I from 0 to N-1, like 0/4".to_owned())
    }
}

impl EncodeArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let hub = Hub::for_command_line(quiet);
        let model = hub.model(&self.model, Files::Model)?;
        let encoder = self.compute.load(&model, quiet)?;
        let input = hub.data(&self.input)?;
        let Shard { index, count } = self.shard.0;
        let total = count_lines(&input).map(|lines| lines.saturating_sub(index).div_ceil(count));
        let progress = Progress::new("encoding", total, quiet);
        let job = EncodeJob {
            encoder: &encoder,
            tokenizer: encoder.tokenizer(),
            input: &input,
            output: &self.output,
            route: match self.route {
                RouteName::Document => Route::Document,
                RouteName::Query => Route::Query,
            },
            shard: self.shard.0,
            top_k: self.top_k,
            prune_ratio: self.compute.prune_ratio,
            fingerprint: self.fingerprint(&model, &hub)?,
        };
        let mut announced = false;
        let done = job.run(&mut |state| {
            if state.resumed > 0 && !announced {
                notice(
                    quiet,
                    &format!("continuing after {} rows of an earlier run", state.resumed),
                );
                announced = true;
            }
            progress.update(state.rows);
        })?;
        progress.finish();
        let fresh = done.rows - done.resumed;
        let mean = done.weights as f64 / fresh.max(1) as f64;
        notice(
            quiet,
            &format!(
                "{} rows in {}, {mean:.1} tokens each",
                done.rows,
                self.output.display()
            ),
        );
        Ok(())
    }

    /// A checksum over everything that decides what the output is, the input's name aside.
    fn fingerprint(&self, model: &Path, hub: &Hub) -> Result<u32> {
        let vectors = self.compute.vector_options();
        let options = format!(
            "{:?} {:?} {:?} {vectors}",
            self.route, self.top_k, self.shard
        );
        let mut files = fingerprint::files_of(model)?;
        files.extend(self.compute.idf(hub)?);
        fingerprint::of(&options, &files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_numbered_from_zero() {
        let shard = "3/4".parse::<ShardName>().expect("a shard").0;
        assert_eq!((shard.index, shard.count), (3, 4));
        for text in ["4/4", "1", "0/0", "-1/2", "a/b"] {
            assert!(text.parse::<ShardName>().is_err(), "{text}");
        }
    }
}
