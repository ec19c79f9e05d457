//! Training traces: 20 steps of the reference, step by step.
//!
//! The reference also has a trace of the AdamW that transformers once had (epsilon 1e-6, decay after the update);
//! that optimizer is not implemented here, and its trace is not compared.

use std::path::PathBuf;

use burn::optim::GradientsParams;
use burn::tensor::Device;
use configs::{FlopsConfig, FlopsReduction, LossConfig, LrSchedule, RankingLoss};
use data::{Idf, TokenBatch, Tokenizer};
use model::EncoderConfig;
use model::hf::{self, ImportOptions};
use serde_json::{Map, Value};
use train::batch::{Batch, TokenizedBatch};
use train::optimizer::{AdamW, Rates, clip_factor, gradient_norm};
use train::schedule::LearningRate;
use train::step::{Objective, StepFigures, Trainable};

use super::sparse::activation;
use super::tolerance::{
    DOC_LENGTH, FINAL_WEIGHTS, SCHEDULE, STEP_GRADIENTS, TRACE_LOSS, TRACE_NORM,
};
use crate::compare::Checks;
use crate::fixture::{self, Arrays, Tokens, count, list, number, text};

/// `train/`: what was trained, on what, and how.
pub struct Golden {
    trace: Map<String, Value>,
    batches: Arrays,
    pub device: Device,
}

/// One step of ours.
pub struct Step {
    pub figures: StepFigures,
    pub grad_norm: f64,
    pub learning_rate: f64,
}

/// A training run that goes step by step.
pub struct Training<'a> {
    golden: &'a Golden,
    pub encoder: EncoderConfig,
    special: Vec<u32>,
    objective: Objective,
    pub trainable: Trainable,
    optimizer: AdamW,
    max_grad_norm: Option<f64>,
    step: usize,
}

impl Golden {
    pub fn read(device: Device) -> Self {
        Self {
            trace: fixture::object("train/trace.json"),
            batches: Arrays::read("train/batches.safetensors"),
            device: device.autodiff(),
        }
    }

    fn setting(&self, key: &str) -> &Value {
        &self.trace["config"][key]
    }

    fn model_dir(&self) -> PathBuf {
        fixture::path("train").join(text(self.setting("model")))
    }

    /// The steps of a trace.
    pub fn steps(&self, name: &str) -> &[Value] {
        list(&self.trace[name])
    }

    fn objective(&self) -> Objective {
        Objective {
            activation: activation(text(self.setting("activation"))),
            prune_ratio: None,
            loss: LossConfig {
                ranking: vec![RankingLoss::KlDiv],
                loss_weights: vec![1.0],
                ranking_weight: 1.0,
                in_batch_negatives: false,
                temperature: 1.0,
                score_scale: 1.0,
                document_flops: FlopsConfig {
                    lambda: number(self.setting("flops_d_lambda")),
                    warmup_steps: count(self.setting("flops_d_T")),
                    threshold: self.setting("flops_threshold").as_f64(),
                    decouple_activation: false,
                    reduction: FlopsReduction::Slots,
                },
                query_flops: None,
                mask_special_tokens: false,
            },
            masked_tokens: Vec::new(),
        }
    }

    /// The state before the first step.
    pub fn start(&self, max_grad_norm: Option<f64>) -> Training<'_> {
        let dir = self.model_dir();
        let tokenizer = Tokenizer::from_dir(&dir).expect("a tokenizer");
        let idf = Idf::from_file(&fixture::path("sparse/idf.json"), &tokenizer).expect("a table");
        let options = ImportOptions {
            dropout: self.setting("dropout").as_f64(),
            ..ImportOptions::default()
        };
        let (model, encoder, _) = hf::load(&dir, &options, &self.device).expect("a model");
        let betas = list(self.setting("betas"));
        Training {
            golden: self,
            encoder,
            special: tokenizer.special_ids().to_vec(),
            objective: self.objective(),
            trainable: Trainable::new(model, Some(&idf.weights), false, &self.device),
            optimizer: AdamW::new(
                number(&betas[0]),
                number(&betas[1]),
                number(self.setting("eps_torch")),
            ),
            max_grad_norm,
            step: 0,
        }
    }

    fn batch(&self, index: usize, special: &[u32]) -> Batch {
        let tokens = |side: &str| {
            let array = |key: &str| self.batches.get(&format!("{side}_{key}")).at(index);
            let rows = Tokens::new(&array("input_ids"), &array("attention_mask")).rows();
            TokenBatch::new(&rows)
        };
        let batch = TokenizedBatch {
            queries: tokens("q"),
            documents: tokens("d"),
            scores: Some(
                self.batches
                    .get("teacher_scores")
                    .at(index)
                    .floats()
                    .to_vec(),
            ),
        };
        Batch::inference_free(&batch, special, 1.0, &self.device)
    }
}

