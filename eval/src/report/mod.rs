//! Results for people and scripts: tables as text, Markdown and CSV, `results.json`, and a page that needs nothing else.

mod chart;
mod explanation;
mod heat_map;
mod page;
mod published;
mod queries;
mod snippet;
mod style;
mod system;
mod table;
mod training;

use crate::beir::DatasetReport;

pub use explanation::explanation_page;
pub use page::{ReportPage, report_page};
pub use published::{PUBLISHED, PublishedModel};
pub use snippet::{MatchedSpan, Snippet, snippet};
pub use system::{Baseline, BaselineSet, ReadError, SystemResults};
pub use table::{
    averages, csv_table, markdown_table, per_query_csv, results_json, table_rows, text_table,
};
pub use training::{Curve, TrainingCurves, TrainingError};

/// A report with the name of its data set.
pub type NamedReport = (String, DatasetReport);

/// `text` safe within HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
