//! `opensearch setup`.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use eval::opensearch::{Server, Setup, SetupRequest, Target, TwoPhase};
use serde_json::{Value, json};

use super::super::{notice, positive, print, ratio};
use super::arguments::{ConnectionArguments, FieldTypeName, IndexSettingsArguments};

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  ellzero-eval opensearch setup --index http://localhost:9200/docs --query-model MODEL_ID"
)]
pub struct OpenSearchArguments {
    #[command(subcommand)]
    command: OpenSearchCommand,
}

#[derive(Debug, Subcommand)]
enum OpenSearchCommand {
    /// Print, or send, the requests that let a cluster encode texts itself: models, pipelines, index
    Setup(SetupArguments),
}

impl OpenSearchArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let OpenSearchCommand::Setup(arguments) = &self.command;
        arguments.run(quiet)
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Prints requests as the console of OpenSearch Dashboards takes them. A request that lacks an id or an \
                        address is not sent.\n\n\
                        Examples:\n  \
                        ellzero-eval opensearch setup --index http://localhost:9200/docs --two-phase \
                        --register exported/opensearch/config.json=https://files.example/sparse_tokenize.zip\n  \
                        ellzero-eval opensearch setup --index http://localhost:9200/docs --apply \
                        --document-model ID --query-model ID"
)]
struct SetupArguments {
    /// The index to make
    #[arg(long, value_name = "URL/INDEX")]
    index: Target,
    /// Send the requests
    #[arg(long)]
    apply: bool,
    /// Field with the texts
    #[arg(long, value_name = "NAME", default_value = "text")]
    text_field: String,
    /// Field with the vectors
    #[arg(long, value_name = "NAME", default_value = "embedding")]
    field: String,
    /// Type of the field with the vectors
    #[arg(long, value_enum, default_value_t = FieldTypeName::RankFeatures)]
    field_type: FieldTypeName,
    /// Tokens of the model, which a sparse-vector must tell apart
    #[arg(long, value_name = "N", default_value_t = 30_522, value_parser = positive)]
    vocab_size: usize,
    /// Id of the deployed model that encodes documents
    #[arg(long, value_name = "ID")]
    document_model: Option<String>,
    /// Id of the deployed tokenizer or model that encodes queries
    #[arg(long, value_name = "ID")]
    query_model: Option<String>,
    /// Keep document weights above this share of the largest of their document
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    prune_ratio: Option<f32>,
    /// Search in two phases
    #[arg(long)]
    two_phase: bool,
    /// A model to register: config.json of `ellzero-model export --layout opensearch`, and where the cluster can fetch
    /// the archive beside it; may be repeated
    #[arg(long, value_name = "FILE=URL")]
    register: Vec<Registration>,
    #[command(flatten)]
    settings: IndexSettingsArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// Settings of a model, and the address of its archive.
#[derive(Debug, Clone)]
struct Registration {
    file: String,
    url: Option<String>,
}

impl FromStr for Registration {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (file, url) = text
            .split_once('=')
            .map_or((text, None), |(file, url)| (file, Some(url)));
        Ok(Self {
            file: file.to_owned(),
            url: url.map(str::to_owned),
        })
    }
}

impl Registration {
    fn read(&self) -> Result<Value> {
        let path = Path::new(&self.file);
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut settings: Value = serde_json::from_slice(&text)
            .with_context(|| format!("{}: not JSON", path.display()))?;
        if !settings["model_content_hash_value"].is_string() {
            bail!(
                "{}: no model_content_hash_value in it; expected config.json of `ellzero-model export --layout \
                 opensearch`",
                path.display()
            );
        }
        settings["url"] = json!(self.url);
        Ok(settings)
    }
}

impl SetupArguments {
    fn run(&self, quiet: bool) -> Result<()> {
        let mut settings = self.settings.settings();
        settings.field.clone_from(&self.field);
        settings.field_type = self.field_type.into();
        let setup = Setup {
            index: self.index.index.clone(),
            settings,
            text_field: self.text_field.clone(),
            document_model: self.document_model.clone(),
            query_model: self.query_model.clone(),
            prune_ratio: self.prune_ratio,
            two_phase: self.two_phase.then(TwoPhase::default),
            registrations: self
                .register
                .iter()
                .map(Registration::read)
                .collect::<Result<_>>()?,
        };
        let requests = setup.requests();
        if !self.apply {
            return Ok(print(&requests.iter().map(text).collect::<String>())?);
        }
        let client = self.connection.client(self.index.address.clone())?;
        setup
            .settings
            .check(&Server::ask(&client)?, self.vocab_size)?;
        for request in &requests {
            if request.is_template {
                notice(
                    quiet,
                    &format!("not sent, an id or an address is missing: {}", request.path),
                );
                continue;
            }
            let answer = request.apply(&client)?;
            print(&format!("{} {}\n{answer}\n", request.method, request.path))?;
        }
        Ok(())
    }
}

fn text(request: &SetupRequest) -> String {
    let SetupRequest {
        purpose,
        method,
        path,
        body,
        ..
    } = request;
    format!("# {purpose}.\n{method} {path}\n{body:#}\n\n")
}
