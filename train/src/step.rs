//! One batch to one loss: what is differentiated.

use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use configs::{Activation, LossConfig, RankingLoss, TrainConfig};
use model::{MaskedLm, TokenTensors};

use crate::batch::{Batch, Queries, QueryTokens};
pub use crate::figures::{StepFigures, StepOutput};
use crate::loss::{
    Candidates, FlopsPenalty, QueryVectors, flops, info_nce, kl_divergence, margin_mse,
};
use crate::schedule;

/// Everything that training may move.
#[derive(Module, Debug)]
pub struct Trainable {
    /// Encodes documents, and queries where training is siamese.
    pub model: MaskedLm,
    /// Query weight of each token, `[vocab]`; without gradient where it is not trained, `None` where training is
    /// siamese.
    pub idf: Option<Param<Tensor<1>>>,
}

impl Trainable {
    /// A model with its IDF table, if any; `train_idf` says whether the table gets gradients. Vocabulary entries
    /// beyond the table weigh 1.
    pub fn new(model: MaskedLm, idf: Option<&[f32]>, train_idf: bool, device: &Device) -> Self {
        let vocab_size = model.head.bias.shape()[0];
        let idf = idf.map(|weights| {
            let mut weights = weights.to_vec();
            weights.resize(vocab_size, 1.0);
            let table = Tensor::from_data(TensorData::new(weights, [vocab_size]), device);
            Param::from_tensor(table).set_require_grad(train_idf)
        });
        Self { model, idf }
    }

    /// Inference-free queries: `relu(idf)` of their tokens.
    ///
    /// # Panics
    ///
    /// If training is siamese.
    pub fn query_vectors(&self, queries: &QueryTokens) -> QueryVectors {
        let idf = self
            .idf
            .as_ref()
            .expect("inference-free training has an IDF table");
        QueryVectors::Sparse {
            weights: relu(idf.val().select(0, queries.tokens.clone())),
            tokens: queries.tokens.clone(),
            members: queries.members.clone(),
        }
    }
}

/// How a batch becomes a loss, the same at every step.
#[derive(Debug, Clone)]
pub struct Objective {
    /// Applied to the largest logit of each vocabulary entry.
    pub activation: Activation,
    /// Keep weights above this share of the row's largest.
    pub prune_ratio: Option<f32>,
    /// Losses, penalties and their weights.
    pub loss: LossConfig,
    /// Token ids that weigh nothing in model-made representations; usually none in training.
    pub masked_tokens: Vec<u32>,
}

impl Objective {
    /// The objective of a recipe; `special` are the tokenizer's special tokens.
    pub fn new(config: &TrainConfig, special: &[u32]) -> Self {
        Self {
            activation: config.model.activation,
            prune_ratio: config.model.prune_ratio,
            loss: config.loss.clone(),
            masked_tokens: match config.loss.mask_special_tokens {
                true => special.to_vec(),
                false => Vec::new(),
            },
        }
    }

    /// The loss of a batch at `step` (0 for the first), which sets the penalties' weights.
    ///
    /// `loss = ranking_weight · Σ ranking losses + lambda_d · FLOPS(documents) + lambda_q · FLOPS(queries)`
    ///
    /// # Panics
    ///
    /// If a loss needs teacher scores and the batch has none.
    pub fn forward(&self, trainable: &Trainable, batch: &Batch, step: usize) -> StepOutput {
        let documents = self.represent(&trainable.model, &batch.documents); // [B * n, V]
        let queries = match &batch.queries {
            Queries::Siamese(tokens) => {
                QueryVectors::Dense(self.represent(&trainable.model, tokens)) // [B, V]
            }
            Queries::InferenceFree(tokens) => trainable.query_vectors(tokens),
        };
        self.loss(queries, documents, batch.teacher.clone(), step)
    }

    /// The loss of representations, whoever made them.
    ///
    /// # Shapes
    ///
    /// - documents: `[B * n, V]`, teacher: `[B, n]`, or `[B, B * n]` with in-batch negatives
    pub fn loss(
        &self,
        queries: QueryVectors,
        documents: Tensor<2>,
        teacher: Option<Tensor<2>>,
        step: usize,
    ) -> StepOutput {
        let rows = queries.count();
        let docs_per_query = documents.dims()[0] / rows;

        let ranking = self.ranking(&queries, documents.clone(), teacher);
        let penalty = FlopsPenalty::new(&self.loss.document_flops, docs_per_query);
        let d_flops = flops(documents.clone(), penalty);
        let lambda_d = schedule::lambda(&self.loss.document_flops, step);
        let mut flops_loss = d_flops.clone() * lambda_d;
        let dense = match &queries {
            QueryVectors::Dense(weights) => self.loss.query_flops.zip(Some(weights)),
            QueryVectors::Sparse { .. } => None, // a table has no length to lose
        };
        let q_flops = dense.map(|(config, weights)| {
            let q_flops = flops(weights.clone(), FlopsPenalty::new(&config, 1));
            flops_loss = flops_loss.clone() + q_flops.clone() * schedule::lambda(&config, step);
            q_flops
        });
        StepOutput {
            loss: ranking.clone() + flops_loss.clone(),
            ranking_loss: ranking,
            flops_loss,
            d_flops,
            q_flops,
            d_length: mean_length(documents),
            q_length: queries.mean_length(),
            lambda_d,
        }
    }

