//! `report.html`: one file, no script, nothing to load.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::chart::{Bar, Kind, Point, bars, histogram, scatter};
use super::heat_map::heat_maps;
use super::queries::query_section;
use super::style::html_page;
use super::{Baseline, NamedReport, PUBLISHED, SystemResults, TrainingCurves, escape, table_rows};
use crate::beir::{BEIR_13, DatasetReport};

const HISTOGRAM_BINS: u32 = 40;

/// What a page shows.
#[derive(Debug, Clone, Copy)]
pub struct ReportPage<'a> {
    /// Its headline.
    pub title: &'a str,
    /// The systems, side by side.
    pub systems: &'a [SystemResults],
    /// What every query is compared with.
    pub baseline: Option<&'a Baseline>,
    /// How the systems were trained.
    pub training: &'a [TrainingCurves],
}

/// The page: tables, quality against cost beside published models, and for each data set the queries, the lengths of
/// the documents' vectors and a few documents; then training curves.
pub fn report_page(page: &ReportPage) -> String {
    let mut body = format!("<h1>{}</h1>\n", escape(page.title));
    if page.systems.len() > 1 {
        body.push_str(&side_by_side(page.systems));
    }
    for system in page.systems {
        if page.systems.len() > 1 {
            let _ = writeln!(body, "<h3>{}</h3>", escape(&system.name));
        }
        body.push_str(&html_table(&table_rows(&system.reports)));
    }
    body.push_str(&cost_section(page));
    for set in names(page.systems) {
        let _ = writeln!(body, "<h2>{}</h2>", escape(set));
        for system in page.systems {
            let report = system.reports.iter().find(|(name, _)| name == set);
            if let Some((_, report)) = report {
                if page.systems.len() > 1 {
                    let _ = writeln!(body, "<h3>{}</h3>", escape(&system.name));
                }
                let is_another = |baseline: &&Baseline| baseline.name != system.name;
                let baseline = page.baseline.filter(is_another);
                body.push_str(&dataset_section(set, report, baseline));
            }
        }
    }
    for curves in page.training {
        body.push_str(&curves.section());
    }
    html_page(page.title, &body)
}

/// Data sets in the order in which they first appear.
fn names(systems: &[SystemResults]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let all = systems.iter().flat_map(|system| &system.reports);
    all.map(|(name, _)| name.as_str())
        .filter(|name| seen.insert(*name))
        .collect()
}

