//! The command line of `ellzero-model`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::Device;
use clap::{Args, Parser, Subcommand, ValueEnum};
use configs::Activation;
use data::hub::Files;
use data::{Hub, Idf, Tokenizer};
use model::device::{DeviceChoice, select};
use model::hf::{self, ExportOptions, ImportOptions, ImportReport, Layout, WeightType};
use model::{EncoderConfig, Family, FeedForward, MaskedLm, Positions};

/// Look at model directories and convert them.
#[derive(Debug, Parser)]
#[command(name = "ellzero-model", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Threads to use [default: all cores]
    #[arg(long, global = true, value_name = "N")]
    threads: Option<usize>,
    /// Print results only
    #[arg(long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what a model directory holds, and what is missing from it or unused
    #[command(
        after_help = "Examples:\n  ellzero-model inspect outputs/scifact/final\n  \
                            ellzero-model inspect opensearch-project/opensearch-neural-sparse-encoding-doc-v2-mini"
    )]
    Inspect {
        /// Model directory or Hub id (ORG/NAME, or ORG/NAME@REVISION)
        model: PathBuf,
    },
    /// Write a model directory anew, for transformers and other readers
    #[command(
        after_help = "Example:\n  ellzero-model export outputs/scifact/final --output release \
                            --layout sentence-transformers --layout opensearch --dtype f16"
    )]
    Export(ExportArguments),
}

#[derive(Debug, Args)]
struct ExportArguments {
    /// Model directory or Hub id (ORG/NAME, or ORG/NAME@REVISION)
    model: PathBuf,
    /// Directory to create
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// hf (always written), sentence-transformers or opensearch; may be repeated
    /// [default: hf, and sentence-transformers where it can hold the model]
    #[arg(long, value_name = "LAYOUT")]
    layout: Vec<Layout>,
    /// f32, f16 or bf16 [default: as the model's weights are stored]
    #[arg(long, value_name = "TYPE")]
    dtype: Option<WeightType>,
    /// Query token weights, may begin with hf:// [default: the model's idf.json; without one, queries run the model]
    #[arg(long, value_name = "FILE")]
    idf: Option<PathBuf>,
    /// Activation to record [default: the model's own; relu where it states none]
    #[arg(long, value_enum, value_name = "NAME")]
    activation: Option<ActivationName>,
    /// Longest sequence that readers should encode, special tokens included
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    max_length: usize,
    /// Logit that a token has to exceed where the model has no masked-LM head and gets a new one
    #[arg(
        long,
        value_name = "LOGIT",
        default_value_t = 2.0,
        allow_negative_numbers = true
    )]
    head_threshold: f64,
}

/// [`Activation`] as written on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ActivationName {
    #[value(name = "relu")]
    Relu,
    #[value(name = "l1_relu")]
    L1Relu,
    #[value(name = "l2_relu")]
    L2Relu,
    #[value(name = "l3_relu")]
    L3Relu,
}

impl From<ActivationName> for Activation {
    fn from(name: ActivationName) -> Self {
        match name {
            ActivationName::Relu => Self::Relu,
            ActivationName::L1Relu => Self::L1Relu,
            ActivationName::L2Relu => Self::L2Relu,
            ActivationName::L3Relu => Self::L3Relu,
        }
    }
}

/// Carries out the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(threads) = arguments.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .context("cannot start the threads")?;
    }
    let device = select(DeviceChoice::Cpu)?;
    match &arguments.command {
        Command::Inspect { model } => {
            let hub = Hub::for_command_line(arguments.quiet);
            print(&inspect(&hub.model(model, Files::Model)?, &device)?)
        }
        Command::Export(export) => run_export(export, arguments.quiet, &device),
    }
}

/// Writes to standard output; a reader that has seen enough is no failure.
fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn run_export(arguments: &ExportArguments, quiet: bool, device: &Device) -> Result<()> {
    let notice = |text: String| {
        if !quiet {
            eprintln!("{text}");
        }
    };
    let hub = Hub::for_command_line(quiet);
    let source = &hub.model(&arguments.model, Files::Model)?;
    let import = ImportOptions {
        head_threshold: arguments.head_threshold,
        dropout: None,
    };
    let (model, config, report) = hf::load(source, &import, device)?;
    if !report.initialised.is_empty() {
        notice(format!(
            "notice: {} has no masked-LM head; a new one that passes the hidden states on is written",
            source.display()
        ));
    }
    let tokenizer = Tokenizer::from_dir(source)?;
    let idf_path = match &arguments.idf {
        Some(path) => Some(hub.data(path)?),
        None => own_idf(source),
    };
    let idf = idf_path
        .map(|path| Idf::from_file(&path, &tokenizer))
        .transpose()?;
    let activation = match arguments.activation {
        Some(name) => name.into(),
        None => hf::stored_activation(source)?.unwrap_or_else(|| {
            notice(format!(
                "notice: {} states no activation; relu is taken (--activation says otherwise)",
                source.display()
            ));
            Activation::Relu
        }),
    };
    let weight_type = match arguments.dtype {
        Some(weight_type) => weight_type,
        None => sole_type(&report).unwrap_or(WeightType::F32),
    };
    let layouts = match arguments.layout.as_slice() {
        [] => Layout::usual(activation),
        layouts => layouts,
    };
    let options = ExportOptions {
        source,
        tokenizer: &tokenizer,
        idf: idf.as_ref(),
        activation: Some(activation),
        max_seq_len: arguments.max_length,
        weight_type,
        layouts,
    };
    hf::export(&model, &config, &options, &arguments.output)?;
    notice(format!("wrote {}", arguments.output.display()));
    Ok(())
}

