//! One training step on random tokens, as `bench_pytorch.py train` has it: KL over the documents of each query, masked
//! FLOPS, AdamW; no padding, no dropout. Prints one JSON line.
//!
//! `cargo bench -p train --bench step -- --shape minilm --queries 8 --docs-per-query 2 --length 128`

use std::time::Instant;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Device;
use clap::{Parser, ValueEnum};
use configs::{Activation, FlopsConfig, FlopsReduction, LossConfig, RankingLoss};
use data::TokenBatch;
use model::device::{DeviceChoice, select};
use model::{EncoderConfig, Family, FeedForward, Positions};
use train::batch::{Batch, TokenizedBatch};
use train::grad_cache::GradientCache;
use train::memory::{keep_freed_memory, peak_memory_mib};
use train::optimizer::{AdamW, Rates};
use train::step::{Objective, Trainable};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shape {
    Minilm,
    Distilbert,
    /// Six layers of gte-base-en-v1.5.
    Gte,
}

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long, value_enum, default_value = "minilm")]
    shape: Shape,
    #[arg(long, default_value_t = 8)]
    queries: usize,
    #[arg(long, default_value_t = 2)]
    docs_per_query: usize,
    #[arg(long, default_value_t = 128)]
    length: usize,
    #[arg(long, default_value_t = 30522)]
    vocab: usize,
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Documents encoded at a time; all of them by default
    #[arg(long)]
    grad_cache_docs: Option<usize>,
    #[arg(long)]
    threads: Option<usize>,
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    fn encoder(&self) -> EncoderConfig {
        let (family, hidden_size, token_types) = match self.shape {
            Shape::Minilm => (Family::Bert, 384, 2),
            Shape::Distilbert => (Family::DistilBert, 768, 0),
            Shape::Gte => (Family::Gte, 768, 0),
        };
        let (feed_forward, positions) = match self.shape {
            Shape::Minilm | Shape::Distilbert => (FeedForward::Plain, Positions::Absolute),
            Shape::Gte => {
                let (theta, scaling) = (500_000.0, 2.0);
                (FeedForward::Gated, Positions::Rotary { theta, scaling })
            }
        };
        EncoderConfig {
            family,
            vocab_size: self.vocab,
            hidden_size,
            num_layers: 6,
            num_heads: 12,
            intermediate_size: 4 * hidden_size,
            feed_forward,
            positions,
            max_positions: 512,
            token_types,
            layer_norm_eps: 1e-12,
            hidden_dropout: 0.0,
            attention_dropout: 0.0,
            initializer_range: 0.02,
        }
    }

    fn batch(&self, device: &Device) -> Batch {
        let mut state = 1u32;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((u64::from(state) * below as u64) >> 32) as u32
        };
        let mut rows = |count: usize, length: usize| {
            let mut row = || {
                (0..length)
                    .map(|_| 1000 + draw(self.vocab - 1000))
                    .collect()
            };
            TokenBatch::new(&(0..count).map(|_| row()).collect::<Vec<Vec<u32>>>())
        };
        let docs = self.queries * self.docs_per_query;
        let batch = TokenizedBatch {
            queries: rows(self.queries, 8),
            documents: rows(docs, self.length),
            scores: Some((0..docs).map(|doc| (doc * 7 % 11) as f32).collect()),
        };
        Batch::inference_free(&batch, &[], 1.0, device)
    }
}

fn objective() -> Objective {
    Objective {
        activation: Activation::L1Relu,
        prune_ratio: None,
        loss: LossConfig {
            ranking: vec![RankingLoss::KlDiv],
            loss_weights: vec![1.0],
            ranking_weight: 1.0,
            in_batch_negatives: false,
            temperature: 1.0,
            score_scale: 1.0,
            document_flops: FlopsConfig {
                lambda: 1e-4,
                warmup_steps: 0,
                threshold: Some(200.0),
                decouple_activation: false,
                reduction: FlopsReduction::Slots,
            },
            query_flops: None,
            mask_special_tokens: false,
        },
        masked_tokens: Vec::new(),
    }
}

fn main() {
    keep_freed_memory();
    let arguments = Arguments::parse();
    if let Some(threads) = arguments.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .expect("the pool is not in use yet");
    }
    let device = select(arguments.device)
        .expect("the device is here")
        .autodiff();
    let idf = vec![3.0; arguments.vocab];
    let model = arguments.encoder().init(&device);
    let mut trainable = Trainable::new(model, Some(&idf), false, &device);
    let mut optimizer = AdamW::new(0.9, 0.999, 1e-8);
    let (objective, batch) = (objective(), arguments.batch(&device));
    let rates = Rates {
        learning_rate: 2e-5,
        weight_decay: 0.01,
    };
    let mut seconds = Vec::new();
    for _ in 0..=arguments.steps {
        let began = Instant::now();
        let gradients = match arguments.grad_cache_docs {
            None => {
                let output = objective.forward(&trainable, &batch, 0);
                GradientsParams::from_grads(output.loss.backward(), &trainable)
            }
            Some(texts_at_a_time) => {
                let mut accumulator = GradientsAccumulator::new();
                let cache = GradientCache {
                    objective: &objective,
                    trainable: &trainable,
                    texts_at_a_time,
                    seed: 0,
                    loss_weight: 1.0,
                };
                cache.accumulate(&batch, 0, &mut accumulator);
                accumulator.grads()
            }
        };
        trainable = optimizer.step(trainable, gradients, 1.0, |_| rates);
        device.sync().expect("the step succeeds");
        seconds.push(began.elapsed().as_secs_f64());
    }
    seconds.remove(0); // the first one allocates, and compiles kernels
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let tokens = arguments.queries * arguments.docs_per_query * arguments.length;
    println!(
        "{}",
        serde_json::json!({
            "peer": "ellzero", "mode": "train", "device": arguments.device.to_string(), "shape": format!("{:?}", arguments.shape).to_lowercase(),
            "vocab": arguments.vocab, "docs": arguments.queries * arguments.docs_per_query,
            "length": arguments.length, "grad_cache_docs": arguments.grad_cache_docs,
            "seconds_per_step": median, "min": seconds[0], "tokens_per_s": tokens as f64 / median,
            "peak_rss_mib": peak_memory_mib(),
        })
    );
}
