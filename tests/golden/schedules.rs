//! lambda over the steps.

use configs::{FlopsConfig, FlopsReduction};
use train::schedule;

use super::tolerance::SCHEDULE;
use crate::compare::Checks;
use crate::fixture::{self, count, number};

#[test]
fn lambda() {
    let losses = fixture::object("losses/losses.json");
    let mut checks = Checks::new();
    for row in fixture::list(&losses["lambda_schedule"]) {
        let penalty = FlopsConfig {
            lambda: number(&row["lambda_max"]),
            warmup_steps: count(&row["T"]),
            threshold: None,
            decouple_activation: false,
            reduction: FlopsReduction::Slots,
        };
        let step = count(&row["step"]);
        let what = format!("lambda {} T {} at step {step}", row["lambda_max"], row["T"]);
        let found = schedule::lambda(&penalty, step);
        checks.number(&what, found, number(&row["value"]), &SCHEDULE);
    }
    checks.finish();
}