fn dataset_section(set: &str, report: &DatasetReport, baseline: Option<&Baseline>) -> String {
    let mut html = String::new();
    for note in &report.details.notes {
        let _ = writeln!(html, "<p>{}</p>", escape(note));
    }
    let baseline = baseline.and_then(|baseline| {
        let set = baseline.sets.get(set)?;
        Some((baseline.name.as_str(), set))
    });
    html.push_str(&query_section(report, baseline));
    html.push_str(&length_section(report));
    html.push_str(&heat_maps(&report.details.samples));
    html
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

/// nDCG@10 of every system on every data set, the best one set apart, and averages where all have all.
fn side_by_side(systems: &[SystemResults]) -> String {
    let value = |system: &SystemResults, set: &str| {
        let mut reports = system.reports.iter();
        let (_, report) = reports.find(|(name, _)| name == set)?;
        Some(report.ndcg_at_10)
    };
    let header: String = systems
        .iter()
        .map(|system| format!("<th>{}</th>", escape(&system.name)))
        .collect();
    let mut html = format!("<div class=\"wide\"><table>\n<tr><th>nDCG@10</th>{header}</tr>\n");
    let mut add_row = |name: &str, values: &[Option<f64>]| {
        let best = values.iter().flatten().copied().fold(0.0, f64::max);
        let cell = |value: &Option<f64>| match value {
            None => "<td></td>".to_owned(),
            Some(value) if *value == best => format!("<td class=\"best\">{value:.4}</td>"),
            Some(value) => format!("<td>{value:.4}</td>"),
        };
        let cells: String = values.iter().map(cell).collect();
        let _ = writeln!(html, "<tr><td>{}</td>{cells}</tr>", escape(name));
    };
    let sets = names(systems);
    for set in &sets {
        let values: Vec<_> = systems.iter().map(|system| value(system, set)).collect();
        add_row(set, &values);
    }
    if sets.len() > 1 {
        let mean = |system: &SystemResults| {
            let values: Option<Vec<f64>> = sets.iter().map(|set| value(system, set)).collect();
            Some(values?.iter().sum::<f64>() / sets.len() as f64)
        };
        add_row("average", &systems.iter().map(mean).collect::<Vec<_>>());
    }
    html.push_str("</table></div>\n");
    html
}

/// nDCG@10 against FLOPS: means over the data sets that all systems have, those of BEIR alone if there are any, since
/// only these are published.
fn cost_section(page: &ReportPage) -> String {
    let has = |system: &SystemResults, set: &str| {
        let mut reports = system.reports.iter();
        reports.any(|(name, _)| name == set)
    };
    let mut sets = names(page.systems);
    sets.retain(|set| page.systems.iter().all(|system| has(system, set)));
    if sets.iter().any(|set| BEIR_13.contains(set)) {
        sets.retain(|set| BEIR_13.contains(set));
    }
    let published = PUBLISHED.iter().filter_map(|model| {
        Some(Point {
            x: model.flops,
            y: model.mean_over(&sets)?,
            label: model.name.to_owned(),
            kind: Kind::Published,
        })
    });
    let own = page.systems.iter().map(|system| own_point(system, &sets));
    let is_drawn = |baseline: &&Baseline| {
        let mut systems = page.systems.iter();
        systems.any(|system| system.name == baseline.name)
    };
    let baseline = page.baseline.filter(|baseline| !is_drawn(baseline));
    let baseline = baseline.and_then(|baseline| baseline_point(baseline, &sets));
    let mut points: Vec<Point> = own.chain(baseline).chain(published).collect();
    points.retain(|point| point.x > 0.0);
    if sets.is_empty() || points.is_empty() {
        return String::new();
    }
    let reference = match points.iter().any(|point| point.kind == Kind::Published) {
        true => {
            "; hollow: published models (opensearch-project), whose FLOPS are means over all 13 data sets of BEIR"
        }
        false => "",
    };
    format!(
        "<h2>Quality and cost</h2>\n<figure><figcaption>nDCG@10 on {} against FLOPS, multiplications for one query and \
         one document{reference}. Nothing is better and cheaper than what the dashed line joins</figcaption>\n{}</figure>\n",
        escape(&sets.join(", ")),
        scatter("nDCG@10 against FLOPS", &points, ["FLOPS", "nDCG@10"])
    )
}

fn own_point(system: &SystemResults, sets: &[&str]) -> Point {
    let is_in = |(name, _): &&NamedReport| sets.contains(&name.as_str());
    let reports: Vec<&DatasetReport> = system
        .reports
        .iter()
        .filter(is_in)
        .map(|(_, report)| report)
        .collect();
    let count = reports.len().max(1) as f64;
    let mean = |value: fn(&DatasetReport) -> f64| {
        reports.iter().map(|report| value(report)).sum::<f64>() / count
    };
    Point {
        x: mean(|report| report.flops),
        y: mean(|report| report.ndcg_at_10),
        label: short_name(&system.name),
        kind: Kind::Own,
    }
}

/// The last two parts of a path.
fn short_name(name: &str) -> String {
    let parts: Vec<&str> = name.trim_end_matches('/').split('/').collect();
    parts[parts.len().saturating_sub(2)..].join("/")
}

/// `None` where its cost is not known on all of the data sets.
fn baseline_point(baseline: &Baseline, sets: &[&str]) -> Option<Point> {
    let values: Option<Vec<(f64, f64)>> = sets
        .iter()
        .map(|set| {
            let set = baseline.sets.get(*set)?;
            let quality = set
                .evaluation
                .mean_of(crate::metric::Measure::Ndcg(Some(10)))?;
            Some((set.flops?, quality))
        })
        .collect();
    let values = values?;
    let count = values.len().max(1) as f64;
    Some(Point {
        x: values.iter().map(|value| value.0).sum::<f64>() / count,
        y: values.iter().map(|value| value.1).sum::<f64>() / count,
        label: short_name(&baseline.name),
        kind: Kind::Baseline,
    })
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
        bars(
            "Documents by number of tokens",
            &chart,
            ["0", &last.to_string()]
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beir::Details;
    use crate::metric::{Evaluation, Measure};

    fn system(name: &str, sets: &[(&str, f64, f64)]) -> SystemResults {
        let report = |&(set, ndcg, flops): &(&str, f64, f64)| {
            let evaluation = Evaluation {
                measures: vec![Measure::Ndcg(Some(10))],
                per_query: [("q".to_owned(), vec![ndcg])].into(),
                mean: vec![ndcg],
            };
            let report = DatasetReport {
                ndcg_at_10: ndcg,
                flops,
                details: Details {
                    evaluation,
                    ..Details::default()
                },
                ..DatasetReport::default()
            };
            (set.to_owned(), report)
        };
        SystemResults {
            name: name.to_owned(),
            reports: sets.iter().map(report).collect(),
        }
    }

    fn draw(systems: &[SystemResults], baseline: Option<&Baseline>) -> String {
        report_page(&ReportPage {
            title: "a & b",
            systems,
            baseline,
            training: &[],
        })
    }

    #[test]
    fn published_models_stand_beside_ours_on_their_data_sets() {
        let ours = [system(
            "out/run/final",
            &[("scifact", 0.7, 1.5), ("mine", 0.1, 1.0)],
        )];
        let bm25 = system("BM25", &[("scifact", 0.68, 0.4), ("mine", 0.2, 0.4)]);
        let baseline = Baseline::of_reports("BM25", &bm25.reports);
        let page = draw(&ours, Some(&baseline));
        for expected in [
            "<title>a &amp; b</title>",
            "run/final: 0.7000 at 1.50",
            "doc-v2-distill: 0.7150 at 1.80",
            "BM25: 0.6800 at 0.40",
            "nDCG@10 on scifact against",
            "<h2>mine</h2>",
        ] {
            assert!(page.contains(expected), "{expected}");
        }
        for forbidden in ["<script", "http", "NaN"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn other_data_sets_have_no_published_points() {
        let page = draw(
            &[system("m", &[("mine", 0.1, 1.0), ("yours", 0.3, 3.0)])],
            None,
        );
        assert!(page.contains("m: 0.2000 at 2.00") && !page.contains("doc-v2-distill"));
        let free = draw(&[system("m", &[("mine", 0.1, 0.0)])], None);
        assert!(!free.contains("Quality and cost"));
    }

    #[test]
    fn systems_stand_side_by_side() {
        let systems = [
            system("one", &[("a", 0.5, 1.0), ("b", 0.3, 1.0)]),
            system("two", &[("a", 0.4, 1.0)]),
        ];
        let page = draw(&systems, None);
        assert!(page.contains("<td>a</td><td class=\"best\">0.5000</td><td>0.4000</td>"));
        assert!(page.contains("<td>b</td><td class=\"best\">0.3000</td><td></td>"));
        assert!(page.contains("<td>average</td><td class=\"best\">0.4000</td><td></td>"));
        assert!(page.contains("nDCG@10 on a against"));
        assert!(draw(&[], None).contains("</html>"));
        let itself = Baseline::of_reports("two", &systems[1].reports);
        let page = draw(&systems, Some(&itself));
        assert_eq!(page.matches("minus that of two").count(), 1);
        assert!(!page.contains("class=\"baseline\""));
    }
}
