//! `explain`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use data::output;
use eval::explain::{explain, total};
use eval::report::{explanation_page, text_table};

use super::compute::ComputeArguments;
use super::{notice, print};

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  ellzero-eval explain --model outputs/scifact/final --query \"weather in ny\" \
                        --document \"Currently New York is rainy.\""
)]
pub struct ExplainArguments {
    /// Model directory or Hub id (ORG/NAME, or ORG/NAME@REVISION)
    #[arg(long)]
    model: PathBuf,
    /// Query text
    #[arg(long, value_name = "TEXT")]
    query: String,
    /// Document text
    #[arg(long, value_name = "TEXT")]
    document: String,
    /// Draw the matches on an HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    compute: ComputeArguments,
}

impl ExplainArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let encoder = self.compute.load(&self.model, quiet)?;
        let queries = encoder.encode_queries(&[&self.query])?;
        let documents = encoder.encode_documents(&[&self.document])?;
        let matches = explain(&queries[0], &documents[0]);
        let token = |id: u32| encoder.tokenizer().token(id).unwrap_or("(no name)");
        let header = ["token", "query", "document", "product"]
            .map(str::to_owned)
            .to_vec();
        let mut rows = vec![header];
        rows.extend(matches.iter().map(|found| {
            let mut row = vec![token(found.token).to_owned()];
            let values = [found.query_weight, found.document_weight, found.product()];
            row.extend(values.map(|value| format!("{value:.4}")));
            row
        }));
        rows.push(vec![
            "score".to_owned(),
            String::new(),
            String::new(),
            format!("{:.4}", total(&matches)),
        ]);
        if let Some(path) = &self.html {
            let page = explanation_page(&self.query, &self.document, &matches, token);
            output::write_file(path, page.as_bytes())?;
            notice(quiet, &format!("drawn in {}", path.display()));
        }
        Ok(print(&text_table(&rows))?)
    }
}
