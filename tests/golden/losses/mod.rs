//! Loss values and their gradients with respect to the representations.

mod case;
mod margin;

use burn::tensor::{Device, Tensor};
use serde_json::{Map, Value};
use train::loss::{self, Candidates, FlopsPenalty};

use super::tolerance::{LOSS, LOSS_GRADIENTS, Tolerance};
use crate::compare::Checks;
use crate::fixture::{self, Array, Arrays, count, number};
use case::{Case, Objective, Side, Term};

/// `losses/`: inputs, expected values and gradients.
struct Golden {
    info: Map<String, Value>,
    arrays: Arrays,
    device: Device,
}

/// A loss with the gradients of the queries' and the documents' weights.
struct Outcome {
    value: f64,
    grad_q: Option<Vec<f32>>,
    grad_d: Option<Vec<f32>>,
}

impl Golden {
    fn read() -> Self {
        Self {
            info: fixture::object("losses/losses.json"),
            arrays: Arrays::read("losses/losses.safetensors"),
            device: Device::flex().autodiff(),
        }
    }

    /// Name, parsed name and expected value of every case.
    fn cases(&self) -> Vec<(&str, Case, f64)> {
        let values = self.info["values"].as_object().expect("cases");
        values
            .iter()
            .map(|(name, entry)| {
                (
                    name.as_str(),
                    Case::parse(name, &self.info),
                    number(&entry["value_f32"]),
                )
            })
            .collect()
    }

    /// Ours for `case`.
    fn run(&self, case: &Case) -> Outcome {
        let queries = self
            .arrays
            .get("q_rep")
            .tensor::<2>(&self.device)
            .require_grad();
        let documents = self
            .arrays
            .get("d_rep")
            .tensor::<2>(&self.device)
            .require_grad();
        let value = match &case.objective {
            Objective::Ranking(terms) => terms
                .iter()
                .map(|&term| {
                    let teacher = self.arrays.get(&case.teacher).tensor(&self.device);
                    let inputs = (queries.clone(), documents.clone());
                    rank(term, case.candidates, inputs, teacher, case.temperature)
                })
                .reduce(|sum, value| sum + value)
                .expect("a term")
                .mul_scalar(case.weight),
            Objective::Flops(Side::Query, penalty) => loss::flops(queries.clone(), *penalty),
            Objective::Flops(Side::Document, penalty) => loss::flops(documents.clone(), *penalty),
        };
        let gradients = value.backward();
        let floats = |tensor: Tensor<2>| tensor.into_data().iter::<f32>().collect();
        Outcome {
            value: value.into_scalar::<f32>().into(),
            grad_q: queries.grad(&gradients).map(floats),
            grad_d: documents.grad(&gradients).map(floats),
        }
    }

    /// Compares a gradient with `<case>.<key>`; one that neither has is 0 on both sides.
    fn check_gradient(&self, checks: &mut Checks, name: &str, key: &str, found: Option<Vec<f32>>) {
        let full = format!("{name}.{key}");
        if !self.arrays.contains(&full) {
            return;
        }
        let expected: &Array = self.arrays.get(&full);
        let found = found.unwrap_or_else(|| vec![0.0; expected.floats().len()]);
        let by: &Tolerance = &LOSS_GRADIENTS;
        checks.close_where(
            &full,
            &expected.shape,
            &found,
            expected.floats(),
            by,
            |_| true,
        );
    }
}

fn rank(
    term: Term,
    candidates: Candidates,
    (queries, documents): (Tensor<2>, Tensor<2>),
    teacher: Tensor<2>,
    temperature: f64,
) -> Tensor<1> {
    let scores = candidates.scores(queries, documents);
    match term {
        Term::KlDiv => loss::kl_divergence(scores, teacher, temperature),
        Term::MarginMse => loss::margin_mse(scores, teacher, candidates, temperature),
        Term::InfoNce => loss::info_nce(scores, candidates, temperature),
    }
}

#[test]
fn values_and_gradients() {
    let golden = Golden::read();
    let mut checks = Checks::new();
    for (name, case, expected) in golden.cases() {
        if case.is_reference_mistake() {
            continue; // `margin` has these
        }
        let found = golden.run(&case);
        checks.number(name, found.value, expected, &LOSS);
        golden.check_gradient(&mut checks, name, "grad_q", found.grad_q);
        golden.check_gradient(&mut checks, name, "grad_d", found.grad_d);
    }
    checks.finish();
}

/// One mean over all documents, as sentence-transformers takes it.
#[test]
fn flops_over_documents() {
    let golden = Golden::read();
    let values = golden.info["sentence_transformers_FlopsLoss_group1"]
        .as_object()
        .expect("cases");
    let mut checks = Checks::new();
    for (name, value) in values {
        let documents = golden.arrays.get("d_rep").tensor::<2>(&golden.device);
        let penalty = FlopsPenalty {
            groups: 1,
            threshold: case::threshold(name, &golden.info),
            decouple_activation: false,
        };
        let found = loss::flops(documents, penalty).into_scalar::<f32>();
        checks.number(
            &format!("FlopsLoss {name}"),
            found.into(),
            number(value),
            &LOSS,
        );
    }
    checks.finish();
}

/// A batch of one query, where the reference's code fails.
#[test]
fn one_query() {
    let golden = Golden::read();
    let docs = count(&golden.info["n"]);
    let mut checks = Checks::new();
    for (name, value) in golden.info["intended_B1_values"]
        .as_object()
        .expect("cases")
    {
        for candidates in [Candidates::Own, Candidates::InBatch] {
            let first = |key: &str, rows| {
                golden
                    .arrays
                    .get(key)
                    .tensor::<2>(&golden.device)
                    .narrow(0, 0, rows)
            };
            let inputs = (first("q_rep", 1), first("d_rep", docs));
            let teacher = first("teacher_scores", 1);
            let found = rank(Term::parse(name), candidates, inputs, teacher, 1.0);
            let found = found.into_scalar::<f32>().into();
            checks.number(
                &format!("{name} {candidates:?}"),
                found,
                number(value),
                &LOSS,
            );
        }
    }
    checks.finish();
}