fn own_idf(model: &Path) -> Option<PathBuf> {
    Some(model.join("idf.json")).filter(|path| path.is_file())
}

/// The type of the stored weights where they all have the same.
fn sole_type(report: &ImportReport) -> Option<WeightType> {
    let mut types = report.weight_types.iter();
    types.next().copied().filter(|_| types.next().is_none())
}

fn inspect(dir: &Path, device: &Device) -> Result<String> {
    let (model, config, report) = hf::load(dir, &ImportOptions::default(), device)?;
    let mut text = shape_lines(&model, &config);
    let types: Vec<String> = report
        .weight_types
        .iter()
        .map(WeightType::to_string)
        .collect();
    let decoder = match report.tied {
        true => "tied to the word embeddings",
        false => "separate from the word embeddings",
    };
    let activation = match hf::stored_activation(dir)? {
        Some(activation) => activation.name(),
        None => "not stated (relu is assumed)",
    };
    let mut line = |name: &str, value: &str| writeln!(text, "{name:<14}{value}");
    line(
        "weights",
        &format!("{} ({})", report.path.display(), types.join(", ")),
    )?;
    line("decoder", decoder)?;
    line("activation", activation)?;
    match Tokenizer::from_dir(dir) {
        Ok(tokenizer) => {
            line("queries", &query_line(dir, &tokenizer)?)?;
            line("tokenizer", &tokenizer_line(&tokenizer))?;
        }
        Err(error) => line("tokenizer", &format!("missing: {error}"))?,
    }
    for (name, keys) in [
        ("initialised", &report.initialised),
        ("unused", &report.unused),
    ] {
        line(name, &format!("{} keys", keys.len()))?;
        for key in keys {
            line("", key)?;
        }
    }
    Ok(text)
}

fn shape_lines(model: &MaskedLm, config: &EncoderConfig) -> String {
    let family = match config.family {
        Family::Bert => "bert",
        Family::DistilBert => "distilbert",
        Family::Gte => "gte",
    };
    let gated = match config.feed_forward {
        FeedForward::Plain => "",
        FeedForward::Gated => ", gated",
    };
    let rotary = match config.positions {
        Positions::Absolute => "",
        Positions::Rotary { .. } => ", rotary",
    };
    [
        ("family", family.to_owned()),
        ("layers", config.num_layers.to_string()),
        ("hidden", config.hidden_size.to_string()),
        ("heads", config.num_heads.to_string()),
        (
            "feed-forward",
            format!("{}{gated}", config.intermediate_size),
        ),
        ("vocabulary", config.vocab_size.to_string()),
        ("positions", format!("{}{rotary}", config.max_positions)),
        ("parameters", model.num_params().to_string()),
    ]
    .into_iter()
    .map(|(name, value)| format!("{name:<14}{value}\n"))
    .collect()
}

fn query_line(dir: &Path, tokenizer: &Tokenizer) -> Result<String> {
    let Some(path) = own_idf(dir) else {
        return Ok("run the model (no idf.json)".to_owned());
    };
    let (idf, coverage) = Idf::from_file_with_coverage(&path, tokenizer)?;
    let largest = idf.weights.iter().copied().fold(f32::MIN, f32::max);
    Ok(format!(
        "inference-free: idf.json, weights up to {largest}; {} tokens without weight, {} unknown ones",
        coverage.missing, coverage.unknown
    ))
}

fn tokenizer_line(tokenizer: &Tokenizer) -> String {
    let specials: Vec<&str> = tokenizer
        .special_ids()
        .iter()
        .filter_map(|&id| tokenizer.token(id))
        .collect();
    format!(
        "{} tokens, special: {}",
        tokenizer.vocab_size(),
        specials.join(" ")
    )
}
