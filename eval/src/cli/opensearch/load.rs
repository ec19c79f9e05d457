//! `index` into a cluster, and `ingest`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use data::Hub;
use data::hub::Files;
use eval::opensearch::{FieldType, IngestJob, LoadSummary, Loader, Server, Target};
use eval::text_encoder::TextEncoder;
use eval::vectors;

use super::super::compute::ComputeArguments;
use super::super::progress::{Progress, count_lines};
use super::super::{fingerprint, notice, positive};
use super::arguments::{FieldTypeName, HEADING, LoadArguments};

/// Loads a file of vectors.
pub fn load_vectors(
    input: &Path,
    target: &Target,
    arguments: &LoadArguments,
    append: bool,
    quiet: bool,
) -> Result<()> {
    let rows = vectors::read(input)?;
    let client = arguments.connection.client(target.address.clone())?;
    let fingerprint = stream_or(input, || fingerprint::of(&fingerprint::stamp(input)?, &[]))?;
    let options = arguments.options(FieldTypeName::RankFeatures, append, fingerprint);
    let mut loader = Loader::open(&client, &target.index, options)?;
    tell_resumed(loader.resumed(), quiet);
    let progress = Progress::new("indexing", count_lines(input), quiet);
    progress.update(loader.resumed());
    for row in rows.skip(loader.resumed()) {
        let row = row?;
        let weights = row
            .vector
            .iter()
            .map(|(token, &weight)| (token.as_str(), weight));
        loader.add(&row.id, &[], weights)?;
        progress.update(loader.added());
    }
    if loader.added() == 0 {
        loader.discard()?;
        bail!("{}: there is no vector in it", input.display());
    }
    let summary = loader.finish()?;
    progress.finish();
    tell(&summary, target, quiet);
    Ok(())
}

#[derive(Debug, Args)]
#[command(
    after_help = "Rows in: {\"_id\" or \"id\", \"title\"?, \"text\"}. The next rows are encoded while the last ones are \
                        on their way.\n\
                        A new index, INDEX-000001 or the next number, is loaded behind the alias INDEX, which moves to it \
                        in one step when it is complete; the one before stays until the next load. The same command \
                        given again continues a load that was killed.\n\n\
                        Example:\n  ellzero-eval ingest --model outputs/scifact/final --input corpus.jsonl.gz \
                        --index http://localhost:9200/scifact"
)]
pub struct IngestArguments {
    /// Model directory or Hub id (ORG/NAME, or ORG/NAME@REVISION)
    #[arg(long)]
    model: PathBuf,
    /// JSON lines, plain, .gz, .zst, or - for standard input; may begin with hf://
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where to: `http[s]://[USER:PASSWORD@]HOST[:PORT]/INDEX`, several hosts separated by commas
    #[arg(long, value_name = "URL/INDEX")]
    index: Target,
    /// Keep the K largest weights of each row
    #[arg(long, value_name = "K", value_parser = positive)]
    top_k: Option<usize>,
    /// Store titles and texts too, to show them with what is found
    #[arg(long)]
    with_texts: bool,
    /// Add to the index that is there, replacing documents with the same ids, instead of loading a new one
    #[arg(long)]
    append: bool,
    /// Type of the field with the vectors; sparse_vector gets token ids in place of tokens
    #[arg(long, value_enum, default_value_t = FieldTypeName::RankFeatures, help_heading = HEADING)]
    field_type: FieldTypeName,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    compute: ComputeArguments,
}

impl IngestArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let hub = Hub::for_command_line(quiet);
        let model = hub.model(&self.model, Files::Model)?;
        let input = hub.data(&self.input)?;
        let client = self.load.connection.client(self.index.address.clone())?;
        // Asked first, so that a wrong address is known before a model is loaded.
        let server = Server::ask(&client)?;
        let encoder = self.compute.load(&model, quiet)?;
        let mut names = encoder.token_names();
        let fingerprint = stream_or(&input, || self.fingerprint(&model, &input, &hub))?;
        let options = self.load.options(self.field_type, self.append, fingerprint);
        options.settings.check(&server, names.len())?;
        if let FieldType::SparseVector(_) = options.settings.field_type {
            names = (0..names.len()).map(|id| id.to_string()).collect();
        }
        let loader = Loader::open(&client, &self.index.index, options)?;
        tell_resumed(loader.resumed(), quiet);
        let job = IngestJob {
            encoder: &encoder,
            names: &names,
            input: &input,
            top_k: self.top_k,
            prune_ratio: self.compute.prune_ratio,
            with_texts: self.with_texts,
        };
        let progress = Progress::new("encoding", count_lines(&input), quiet);
        let summary = job.run(loader, &mut |rows| progress.update(rows))?;
        progress.finish();
        tell(&summary, &self.index, quiet);
        Ok(())
    }

    /// A checksum over everything that decides what the documents are.
    fn fingerprint(&self, model: &Path, input: &Path, hub: &Hub) -> Result<u32> {
        let (top_k, with_texts, field_type) = (self.top_k, self.with_texts, self.field_type);
        let vectors = self.compute.vector_options();
        let stamp = fingerprint::stamp(input)?;
        let mut files = fingerprint::files_of(model)?;
        files.extend(self.compute.idf(hub)?);
        fingerprint::of(
            &format!("{stamp} {top_k:?} {with_texts} {field_type:?} {vectors}"),
            &files,
        )
    }
}

/// `None` for what cannot be read twice, and so not be continued.
fn stream_or(input: &Path, fingerprint: impl FnOnce() -> Result<u32>) -> Result<Option<u32>> {
    let is_file = input.metadata().is_ok_and(|meta| meta.is_file());
    is_file.then(fingerprint).transpose()
}

fn tell_resumed(rows: usize, quiet: bool) {
    if rows > 0 {
        notice(
            quiet,
            &format!("continuing after {rows} documents of an earlier run"),
        );
    }
}

fn tell(summary: &LoadSummary, target: &Target, quiet: bool) {
    let LoadSummary {
        index,
        documents,
        rejected,
        ..
    } = summary;
    let behind = match *index == target.index {
        true => String::new(),
        false => format!(", the index {index}"),
    };
    let rejected = match rejected {
        0 => String::new(),
        rejected => format!("; {rejected} had to wait for a busy server"),
    };
    notice(
        quiet,
        &format!("{documents} documents in {target}{behind}{rejected}"),
    );
}