impl Training<'_> {
    /// The loss of the next step, with its gradients.
    fn forward(&self) -> (StepFigures, burn::tensor::Gradients) {
        let batches = count(self.golden.setting("batches"));
        let batch = self.golden.batch(self.step % batches, &self.special);
        let output = self.objective.forward(&self.trainable, &batch, self.step);
        (output.figures(), output.loss.backward())
    }

    /// One optimizer step.
    pub fn advance(&mut self) -> Step {
        let golden = self.golden;
        let schedule = LearningRate {
            schedule: LrSchedule::Linear,
            warmup: count(golden.setting("warmup")),
            total: count(golden.setting("steps")),
        };
        let rates = Rates {
            learning_rate: number(golden.setting("lr")) * schedule.factor(self.step),
            weight_decay: number(golden.setting("weight_decay")),
        };
        let (figures, gradients) = self.forward();
        let gradients = GradientsParams::from_grads(gradients, &self.trainable);
        let grad_norm = gradient_norm(&self.trainable, &gradients);
        let scale = clip_factor(grad_norm, self.max_grad_norm);
        self.trainable = self
            .optimizer
            .step(self.trainable.clone(), gradients, scale, |_| rates);
        self.step += 1;
        Step {
            figures,
            grad_norm,
            learning_rate: rates.learning_rate,
        }
    }
}

pub fn check_step(checks: &mut Checks, what: &str, found: &Step, golden: &Value) {
    let figures = &found.figures;
    for (key, found, tolerance) in [
        ("loss", figures.loss, TRACE_LOSS),
        ("ranking_loss", figures.ranking_loss, TRACE_LOSS),
        ("d_flops", figures.d_flops, TRACE_LOSS),
        ("flops_loss", figures.flops_loss, TRACE_LOSS),
        ("avg_doc_len", figures.d_length, DOC_LENGTH),
        ("grad_norm", found.grad_norm, TRACE_NORM),
        ("lam", figures.lambda_d, SCHEDULE),
        ("lr", found.learning_rate, SCHEDULE),
    ] {
        let what = format!("{what} step {} {key}", golden["step"]);
        checks.number(&what, found, number(&golden[key]), &tolerance);
    }
}

/// The torch traces in float32, each with its bound of the gradient norm: `trace_torch_adamw[_clip<norm>]_f32`.
pub fn torch_traces(golden: &Golden) -> Vec<(String, Option<f64>)> {
    let names = golden.trace.keys().filter_map(|key| {
        let rest = key
            .strip_prefix("trace_torch_adamw")?
            .strip_suffix("_f32")?;
        let bound = rest
            .strip_prefix("_clip")
            .map(|norm| norm.parse().expect("a norm"));
        Some((
            key.clone(),
            bound.or_else(|| golden.setting("max_grad_norm").as_f64()),
        ))
    });
    names.collect()
}

#[test]
fn traces_and_final_weights() {
    let golden = Golden::read(Device::flex());
    let mut checks = Checks::new();
    for (name, max_grad_norm) in torch_traces(&golden) {
        let mut training = golden.start(max_grad_norm);
        for expected in golden.steps(&name) {
            let step = training.advance();
            check_step(&mut checks, &name, &step, expected);
        }
        let clip = max_grad_norm.map_or(String::new(), |norm| format!("_clip{norm}"));
        let file = format!("train/final_weights_torch_adamw{clip}.safetensors");
        if let Some(path) = fixture::optional(&file) {
            check_weights(&mut checks, &training, &Arrays::open(&path));
        }
    }
    println!(
        "not compared: the traces of AdamW as transformers once had it, which is not implemented"
    );
    checks.finish();
}

fn check_weights(checks: &mut Checks, training: &Training, expected: &Arrays) {
    let found = hf::named_parameters(&training.trainable.model, training.encoder.family);
    checks.equal(
        "number of final weights",
        found.len(),
        expected.iter().count(),
    );
    for (key, shape, values) in found {
        // Adding the same number to every key changes no attention: the true gradient is 0, and Adam divides
        // rounding noise by its own size.
        if !key.ends_with("k_lin.bias") && !key.ends_with("attention.self.key.bias") {
            let golden = expected.get(&key).floats();
            let what = format!("final {key}");
            checks.close_where(&what, &shape, &values, golden, &FINAL_WEIGHTS, |_| true);
        }
    }
}

#[test]
fn gradients_of_the_first_step() {
    let golden = Golden::read(Device::flex());
    let expected = Arrays::read("train/grads_step0.safetensors");
    let training = golden.start(None);
    let (_, gradients) = training.forward();
    let family = training.encoder.family;
    let found = hf::named_gradients(&training.trainable.model, &gradients, family);
    let mut checks = Checks::new();
    checks.equal("number of gradients", found.len(), expected.iter().count());
    for gradient in found {
        let golden = expected.get(&gradient.key).floats();
        let what = format!("gradient of {}", gradient.key);
        let values = gradient.values();
        checks.close_where(
            &what,
            &gradient.shape,
            &values,
            golden,
            &STEP_GRADIENTS,
            |_| true,
        );
    }
    checks.finish();
}
