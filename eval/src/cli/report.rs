//! `report`, and what `beir` and `bm25` write beside their runs.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::Args;
use data::beir::Qrels;
use data::output;
use data::qrels::read_qrels;
use eval::beir::StoredReport;
use eval::metric::{Average, Measure, evaluate};
use eval::report::{
    Baseline, ReportPage, SystemResults, TrainingCurves, csv_table, markdown_table, report_page,
    results_json, table_rows,
};
use eval::run_file;

/// The folder within an output that the built-in baseline has.
pub const BM25_FOLDER: &str = "bm25";
/// What a training run calls its figures.
const METRICS: &str = "metrics.jsonl";

/// Judgements by data set.
pub type Judgements = BTreeMap<String, Qrels>;

/// What to compare every query with, as written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaselineName {
    /// The built-in one.
    Bm25,
    /// Nothing.
    None,
    /// A folder of results, or a run.
    Path(PathBuf),
}

impl FromStr for BaselineName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "bm25" => Self::Bm25,
            "none" => Self::None,
            path => Self::Path(PathBuf::from(path)),
        })
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  ellzero-eval report --results results/small,results/large --baseline results/small/bm25 \
                        --output report.html"
)]
pub struct ReportArguments {
    /// Folders that `beir` or `bm25` wrote with --output
    #[arg(long, value_name = "DIR[,DIR...]", value_delimiter = ',', num_args = 1.., required = true)]
    results: Vec<PathBuf>,
    /// What every query is compared with: bm25 (which `beir` leaves in its output), none, another such folder, or a
    /// TREC run [default: bm25 where it is there]
    #[arg(long, value_name = "BASELINE")]
    baseline: Option<BaselineName>,
    /// Judgements of a baseline that is a run
    #[arg(long, value_name = "FILE")]
    qrels: Option<PathBuf>,
    /// Figures of a training [default: metrics.jsonl where the models' runs left it]
    #[arg(long, value_name = "FILE")]
    training: Option<PathBuf>,
    /// Headline [default: the systems' names]
    #[arg(long)]
    title: Option<String>,
    /// HTML file
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

impl ReportArguments {
    pub fn run(&self) -> Result<()> {
        let systems: Vec<SystemResults> = self
            .results
            .iter()
            .map(|dir| Ok(SystemResults::read(dir)?))
            .collect::<Result<_>>()?;
        let names: Vec<&str> = systems.iter().map(|system| system.name.as_str()).collect();
        let title = self.title.clone().unwrap_or_else(|| names.join(", "));
        let models: Vec<&Path> = names.iter().map(Path::new).collect();
        let training = training(self.training.as_deref(), &models)?;
        let baseline = self.baseline(&systems)?;
        let page = ReportPage {
            title: &title,
            systems: &systems,
            baseline: baseline.as_ref(),
            training: &training,
        };
        write_page(&self.output, &page)
    }

    fn baseline(&self, systems: &[SystemResults]) -> Result<Option<Baseline>> {
        let folder = self.results[0].join(BM25_FOLDER);
        let path = match &self.baseline {
            Some(BaselineName::None) => return Ok(None),
            None if StoredReport::names(&folder).is_empty() => return Ok(None),
            None | Some(BaselineName::Bm25) => &folder,
            Some(BaselineName::Path(path)) => path,
        };
        let mut judgements = Judgements::new();
        if let Some(qrels) = &self.qrels {
            let qrels = read_qrels(qrels)?;
            let sets = systems.iter().flat_map(|system| &system.reports);
            judgements.extend(sets.map(|(name, _)| (name.clone(), qrels.clone())));
        }
        if !path.is_dir() && self.qrels.is_none() {
            bail!(
                "{}: a run as a baseline needs its judgements, --qrels",
                path.display()
            );
        }
        baseline(path, &judgements).map(Some)
    }
}

/// The results in a folder, or a judged run.
pub fn baseline(path: &Path, judgements: &Judgements) -> Result<Baseline> {
    if path.is_dir() {
        let results = SystemResults::read(path)?;
        return Ok(Baseline::of_reports(&results.name, &results.reports));
    }
    let run = run_file::read(path)?;
    let mut sets = judgements.iter();
    let (Some((set, qrels)), None) = (sets.next(), sets.next()) else {
        bail!(
            "{}: a run is a baseline for one data set, and there are {}; a folder of results is one for many",
            path.display(),
            judgements.len()
        );
    };
    if !run.keys().any(|query| qrels.contains_key(query)) {
        bail!("{}: no query of it is judged in {set}", path.display());
    }
    let evaluation = evaluate(qrels, &run, &Measure::STANDARD, Average::Judged);
    Ok(Baseline::of_run(
        &path.display().to_string(),
        set,
        evaluation,
    ))
}

/// The curves in `file`, or where none is named those that the models' own runs left: a model is the folder `final` or
/// `checkpoint-STEP` of a run.
pub fn training(file: Option<&Path>, models: &[&Path]) -> Result<Vec<TrainingCurves>> {
    if let Some(file) = file {
        return Ok(vec![TrainingCurves::read(file)?]);
    }
    let mut files: Vec<PathBuf> = models
        .iter()
        .filter(|model| model.is_dir())
        .filter_map(|model| Some(model.canonicalize().ok()?.parent()?.join(METRICS)))
        .filter(|file| file.is_file())
        .collect();
    files.dedup();
    let read = |file: &PathBuf| {
        let training = TrainingCurves::read(file);
        training.context("--training names another file")
    };
    files.iter().map(read).collect()
}

/// Writes results.json, results.csv and results.md.
pub fn write_results(output: &Path, results: &SystemResults) -> Result<()> {
    let SystemResults { name, reports } = results;
    let json = format!("{:#}\n", results_json(name, reports));
    for (file, text) in [
        ("results.csv", csv_table(reports)),
        ("results.md", markdown_table(&table_rows(reports))),
        ("results.json", json),
    ] {
        output::write_file(&output.join(file), text.as_bytes())?;
    }
    Ok(())
}

/// Writes the page.
pub fn write_page(path: &Path, page: &ReportPage) -> Result<()> {
    Ok(output::write_file(path, report_page(page).as_bytes())?)
}
