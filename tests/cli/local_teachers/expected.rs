//! What teachers should say of texts, and whether the command says it.

use serde_json::{Value, json};

use crate::cli::world::World;
use crate::compare::Checks;
use crate::fixture::{self, floats, text};
use crate::golden::tolerance::Tolerance;

const SCALE: f64 = 30.0;

/// A teacher of a file, and what it says of every query and every document.
pub struct Teacher {
    /// Its mapping.
    pub mapping: String,
    /// `[queries][documents]`
    pub scores: Vec<Vec<f64>>,
    /// How far a score may be off.
    pub slack: f64,
}

impl Teacher {
    /// Its scores of a query's documents, `(s - min) / (max - min + 1e-6)`, and how far these may be off.
    fn normalised(&self, query: usize) -> (Vec<f64>, f64) {
        let scores = &self.scores[query];
        let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
        let width = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
        let normalised = scores.iter().map(|score| (score - least) / (width + 1e-6));
        // A score, the least and the width are each off; where all are the same there is nothing to be off.
        let slack = match width > 0.0 {
            true => 4.0 * self.slack / width,
            false => 0.0,
        };
        (normalised.collect(), slack)
    }
}

/// Each query is scored with each document.
pub struct Texts<'a> {
    pub queries: Vec<&'a str>,
    pub documents: Vec<&'a str>,
}

impl<'a> Texts<'a> {
    /// Pairs in the order of the scores.
    pub fn pairs(&self) -> Vec<(&'a str, &'a str)> {
        let with_all = |&query| {
            self.documents
                .iter()
                .map(move |&document| (query, document))
        };
        self.queries.iter().flat_map(with_all).collect()
    }

    /// The texts as rows of either form.
    fn rows(&self) -> [Vec<Value>; 2] {
        let queries = || self.queries.iter();
        let (pos, negs) = self.documents.split_first().expect("a document");
        [
            queries()
                .map(|query| json!({"query": query, "docs": self.documents}))
                .collect(),
            queries()
                .map(|query| json!({"query": query, "pos": pos, "negs": negs}))
                .collect(),
        ]
    }
}

/// Scores the texts twice, as either form of rows: as expected, then without asking, and the same bytes.
pub fn check(checks: &mut Checks, what: &str, texts: &Texts, teachers: &[Teacher]) {
    let world = World::new();
    let lines = teachers
        .iter()
        .map(|teacher| format!("- {}\n", teacher.mapping));
    let lines: String = lines.collect();
    let file = format!("teachers:\n{lines}score_scale: {SCALE}\n");
    world.write("teachers.yaml", file);
    let pairs = texts.queries.len() * texts.documents.len() * teachers.len();
    let [kd, posnegs] = texts.rows();
    for (name, rows, asked) in [("kd", kd, pairs), ("posnegs", posnegs, 0)] {
        world.write_lines("input.jsonl", &rows);
        let line = format!(
            "train score --teachers teachers.yaml --input input.jsonl --output {name}.jsonl --cache kept"
        );
        let outcome = world.command(&line).run();
        let said = format!("asked for {asked} scores, {} were known", pairs - asked);
        checks.require(outcome.stderr.contains(&said), || {
            format!("{what}, {name}: no {said:?} in {}", outcome.stderr)
        });
        outcome.success();
    }
    checks.require(
        world.read("kd.jsonl") == world.read("posnegs.jsonl"),
        || format!("{what}: other bytes at the second time"),
    );
    check_rows(checks, what, texts, teachers, &world.read_lines("kd.jsonl"));
}

/// `score_scale` times the mean of what the teachers say.
fn check_rows(
    checks: &mut Checks,
    what: &str,
    texts: &Texts,
    teachers: &[Teacher],
    rows: &[Value],
) {
    checks.equal(what, rows.len(), texts.queries.len());
    let mut told = 0;
    for (query, row) in rows.iter().enumerate() {
        let what = format!("{what}, query {query}");
        checks.equal(&what, text(&row["query"]), texts.queries[query]);
        checks.same(&what, &fixture::texts(&row["docs"]), &texts.documents);
        let (normalised, slacks): (Vec<_>, Vec<_>) = teachers
            .iter()
            .map(|teacher| teacher.normalised(query))
            .unzip();
        let count = teachers.len() as f64;
        let tolerance = Tolerance {
            atol: SCALE * slacks.iter().sum::<f64>() / count + 1e-5,
            rtol: 1e-6,
            reason: "what the raw scores may be off, over their width",
        };
        told += usize::from(tolerance.atol < SCALE / 50.0);
        let found = floats(&row["scores"]);
        checks.equal(&what, found.len(), texts.documents.len());
        for (document, found) in found.into_iter().enumerate() {
            let sum: f64 = normalised.iter().map(|scores| scores[document]).sum();
            let what = format!("{what}, document {document}");
            checks.number(&what, found.into(), SCALE * sum / count, &tolerance);
        }
    }
    checks.require(2 * told > rows.len(), || {
        format!("{what}: the scores of only {told} queries can be told apart")
    });
}

/// Dot products, and how far they may be off where the vectors are as far off as allowed.
pub fn dots(left: &[Vec<f32>], right: &[Vec<f32>], tolerance: &Tolerance) -> (Vec<Vec<f64>>, f64) {
    let mut slack = 0.0_f64;
    let mut dot = |left: &[f32], right: &[f32]| {
        let off = |value: f64| tolerance.atol + tolerance.rtol * value.abs();
        let pairs = left.iter().zip(right);
        let pairs = pairs.map(|(a, b)| (f64::from(*a), f64::from(*b)));
        // Where one side is 0, as most of a sparse vector is, it is so exactly.
        let sure = |value: f64| if value == 0.0 { 0.0 } else { off(value) };
        let (mut sum, mut sum_off) = (0.0, 0.0);
        for (a, b) in pairs {
            sum += a * b;
            sum_off += a.abs() * off(b) + b.abs() * sure(a);
        }
        slack = slack.max(sum_off);
        sum
    };
    let rows = left.iter();
    let rows = rows.map(|left| right.iter().map(|right| dot(left, right)).collect());
    let scores = rows.collect();
    (scores, slack)
}
