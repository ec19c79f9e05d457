//! What a step gives: tensors to differentiate, numbers to log.

use burn::tensor::{DType, Tensor};
use serde::Serialize;

/// The loss of a batch and what it is made of, on the device.
#[derive(Debug, Clone)]
pub struct StepOutput {
    /// What is minimised: `[1]`.
    pub loss: Tensor<1>,
    /// Weighted ranking losses.
    pub ranking_loss: Tensor<1>,
    /// Weighted penalties.
    pub flops_loss: Tensor<1>,
    /// Penalty of the documents, unweighted.
    pub d_flops: Tensor<1>,
    /// Penalty of the queries, unweighted.
    pub q_flops: Option<Tensor<1>>,
    /// Non-zero weights per document.
    pub d_length: Tensor<1>,
    /// Non-zero weights per query.
    pub q_length: Tensor<1>,
    /// Weight of the documents' penalty.
    pub lambda_d: f64,
}

/// The numbers of a step, whatever its task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Figures {
    /// Of ranking.
    Ranking(StepFigures),
    /// Of guessing masked tokens.
    MaskedLm(MaskedLmFigures),
}

impl Figures {
    /// What is minimised.
    pub fn loss(&self) -> f64 {
        match self {
            Self::Ranking(figures) => figures.loss,
            Self::MaskedLm(figures) => figures.loss,
        }
    }
}

/// How well a step's masked tokens were guessed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MaskedLmFigures {
    /// What is minimised.
    pub loss: f64,
    /// Mean cross entropy of the tokens to guess.
    pub mlm_loss: f64,
    /// Share of them that was guessed right.
    pub mlm_accuracy: f64,
    /// Tokens to guess.
    pub masked_tokens: usize,
}

/// [`StepOutput`] as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepFigures {
    /// What is minimised.
    pub loss: f64,
    /// Weighted ranking losses.
    pub ranking_loss: f64,
    /// Weighted penalties.
    pub flops_loss: f64,
    /// Penalty of the documents, unweighted.
    pub d_flops: f64,
    /// Penalty of the queries, unweighted; null where queries are inference-free.
    pub q_flops: Option<f64>,
    /// Weight of the documents' penalty.
    pub lambda_d: f64,
    /// Non-zero weights per document.
    pub d_length: f64,
    /// Non-zero weights per query.
    pub q_length: f64,
}

impl StepOutput {
    /// Reads all figures back at once.
    pub fn figures(&self) -> StepFigures {
        let q_flops = self.q_flops.as_ref().unwrap_or(&self.d_flops);
        let tensors = [
            &self.loss,
            &self.ranking_loss,
            &self.flops_loss,
            &self.d_flops,
            q_flops,
            &self.d_length,
            &self.q_length,
        ];
        let tensors = tensors.map(|tensor| tensor.clone().inner().cast(DType::F32));
        let values: Vec<f64> = Tensor::cat(tensors.into(), 0)
            .into_data()
            .iter::<f32>()
            .map(f64::from)
            .collect();
        StepFigures {
            loss: values[0],
            ranking_loss: values[1],
            flops_loss: values[2],
            d_flops: values[3],
            q_flops: self.q_flops.as_ref().map(|_| values[4]),
            lambda_d: self.lambda_d,
            d_length: values[5],
            q_length: values[6],
        }
    }
}

impl StepFigures {
    /// The figures of a step of several micro-batches.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn mean(figures: &[Self]) -> Self {
        let mean =
            |value: fn(&Self) -> f64| figures.iter().map(value).sum::<f64>() / figures.len() as f64;
        Self {
            loss: mean(|f| f.loss),
            ranking_loss: mean(|f| f.ranking_loss),
            flops_loss: mean(|f| f.flops_loss),
            d_flops: mean(|f| f.d_flops),
            q_flops: figures[0]
                .q_flops
                .map(|_| mean(|f| f.q_flops.unwrap_or(0.0))),
            lambda_d: figures[0].lambda_d,
            d_length: mean(|f| f.d_length),
            q_length: mean(|f| f.q_length),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn output(q_flops: Option<f32>) -> StepOutput {
        let scalar = |value: f32| Tensor::<1>::from_floats([value], &Device::flex());
        StepOutput {
            loss: scalar(3.0),
            ranking_loss: scalar(2.0),
            flops_loss: scalar(1.0),
            d_flops: scalar(10.0),
            q_flops: q_flops.map(scalar),
            d_length: scalar(50.0),
            q_length: scalar(4.0),
            lambda_d: 0.1,
        }
    }

    #[test]
    fn figures_are_read_in_order() {
        let figures = output(Some(7.0)).figures();
        assert_eq!(
            (figures.loss, figures.d_flops, figures.q_flops),
            (3.0, 10.0, Some(7.0))
        );
        assert_eq!((figures.d_length, figures.q_length), (50.0, 4.0));
        assert_eq!(output(None).figures().q_flops, None);
    }

    #[test]
    fn micro_batches_are_averaged() {
        let figures = output(None).figures();
        let other = StepFigures {
            loss: 5.0,
            ..figures
        };
        let mean = StepFigures::mean(&[figures, other]);
        assert_eq!(
            (mean.loss, mean.ranking_loss, mean.lambda_d),
            (4.0, 2.0, 0.1)
        );
    }
}
