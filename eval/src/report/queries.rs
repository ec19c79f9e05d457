//! Every query: what a system gains and loses on it.

use std::fmt::Write;

use super::chart::{Bar, bars};
use super::{BaselineSet, escape};
use crate::beir::{DatasetReport, Details};
use crate::metric::{Comparison, Evaluation, Measure, compare};

const MEASURE: Measure = Measure::Ndcg(Some(10));
/// Bars of a chart.
const CHART_QUERIES: usize = 600;
/// Rows of a table.
const TABLE_QUERIES: usize = 400;
/// Of the test whether a difference is chance.
const ROUNDS: usize = 2000;

/// A query, its value, and that of the baseline.
struct Row<'a> {
    id: &'a str,
    value: f64,
    baseline: Option<f64>,
}

impl Row<'_> {
    /// What is drawn: the gain over the baseline, or the value where there is none.
    fn height(&self) -> f64 {
        self.value - self.baseline.unwrap_or(0.0)
    }
}

/// A chart of nDCG@10 by query, or of the difference to the baseline where there is one, and a table to unfold.
pub fn query_section(report: &DatasetReport, baseline: Option<(&str, &BaselineSet)>) -> String {
    let details = &report.details;
    let of_baseline = baseline.map(|(_, set)| &set.evaluation);
    let mut rows: Vec<Row> = values(&details.evaluation)
        .map(|(id, value)| Row {
            id,
            value,
            baseline: of_baseline.map(|evaluation| value_of(evaluation, id)),
        })
        .collect();
    rows.sort_by(|a, b| b.height().total_cmp(&a.height()).then(a.id.cmp(b.id)));
    let caption = match baseline {
        None => "nDCG@10 of each query".to_owned(),
        Some((name, set)) => comparison_text(name, &details.evaluation, &set.evaluation),
    };
    let ends = match baseline {
        None => ["best", "worst"],
        Some(_) => ["largest gain", "largest loss"],
    };
    let drawn = outermost(&rows, CHART_QUERIES);
    let left_out = match rows.len() - drawn.len() {
        0 => String::new(),
        count => format!("; {count} in the middle are left out"),
    };
    let chart: Vec<Bar> = drawn
        .iter()
        .map(|row| Bar {
            value: row.height(),
            label: label(row, details),
        })
        .collect();
    format!(
        "<figure><figcaption>{}{left_out}</figcaption>\n{}</figure>\n{}",
        escape(&caption),
        bars("nDCG@10 by query", &chart, ends),
        table(&rows, details, baseline.map(|(name, _)| name))
    )
}

fn values(evaluation: &Evaluation) -> impl Iterator<Item = (&str, f64)> {
    let place = place(evaluation);
    let value = move |values: &Vec<f64>| place.and_then(|place| values.get(place).copied());
    evaluation
        .per_query
        .iter()
        .map(move |(id, values)| (id.as_str(), value(values).unwrap_or(0.0)))
}

fn place(evaluation: &Evaluation) -> Option<usize> {
    let mut measures = evaluation.measures.iter();
    measures.position(|&measure| measure == MEASURE)
}

/// 0 for a query that it lacks.
fn value_of(evaluation: &Evaluation, id: &str) -> f64 {
    let values = evaluation.per_query.get(id);
    values
        .zip(place(evaluation))
        .and_then(|(values, place)| values.get(place).copied())
        .unwrap_or(0.0)
}

/// Only the measure of this page.
fn only(evaluation: &Evaluation) -> Evaluation {
    let rows = values(evaluation).map(|(id, value)| (id.to_owned(), vec![value]));
    Evaluation {
        measures: vec![MEASURE],
        per_query: rows.collect(),
        mean: Vec::new(),
    }
}

fn comparison_text(name: &str, own: &Evaluation, baseline: &Evaluation) -> String {
    let found = compare(&only(baseline), &only(own), ROUNDS, 0);
    let Some(Comparison {
        means: [theirs, ours],
        interval: [low, high],
        wins_ties_losses: [wins, ties, losses],
        p_value,
        ..
    }) = found.first()
    else {
        return String::new();
    };
    let p_text = match *p_value {
        value if value < 0.001 => "p below 0.001".to_owned(),
        value => format!("p {value:.3}"),
    };
    format!(
        "nDCG@10 of each query minus that of {name}. Means {ours:.4} and {theirs:.4}: {:+.4}, from {low:+.4} to \
         {high:+.4} with 95 % confidence; {p_text}. {wins} better, {ties} equal, {losses} worse",
        ours - theirs
    )
}

