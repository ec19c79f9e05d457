//! Gradient caching: the gradients of a large batch with the activations of a small one (Gao et al. 2021,
//! arXiv 2101.06983).
//!
//! All texts are encoded, a few at a time, and only the representations kept. The loss over all of them gives each
//! representation its gradient. Then every few texts are encoded again, and the gradient of their representations is
//! carried on to the parameters. The chain rule does not mind: gradients are those of the whole batch.
//!
//! With dropout the first encoding needs a graph, to draw what the second draws, and keeps it until the loss's backward
//! pass: memory is saved where dropout is 0.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use model::TokenTensors;

use crate::batch::{Batch, Queries};
use crate::figures::StepFigures;
use crate::loss::QueryVectors;
use crate::step::{Objective, Trainable};
use crate::trainer::mixed_seed;

/// A step that encodes a batch in parts.
pub struct GradientCache<'a> {
    /// What is differentiated.
    pub objective: &'a Objective,
    /// What has gradients.
    pub trainable: &'a Trainable,
    /// Texts in memory at a time.
    pub texts_at_a_time: usize,
    /// Dropout draws the same in both encodings of a part.
    pub seed: u64,
    /// Multiplies the loss.
    pub loss_weight: f64,
}

/// Texts with what was made of them.
struct Cached {
    parts: Vec<TokenTensors>,
    /// `[texts, V]`, the beginning of a graph.
    weights: Tensor<2>,
    /// The first part's number, for seeds.
    first: usize,
}

impl GradientCache<'_> {
    /// Adds the gradients of a batch at `step` to `accumulator`; returns the figures of the loss.
    pub fn accumulate(
        &self,
        batch: &Batch,
        step: usize,
        accumulator: &mut GradientsAccumulator<Trainable>,
    ) -> StepFigures {
        let documents = self.encode(&batch.documents, 0);
        let (queries, siamese) = match &batch.queries {
            Queries::InferenceFree(tokens) => (self.trainable.query_vectors(tokens), None),
            Queries::Siamese(tokens) => {
                let cached = self.encode(tokens, documents.parts.len());
                (QueryVectors::Dense(cached.weights.clone()), Some(cached))
            }
        };
        let teacher = batch.teacher.clone();
        let output = self
            .objective
            .loss(queries, documents.weights.clone(), teacher, step);
        let figures = output.figures();
        let mut gradients = (output.loss * self.loss_weight).backward();
        let slopes = [Some(documents), siamese]
            .into_iter()
            .flatten()
            .map(|cached| {
                let slope = cached.weights.grad_remove(&mut gradients);
                (cached, slope.expect("every representation enters the loss"))
            });
        let slopes: Vec<_> = slopes.collect();
        // What the loss itself has parameters of: the IDF table.
        self.add(gradients, accumulator);
        for (cached, slope) in slopes {
            self.carry_on(&cached, slope, accumulator);
        }
        figures
    }

    fn encode(&self, tokens: &TokenTensors, first: usize) -> Cached {
        let parts = tokens.split(self.texts_at_a_time);
        // Nothing to draw: no graph need be made, which the autodiff engine frees no earlier than the next backward pass.
        let encoder = &self.trainable.model.encoder;
        let drops = encoder.embeddings.dropout.prob > 0.0
            || encoder
                .layers
                .iter()
                .any(|layer| layer.attention.dropout.prob > 0.0);
        let plain = (!drops).then(|| self.trainable.model.clone().valid());
        let weights = parts.iter().enumerate().map(|(part, tokens)| match &plain {
            Some(model) => self.objective.represent(model, &tokens.clone().inner()),
            None => self.represent(tokens, first + part).inner(),
        });
        let weights = Tensor::from_inner(Tensor::cat(weights.collect(), 0)).require_grad();
        Cached {
            parts,
            weights,
            first,
        }
    }

    /// From the gradient of the representations to those of the parameters.
    fn carry_on(
        &self,
        cached: &Cached,
        slope: Tensor<2>,
        accumulator: &mut GradientsAccumulator<Trainable>,
    ) {
        let mut row = 0;
        for (part, tokens) in cached.parts.iter().enumerate() {
            let rows = row..row + tokens.lengths.len();
            row = rows.end;
            let weights = self.represent(tokens, cached.first + part);
            let slope = Tensor::from_inner(slope.clone().slice(rows));
            self.add((weights * slope).sum().backward(), accumulator);
        }
    }

    fn represent(&self, tokens: &TokenTensors, part: usize) -> Tensor<2> {
        tokens.ids.device().seed(mixed_seed(self.seed, part));
        self.objective.represent(&self.trainable.model, tokens)
    }

    fn add(
        &self,
        gradients: burn::tensor::Gradients,
        accumulator: &mut GradientsAccumulator<Trainable>,
    ) {
        let gradients = GradientsParams::from_grads(gradients, self.trainable);
        accumulator.accumulate(self.trainable, gradients);
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleVisitor, Param};
    use burn::tensor::Device;
    use configs::RankingLoss;

    use super::*;
    use crate::step::tests::{inference_free, objective, tokenized, trainable};

    /// Every parameter's gradient, in the module's order.
    fn numbers(trainable: &Trainable, gradients: &GradientsParams) -> Vec<f32> {
        struct Numbers<'a>(&'a GradientsParams, Vec<f32>);
        impl ModuleVisitor for Numbers<'_> {
            fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
                if let Some(gradient) = self.0.get::<D>(parameter.id) {
                    self.1.extend(gradient.into_data().iter::<f32>());
                }
            }
        }
        let mut visitor = Numbers(gradients, Vec::new());
        trainable.visit(&mut visitor);
        visitor.1
    }

    #[test]
    fn gradients_are_those_of_the_whole_batch() {
        let device = Device::flex().autodiff();
        let objective = objective(vec![RankingLoss::InfoNce], true);
        for siamese in [false, true] {
            let mut trainable = trainable(!siamese, &device);
            let batch = match siamese {
                true => Batch::siamese(&tokenized(3), 1.0, &device),
                false => inference_free(3, &device),
            };
            if siamese {
                trainable.idf = None;
            }
            let output = objective.forward(&trainable, &batch, 1);
            let expected_figures = output.figures();
            let whole = GradientsParams::from_grads((output.loss * 0.5).backward(), &trainable);
            let whole = numbers(&trainable, &whole);
            for texts_at_a_time in [1, 4, 100] {
                let mut accumulator = GradientsAccumulator::new();
                let cache = GradientCache {
                    objective: &objective,
                    trainable: &trainable,
                    texts_at_a_time,
                    seed: 0,
                    loss_weight: 0.5,
                };
                let figures = cache.accumulate(&batch, 1, &mut accumulator);
                assert!((figures.loss - expected_figures.loss).abs() < 1e-6);
                let found = numbers(&trainable, &accumulator.grads());
                assert_eq!(found.len(), whole.len());
                for (index, (a, b)) in found.iter().zip(&whole).enumerate() {
                    let bound = 1e-6 * (1.0 + b.abs());
                    assert!((a - b).abs() <= bound, "{index}: {a} instead of {b}");
                }
            }
        }
    }
}
