//! The figures of all data sets: rows, and what becomes of them.

use serde_json::{Map, Value, json};

use super::NamedReport;

/// The content of `results.json`: the system's name, every data set's figures and their averages.
pub fn results_json(system: &str, reports: &[NamedReport]) -> Value {
    let datasets: Map<String, Value> = reports
        .iter()
        .map(|(name, report)| (name.clone(), json!(report)))
        .collect();
    let average: Map<String, Value> = averages(reports)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    json!({"model": system, "datasets": datasets, "average": average})
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
    header.extend(["docs", "queries", "B/doc", "docs/s", "p50 ms", "p99 ms"].map(str::to_owned));
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
        row.push(format!("{:.0}", report.index_bytes_per_doc));
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

/// The rows as a Markdown table, whose first row is the header.
pub fn markdown_table(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
        if index == 0 {
            let others = "---:|".repeat(row.len().saturating_sub(1));
            text.push_str(&format!("|---|{others}\n"));
        }
    }
    text
}

/// `results.csv`: all figures of every data set, with all their digits.
pub fn csv_table(reports: &[NamedReport]) -> String {
    let columns = [
        "docs",
        "queries",
        "index_bytes_per_doc",
        "docs_per_s",
        "p50_ms",
        "p99_ms",
    ];
    let mut header = vec!["dataset".to_owned()];
    header.extend(averages(reports).iter().map(|(name, _)| (*name).to_owned()));
    header.extend(columns.map(str::to_owned));
    let mut text = csv_row(&header);
    for (name, report) in reports {
        let mut row = vec![name.clone()];
        row.extend(report.figures().map(|(_, value)| value.to_string()));
        row.extend([report.docs, report.queries].map(|count| count.to_string()));
        let latency = &report.query_latency_ms;
        let others = [
            report.index_bytes_per_doc,
            report.docs_per_s,
            latency.p50,
            latency.p99,
        ];
        row.extend(others.map(|value| value.to_string()));
        text.push_str(&csv_row(&row));
    }
    text
}

/// Every judged query's measures, with its text.
pub fn per_query_csv(reports: &[NamedReport]) -> String {
    let measures = reports.first().map(|(_, report)| {
        let measures = report.details.evaluation.measures.iter();
        measures.map(ToString::to_string).collect::<Vec<_>>()
    });
    let mut header = vec!["dataset".to_owned(), "query".to_owned()];
    header.extend(measures.unwrap_or_default());
    header.push("text".to_owned());
    let mut text = csv_row(&header);
    for (name, report) in reports {
        let details = &report.details;
        for (query, values) in &details.evaluation.per_query {
            let mut row = vec![name.clone(), query.clone()];
            row.extend(values.iter().map(f64::to_string));
            row.push(details.queries.get(query).cloned().unwrap_or_default());
            text.push_str(&csv_row(&row));
        }
    }
    text
}

/// RFC 4180, with the line ends of Unix.
fn csv_row(cells: &[String]) -> String {
    let quoted = |cell: &String| match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.clone(),
    };
    let cells: Vec<String> = cells.iter().map(quoted).collect();
    cells.join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beir::{DatasetReport, Details};
    use crate::metric::{Evaluation, Measure};

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["é".into(), "x".into()],
            vec!["name".into(), "1.25".into()],
        ];
        assert_eq!(text_table(&rows), "é        x\nname  1.25\n");
        assert_eq!(
            markdown_table(&rows),
            "| é | x |\n|---|---:|\n| name | 1.25 |\n"
        );
        assert_eq!(text_table(&[]), "");
    }

    #[test]
    fn nothing_to_report_is_no_panic() {
        let json = results_json("m", &[]);
        assert_eq!(json, json!({"model": "m", "datasets": {}, "average": {}}));
        assert_eq!(per_query_csv(&[]), "dataset,query,text\n");
    }

    #[test]
    fn csv_keeps_commas_quotes_and_digits() {
        let details = Details {
            evaluation: Evaluation {
                measures: vec![Measure::Ndcg(Some(10))],
                per_query: [("007".to_owned(), vec![1.0 / 3.0])].into(),
                mean: vec![1.0 / 3.0],
            },
            queries: [("007".to_owned(), "a \"b\", c".to_owned())].into(),
            ..Details::default()
        };
        let report = DatasetReport {
            ndcg_at_10: 1.0 / 3.0,
            details,
            ..DatasetReport::default()
        };
        let reports = [("x".to_owned(), report)];
        assert_eq!(
            per_query_csv(&reports),
            "dataset,query,ndcg@10,text\nx,007,0.3333333333333333,\"a \"\"b\"\", c\"\n"
        );
        let table = csv_table(&reports);
        assert!(table.starts_with("dataset,ndcg@10,") && table.contains("x,0.3333333333333333,"));
        let widths: Vec<usize> = table.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(widths, [15, 15]);
    }
}
