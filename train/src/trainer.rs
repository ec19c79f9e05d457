//! The training loop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use burn::optim::{GradientsAccumulator, GradientsParams};
use configs::QueryEncoder;
use data::SamplerState;
use data::mlm::MaskedTexts;
use eval::beir::DatasetReport;
use model::hf;

use crate::ahead::{Batches, Made};
use crate::batch::{Batch, TokenizedBatch};
use crate::checkpoint::{self, TrainerState};
use crate::error::TrainError;
use crate::evaluation::idf_table;
use crate::figures::Figures;
use crate::grad_cache::GradientCache;
use crate::masked_lm::{self, MaskedLmScore};
use crate::memory::peak_memory_mib;
use crate::metrics::{EvalRow, MetricsFile, StepRow};
use crate::optimizer::{AdamW, ParameterPath, Rates, clip_factor, gradient_norm};
use crate::run_dir::{RunDir, remove};
use crate::schedule::LearningRate;
use crate::setup::{Setup, TrainState};
use crate::step::{Objective, StepFigures, Trainable};

/// Told what a run does; the command line shows it.
pub trait Observer {
    /// A step is done; `logged` says whether metrics.jsonl has its row.
    fn stepped(&mut self, row: &StepRow, logged: bool);
    /// An evaluation of one data set begins, after `step` steps.
    fn evaluating(&mut self, step: usize, name: &str);
    /// An evaluation of one data set is done.
    fn evaluated(&mut self, step: usize, name: &str, report: &DatasetReport);
    /// An evaluation of guesses is done.
    fn guessed(&mut self, step: usize, name: &str, score: &MaskedLmScore);
    /// A model was written.
    fn saved(&mut self, path: &Path);
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// All steps are done and the final model is written.
    Finished {
        /// Evaluations of the final model, by data set.
        evaluations: BTreeMap<String, DatasetReport>,
        /// Its guesses, where the recipe names texts to guess in.
        guesses: Option<MaskedLmScore>,
    },
    /// It was asked to stop, and wrote a checkpoint.
    Stopped {
        /// Steps done.
        step: usize,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
}

/// Takes the steps that are left, and writes figures, checkpoints and the final model to `dir`.
///
/// When `stop` becomes true the step at hand is finished and a checkpoint written.
///
/// # Errors
///
/// If a batch cannot be made, a figure is not a number, or the disk refuses.
pub fn train(
    setup: &Setup,
    state: TrainState,
    dir: &RunDir,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    let trainer = Trainer {
        setup,
        dir,
        observer,
        objective: Objective::new(&setup.config, setup.tokenizer.special_ids()),
        learning_rate: LearningRate::new(&setup.config.optimizer, setup.total_steps),
        data_order: state.sampler.state().clone(),
        metrics: MetricsFile::open(&dir.metrics(), state.step)?,
    };
    let TrainState {
        step,
        trainable,
        optimizer,
        sampler,
    } = state;
    thread::scope(|scope| {
        let batches = Batches::make(scope, sampler, setup.feed());
        trainer.run(step, trainable, optimizer, batches, stop)
    })
}

struct Trainer<'a> {
    setup: &'a Setup,
    dir: &'a RunDir,
    observer: &'a mut dyn Observer,
    objective: Objective,
    learning_rate: LearningRate,
    /// The sampler's state, but for its position.
    data_order: SamplerState,
    metrics: MetricsFile,
}

