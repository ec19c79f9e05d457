//! `report.html`.

use std::fmt::Write;

use super::chart::{Bar, bars, histogram};
use super::{NamedReport, escape, html_page, table_rows};
use crate::beir::DatasetReport;
use crate::ranking::Hit;

const HISTOGRAM_BINS: u32 = 40;

/// The page: the table of all figures, and for each data set the queries by nDCG@10 and the lengths of the documents'
/// vectors.
pub fn report_page(title: &str, reports: &[NamedReport]) -> String {
    let mut body = format!("<h1>{}</h1>\n", escape(title));
    body.push_str(&html_table(&table_rows(reports)));
    for (name, report) in reports {
        let _ = writeln!(body, "<h2>{}</h2>", escape(name));
        for note in &report.details.notes {
            let _ = writeln!(body, "<p>{}</p>", escape(note));
        }
        body.push_str(&query_section(report));
        body.push_str(&length_section(report));
    }
    html_page(title, &body)
}

fn html_table(rows: &[Vec<String>]) -> String {
    let mut html = String::from("<div class=\"wide\"><table>\n");
    for (index, row) in rows.iter().enumerate() {
        let cell = if index == 0 { "th" } else { "td" };
        let cells: String = row
            .iter()
            .map(|text| format!("<{cell}>{}</{cell}>", escape(text)))
            .collect();
        let _ = writeln!(html, "<tr>{cells}</tr>");
    }
    html.push_str("</table></div>\n");
    html
}

/// Queries from the worst to the best: a chart, and a list to unfold.
fn query_section(report: &DatasetReport) -> String {
    let details = &report.details;
    let text = |id: &str| {
        details
            .queries
            .get(id)
            .map_or("(not in queries.jsonl)", String::as_str)
    };
    let mut queries: Vec<(&String, f64)> = details
        .evaluation
        .per_query
        .iter()
        .map(|(id, values)| (id, values[0]))
        .collect();
    queries.sort_by(|a, b| a.1.total_cmp(&b.1));
    let chart: Vec<Bar> = queries
        .iter()
        .map(|&(id, value)| Bar {
            value,
            label: format!("{value:.4} {id}: {}", text(id)),
        })
        .collect();
    let mut html = format!(
        "<figure><figcaption>nDCG@10 of each query</figcaption>\n{}</figure>\n\
         <details><summary>{} queries, worst first</summary>\n<div class=\"wide\"><table>\n\
         <tr><th>query</th><th>nDCG@10</th><th>recall@100</th><th>best hit</th><th></th></tr>\n",
        bars(&chart, ["worst", "best"]),
        queries.len()
    );
    for (id, value) in queries {
        let recall = details.evaluation.per_query[id][2];
        let best = details.run.get(id).and_then(|hits| hits.first());
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{value:.4}</td><td>{recall:.4}</td><td>{}</td><td class=\"text\">{}</td></tr>",
            escape(id),
            escape(&best.map_or_else(|| "none".to_owned(), best_hit)),
            escape(text(id))
        );
    }
    html.push_str("</table></div></details>\n");
    html
}

fn best_hit(hit: &Hit) -> String {
    format!("{} ({:.3})", hit.id, hit.score)
}

fn length_section(report: &DatasetReport) -> String {
    let bins = histogram(&report.details.document_lengths, HISTOGRAM_BINS);
    let last = bins.last().map_or(0, |&(_, end, _)| end);
    let chart: Vec<Bar> = bins
        .into_iter()
        .map(|(start, end, count)| Bar {
            value: count as f64,
            label: format!("{count} documents of {start} to {} tokens", end - 1),
        })
        .collect();
    format!(
        "<figure><figcaption>Documents by number of tokens in their vector (mean {:.1})</figcaption>\n{}</figure>\n",
        report.d_length,
        bars(&chart, ["0", &last.to_string()])
    )
}
