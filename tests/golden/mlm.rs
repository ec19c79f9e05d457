//! The masked-LM loss and its gradients, as transformers computes them.

use burn::tensor::{Device, Int, Tensor};
use model::MaskedLm;
use model::hf::{self, ImportOptions};

use super::tolerance::{EXACT, LOSS, STEP_GRADIENTS};
use crate::compare::Checks;
use crate::fixture::{self, Arrays, Tokens};

/// `mlm/`: input ids with some tokens hidden, labels, and what comes of them.
struct Golden {
    name: &'static str,
    arrays: Arrays,
    tokens: Tokens,
    /// Places of the tokens to guess, and what they were.
    hidden: Vec<(i32, i32)>,
}

impl Golden {
    fn all() -> Vec<Self> {
        let names = ["bert_tiny", "distilbert_tiny"];
        names.into_iter().filter_map(Self::open).collect()
    }

    fn open(name: &'static str) -> Option<Self> {
        let arrays = Arrays::open(&fixture::optional(&format!("mlm/{name}.safetensors"))?);
        let tokens = Tokens::read(&arrays, "");
        let labels = tokens.pack(arrays.get("labels").ints());
        let places = (0..).zip(labels).filter(|(_, label)| *label >= 0);
        Some(Self {
            name,
            hidden: places.map(|(place, label)| (place, label as i32)).collect(),
            arrays,
            tokens,
        })
    }

    fn tensor(&self, of: impl Fn(&(i32, i32)) -> i32, device: &Device) -> Tensor<1, Int> {
        let values: Vec<i32> = self.hidden.iter().map(of).collect();
        Tensor::from_data(values.as_slice(), device)
    }

    fn check(&self, checks: &mut Checks, device: &Device) {
        let options = ImportOptions {
            dropout: Some(0.0),
            ..ImportOptions::default()
        };
        let (model, config, _) =
            hf::load(&fixture::path(self.name), &options, device).expect("a model");
        let found = model.masked_losses(
            &self.tokens.tensors(device),
            self.tensor(|(place, _)| *place, device),
            self.tensor(|(_, label)| *label, device),
        );
        let guesses = found.guesses.into_data();
        let right = guesses.iter::<i32>().zip(&self.hidden);
        let right = right.filter(|(guess, (_, label))| guess == label).count();
        let expected = self.arrays.get("right").ints()[0] as f64;
        checks.number(
            &format!("{} right", self.name),
            right as f64,
            expected,
            &EXACT,
        );

        let loss = found.losses.mean();
        let value: f32 = loss.clone().inner().into_scalar();
        let expected = f64::from(self.arrays.get("loss").floats()[0]);
        checks.number(
            &format!("{} loss", self.name),
            value.into(),
            expected,
            &LOSS,
        );
        self.check_gradients(checks, &model, &loss.backward(), config.family);
    }

    fn check_gradients(
        &self,
        checks: &mut Checks,
        model: &MaskedLm,
        gradients: &burn::tensor::Gradients,
        family: model::Family,
    ) {
        let found = hf::named_gradients(model, gradients, family);
        let mut compared = 0;
        for (key, expected) in self.arrays.starting_with("grad.") {
            let Some(gradient) = found.iter().find(|gradient| gradient.key == key) else {
                checks.fail(format!("{}: no gradient of {key}", self.name));
                continue;
            };
            let what = format!("{} gradient of {key}", self.name);
            let found = kept_rows(gradient.values(), &gradient.shape);
            checks.close(&what, &found, expected.floats(), &STEP_GRADIENTS);
            compared += 1;
        }
        checks.require(compared > 3, || {
            format!("{}: {compared} gradients", self.name)
        });
    }
}

/// Of a matrix every 16th row, as the fixture has it.
fn kept_rows(values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
    match shape {
        [_, columns] => {
            let rows = values.chunks(*columns).step_by(16);
            rows.flatten().copied().collect()
        }
        _ => values,
    }
}

#[test]
fn losses_guesses_and_gradients() {
    let device = Device::flex().autodiff();
    let mut checks = Checks::new();
    let all = Golden::all();
    for golden in &all {
        golden.check(&mut checks, &device);
    }
    if !all.is_empty() {
        checks.finish();
    }
}