/// The first and the last rows, `count` in all.
fn outermost<T>(rows: &[T], count: usize) -> Vec<&T> {
    let (first, last) = (count.div_ceil(2), count / 2);
    let is_kept =
        |index: &usize| rows.len() <= count || *index < first || *index >= rows.len() - last;
    (0..rows.len())
        .filter(is_kept)
        .map(|index| &rows[index])
        .collect()
}

fn text<'a>(id: &str, details: &'a Details) -> &'a str {
    let text = details.queries.get(id);
    text.map_or("(not in queries.jsonl)", String::as_str)
}

fn label(row: &Row, details: &Details) -> String {
    let text = text(row.id, details);
    match row.baseline {
        None => format!("{:.4} {}: {text}", row.value, row.id),
        Some(baseline) => format!(
            "{:+.4} ({:.4} after {baseline:.4}) {}: {text}",
            row.height(),
            row.value,
            row.id
        ),
    }
}

fn table(rows: &[Row], details: &Details, baseline: Option<&str>) -> String {
    let shown = outermost(rows, TABLE_QUERIES);
    let count = match shown.len() == rows.len() {
        true => format!("{} queries", rows.len()),
        false => format!("The outermost {} of {} queries", shown.len(), rows.len()),
    };
    let compared = baseline.map_or(String::new(), |name| {
        format!("<th>{}</th><th>difference</th>", escape(name))
    });
    let mut html = format!(
        "<details><summary>{count}</summary>\n<div class=\"wide\"><table>\n\
         <tr><th>query</th><th class=\"text\">text</th><th>nDCG@10</th>{compared}<th>best hit</th></tr>\n"
    );
    for row in shown {
        let difference = match row.height() {
            height if height > 0.0 => "up",
            height if height < 0.0 => "down",
            _ => "equal",
        };
        let compared = row.baseline.map_or(String::new(), |value| {
            let height = row.height();
            format!("<td>{value:.4}</td><td class=\"{difference}\">{height:+.4}</td>")
        });
        let best = details.run.get(row.id).and_then(|hits| hits.first());
        let best = best.map_or_else(
            || "none".to_owned(),
            |hit| format!("{} ({:.3})", hit.id, hit.score),
        );
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td class=\"text\">{}</td><td>{:.4}</td>{compared}<td>{}</td></tr>",
            escape(row.id),
            escape(text(row.id, details)),
            row.value,
            escape(&best)
        );
    }
    html.push_str("</table></div></details>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(values: &[(&str, f64)]) -> Evaluation {
        let row = |&(id, value): &(&str, f64)| (id.to_owned(), vec![0.5, value]);
        Evaluation {
            measures: vec![Measure::Mrr(None), MEASURE],
            per_query: values.iter().map(row).collect(),
            mean: Vec::new(),
        }
    }

    #[test]
    fn gains_come_first_and_a_missing_query_scores_0() {
        let details = Details {
            evaluation: evaluation(&[("a", 0.25), ("b", 1.0), ("c", 0.5)]),
            queries: [("b".to_owned(), "x < y".to_owned())].into(),
            ..Details::default()
        };
        let report = DatasetReport {
            details,
            ..DatasetReport::default()
        };
        let set = BaselineSet {
            evaluation: evaluation(&[("a", 0.75), ("c", 0.5)]),
            flops: None,
        };
        let html = query_section(&report, Some(("BM<25>", &set)));
        let place = |text: &str| {
            html.find(text)
                .unwrap_or_else(|| panic!("no {text} in {html}"))
        };
        assert!(place("+1.0000 (1.0000 after 0.0000) b: x &lt; y") < place("-0.5000 (0.2500"));
        assert!(place("minus that of BM&lt;25&gt;") < place("1 equal"));
        assert!(html.contains("<td class=\"down\">-0.5000</td>"));
        let alone = query_section(&report, None);
        assert!(
            alone.contains("0.2500 a: (not in queries.jsonl)") && !alone.contains("difference")
        );
    }

    #[test]
    fn the_middle_of_many_is_left_out() {
        let rows: Vec<usize> = (0..10).collect();
        assert_eq!(outermost(&rows, 5), [&0, &1, &2, &8, &9]);
        assert_eq!(outermost(&rows, 10).len(), 10);
        assert_eq!(outermost::<usize>(&[], 5).len(), 0);
    }
}
