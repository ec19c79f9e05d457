//! Hidden states of every layer and masked-LM logits.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use model::hf::{self, ImportOptions};
use model::{EncoderConfig, MaskedLm};

use super::tolerance::{HIDDEN_STATES, LOGITS, Tolerance};
use crate::compare::Checks;
use crate::fixture::{self, Array, Arrays, Tokens};

/// A model of the golden data, with what it is to be tested with.
pub struct Golden {
    pub name: String,
    pub model: MaskedLm,
    pub config: EncoderConfig,
    pub io: Arrays,
    pub tokens: Tokens,
    pub device: Device,
}

impl Golden {
    /// All models that have outputs.
    pub fn all(device: &Device) -> Vec<Self> {
        let names = fixture::models_with_outputs();
        names.iter().map(|name| Self::open(name, device)).collect()
    }

    pub fn open(name: &str, device: &Device) -> Self {
        Self::at(&fixture::path(name), device)
    }

    /// The model in a folder, which also has its outputs.
    pub fn at(dir: &Path, device: &Device) -> Self {
        let name = dir.file_name().expect("a name").to_string_lossy();
        let (model, config, _) = hf::load(dir, &ImportOptions::default(), device)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let io = Arrays::open(&dir.join("io.safetensors"));
        Self {
            name: name.into_owned(),
            model,
            config,
            tokens: Tokens::read(&io, ""),
            io,
            device: device.clone(),
        }
    }

    /// Compares `[tokens, width]` with a golden `[docs, seq, width]`, where there are tokens.
    pub fn check(&self, checks: &mut Checks, key: &str, found: Tensor<2>, tolerance: &Tolerance) {
        let expected = self.tokens.pack(self.io.get(key).floats());
        let found: Vec<f32> = found.into_data().iter::<f32>().collect();
        checks.close(
            &format!("{} {key}", self.name),
            &found,
            &expected,
            tolerance,
        );
    }

    /// Logits for any token types.
    fn logits_of_types(&self, token_types: &Array) -> Tensor<2> {
        let types = self.tokens.pack(token_types.ints());
        let types: Vec<i32> = types.into_iter().map(|id| id as i32).collect();
        let mut tokens = self.tokens.tensors(&self.device);
        tokens.types = Some(Tensor::from_data(types.as_slice(), &self.device));
        self.model.logits(&tokens)
    }
}

#[test]
fn hidden_states_of_every_layer() {
    let device = Device::flex();
    let mut checks = Checks::new();
    for golden in Golden::all(&device) {
        let tokens = golden.tokens.tensors(&device);
        let states = golden.model.encoder.hidden_states(&tokens);
        let stored = golden.io.starting_with("hidden_state_").count();
        if stored > 0 {
            let what = format!("{}: number of hidden states", golden.name);
            checks.equal(&what, stored, golden.config.num_layers + 1);
            checks.equal(&what, states.len(), stored);
        }
        for (layer, state) in states.into_iter().enumerate() {
            let key = format!("hidden_state_{layer}");
            if golden.io.contains(&key) {
                golden.check(&mut checks, &key, state, &HIDDEN_STATES);
            }
        }
        let last = golden.model.encoder.forward(&tokens);
        golden.check(&mut checks, "last_hidden_state", last, &HIDDEN_STATES);
    }
    checks.finish();
}

#[test]
fn logits() {
    let device = Device::flex();
    let mut checks = Checks::new();
    for golden in Golden::all(&device) {
        let logits = golden.model.logits(&golden.tokens.tensors(&device));
        golden.check(&mut checks, "logits", logits, &LOGITS);
    }
    checks.finish();
}

#[test]
fn logits_with_token_types() {
    let device = Device::flex();
    let mut checks = Checks::new();
    for golden in Golden::all(&device) {
        if golden.io.contains("token_type_ids_mixed") {
            let found = golden.logits_of_types(golden.io.get("token_type_ids_mixed"));
            golden.check(&mut checks, "logits_token_type_mixed", found, &LOGITS);
            let zeros = vec![0; golden.tokens.ids.ints().len()];
            let zeros = Array {
                shape: golden.tokens.ids.shape.clone(),
                values: fixture::Values::I64(zeros),
            };
            golden.check(
                &mut checks,
                "logits",
                golden.logits_of_types(&zeros),
                &LOGITS,
            );
        }
    }
    checks.finish();
}

/// Every row alone gives the row of the batch.
#[test]
fn rows_alone() {
    let device = Device::flex();
    let mut checks = Checks::new();
    for golden in Golden::all(&device) {
        let expected = golden.io.get("logits");
        for (row, ids) in golden.tokens.rows().into_iter().enumerate() {
            let batch = data::TokenBatch::new(&[&ids]);
            let logits = golden
                .model
                .logits(&model::TokenTensors::new(&batch, &device));
            let found: Vec<f32> = logits.into_data().iter::<f32>().collect();
            let expected = expected.at(row);
            let expected = &expected.floats()[..found.len()];
            checks.close(
                &format!("{} row {row}", golden.name),
                &found,
                expected,
                &LOGITS,
            );
        }
    }
    checks.finish();
}
