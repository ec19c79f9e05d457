//! `beir` and `bm25`.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use data::Hub;
use data::beir::BeirDir;
use data::hub::Files;
use eval::bm25::{Bm25Encoder, Bm25Params};
use eval::report::{
    Baseline, NamedReport, ReportPage, SystemResults, TrainingCurves, table_rows, text_table,
};

use super::compute::ComputeArguments;
use super::datasets::{Dataset, DatasetArguments, System};
use super::opensearch::EngineArguments;
use super::report::{self, BM25_FOLDER, BaselineName};
use super::{fingerprint, print};

#[derive(Debug, Args)]
#[command(
    after_help = "Prints a table, with averages below several data sets; --output also gets results.json, results.csv, \
                        results.md, report.html, and for each data set NAME.run.trec and NAME.details.json. A data \
                        set that is finished there is not evaluated again.\n\n\
                        Examples:\n  ellzero-eval beir --model outputs/scifact/final --data beir/scifact,beir/nfcorpus \
                        --output results\n  \
                        ellzero-eval beir --model outputs/scifact/final --data nano-beir --per-query queries.csv"
)]
pub struct BeirArguments {
    /// Model directory or Hub id (ORG/NAME, or ORG/NAME@REVISION)
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    datasets: DatasetArguments,
    /// What report.html compares every query with: bm25, none, the folder of another evaluation, or a TREC run
    #[arg(long, value_name = "BASELINE", default_value = "bm25")]
    baseline: BaselineName,
    /// Figures of the training, for report.html [default: metrics.jsonl where the model's run left it]
    #[arg(long, value_name = "FILE")]
    training: Option<PathBuf>,
    #[command(flatten)]
    compute: ComputeArguments,
}

impl BeirArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let sets = self.datasets.open(quiet)?;
        if let BaselineName::Path(path) = &self.baseline {
            ensure!(path.exists(), "{}: no such file or folder", path.display());
        }
        let encoder = self.compute.load(&self.model, quiet)?;
        let output = self.datasets.output.as_deref();
        let system = System {
            encoder_for: &|_: &BeirDir| Ok(&encoder),
            fingerprint: match output {
                Some(_) => self.fingerprint(quiet)?,
                None => 0,
            },
            engine: Some(&self.datasets.engine),
            output,
        };
        let results = SystemResults {
            name: self.model.display().to_string(),
            reports: self.datasets.evaluate(&sets, &system, quiet)?,
        };
        let (mut baseline, mut training) = (None, Vec::new());
        if let Some(output) = output {
            baseline = self.baseline(output, &sets, quiet)?;
            training = report::training(self.training.as_deref(), &[&self.model])?;
        }
        finish(&self.datasets, &results, baseline.as_ref(), &training)
    }

    /// A checksum over the model and how it is used.
    fn fingerprint(&self, quiet: bool) -> Result<u32> {
        let hub = Hub::for_command_line(quiet);
        let mut files = fingerprint::files_of(&hub.model(&self.model, Files::Model)?)?;
        files.extend(self.compute.idf(&hub)?);
        fingerprint::of(&self.compute.vector_options(), &files)
    }

    fn baseline(&self, output: &Path, sets: &[Dataset], quiet: bool) -> Result<Option<Baseline>> {
        match &self.baseline {
            BaselineName::None => Ok(None),
            BaselineName::Bm25 => {
                let folder = output.join(BM25_FOLDER);
                let params = Bm25Params::default();
                let results = SystemResults {
                    name: bm25_name(params),
                    reports: bm25(&self.datasets, sets, params, None, Some(&folder), quiet)?,
                };
                report::write_results(&folder, &results)?;
                Ok(Some(Baseline::of_reports(&results.name, &results.reports)))
            }
            BaselineName::Path(path) => report::baseline(path, &judgements(sets)?).map(Some),
        }
    }
}

fn judgements(sets: &[Dataset]) -> Result<report::Judgements> {
    let judged = |set: &Dataset| Ok((set.dir.name(), set.dir.qrels(&set.split)?));
    sets.iter().map(judged).collect()
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
        let sets = self.datasets.open(quiet)?;
        let engine = Some(&self.datasets.engine);
        let output = self.datasets.output.as_deref();
        let results = SystemResults {
            name: bm25_name(params),
            reports: bm25(&self.datasets, &sets, params, engine, output, quiet)?,
        };
        finish(&self.datasets, &results, None, &[])
    }
}

/// Writes the files of all results together, and prints the table.
fn finish(
    datasets: &DatasetArguments,
    results: &SystemResults,
    baseline: Option<&Baseline>,
    training: &[TrainingCurves],
) -> Result<()> {
    if let Some(output) = &datasets.output {
        report::write_results(output, results)?;
        let page = ReportPage {
            title: &results.name,
            systems: std::slice::from_ref(results),
            baseline,
            training,
        };
        report::write_page(&output.join("report.html"), &page)?;
    }
    datasets.write_per_query(&results.reports)?;
    Ok(print(&text_table(&table_rows(&results.reports)))?)
}

fn bm25_name(Bm25Params { k1, b }: Bm25Params) -> String {
    format!("BM25 (k1 {k1}, b {b})")
}

fn bm25(
    datasets: &DatasetArguments,
    sets: &[Dataset],
    params: Bm25Params,
    engine: Option<&EngineArguments>,
    output: Option<&Path>,
    quiet: bool,
) -> Result<Vec<NamedReport>> {
    let Bm25Params { k1, b } = params;
    let system = System {
        encoder_for: &|dir: &BeirDir| Ok(Bm25Encoder::fit(dir, params)?),
        fingerprint: fingerprint::of(&format!("bm25 {k1} {b}"), &[])?,
        engine,
        output,
    };
    datasets.evaluate(sets, &system, quiet)
}
