//! `metrics` and `compare`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use data::beir::Qrels;
use data::qrels::read_qrels;
use eval::metric::{Average, Comparison, Evaluation, Measure, compare, evaluate};
use eval::report::text_table;
use eval::run_file;
use serde_json::{Map, Value, json};

use super::{notice, positive, print};

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  ellzero-eval metrics --qrels qrels/test.tsv --run scifact.run.trec --json"
)]
pub struct MetricsArguments {
    /// Judgements, BEIR tsv or TREC
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,
    /// Run in TREC format
    #[arg(long, value_name = "FILE")]
    run: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print each query's values too
    #[arg(long)]
    per_query: bool,
    /// Average over all judged queries, or over those of them that the run has
    #[arg(long, value_enum, default_value_t = AverageName::Qrels)]
    average: AverageName,
    #[command(flatten)]
    measures: MeasureArguments,
}

/// [`Average`] as written on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum AverageName {
    /// All judged queries; one that is missing from the run scores 0
    Qrels,
    /// The queries in both, as pytrec_eval and BEIR do
    Run,
}

/// What to measure.
#[derive(Debug, Args)]
struct MeasureArguments {
    /// ndcg, map, recall, mrr (each with @K or without) and p@K
    #[arg(long, value_name = "MEASURE[,...]", value_delimiter = ',', default_values_t = Measure::STANDARD)]
    measures: Vec<Measure>,
}

impl MetricsArguments {
    pub fn run(&self, quiet: bool) -> Result<()> {
        let average = match self.average {
            AverageName::Qrels => Average::Judged,
            AverageName::Run => Average::Retrieved,
        };
        let qrels = read_qrels(&self.qrels)?;
        let run = run_file::read(&self.run)?;
        if !run.keys().any(|query| qrels.contains_key(query)) {
            notice(
                quiet,
                &format!(
                    "no query of {} is judged in {}",
                    self.run.display(),
                    self.qrels.display()
                ),
            );
        }
        let evaluation = evaluate(&qrels, &run, &self.measures.measures, average);
        match self.json {
            true => print(&format!("{:#}\n", as_json(&evaluation, self.per_query)))?,
            false => print(&text_table(&as_rows(&evaluation, self.per_query)))?,
        }
        Ok(())
    }
}

fn named(measures: &[Measure], values: &[f64]) -> Map<String, Value> {
    measures
        .iter()
        .zip(values)
        .map(|(measure, &value)| (measure.to_string(), json!(value)))
        .collect()
}

fn as_json(evaluation: &Evaluation, per_query: bool) -> Value {
    let mut object = named(&evaluation.measures, &evaluation.mean);
    object.insert("queries".to_owned(), json!(evaluation.queries()));
    if per_query {
        let queries: Map<String, Value> = evaluation
            .per_query
            .iter()
            .map(|(query, values)| {
                (
                    query.clone(),
                    Value::Object(named(&evaluation.measures, values)),
                )
            })
            .collect();
        object.insert("per_query".to_owned(), Value::Object(queries));
    }
    Value::Object(object)
}

fn as_rows(evaluation: &Evaluation, per_query: bool) -> Vec<Vec<String>> {
    let row = |name: String, values: &[f64]| {
        let mut row = vec![name];
        row.extend(values.iter().map(|value| format!("{value:.4}")));
        row
    };
    let mut header = vec!["query".to_owned()];
    header.extend(evaluation.measures.iter().map(Measure::to_string));
    let mut rows = vec![header];
    if per_query {
        rows.extend(
            evaluation
                .per_query
                .iter()
                .map(|(query, values)| row(query.clone(), values)),
        );
    }
    rows.push(row(
        format!("all {}", evaluation.queries()),
        &evaluation.mean,
    ));
    rows
}

#[derive(Debug, Args)]
#[command(
    after_help = "A paired randomisation test over all judged queries; p-values are corrected for the number of \
                        measures by Holm's method.\n\n\
                        Example:\n  ellzero-eval compare bm25/scifact.run.trec model/scifact.run.trec \
                        --qrels qrels/test.tsv"
)]
pub struct CompareArguments {
    /// First run
    run_a: PathBuf,
    /// Second run
    run_b: PathBuf,
    /// Judgements, BEIR tsv or TREC
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,
    /// Random rounds of the test
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = positive)]
    rounds: usize,
    /// Decides the random rounds
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    measures: MeasureArguments,
}

impl CompareArguments {
    pub fn run(&self) -> Result<()> {
        let qrels = read_qrels(&self.qrels)?;
        let first = self.judge(&qrels, &self.run_a)?;
        let second = self.judge(&qrels, &self.run_b)?;
        let comparisons = compare(&first, &second, self.rounds, self.seed);
        match self.json {
            true => print(&format!("{:#}\n", comparisons_json(&comparisons)))?,
            false => print(&text_table(&comparison_rows(&comparisons)))?,
        }
        Ok(())
    }

    fn judge(&self, qrels: &Qrels, path: &Path) -> Result<Evaluation> {
        let run = run_file::read(path)?;
        if !run.keys().any(|query| qrels.contains_key(query)) {
            bail!(
                "no query of {} is judged in {}",
                path.display(),
                self.qrels.display()
            );
        }
        Ok(evaluate(
            qrels,
            &run,
            &self.measures.measures,
            Average::Judged,
        ))
    }
}

fn comparisons_json(comparisons: &[Comparison]) -> Value {
    let entry = |found: &Comparison| {
        let [wins, ties, losses] = found.wins_ties_losses;
        json!({
            "a": found.means[0], "b": found.means[1], "difference": found.means[1] - found.means[0],
            "wins": wins, "ties": ties, "losses": losses,
            "p_value": found.p_value, "p_corrected": found.corrected,
        })
    };
    comparisons
        .iter()
        .map(|found| (found.measure.to_string(), entry(found)))
        .collect::<Map<_, _>>()
        .into()
}

fn comparison_rows(comparisons: &[Comparison]) -> Vec<Vec<String>> {
    let header = [
        "measure",
        "A",
        "B",
        "B - A",
        "better",
        "equal",
        "worse",
        "p",
        "corrected",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for found in comparisons {
        let [wins, ties, losses] = found.wins_ties_losses;
        rows.push(vec![
            found.measure.to_string(),
            format!("{:.4}", found.means[0]),
            format!("{:.4}", found.means[1]),
            format!("{:+.4}", found.means[1] - found.means[0]),
            wins.to_string(),
            ties.to_string(),
            losses.to_string(),
            format!("{:.4}", found.p_value),
            format!("{:.4}", found.corrected),
        ]);
    }
    rows
}
