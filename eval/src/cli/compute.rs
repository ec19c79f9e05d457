//! Options of the commands that run a model.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use configs::Activation;
use data::hub::Files;
use data::{BatchLimit, Hub};
use model::device::{DeviceChoice, select};
use model::sparse::LoadNotes;
use model::{Precision, SparseEncoder, SparseOptions};

use super::{notice, positive, ratio};

/// How a model runs.
#[derive(Debug, Args)]
pub struct ComputeArguments {
    /// Where to compute: auto, cpu, wgpu, wgpu:N, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// relu, l1_relu, l2_relu or l3_relu [default: what the model's files say, else relu]
    #[arg(long, value_name = "NAME")]
    pub activation: Option<Activation>,
    /// Query token weights, instead of the model's idf.json; may begin with hf://
    #[arg(long, value_name = "FILE")]
    pub idf: Option<PathBuf>,
    /// Longest text in tokens, special tokens included; longer ones are cut
    #[arg(long, value_name = "TOKENS", default_value_t = 512, value_parser = positive)]
    pub max_length: usize,
    /// Tokens per batch; the CPU takes at most 1024 on each thread
    #[arg(long, value_name = "TOKENS", default_value_t = 8192, value_parser = positive)]
    pub batch_tokens: usize,
    /// f32, bf16 or int8: numbers that the encoder multiplies; bf16 and int8 are faster, on processors that have them
    #[arg(long, value_name = "TYPE", default_value_t)]
    pub precision: Precision,
    /// Keep document weights above this share of the largest of their document
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    pub prune_ratio: Option<f32>,
}

impl ComputeArguments {
    /// Loads a model, from its directory or from the Hub, and says what was assumed.
    pub fn load(&self, model: &Path, quiet: bool) -> Result<SparseEncoder> {
        let hub = Hub::for_command_line(quiet);
        let dir = hub.model(model, Files::Model)?;
        if !dir.is_dir() {
            bail!("{}: a file, expected a model directory", model.display());
        }
        let device = select(self.device)?;
        let options = SparseOptions {
            activation: self.activation,
            idf: self.idf(&hub)?,
            max_len: self.max_length,
            batch: BatchLimit::Tokens(self.batch_tokens),
            prune_ratio: self.prune_ratio,
            precision: self.precision,
            ..SparseOptions::default()
        };
        let (encoder, notes) = SparseEncoder::load(&dir, &options, &device)
            .with_context(|| format!("cannot load the model {}", model.display()))?;
        for text in describe(&notes) {
            notice(quiet, &format!("{}: {text}", model.display()));
        }
        Ok(encoder)
    }

    /// What decides about a vector besides files.
    pub fn vector_options(&self) -> String {
        let Self {
            device,
            activation,
            idf: _,
            max_length,
            batch_tokens,
            precision,
            prune_ratio,
        } = self;
        format!("{device:?} {activation:?} {max_length} {batch_tokens} {precision} {prune_ratio:?}")
    }

    /// Where the query weights are, if the model's own are not to be taken.
    pub fn idf(&self, hub: &Hub) -> Result<Option<PathBuf>> {
        let idf = self.idf.as_deref().map(|path| hub.data(path));
        Ok(idf.transpose()?)
    }
}

fn describe(notes: &LoadNotes) -> Vec<String> {
    let mut texts = Vec::new();
    if !notes.import.initialised.is_empty() {
        texts.push(format!(
            "no masked-LM head in it, a new one was initialised ({} tensors)",
            notes.import.initialised.len()
        ));
    }
    if notes.activation_assumed {
        texts.push(
            "its files name no activation, relu is taken; --activation chooses another".to_owned(),
        );
    }
    texts
}
