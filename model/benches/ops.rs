//! The ops on the CPU at MiniLM's sizes: 16 documents of 256 tokens. `cargo bench -p model`; figures are per call, and
//! per second in floating-point operations where products are what counts.

use burn::tensor::{Device, Distribution, Tensor};
use configs::Activation;
use data::{BatchLimit, TokenBatch};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use model::inference::CpuMaskedLm;
use model::ops::attention::Heads;
use model::ops::{Gelu, attention, cross_entropy, linear, sparse_head};
use model::{EncoderConfig, Family, FeedForward, Positions, Precision, TokenTensors};

const DOCS: usize = 16;
const LENGTH: usize = 256;
const HIDDEN: usize = 384;
const VOCAB: usize = 30_522;

fn main() {
    divan::main();
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 0.05), device)
}

fn config(num_layers: usize) -> EncoderConfig {
    EncoderConfig {
        family: Family::Bert,
        vocab_size: VOCAB,
        hidden_size: HIDDEN,
        num_layers,
        num_heads: 12,
        intermediate_size: 4 * HIDDEN,
        feed_forward: FeedForward::Plain,
        positions: Positions::Absolute,
        max_positions: 512,
        token_types: 2,
        layer_norm_eps: 1e-12,
        hidden_dropout: 0.0,
        attention_dropout: 0.0,
        initializer_range: 0.02,
    }
}

/// Floating-point operations of a product.
fn flop(m: usize, k: usize, n: usize) -> ItemsCount {
    ItemsCount::new(2 * m * k * n)
}

/// What the machine can do: a large square product.
#[divan::bench]
fn product_2048(bencher: Bencher) {
    let device = Device::flex();
    let layer = burn::nn::LinearConfig::new(2048, 2048).init(&device);
    let input = random([2048, 2048], &device);
    bencher
        .counter(flop(2048, 2048, 2048))
        .bench(|| linear(black_box(input.clone()), &layer, Gelu::Nowhere));
}

#[divan::bench(args = [Gelu::Nowhere, Gelu::Before, Gelu::After])]
fn linear_to_intermediate(bencher: Bencher, gelu: Gelu) {
    let device = Device::flex();
    let layer = burn::nn::LinearConfig::new(HIDDEN, 4 * HIDDEN).init(&device);
    let input = random([DOCS * LENGTH, HIDDEN], &device);
    bencher
        .counter(flop(DOCS * LENGTH, HIDDEN, 4 * HIDDEN))
        .bench(|| linear(black_box(input.clone()), &layer, gelu));
}

#[divan::bench]
fn attention_of_12_heads(bencher: Bencher) {
    let device = Device::flex();
    let rows = random([DOCS * LENGTH, HIDDEN], &device);
    let heads = Heads {
        lengths: vec![LENGTH; DOCS],
        count: 12,
        dropout: 0.0,
    };
    bencher
        .counter(flop(2 * DOCS * LENGTH, LENGTH, HIDDEN))
        .bench(|| attention(rows.clone(), rows.clone(), rows.clone(), heads.clone()));
}

#[divan::bench]
fn encoder_layer(bencher: Bencher) {
    let device = Device::flex();
    let encoder = config(1).init_encoder(&device);
    let batch = TokenBatch::new(&vec![vec![7; LENGTH]; DOCS]);
    let tokens = TokenTensors::new(&batch, &device);
    let hidden = random([DOCS * LENGTH, HIDDEN], &device);
    bencher
        .counter(ItemsCount::new(DOCS * LENGTH))
        .bench(|| encoder.layers[0].forward(black_box(hidden.clone()), &tokens, None));
}

/// Six layers and the sparse head, as the CPU encodes: tokens per second.
#[divan::bench(args = [Precision::Float32, Precision::BFloat16, Precision::Int8])]
fn cpu_encoder(bencher: Bencher, precision: Precision) {
    let device = Device::flex();
    if let Err(error) = precision.check(&device) {
        eprintln!("skipped: {error}");
        return;
    }
    let encoder = CpuMaskedLm::pack(&config(6).init(&device), precision);
    let text: &[u32] = &[7; LENGTH];
    bencher
        .counter(ItemsCount::new(DOCS * LENGTH))
        .bench(|| encoder.encode(&[text; DOCS], BatchLimit::Rows(4), <[f32]>::len));
}

#[divan::bench]
fn sparse_head_forward(bencher: Bencher) {
    let device = Device::flex();
    let hidden = random([DOCS * LENGTH, HIDDEN], &device);
    let decoder = random([VOCAB, HIDDEN], &device);
    let bias = Tensor::full([VOCAB], -0.1, &device);
    bencher
        .counter(flop(DOCS * LENGTH, HIDDEN, VOCAB))
        .bench(|| {
            let (hidden, decoder, bias) = (hidden.clone(), decoder.clone(), bias.clone());
            sparse_head(hidden, decoder, bias, &[LENGTH; DOCS], Activation::L1Relu)
        });
}

#[divan::bench]
fn sparse_head_with_gradients(bencher: Bencher) {
    let device = Device::flex().autodiff();
    let hidden = random([DOCS * LENGTH, HIDDEN], &device).require_grad();
    let decoder = random([VOCAB, HIDDEN], &device).require_grad();
    let bias = Tensor::full([VOCAB], -0.1, &device).require_grad();
    bencher.bench(|| {
        let (hidden, decoder, bias) = (hidden.clone(), decoder.clone(), bias.clone());
        let weights = sparse_head(hidden, decoder, bias, &[LENGTH; DOCS], Activation::L1Relu);
        weights.sum().backward()
    });
}

/// The masked-LM head: 15 % of the tokens.
#[divan::bench]
fn cross_entropy_with_gradients(bencher: Bencher) {
    const MASKED: usize = DOCS * LENGTH * 15 / 100;
    let device = Device::flex().autodiff();
    let hidden = random([MASKED, HIDDEN], &device).require_grad();
    let decoder = random([VOCAB, HIDDEN], &device).require_grad();
    let bias = Tensor::zeros([VOCAB], &device).require_grad();
    let targets = (0..MASKED).map(|row| (row * 31 % VOCAB) as i32);
    let targets = Tensor::from_data(targets.collect::<Vec<_>>().as_slice(), &device);
    bencher.counter(flop(4 * MASKED, HIDDEN, VOCAB)).bench(|| {
        let (hidden, decoder, bias) = (hidden.clone(), decoder.clone(), bias.clone());
        let found = cross_entropy(hidden, decoder, bias, targets.clone());
        found.losses.mean().backward()
    });
}
