//! The losses with their gradients, 40 queries of 2 documents over the usual vocabulary. `cargo bench -p train --bench
//! losses`.

use burn::tensor::{Device, Distribution, Tensor};
use divan::Bencher;
use train::loss::{Candidates, FlopsPenalty, flops, info_nce, kl_divergence};

const QUERIES: usize = 40;
const DOCS: usize = 80;
const VOCAB: usize = 30_522;

fn main() {
    divan::main();
}

fn weights(rows: usize, device: &Device) -> Tensor<2> {
    let weights = Tensor::random([rows, VOCAB], Distribution::Uniform(-9.0, 1.0), device);
    weights.clamp_min(0.0).detach().require_grad()
}

#[divan::bench(args = [Candidates::Own, Candidates::InBatch])]
fn scores(bencher: Bencher, candidates: Candidates) {
    let device = Device::flex().autodiff();
    let (queries, documents) = (weights(QUERIES, &device), weights(DOCS, &device));
    bencher.bench(|| {
        candidates
            .scores(queries.clone(), documents.clone())
            .sum()
            .backward()
    });
}

#[divan::bench]
fn kldiv(bencher: Bencher) {
    let device = Device::flex().autodiff();
    let scores = weights(QUERIES, &device)
        .slice([0..QUERIES, 0..2])
        .detach()
        .require_grad();
    let teacher = scores.clone().detach() * 2.0;
    bencher.bench(|| kl_divergence(scores.clone(), teacher.clone(), 1.0).backward());
}

#[divan::bench]
fn infonce_in_batch(bencher: Bencher) {
    let device = Device::flex().autodiff();
    let scores = weights(QUERIES, &device)
        .slice([0..QUERIES, 0..DOCS])
        .detach()
        .require_grad();
    bencher.bench(|| info_nce(scores.clone(), Candidates::InBatch, 1.0).backward());
}

#[divan::bench(args = [None, Some(200.0)])]
fn flops_penalty(bencher: Bencher, threshold: Option<f64>) {
    let device = Device::flex().autodiff();
    let documents = weights(DOCS, &device);
    let penalty = FlopsPenalty {
        groups: 2,
        threshold,
        decouple_activation: false,
    };
    bencher.bench(|| flops(documents.clone(), penalty).backward());
}
