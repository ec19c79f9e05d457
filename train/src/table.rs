//! What the command prints: what a run would be, and what it was.

use std::fmt::{self, Write};

use train::Setup;
use train::masked_lm::MaskedLmScore;
use train::metrics::EvalFigures;
use train::task::TaskData;

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
    let (data, unit) = match &setup.data {
        TaskData::Ranking(data) => {
            let docs = config.data.docs_per_query;
            let groups = format!("{} groups of {docs} documents", data.len());
            (groups, "queries")
        }
        TaskData::MaskedLm(data) => {
            let sequences: usize = setup.feed().sizes().iter().sum();
            let texts: usize = data.texts.sizes().iter().sum();
            let sequences = format!("{sequences} sequences of {texts} texts");
            (sequences, "sequences")
        }
    };
    writeln!(
        text,
        "data       {data}, {} batches of {} {unit} per epoch",
        setup.batches_per_epoch, config.run.batch_queries
    )?;
    if let Some(texts) = &setup.eval_texts {
        writeln!(text, "evaluation {}, masked tokens", texts.name())?;
    }
    for set in &setup.eval_sets {
        writeln!(text, "evaluation {}, split {}", set.dir.name(), set.split)?;
    }
    writeln!(
        text,
        "steps      {} ({:.2} epochs) of {} x {} {unit}",
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

/// [`render`] of guesses.
pub fn render_guesses(title: &str, rows: &[(&str, Option<MaskedLmScore>)]) -> String {
    let names = rows.iter().map(|(name, _)| name.len());
    let width = names.max().unwrap_or(0).max(title.len());
    let mut text = format!("{title:<width$}     loss  perplexity  accuracy\n");
    for (name, score) in rows {
        if let Some(score) = score {
            writeln!(
                text,
                "{name:<width$}  {:>7.4}  {:>10.2}  {:>8.4}",
                score.mlm_loss, score.perplexity, score.mlm_accuracy
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
        let score = MaskedLmScore {
            mlm_loss: 2.5,
            perplexity: 12.1825,
            mlm_accuracy: 0.456,
            masked_tokens: 100,
        };
        assert_eq!(
            render_guesses(
                "t.jsonl",
                &[("before", None), ("after training", Some(score))]
            ),
            "t.jsonl            loss  perplexity  accuracy\n\
             after training   2.5000       12.18    0.4560\n"
        );
    }
}
