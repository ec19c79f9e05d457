//! What the user sees of a run: a bar on a terminal, lines elsewhere.

use std::path::Path;
use std::time::Duration;

use eval::beir::DatasetReport;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::info;
use train::Observer;
use train::figures::Figures;
use train::masked_lm::MaskedLmScore;
use train::metrics::StepRow;

use crate::logging::STEPS;

const TEMPLATE: &str = "{wide_bar} {pos}/{len}  {msg}";

/// Shows a run as it goes.
pub struct Progress {
    bar: ProgressBar,
    first_step: usize,
    total_steps: usize,
    /// Spent in steps so far.
    stepping: Duration,
}

impl Progress {
    /// A display that stays silent until a run begins.
    pub fn new(quiet: bool) -> Self {
        let target = match quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        Self {
            bar: ProgressBar::with_draw_target(None, target),
            first_step: 0,
            total_steps: 0,
            stepping: Duration::ZERO,
        }
    }

    /// The bar, for those who write beside it; hidden where stderr is no terminal.
    pub fn bar(&self) -> &ProgressBar {
        &self.bar
    }

    /// A run of `total` steps goes on after `start`.
    pub fn begin(&mut self, start: usize, total: usize) {
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is valid");
        self.bar.set_style(style);
        self.bar.set_length(total as u64);
        self.bar.set_position(start as u64);
        self.first_step = start;
        self.total_steps = total;
    }

    /// The run is over.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Mean duration of this process's steps times the steps to come; evaluations are not counted.
    fn time_left(&self, step: usize) -> Duration {
        let done = (step - self.first_step).max(1) as f64;
        self.stepping
            .mul_f64((self.total_steps - step) as f64 / done)
    }
}

impl Observer for Progress {
    fn stepped(&mut self, row: &StepRow, logged: bool) {
        self.stepping += Duration::from_secs_f64(row.step_s);
        let left = duration(self.time_left(row.step));
        self.bar.set_position(row.step as u64);
        let (short, long) = match &row.figures {
            Figures::Ranking(found) => (
                format!("d_length {:.0}", found.d_length),
                format!(
                    "= {:.4} ranking + {:.4} flops  d_length {:.0}  q_length {:.1}",
                    found.ranking_loss, found.flops_loss, found.d_length, found.q_length
                ),
            ),
            Figures::MaskedLm(found) => (
                format!("accuracy {:.3}", found.mlm_accuracy),
                format!(
                    " accuracy {:.3} of {} tokens",
                    found.mlm_accuracy, found.masked_tokens
                ),
            ),
        };
        let loss = row.figures.loss();
        self.bar.set_message(format!(
            "loss {loss:.4}  {short}  {:.2} s/step  {left} left",
            row.step_s
        ));
        if logged {
            info!(
                target: STEPS,
                "step {}/{}  loss {loss:.4} {long}  lr {:.2e}  grad {:.3}  {:.2} s/step  {:.0} tokens/s  {left} left",
                row.step, self.total_steps, row.lr, row.grad_norm, row.step_s, row.tokens_per_s
            );
        }
    }

    fn evaluating(&mut self, step: usize, name: &str) {
        self.bar.set_message(format!("evaluating on {name}"));
        info!(target: STEPS, "evaluating on {name} after step {step}");
    }

    fn evaluated(&mut self, step: usize, name: &str, report: &DatasetReport) {
        info!(
            "step {step}: {name} nDCG@10 {:.4}  FLOPS {:.3}  d_length {:.1}",
            report.ndcg_at_10, report.flops, report.d_length
        );
        if step == 0 {
            report
                .details
                .notes
                .iter()
                .for_each(|note| info!("{name}: {note}"));
        }
    }

    fn guessed(&mut self, step: usize, name: &str, score: &MaskedLmScore) {
        info!(
            "step {step}: {name} masked-LM loss {:.4}  perplexity {:.2}  accuracy {:.4}",
            score.mlm_loss, score.perplexity, score.mlm_accuracy
        );
    }

    fn saved(&mut self, path: &Path) {
        info!("wrote {}", path.display());
    }
}

/// `1:02:03`, or `2:03` under an hour.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_clocks() {
        assert_eq!(duration(Duration::from_secs(62)), "1:02");
        assert_eq!(duration(Duration::from_secs(3723)), "1:02:03");
    }
}
