//! A GPU, or a driver in software (Mesa's lavapipe): one encoder forward pass and the first training steps, with golden
//! values, and the kernels. On CUDA where that is built in, else on wgpu.
//!
//! Without a driver the tests say so and pass; `ELLZERO_REQUIRE_GPU=1` makes that a failure.

mod sparse_head;

use burn::tensor::Device;
use model::device::{DeviceChoice, select};

use crate::compare::Checks;
use crate::golden::encoder::Golden;
use crate::golden::teachers::{cross_encoder, dense_encoder};
use crate::golden::tolerance::{HIDDEN_STATES, LOGITS, TF32, WEIGHTS};
use crate::golden::{sparse, training};
use crate::needs;

fn device() -> Option<Device> {
    let choice = if cfg!(feature = "cuda") {
        DeviceChoice::Cuda(0)
    } else {
        DeviceChoice::Wgpu(0)
    };
    match select(choice) {
        Ok(device) => Some(device),
        Err(error) => {
            let reason = format!("no GPU ({error})");
            let required =
                std::env::var_os("ELLZERO_REQUIRE_GPU").is_some_and(|value| value != "0");
            assert!(!required, "{reason}");
            needs::skip(&reason);
            None
        }
    }
}

/// With what a device may lack.
fn checks() -> Checks {
    match cfg!(feature = "cuda") {
        true => Checks::with_slack(&TF32),
        false => Checks::new(),
    }
}

#[test]
fn encoder_and_sparse_head() {
    let Some(device) = device() else {
        return;
    };
    let mut checks = checks();
    for golden in Golden::all(&device) {
        let tokens = golden.tokens.tensors(&device);
        let last = golden.model.encoder.forward(&tokens);
        golden.check(&mut checks, "last_hidden_state", last, &HIDDEN_STATES);
        let logits = golden.model.logits(&tokens);
        golden.check(&mut checks, "logits", logits, &LOGITS);
    }
    for expected in sparse::Expected::all() {
        let golden = Golden::open(&expected.name, &device);
        let tokens = expected.tokens.tensors(&device);
        for (activation, weights) in expected.activations() {
            let found = golden.model.document_weights(&tokens, activation);
            let found: Vec<f32> = found.into_data().iter::<f32>().collect();
            let what = format!("{} {}", expected.name, activation.name());
            checks.close(&what, &found, weights.floats(), &WEIGHTS);
        }
    }
    checks.finish();
}

#[test]
fn teachers() {
    let Some(device) = device() else {
        return;
    };
    let mut checks = checks();
    cross_encoder::check_scores(&mut checks, &device);
    dense_encoder::check_vectors(&mut checks, &device);
    checks.finish();
}

/// The first step has a learning rate of 0: the second loss follows the first update but one.
#[test]
fn training_steps() {
    let Some(device) = device() else {
        return;
    };
    let golden = training::Golden::read(device);
    let mut checks = checks();
    let (name, max_grad_norm) = training::torch_traces(&golden).swap_remove(0);
    let mut run = golden.start(max_grad_norm);
    for expected in golden.steps(&name).iter().take(3) {
        let step = run.advance();
        training::check_step(&mut checks, &name, &step, expected);
    }
    checks.finish();
}
