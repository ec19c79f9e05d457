//! Training curves, from `metrics.jsonl`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use data::input::{self, InputError};
use serde_json::Value;

use super::chart::lines;
use super::escape;

/// Figures of steps that are drawn, in this order.
const STEPS: [&str; 11] = [
    "loss",
    "ranking_loss",
    "mlm_loss",
    "flops_loss",
    "d_flops",
    "d_length",
    "q_length",
    "lambda_d",
    "lr",
    "grad_norm",
    "tokens_per_s",
];
/// Figures of evaluations that are drawn.
const EVALUATIONS: [&str; 6] = [
    "ndcg@10",
    "recall@100",
    "flops",
    "d_length",
    "mlm_loss",
    "perplexity",
];

/// Why training curves cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The file cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A line is no row of figures.
    #[error("{}:{line}: {reason}; expected a JSON object with `step`", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// A figure over the steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its name, after that of the data set if it is of an evaluation.
    pub name: String,
    /// Pairs of a step and a value.
    pub points: Vec<(f64, f64)>,
}

/// The curves of a run that have at least two points and are not level.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingCurves {
    /// Where they are from.
    pub name: String,
    /// In the order of the page.
    pub curves: Vec<Curve>,
}

impl TrainingCurves {
    /// Reads `metrics.jsonl`. Its last line may be cut, as a run leaves it that is killed or still goes on.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a line is no row; the error names file and line.
    pub fn read(path: &Path) -> Result<Self, TrainingError> {
        let mut curves: BTreeMap<(usize, String), Vec<(f64, f64)>> = BTreeMap::new();
        let mut bad = None;
        for line in input::open_lines(path)? {
            let line = line?;
            if line.text.trim().is_empty() {
                continue;
            }
            // A bad line is an error as soon as another one follows.
            if let Some(error) = bad {
                return Err(error);
            }
            let parsed: Result<Value, _> = serde_json::from_str(&line.text);
            let row = parsed.map_err(|error| error.to_string());
            let step = |row: Value| match row["step"].as_f64() {
                Some(step) => Ok((step, row)),
                None => Err("no number `step`".to_owned()),
            };
            match row.and_then(step) {
                Ok((step, row)) => add(&mut curves, step, &row),
                Err(reason) => {
                    bad = Some(TrainingError::Row {
                        path: path.to_owned(),
                        line: line.number,
                        reason,
                    });
                }
            }
        }
        let is_level = |points: &[(f64, f64)]| points.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let curves = curves
            .into_iter()
            .filter(|(_, points)| !is_level(points))
            .map(|((_, name), points)| Curve { name, points });
        Ok(Self {
            name: path.display().to_string(),
            curves: curves.collect(),
        })
    }

    /// Their part of the page; empty where there is no curve.
    pub(super) fn section(&self) -> String {
        if self.curves.is_empty() {
            return String::new();
        }
        let pictures: String = self
            .curves
            .iter()
            .map(|curve| lines(&curve.name, &curve.points))
            .collect();
        format!(
            "<h2>Training</h2>\n<figure><figcaption>{}, over the steps; the last value on the right</figcaption>\n\
             <div class=\"curves\">\n{pictures}</div></figure>\n",
            escape(&self.name)
        )
    }
}

/// Curves of evaluations come first.
fn add(curves: &mut BTreeMap<(usize, String), Vec<(f64, f64)>>, step: f64, row: &Value) {
    let mut push = |place: usize, name: String, value: &Value| {
        if let Some(value) = value.as_f64() {
            curves.entry((place, name)).or_default().push((step, value));
        }
    };
    for (place, figure) in STEPS.iter().enumerate() {
        push(
            EVALUATIONS.len() + place,
            (*figure).to_owned(),
            &row[figure],
        );
    }
    for (set, figures) in row["eval"].as_object().into_iter().flatten() {
        for (place, figure) in EVALUATIONS.iter().enumerate() {
            push(place, format!("{set} {figure}"), &figures[figure]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TrainingCurves, TrainingError> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("metrics.jsonl");
        std::fs::write(&path, text).expect("writable");
        TrainingCurves::read(&path)
    }

    #[test]
    fn rows_become_curves() {
        let text = "{\"step\":0,\"eval\":{\"set\":{\"ndcg@10\":0.1}}}\n\
                    {\"step\":1,\"loss\":3.0,\"lr\":0.1,\"peak_memory_mib\":null}\n\
                    {\"step\":2,\"loss\":2.0,\"lr\":0.1}\n\
                    {\"step\":2,\"eval\":{\"set\":{\"ndcg@10\":0.2}}}\n{\"step\":3,\"lo";
        let training = read(text).expect("a cut last line is no error");
        let expected = [
            ("set ndcg@10", vec![(0.0, 0.1), (2.0, 0.2)]),
            ("loss", vec![(1.0, 3.0), (2.0, 2.0)]),
        ];
        assert_eq!(
            training.curves,
            expected.map(|(name, points)| Curve {
                name: name.to_owned(),
                points
            })
        );
        let section = training.section();
        assert_eq!(section.matches("<svg").count(), 2);
        assert_eq!(read("").expect("empty").section(), "");
    }

    #[test]
    fn bad_lines_are_named() {
        for text in ["{}\n{\"step\":1}\n", "no JSON\n\n{\"step\":1}\n"] {
            let message = read(text).expect_err("bad").to_string();
            assert!(message.contains("metrics.jsonl:1: "), "{message}");
        }
        let missing = TrainingCurves::read(Path::new("nowhere.jsonl"));
        assert!(
            missing
                .expect_err("none")
                .to_string()
                .contains("nowhere.jsonl")
        );
    }
}