    /// Weighted sum of the ranking losses.
    fn ranking(
        &self,
        queries: &QueryVectors,
        documents: Tensor<2>,
        teacher: Option<Tensor<2>>,
    ) -> Tensor<1> {
        let candidates = match self.loss.in_batch_negatives {
            true => Candidates::InBatch,
            false => Candidates::Own,
        };
        let temperature = self.loss.temperature;
        let scores = queries.scores(candidates, documents);
        let teacher = || {
            teacher
                .clone()
                .expect("batches for this loss are made with teacher scores")
        };
        let losses = self.loss.ranking.iter().map(|loss| match loss {
            RankingLoss::KlDiv => kl_divergence(scores.clone(), teacher(), temperature),
            RankingLoss::MarginMse => {
                margin_mse(scores.clone(), teacher(), candidates, temperature)
            }
            RankingLoss::InfoNce => info_nce(scores.clone(), candidates, temperature),
        });
        let sum = losses
            .zip(&self.loss.loss_weights)
            .map(|(loss, &weight)| loss * weight)
            .reduce(|sum, loss| sum + loss)
            .expect("a recipe has at least one ranking loss");
        sum * self.loss.ranking_weight
    }

    /// What the model says of texts: `[rows, vocab]`.
    pub fn represent(&self, model: &MaskedLm, tokens: &TokenTensors) -> Tensor<2> {
        let mut weights = model.document_weights(tokens, self.activation);
        let [rows, vocab] = weights.dims();
        if !self.masked_tokens.is_empty() {
            let mut kept = vec![1.0f32; vocab];
            for &token in &self.masked_tokens {
                kept[token as usize] = 0.0;
            }
            weights = weights.clone()
                * Tensor::from_data(TensorData::new(kept, [1, vocab]), &weights.device());
        }
        if let Some(ratio) = self.prune_ratio {
            let fixed = weights.clone().detach();
            let threshold = fixed.clone().max_dim(1) * ratio; // [rows, 1]
            let dropped = fixed.lower_equal(threshold.expand([rows, vocab]));
            weights = weights.mask_fill(dropped, 0.0);
        }
        weights
    }
}

/// Mean number of non-zero (they are never negative) weights of a row: `[1]`.
fn mean_length(weights: Tensor<2>) -> Tensor<1> {
    let rows = weights.dims()[0] as f64;
    weights.inner().sign().sum() / rows
}

#[cfg(test)]
pub(crate) mod tests {
    use burn::optim::GradientsParams;
    use configs::{FlopsConfig, FlopsReduction};
    use data::TokenBatch;
    use model::{EncoderConfig, Family, FeedForward, Positions};

    use super::*;
    use crate::batch::TokenizedBatch;

    pub const VOCAB: usize = 12;

    pub fn trainable(train_idf: bool, device: &Device) -> Trainable {
        device.seed(3);
        let config = EncoderConfig {
            family: Family::DistilBert,
            vocab_size: VOCAB,
            hidden_size: 8,
            num_layers: 1,
            num_heads: 2,
            intermediate_size: 8,
            feed_forward: FeedForward::Plain,
            positions: Positions::Absolute,
            max_positions: 8,
            token_types: 0,
            layer_norm_eps: 1e-12,
            hidden_dropout: 0.0,
            attention_dropout: 0.0,
            initializer_range: 0.5,
        };
        let idf: Vec<f32> = (0..VOCAB - 2).map(|token| token as f32 * 0.5).collect();
        Trainable::new(config.init(device), Some(&idf), train_idf, device)
    }

    pub fn objective(ranking: Vec<RankingLoss>, in_batch_negatives: bool) -> Objective {
        Objective {
            activation: Activation::L1Relu,
            prune_ratio: None,
            loss: LossConfig {
                loss_weights: vec![1.0; ranking.len()],
                ranking,
                ranking_weight: 0.5,
                in_batch_negatives,
                temperature: 1.0,
                score_scale: 1.0,
                document_flops: FlopsConfig {
                    lambda: 0.1,
                    warmup_steps: 2,
                    threshold: Some(1.0),
                    decouple_activation: false,
                    reduction: FlopsReduction::Slots,
                },
                query_flops: None,
                mask_special_tokens: false,
            },
            masked_tokens: Vec::new(),
        }
    }