impl Trainer<'_> {
    fn run(
        mut self,
        start: usize,
        mut trainable: Trainable,
        mut optimizer: AdamW,
        batches: Batches,
        stop: &AtomicBool,
    ) -> Result<Outcome, TrainError> {
        let (run, total) = (&self.setup.config.run, self.setup.total_steps);
        if start == 0 && run.eval_on_start {
            self.evaluate(&trainable, 0)?;
        }
        for step in start..total {
            let began = Instant::now();
            // The same draws at a step whether the run was interrupted before it or not.
            self.setup.device.seed(mixed_seed(run.seed, step));

            // Forward and backward, averaged over micro-batches.
            let (gradients, figures, tokens) = match &batches {
                Batches::Ranking(batches) => self.gradients(&trainable, batches, step)?,
                Batches::MaskedLm(batches) => self.guess(&trainable, batches, step)?,
            };
            let grad_norm = finite(
                step,
                "the gradient norm",
                gradient_norm(&trainable, &gradients),
            )?;

            // Clip and update.
            let clip = clip_factor(grad_norm, self.setup.config.optimizer.max_grad_norm);
            let factor = self.learning_rate.factor(step);
            trainable = optimizer.step(trainable, gradients, clip, |path| self.rates(path, factor));

            // Log, evaluate, save.
            let done = step + 1;
            let row = StepRow {
                epoch: self.setup.epoch(done),
                lr: self.setup.config.optimizer.learning_rate * factor,
                grad_norm,
                step_s: began.elapsed().as_secs_f64(),
                tokens_per_s: tokens as f64 / began.elapsed().as_secs_f64(),
                peak_memory_mib: peak_memory_mib(),
                ..StepRow::new(done, figures)
            };
            self.log(&row)?;
            if done < total && is_due(done, run.eval_steps) {
                self.evaluate(&trainable, done)?;
            }
            let stopped = done < total && stop.load(Ordering::Relaxed);
            if stopped || is_due(done, run.save_steps) {
                self.save(done, &trainable, &optimizer)?;
            }
            if stopped {
                return Ok(Outcome::Stopped {
                    step: done,
                    checkpoint: self.dir.checkpoint(done),
                });
            }
        }
        self.save_final(&trainable)?;
        let (evaluations, guesses) = self.evaluate(&trainable, total)?;
        Ok(Outcome::Finished {
            evaluations,
            guesses,
        })
    }

    /// Gradients and figures of one step, and the number of tokens encoded for them.
    fn gradients(
        &self,
        trainable: &Trainable,
        batches: &Made<TokenizedBatch>,
        step: usize,
    ) -> Result<(GradientsParams, Figures, usize), TrainError> {
        let micro_batches = self.setup.config.optimizer.accumulation_steps;
        let mut accumulator = GradientsAccumulator::new();
        let mut figures = Vec::with_capacity(micro_batches);
        let mut tokens = 0;
        for _ in 0..micro_batches {
            let batch = batches.next()?;
            tokens += batch.documents.tokens();
            if trainable.idf.is_none() {
                tokens += batch.queries.tokens();
            }
            let batch = self.on_device(&batch);
            let found = match self.setup.config.optimizer.grad_cache_docs {
                None => {
                    let output = self.objective.forward(trainable, &batch, step);
                    let found = output.figures();
                    finite(step, "the loss", found.loss)?;
                    let gradients = (output.loss / micro_batches as f64).backward();
                    let gradients = GradientsParams::from_grads(gradients, trainable);
                    accumulator.accumulate(trainable, gradients);
                    found
                }
                Some(docs) => {
                    let cache = GradientCache {
                        objective: &self.objective,
                        trainable,
                        texts_at_a_time: docs,
                        seed: mixed_seed(self.setup.config.run.seed, step),
                        loss_weight: 1.0 / micro_batches as f64,
                    };
                    let output = cache.accumulate(&batch, step, &mut accumulator);
                    finite(step, "the loss", output.loss)?;
                    output
                }
            };
            figures.push(found);
        }
        let figures = Figures::Ranking(StepFigures::mean(&figures));
        Ok((accumulator.grads(), figures, tokens))
    }

    /// [`Trainer::gradients`] of guessing masked tokens.
    fn guess(
        &self,
        trainable: &Trainable,
        batches: &Made<MaskedTexts>,
        step: usize,
    ) -> Result<(GradientsParams, Figures, usize), TrainError> {
        let micro_batches = self.setup.config.optimizer.accumulation_steps;
        let batches = (0..micro_batches).map(|_| batches.next());
        let batches: Vec<MaskedTexts> = batches.collect::<Result<_, _>>()?;
        let tokens = batches.iter().map(|batch| batch.tokens.tokens()).sum();
        let mut accumulator = GradientsAccumulator::new();
        let device = &self.setup.device;
        let figures = masked_lm::accumulate(trainable, &batches, device, &mut accumulator);
        finite(step, "the loss", figures.loss)?;
        Ok((accumulator.grads(), Figures::MaskedLm(figures), tokens))
    }

    fn on_device(&self, batch: &TokenizedBatch) -> Batch {
        let (scale, device) = (self.setup.config.loss.score_scale, &self.setup.device);
        match self.setup.config.model.query {
            QueryEncoder::Siamese => Batch::siamese(batch, scale, device),
            QueryEncoder::InferenceFree { .. } => {
                let special = self.setup.tokenizer.special_ids();
                Batch::inference_free(batch, special, scale, device)
            }
        }
    }

    /// How one parameter moves when the learning rates are at `factor` of their peak.
    fn rates(&self, path: &ParameterPath, factor: f64) -> Rates {
        let (model, optimizer) = (&self.setup.config.model, &self.setup.config.optimizer);
        let peak = match model.query {
            QueryEncoder::InferenceFree {
                learning_rate: Some(rate),
                ..
            } if path.name() == "idf" => rate,
            _ => optimizer.learning_rate,
        };
        let spared = optimizer.exclude_bias_and_norm && path.is_bias_or_norm();
        Rates {
            learning_rate: peak * factor,
            weight_decay: if spared { 0.0 } else { optimizer.weight_decay },
        }
    }

    fn log(&mut self, row: &StepRow) -> Result<(), TrainError> {
        let logged = row.step == self.setup.total_steps
            || is_due(row.step, Some(self.setup.config.run.logging_steps));
        if logged {
            self.metrics.append(row)?;
        }
        self.observer.stepped(row, logged);
        Ok(())
    }

    fn evaluate(
        &mut self,
        trainable: &Trainable,
        step: usize,
    ) -> Result<(BTreeMap<String, DatasetReport>, Option<MaskedLmScore>), TrainError> {
        let began = Instant::now();
        let mut reports = BTreeMap::new();
        for set in &self.setup.eval_sets {
            let name = set.dir.name();
            self.observer.evaluating(step, &name);
            let report = self.setup.evaluator().evaluate(trainable, set)?;
            self.observer.evaluated(step, &name, &report);
            reports.insert(name, report);
        }
        if !reports.is_empty() {
            let (epoch, eval_s) = (self.setup.epoch(step), began.elapsed().as_secs_f64());
            self.metrics
                .append(&EvalRow::new(step, epoch, &reports, eval_s))?;
        }
        Ok((reports, self.evaluate_guesses(trainable, step)?))
    }

    fn evaluate_guesses(
        &mut self,
        trainable: &Trainable,
        step: usize,
    ) -> Result<Option<MaskedLmScore>, TrainError> {
        let Some(texts) = &self.setup.eval_texts else {
            return Ok(None);
        };
        let began = Instant::now();
        self.observer.evaluating(step, texts.name());
        let score = self.setup.score_guesses(trainable)?;
        if let Some(score) = &score {
            self.observer.guessed(step, texts.name(), score);
            let (epoch, eval_s) = (self.setup.epoch(step), began.elapsed().as_secs_f64());
            let row = EvalRow::of_guesses(step, epoch, texts.name(), score, eval_s);
            self.metrics.append(&row)?;
        }
        Ok(score)
    }

    fn save(
        &mut self,
        step: usize,
        trainable: &Trainable,
        optimizer: &AdamW,
    ) -> Result<(), TrainError> {
        let run = &self.setup.config.run;
        let accumulation_steps = self.setup.config.optimizer.accumulation_steps;
        let state = TrainerState::new(
            step,
            self.setup.total_steps,
            run.seed,
            accumulation_steps,
            SamplerState {
                position: (step * accumulation_steps) as u64,
                ..self.data_order.clone()
            },
            self.setup.targets(),
        );
        let idf = trainable
            .idf
            .as_ref()
            .map(|_| idf_table(trainable, &self.setup.tokenizer));
        let export = self.setup.export_options(idf.as_ref());
        let path = self.dir.checkpoint(step);
        checkpoint::write(
            &path,
            trainable,
            &self.setup.encoder,
            &export,
            optimizer,
            &state,
        )?;
        self.observer.saved(&path);
        self.dir.prune(run.save_total_limit)
    }

    fn save_final(&mut self, trainable: &Trainable) -> Result<(), TrainError> {
        let idf = trainable
            .idf
            .as_ref()
            .map(|_| idf_table(trainable, &self.setup.tokenizer));
        let export = self.setup.export_options(idf.as_ref());
        let path = self.dir.final_model();
        // A finished run that was given more steps has one already.
        remove(&path)?;
        hf::export(&trainable.model, &self.setup.encoder, &export, &path)?;
        self.observer.saved(&path);
        Ok(())
    }
}

