//! What the name of a loss case says, such as `kldiv_inbatch0_T2.5` or `flops_group3_th_mid`.

use serde_json::{Map, Value};
use train::loss::{Candidates, FlopsPenalty};

use crate::fixture::{count, number};

/// One case of `losses.json`.
#[derive(Debug)]
pub struct Case {
    pub objective: Objective,
    pub candidates: Candidates,
    /// Tensor with the teacher's scores.
    pub teacher: String,
    pub temperature: f64,
    /// Times the loss.
    pub weight: f64,
}

#[derive(Debug)]
pub enum Objective {
    Ranking(Vec<Term>),
    Flops(Side, FlopsPenalty),
}

/// A ranking loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Term {
    KlDiv,
    MarginMse,
    InfoNce,
}

/// Whose weights a penalty is about.
#[derive(Debug)]
pub enum Side {
    Query,
    Document,
}

impl Term {
    pub fn parse(name: &str) -> Self {
        match name {
            "kldiv" => Self::KlDiv,
            "marginmse" => Self::MarginMse,
            "infonce" => Self::InfoNce,
            _ => panic!("`{name}` is no loss that this test knows"),
        }
    }
}

impl Case {
    /// `info` is all of `losses.json`.
    pub fn parse(name: &str, info: &Map<String, Value>) -> Self {
        match name.strip_prefix("flops_") {
            Some(penalty) => Self {
                objective: flops(penalty, info),
                ..Self::ranking(Vec::new())
            },
            None => ranking(name, info),
        }
    }

    fn ranking(terms: Vec<Term>) -> Self {
        Self {
            objective: Objective::Ranking(terms),
            candidates: Candidates::Own,
            teacher: "teacher_scores".to_owned(),
            temperature: 1.0,
            weight: 1.0,
        }
    }

    /// In a batch, the reference's marginmse takes query 0's positive for every row. Ours is another formula on
    /// purpose.
    pub fn is_reference_mistake(&self) -> bool {
        let is_margin = match &self.objective {
            Objective::Ranking(terms) => terms.contains(&Term::MarginMse),
            Objective::Flops(..) => false,
        };
        is_margin && self.candidates == Candidates::InBatch
    }
}

/// `<loss>_inbatch<0|1>[_T<t>][_<which>_teacher][_weighted]` or `<loss>_plus_<loss>_sum`.
fn ranking(name: &str, info: &Map<String, Value>) -> Case {
    if let Some(sum) = name.strip_suffix("_sum") {
        return Case::ranking(sum.split("_plus_").map(Term::parse).collect());
    }
    let mut words = name.split('_').peekable();
    let mut case = Case::ranking(vec![Term::parse(words.next().unwrap_or_default())]);
    while let Some(word) = words.next() {
        match word {
            "inbatch0" => {}
            "inbatch1" => {
                case.candidates = Candidates::InBatch;
                case.teacher = "teacher_scores_inbatch".to_owned();
            }
            "weighted" => case.weight = number(&info["weight"]),
            which if words.peek() == Some(&"teacher") => {
                words.next();
                case.teacher = format!("teacher_scores_{which}");
            }
            temperature => {
                let value = temperature
                    .strip_prefix('T')
                    .and_then(|text| text.parse().ok());
                case.temperature = value.unwrap_or_else(|| panic!("`{word}` in case `{name}`"));
            }
        }
    }
    case
}

/// `group<g>_th_<threshold>`, `q_group<g>_<threshold>`, or `decouple_<reference|intended>_th_<threshold>`.
fn flops(name: &str, info: &Map<String, Value>) -> Objective {
    let unknown = format!("`flops_{name}` is no case that this test knows");
    let (side, name) = match name.strip_prefix("q_") {
        Some(rest) => (Side::Query, rest),
        None => (Side::Document, name),
    };
    let (form, at) = name
        .split_once("_th_")
        .or_else(|| name.rsplit_once('_'))
        .expect(&unknown);
    let (groups, decouple_activation) = match form {
        // The reference computes log1p and then overwrites it.
        "decouple_reference" => (count(&info["n"]), false),
        "decouple_intended" => (count(&info["n"]), true),
        _ => {
            let groups = form
                .strip_prefix("group")
                .and_then(|groups| groups.parse().ok());
            (groups.expect(&unknown), false)
        }
    };
    let penalty = FlopsPenalty {
        groups,
        threshold: threshold(at, info),
        decouple_activation,
    };
    Objective::Flops(side, penalty)
}

/// The threshold of a name.
pub fn threshold(name: &str, info: &Map<String, Value>) -> Option<f64> {
    let known = info["flops_thresholds"].get(name);
    let value = known.unwrap_or_else(|| panic!("no threshold is called `{name}`"));
    (!value.is_null()).then(|| number(value))
}
