//! Schedules: pure functions of the step.

use std::f64::consts::PI;

use configs::{FlopsConfig, LrSchedule, OptimizerConfig, Warmup};

/// Weight of a FLOPS penalty at `step` (0 for the first): `lambda · ((step + 1) / T)²` while `step < T`, then
/// `lambda`, with T the penalty's `warmup_steps`.
pub fn lambda(penalty: &FlopsConfig, step: usize) -> f64 {
    if step >= penalty.warmup_steps {
        return penalty.lambda;
    }
    let progress = (step + 1) as f64 / penalty.warmup_steps as f64;
    penalty.lambda * progress * progress
}

/// The learning rate over the steps, as a factor of its peak.
///
/// The same numbers as the schedules of transformers: warm-up rises linearly from 0 at step 0, and decay reaches 0
/// at step `total`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    /// Its shape.
    pub schedule: LrSchedule,
    /// Steps of linear rise.
    pub warmup: usize,
    /// Steps of the whole run.
    pub total: usize,
}

impl LearningRate {
    /// The schedule of a recipe for a run of `total` steps.
    pub fn new(config: &OptimizerConfig, total: usize) -> Self {
        Self {
            schedule: config.schedule,
            warmup: match config.warmup {
                Warmup::Steps(steps) => steps,
                Warmup::Ratio(ratio) => (total as f64 * ratio).ceil() as usize,
            },
            total,
        }
    }

    /// Factor of the peak rate at `step` (0 for the first).
    pub fn factor(&self, step: usize) -> f64 {
        if self.schedule == LrSchedule::Constant {
            return 1.0;
        }
        if step < self.warmup {
            return step as f64 / self.warmup as f64;
        }
        let decay_steps = self.total.saturating_sub(self.warmup).max(1) as f64;
        match self.schedule {
            LrSchedule::Linear => self.total.saturating_sub(step) as f64 / decay_steps,
            LrSchedule::Cosine => {
                let progress = (step - self.warmup) as f64 / decay_steps;
                (0.5 * (1.0 + (PI * progress).cos())).max(0.0)
            }
            LrSchedule::Constant | LrSchedule::ConstantWithWarmup => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use configs::FlopsReduction;

    use super::*;

    #[test]
    fn lambda_grows_quadratically_and_stays() {
        let penalty = FlopsConfig {
            lambda: 0.04,
            warmup_steps: 10_000,
            threshold: None,
            decouple_activation: false,
            reduction: FlopsReduction::Slots,
        };
        for (step, expected) in [
            (0, 4e-10),
            (99, 4e-6),
            (9_999, 0.04),
            (10_000, 0.04),
            (20_000, 0.04),
        ] {
            let found = lambda(&penalty, step);
            assert!(
                (found - expected).abs() <= 1e-12 * expected,
                "step {step}: {found}"
            );
        }
        let at_once = FlopsConfig {
            warmup_steps: 0,
            ..penalty
        };
        assert_eq!(lambda(&at_once, 0), 0.04);
    }

    #[test]
    fn rates_are_those_of_transformers() {
        let rate = |schedule, step| {
            let rate = LearningRate {
                schedule,
                warmup: 5,
                total: 20,
            };
            rate.factor(step)
        };
        for (schedule, step, expected) in [
            (LrSchedule::Linear, 0, 0.0),
            (LrSchedule::Linear, 4, 0.8),
            (LrSchedule::Linear, 5, 1.0),
            (LrSchedule::Linear, 6, 14.0 / 15.0),
            (LrSchedule::Linear, 19, 1.0 / 15.0),
            (LrSchedule::Linear, 20, 0.0),
            (LrSchedule::Cosine, 2, 0.4),
            (LrSchedule::Cosine, 5, 1.0),
            (LrSchedule::Cosine, 10, 0.75),
            (LrSchedule::Cosine, 20, 0.0),
            (LrSchedule::Constant, 0, 1.0),
            (LrSchedule::ConstantWithWarmup, 1, 0.2),
            (LrSchedule::ConstantWithWarmup, 19, 1.0),
        ] {
            let found = rate(schedule, step);
            assert!(
                (found - expected).abs() < 1e-12,
                "{schedule:?} {step}: {found}"
            );
        }
    }
}