    pub fn tokenized(queries: usize) -> TokenizedBatch {
        let query = |row: usize| vec![2, 4 + row as u32, 9, 3];
        let document = |row: usize| vec![2, 4 + (row % 5) as u32, 6, 7, 3][..4 + row % 2].to_vec();
        TokenizedBatch {
            queries: TokenBatch::new(&(0..queries).map(query).collect::<Vec<_>>()),
            documents: TokenBatch::new(&(0..2 * queries).map(document).collect::<Vec<_>>()),
            scores: Some((0..2 * queries).map(|score| score as f32).collect()),
        }
    }

    pub fn inference_free(queries: usize, device: &Device) -> Batch {
        Batch::inference_free(&tokenized(queries), &[0, 2, 3], 1.0, device)
    }

    #[test]
    fn the_loss_is_the_sum_of_its_parts() {
        let device = Device::flex().autodiff();
        let objective = objective(vec![RankingLoss::KlDiv, RankingLoss::MarginMse], false);
        for queries in [1, 3] {
            let batch = inference_free(queries, &device);
            let output = objective.forward(&trainable(false, &device), &batch, 0);
            let figures = output.figures();
            assert!((figures.loss - figures.ranking_loss - figures.flops_loss).abs() < 1e-5);
            assert!((figures.flops_loss - 0.1 / 4.0 * figures.d_flops).abs() < 1e-5);
            assert_eq!((figures.q_flops, figures.q_length), (None, 2.0));
            assert!(figures.d_length > 1.0 && figures.loss.is_finite());
        }
    }

    #[test]
    fn losses_have_weights() {
        let device = Device::flex().autodiff();
        let (trainable, batch) = (trainable(false, &device), inference_free(3, &device));
        let ranking = |losses: Vec<RankingLoss>, weights: Vec<f64>| {
            let mut objective = objective(losses, false);
            objective.loss.loss_weights = weights;
            let output = objective.forward(&trainable, &batch, 0);
            output.figures().ranking_loss
        };
        let kl = ranking(vec![RankingLoss::KlDiv], vec![1.0]);
        let mse = ranking(vec![RankingLoss::MarginMse], vec![1.0]);
        let both = vec![RankingLoss::KlDiv, RankingLoss::MarginMse];
        let expected = 0.25 * kl + 2.0 * mse;
        assert!((ranking(both, vec![0.25, 2.0]) - expected).abs() < 1e-5 * (1.0 + expected));
    }

    #[test]
    fn a_frozen_table_gets_no_gradient_and_a_trained_one_does() {
        let device = Device::flex().autodiff();
        let objective = objective(vec![RankingLoss::InfoNce], true);
        for train_idf in [false, true] {
            let trainable = trainable(train_idf, &device);
            let output = objective.forward(&trainable, &inference_free(2, &device), 5);
            let gradients = GradientsParams::from_grads(output.loss.backward(), &trainable);
            let idf = trainable.idf.as_ref().expect("the table is there");
            assert_eq!(gradients.get::<1>(idf.id).is_some(), train_idf);
        }
    }

    #[test]
    fn siamese_queries_are_penalised_too() {
        let device = Device::flex().autodiff();
        let mut objective = objective(vec![RankingLoss::InfoNce], true);
        objective.loss.query_flops = Some(FlopsConfig {
            lambda: 0.3,
            warmup_steps: 0,
            ..objective.loss.document_flops
        });
        let mut trainable = trainable(false, &device);
        trainable.idf = None;
        let batch = Batch::siamese(&tokenized(2), 1.0, &device);
        let figures = objective.forward(&trainable, &batch, 9).figures();
        let q_flops = figures.q_flops.expect("siamese queries have a penalty");
        assert!((figures.flops_loss - 0.1 * figures.d_flops - 0.3 * q_flops).abs() < 1e-4);
    }

    #[test]
    fn masked_tokens_and_pruned_weights_are_zero() {
        let device = Device::flex().autodiff();
        let trainable = trainable(false, &device);
        let batch = inference_free(2, &device);
        let mut objective = objective(vec![RankingLoss::InfoNce], false);
        objective.masked_tokens = vec![4, 6];
        objective.prune_ratio = Some(0.5);
        let weights = objective.represent(&trainable.model, &batch.documents);
        let weights: Vec<f32> = weights.into_data().iter::<f32>().collect();
        for row in weights.chunks_exact(VOCAB) {
            let largest = row.iter().copied().fold(0.0, f32::max);
            assert!(row[4] == 0.0 && row[6] == 0.0 && largest > 0.0);
            assert!(
                row.iter()
                    .all(|&weight| weight == 0.0 || weight > 0.5 * largest)
            );
        }
    }
}
