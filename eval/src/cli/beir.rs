//! `beir` and `bm25`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use data::Hub;
use data::beir::BeirDir;
use data::output;
use eval::beir::{EvalOptions, evaluate};
use eval::bm25::{Bm25Encoder, Bm25Params};
use eval::report::{NamedReport, report_page, results_json, table_rows, text_table};
use eval::run_file;
use eval::search::Engine;
use eval::text_encoder::TextEncoder;

use super::compute::ComputeArguments;
use super::opensearch::EngineArguments;
use super::progress::{Progress, count_lines};
use super::{notice, positive, print};

/// Which data sets, and where results go.
#[derive(Debug, Args)]
struct DatasetArguments {
    /// BEIR directories: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv; may begin with hf://
    #[arg(
        long,
        value_name = "DIR[,DIR...]",
        value_delimiter = ',',
        required = true
    )]
    data: Vec<PathBuf>,
    /// Which judgements
    #[arg(long, default_value = "test")]
    split: String,
    /// Length of the rankings
    #[arg(long, value_name = "K", default_value_t = 100, value_parser = positive)]
    depth: usize,
    /// Directory for NAME.run.trec, results.json and report.html
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArguments,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Prints a table; with --output also writes DIR-NAME.run.trec, results.json and report.html.\n\n\
                        Example:\n  ellzero-eval beir --model outputs/scifact/final --data beir/scifact,beir/nfcorpus \
                        --output results"
)]
pub struct BeirArguments {
    /// Model directory or Hub id (ORG/NAME, or ORG/NAME@REVISION)
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    datasets: DatasetArguments,
    #[command(flatten)]
    compute: ComputeArguments,
}

impl BeirArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let dirs = self.datasets.open(quiet)?;
        let encoder = self.compute.load(&self.model, quiet)?;
        let title = self.model.display().to_string();
        self.datasets
            .evaluate(&dirs, &title, quiet, |_| Ok(&encoder))
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Title and text are one field; Unicode words, possessives removed, lower-cased, 33 English \
                        stop words removed, Snowball English stemmer; exact document lengths.\n\n\
                        Example:\n  ellzero-eval bm25 --data beir/scifact"
)]
pub struct Bm25Arguments {
    #[command(flatten)]
    datasets: DatasetArguments,
    /// How soon further occurrences of a term stop to count
    #[arg(long, default_value_t = Bm25Params::default().k1, value_parser = k1)]
    k1: f32,
    /// How much long documents are held back, from 0 to 1
    #[arg(long, default_value_t = Bm25Params::default().b, value_parser = b)]
    b: f32,
}

fn k1(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(k1) if k1.is_finite() && k1 >= 0.0 => Ok(k1),
        _ => Err("expected a number from 0".to_owned()),
    }
}

fn b(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(b) if (0.0..=1.0).contains(&b) => Ok(b),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

impl Bm25Arguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let params = Bm25Params {
            k1: self.k1,
            b: self.b,
        };
        let title = format!("BM25 (k1 {}, b {})", self.k1, self.b);
        let dirs = self.datasets.open(quiet)?;
        self.datasets.evaluate(&dirs, &title, quiet, |dir| {
            Ok(Bm25Encoder::fit(dir, params)?)
        })
    }
}

impl DatasetArguments {
    /// Checks all directories before any work is done.
    fn open(&self, quiet: bool) -> Result<Vec<BeirDir>> {
        let hub = Hub::for_command_line(quiet);
        let dirs: Vec<BeirDir> = self
            .data
            .iter()
            .map(|path| Ok(BeirDir::open(&hub.data(path)?)?))
            .collect::<Result<_>>()?;
        let mut names = HashSet::new();
        for dir in &dirs {
            if !names.insert(dir.name()) {
                bail!(
                    "two data sets are called {}: results are filed by name, so rename one",
                    dir.name()
                );
            }
            dir.qrels(&self.split)?;
        }
        if let Some(output) = &self.output {
            fs::create_dir_all(output)
                .with_context(|| format!("cannot make {}", output.display()))?;
        }
        Ok(dirs)
    }

    /// Evaluates each data set with the encoder that `encoder_for` gives, writes its run as soon as it is there, and
    /// prints the table.
    fn evaluate<E: TextEncoder>(
        &self,
        dirs: &[BeirDir],
        title: &str,
        quiet: bool,
        encoder_for: impl Fn(&BeirDir) -> Result<E>,
    ) -> Result<()> {
        let mut reports: Vec<NamedReport> = Vec::new();
        for dir in dirs {
            let encoder = encoder_for(dir)?;
            let documents = count_lines(dir.corpus_path());
            let progress = Progress::new(&dir.name(), documents, quiet);
            progress.update(0);
            let names = || encoder.token_names();
            let engine = self.engine.open(&dir.name(), names, self.depth + 1)?;
            let options = EvalOptions {
                depth: self.depth,
                progress: Some(&|documents| progress.update(documents)),
                engine: engine.as_ref().map(|engine| engine as &dyn Engine),
                ..EvalOptions::default()
            };
            let report = evaluate(&encoder, dir, &self.split, &options)?;
            progress.finish();
            for note in &report.details.notes {
                notice(quiet, &format!("{}: {note}", dir.name()));
            }
            if let Some(output) = &self.output {
                run_file::write(
                    &output.join(format!("{}.run.trec", dir.name())),
                    &report.details.run,
                    "ellzero",
                )?;
            }
            reports.push((dir.name(), report));
        }
        if let Some(output) = &self.output {
            write_results(output, title, &reports)?;
        }
        Ok(print(&text_table(&table_rows(&reports)))?)
    }
}

fn write_results(output: &Path, title: &str, reports: &[NamedReport]) -> Result<()> {
    let json = format!("{:#}\n", results_json(reports));
    output::write_file(&output.join("results.json"), json.as_bytes())?;
    output::write_file(
        &output.join("report.html"),
        report_page(title, reports).as_bytes(),
    )?;
    Ok(())
}
