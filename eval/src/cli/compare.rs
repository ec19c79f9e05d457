//! `compare`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use data::beir::Qrels;
use data::qrels::read_qrels;
use eval::metric::{Average, Comparison, Evaluation, compare_all, evaluate};
use eval::report::text_table;
use eval::run_file;
use serde_json::{Map, Value, json};

use super::metrics::MeasureArguments;
use super::{positive, print};

#[derive(Debug, Args)]
#[command(
    after_help = "Over all judged queries, a query missing from a run scoring 0: means, their difference with its 95 % \
                        bootstrap interval, queries better, equal and worse, and p-values of a paired randomisation \
                        test and of Student's paired t-test. Corrected p-values (Holm) allow for all comparisons of \
                        the command, measures times runs.\n\
                        --json prints an object by measure, or with several runs by run and measure.\n\n\
                        Examples:\n  ellzero-eval compare bm25/scifact.run.trec model/scifact.run.trec \
                        --qrels qrels/test.tsv\n  \
                        ellzero-eval compare bm25.trec one.trec two.trec --qrels qrels/test.tsv --measures ndcg@10,map"
)]
pub struct CompareArguments {
    /// The run that the others are compared with
    #[arg(value_name = "RUN_A")]
    first: PathBuf,
    /// Runs
    #[arg(value_name = "RUN_B", required = true)]
    others: Vec<PathBuf>,
    /// Judgements, BEIR tsv or TREC
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,
    /// Random rounds of the test, and of the interval
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
        let first = self.judge(&qrels, &self.first)?;
        let others: Result<Vec<Evaluation>> = self
            .others
            .iter()
            .map(|path| self.judge(&qrels, path))
            .collect();
        let comparisons = compare_all(&first, &others?, self.rounds, self.seed);
        let text = match self.json {
            true => format!("{:#}\n", self.json(&comparisons)),
            false => self.tables(&comparisons),
        };
        Ok(print(&text)?)
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
        let measures = &self.measures.measures;
        Ok(evaluate(qrels, &run, measures, Average::Judged))
    }

    fn json(&self, comparisons: &[Vec<Comparison>]) -> Value {
        match comparisons {
            [one] => by_measure(one),
            several => self
                .others
                .iter()
                .zip(several)
                .map(|(path, found)| (path.display().to_string(), by_measure(found)))
                .collect::<Map<_, _>>()
                .into(),
        }
    }

    /// A table for each run, under its name where there are several.
    fn tables(&self, comparisons: &[Vec<Comparison>]) -> String {
        let tables = self.others.iter().zip(comparisons).map(|(path, found)| {
            let table = text_table(&rows(found));
            match comparisons.len() {
                1 => table,
                _ => format!("B = {}\n{table}", path.display()),
            }
        });
        tables.collect::<Vec<_>>().join("\n")
    }
}

fn by_measure(comparisons: &[Comparison]) -> Value {
    let entry = |found: &Comparison| {
        let [wins, ties, losses] = found.wins_ties_losses;
        json!({
            "a": found.means[0], "b": found.means[1], "difference": found.means[1] - found.means[0],
            "interval": found.interval,
            "wins": wins, "ties": ties, "losses": losses,
            "p_value": found.p_value, "p_corrected": found.corrected,
            "t_p_value": found.t_p_value, "t_p_corrected": found.t_corrected,
        })
    };
    comparisons
        .iter()
        .map(|found| (found.measure.to_string(), entry(found)))
        .collect::<Map<_, _>>()
        .into()
}

fn rows(comparisons: &[Comparison]) -> Vec<Vec<String>> {
    let header = [
        "measure",
        "A",
        "B",
        "B - A",
        "from",
        "to",
        "better",
        "equal",
        "worse",
        "p",
        "corrected",
        "t-test p",
        "corrected",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for found in comparisons {
        let [low, high] = found.interval;
        let mut row = vec![
            found.measure.to_string(),
            format!("{:.4}", found.means[0]),
            format!("{:.4}", found.means[1]),
            format!("{:+.4}", found.means[1] - found.means[0]),
            format!("{low:+.4}"),
            format!("{high:+.4}"),
        ];
        row.extend(found.wins_ties_losses.map(|count| count.to_string()));
        let p_values = [
            found.p_value,
            found.corrected,
            found.t_p_value,
            found.t_corrected,
        ];
        row.extend(p_values.map(|value| format!("{value:.4}")));
        rows.push(row);
    }
    rows
}
