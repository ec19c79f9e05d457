//! Results for people and scripts: a text table, `results.json`, and a page that needs nothing else.

mod chart;
mod explanation;
mod page;

use serde_json::{Map, Value, json};

use crate::beir::DatasetReport;

pub use explanation::explanation_page;
pub use page::report_page;

/// A report with the name of its data set.
pub type NamedReport = (String, DatasetReport);

/// The content of `results.json`: every data set's figures and their averages.
pub fn results_json(reports: &[NamedReport]) -> Value {
    let datasets: Map<String, Value> = reports
        .iter()
        .map(|(name, report)| (name.clone(), json!(report)))
        .collect();
    let average: Map<String, Value> = averages(reports)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    json!({"datasets": datasets, "average": average})
}

/// Unweighted means over the data sets of the figures that can be averaged; nothing if there is no data set.
pub fn averages(reports: &[NamedReport]) -> Vec<(&'static str, f64)> {
    let figures: Vec<_> = reports.iter().map(|(_, report)| report.figures()).collect();
    let Some(first) = figures.first() else {
        return Vec::new();
    };
    let mean =
        |index: usize| figures.iter().map(|row| row[index].1).sum::<f64>() / figures.len() as f64;
    first
        .iter()
        .enumerate()
        .map(|(index, &(name, _))| (name, mean(index)))
        .collect()
}

/// A header row, a row for each data set, and one for the averages of more than one.
pub fn table_rows(reports: &[NamedReport]) -> Vec<Vec<String>> {
    let averages = averages(reports);
    let mut header = vec!["data set".to_owned()];
    header.extend(averages.iter().map(|(name, _)| (*name).to_owned()));
    header.extend(["docs", "queries", "docs/s", "p50 ms", "p99 ms"].map(str::to_owned));
    let mut rows = vec![header];
    for (name, report) in reports {
        let mut row = vec![name.clone()];
        row.extend(
            report
                .figures()
                .iter()
                .map(|&(name, value)| figure(name, value)),
        );
        row.push(report.docs.to_string());
        row.push(report.queries.to_string());
        row.push(format!("{:.0}", report.docs_per_s));
        row.push(format!("{:.2}", report.query_latency_ms.p50));
        row.push(format!("{:.2}", report.query_latency_ms.p99));
        rows.push(row);
    }
    if reports.len() > 1 {
        let mut row = vec!["average".to_owned()];
        row.extend(averages.iter().map(|&(name, value)| figure(name, value)));
        row.resize(rows[0].len(), String::new());
        rows.push(row);
    }
    rows
}

/// Four digits for measures of quality, two for sparsity.
fn figure(name: &str, value: f64) -> String {
    match name {
        "flops" => format!("{value:.2}"),
        "q_length" | "d_length" => format!("{value:.1}"),
        _ => format!("{value:.4}"),
    }
}

/// Columns padded to equal width: the first to the left, the others to the right.
pub fn text_table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// `text` safe within HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A complete HTML page that follows the reader's colour scheme.
fn html_page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

const STYLE: &str = "\
:root { color-scheme: light dark; --paper: #fcfcfa; --ink: #22252a; --faint: #6a7078; --line: #d9dbd6; --bar: #2f6f8f; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17191c; --ink: #e4e6e8; --faint: #9aa1a9; --line: #363a40; --bar: #6fb3d2; }
}
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
p, figcaption { color: var(--faint); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td.text { text-align: left; white-space: normal; min-width: 16rem; }
figure { margin: 1rem 0; }
svg { max-width: 100%; height: auto; }
svg rect { fill: var(--bar); } svg line { stroke: var(--line); }
svg text { fill: var(--faint); font: 12px system-ui, sans-serif; }
summary { cursor: pointer; }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["é".into(), "x".into()],
            vec!["name".into(), "1.25".into()],
        ];
        assert_eq!(text_table(&rows), "é        x\nname  1.25\n");
        assert_eq!(text_table(&[]), "");
    }

    #[test]
    fn nothing_to_report_is_no_panic() {
        assert_eq!(results_json(&[]), json!({"datasets": {}, "average": {}}));
    }
}
