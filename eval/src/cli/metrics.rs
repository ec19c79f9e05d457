//! `metrics`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use data::qrels::read_qrels;
use eval::metric::{Average, Evaluation, Measure, evaluate};
use eval::report::text_table;
use eval::run_file;
use serde_json::{Map, Value, json};

use super::{notice, print};

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
pub struct MeasureArguments {
    /// ndcg, map, recall, mrr (each with @K or without) and p@K
    #[arg(long, value_name = "MEASURE[,...]", value_delimiter = ',', default_values_t = Measure::STANDARD)]
    pub measures: Vec<Measure>,
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
