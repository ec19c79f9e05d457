//! What a run prints when it is over.

use std::fmt::Write;

use train::metrics::EvalFigures;

/// What comes after the quickstart.
pub const NEXT_COMMANDS: &str = "\
Next, with real weights (README.md, \"Train on real weights\", says where they come from): write hard negatives with
  cargo run --release -p eval -- mine --help
and train on them with
  cargo run --release -p train -- configs/scifact.yaml";

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
