//! What the command prints: what a run would be, and what it was.

use std::fmt::{self, Write};

use train::Setup;
use train::metrics::EvalFigures;

/// What comes after the quickstart.
pub const NEXT_COMMANDS: &str = "\
Next, with real weights (README.md, \"Train on real weights\", says where they come from): write hard negatives with
  cargo run --release -p eval -- mine --help
and train on them with
  cargo run --release -p train -- configs/scifact.yaml";

/// What a dry run prints.
pub fn summary(setup: &Setup) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let (config, encoder, memory) = (&setup.config, &setup.encoder, setup.memory());
    writeln!(
        text,
        "model      {}: {:?}, {} layers x {}, vocabulary {}, {:.1} M parameters",
        config.model.name_or_path,
        encoder.family,
        encoder.num_layers,
        encoder.hidden_size,
        encoder.vocab_size,
        setup.parameters as f64 / 1e6
    )?;
    writeln!(
        text,
        "data       {} groups of {} documents, {} batches of {} queries per epoch",
        setup.data.len(),
        config.data.docs_per_query,
        setup.batches_per_epoch,
        config.run.batch_queries
    )?;
    for set in &setup.eval_sets {
        writeln!(text, "evaluation {}, split {}", set.dir.name(), set.split)?;
    }
    writeln!(
        text,
        "steps      {} ({:.2} epochs) of {} x {} queries",
        setup.total_steps,
        setup.epoch(setup.total_steps),
        config.optimizer.accumulation_steps,
        config.run.batch_queries
    )?;
    writeln!(
        text,
        "memory     about {:.0} MiB: {:.0} for parameters, gradients and moments, {:.0} for a batch of full length",
        memory.total_mib(),
        memory.parameters_mib,
        memory.activations_mib
    )?;
    Ok(text)
}

/// One line per row that has figures, under a title.
pub fn render(title: &str, rows: &[(&str, Option<EvalFigures>)]) -> String {
    let width = rows
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0)
        .max(title.len());
    let mut text = format!("{title:<width$}  nDCG@10     FLOPS  d_length\n");
    for (name, figures) in rows {
        if let Some(figures) = figures {
            let EvalFigures {
                ndcg_at_10,
                flops,
                d_length,
            } = figures;
            writeln!(
                text,
                "{name:<width$}  {ndcg_at_10:>7.4}  {flops:>8.3}  {d_length:>8.1}"
            )
            .expect("a string takes every write");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_missing_rows_are_left_out() {
        let figures = EvalFigures {
            ndcg_at_10: 0.51234,
            flops: 1.5,
            d_length: 123.45,
        };
        let text = render(
            "tiny, test",
            &[("before", None), ("after training", Some(figures))],
        );
        assert_eq!(
            text,
            "tiny, test      nDCG@10     FLOPS  d_length\n\
             after training   0.5123     1.500     123.5\n"
        );
    }
}