fn is_due(step: usize, every: Option<usize>) -> bool {
    every.is_some_and(|every| step.is_multiple_of(every))
}

fn finite(step: usize, what: &'static str, value: f64) -> Result<f64, TrainError> {
    match value.is_finite() {
        true => Ok(value),
        false => Err(TrainError::NotFinite {
            step: step + 1,
            what,
            value,
        }),
    }
}

/// The seed of one step's random draws: neighbouring steps and seeds share nothing (SplitMix64).
pub(crate) fn mixed_seed(seed: u64, step: usize) -> u64 {
    let mut mixed = seed.wrapping_add((step as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_seeds_draw_differently() {
        let seeds = [
            mixed_seed(0, 0),
            mixed_seed(0, 1),
            mixed_seed(1, 0),
            mixed_seed(1, 1),
        ];
        let distinct: std::collections::BTreeSet<u64> = seeds.into_iter().collect();
        assert_eq!(distinct.len(), 4);
    }

    #[test]
    fn what_is_due_and_what_is_no_number() {
        assert!(is_due(20, Some(10)) && !is_due(21, Some(10)) && !is_due(20, None));
        let error = finite(4, "the loss", f64::NAN).unwrap_err().to_string();
        assert!(error.contains("step 5: the loss is NaN"), "{error}");
    }
}
