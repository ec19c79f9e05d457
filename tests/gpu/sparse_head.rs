//! The sparse head's kernels against the same op in plain tensor operations on the CPU, values and gradients.

use burn::tensor::{Device, Tensor};
use configs::Activation;
use model::ops::sparse_head::{reference, sparse_head};

use super::device;
use crate::compare::Checks;
use crate::golden::tolerance::{EXACT, GPU_KERNEL};

/// Hidden width, vocabulary, and the documents' lengths.
const CASES: [([usize; 2], &[usize]); 9] = [
    ([1, 1], &[1]),
    ([16, 128], &[64]),         // one tile of everything
    ([17, 300], &[7]),          // a bit more than tiles
    ([6, 129], &[5, 1, 3]),     // less than a tile, and one entry more
    ([33, 257], &[0, 4, 1, 0]), // documents without tokens
    ([20, 131], &[65, 2, 150]), // documents longer than a tile
    ([8, 20], &[2; 40]),        // more documents than a round of the decoder's gradient
    ([24, 9_000], &[3, 70]),    // more entries than a round of the hidden states' gradient
    ([1_100, 12], &[3, 2]),     // more columns than a cube of either gradient
];

/// Output, then the gradients of the inputs.
const PARTS: [&str; 4] = ["weights", "d hidden", "d decoder", "d bias"];

type Head = fn(Tensor<2>, Tensor<2>, Tensor<1>, &[usize], Activation) -> Tensor<2>;

/// Numbers, so that any device can have them.
#[derive(Clone)]
struct Case {
    hidden: Vec<f32>,
    decoder: Vec<f32>,
    bias: Vec<f32>,
    upstream: Vec<f32>,
    lengths: Vec<usize>,
}

impl Case {
    /// Between -1.5 and 1.5.
    fn new([width, vocab]: [usize; 2], lengths: &[usize]) -> Self {
        let mut count = 0;
        let mut draws = |len| -> Vec<f32> {
            let draw = |_| {
                count += 1;
                let x = (f64::from(count) * 78.233).sin() * 43_758.547;
                (3.0 * (x - x.floor()) - 1.5) as f32
            };
            (0..len).map(draw).collect()
        };
        Self {
            hidden: draws(lengths.iter().sum::<usize>() * width),
            decoder: draws(vocab * width),
            bias: draws(vocab),
            upstream: draws(lengths.len() * vocab),
            lengths: lengths.to_vec(),
        }
    }

    /// What [`PARTS`] names.
    fn run(&self, op: Head, device: &Device) -> [Vec<f32>; 4] {
        let device = device.clone().autodiff();
        let (vocab, docs) = (self.bias.len(), self.lengths.len());
        let width = self.decoder.len() / vocab;
        let matrix = |values: &[f32], rows, columns| {
            Tensor::<1>::from_floats(values, &device).reshape([rows, columns])
        };
        let tokens = self.lengths.iter().sum();
        let hidden = matrix(&self.hidden, tokens, width).detach().require_grad();
        let decoder = matrix(&self.decoder, vocab, width).detach().require_grad();
        let bias = Tensor::<1>::from_floats(self.bias.as_slice(), &device).require_grad();
        let weights = op(
            hidden.clone(),
            decoder.clone(),
            bias.clone(),
            &self.lengths,
            Activation::L1Relu,
        );
        let upstream = matrix(&self.upstream, docs, vocab);
        let grads = (weights.clone() * upstream).sum().backward();
        [
            floats(weights.inner()),
            floats(hidden.grad(&grads).expect("hidden has a gradient")),
            floats(decoder.grad(&grads).expect("decoder has a gradient")),
            floats(bias.grad(&grads).expect("bias has a gradient")),
        ]
    }

    /// `sum of weights * upstream`
    fn objective(&self, device: &Device) -> f64 {
        let [weights, ..] = self.run(sparse_head, device);
        let products = weights.iter().zip(&self.upstream);
        products.map(|(w, u)| f64::from(*w) * f64::from(*u)).sum()
    }
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[test]
fn values_and_gradients_match_plain_tensor_operations() {
    let Some(device) = device() else {
        return;
    };
    let mut checks = Checks::new();
    for (shape, lengths) in CASES {
        let case = Case::new(shape, lengths);
        let found = case.run(sparse_head, &device);
        let expected = case.run(reference::sparse_head, &Device::flex());
        for (part, name) in PARTS.iter().enumerate() {
            let what = format!("{shape:?} {lengths:?} {name}");
            checks.close(&what, &found[part], &expected[part], &GPU_KERNEL);
        }
    }
    checks.finish();
}

#[test]
fn gradients_match_finite_differences() {
    let Some(device) = device() else {
        return;
    };
    let case = Case::new([3, 4], &[2, 0, 1]);
    let [_, hidden, decoder, bias] = case.run(sparse_head, &device);
    type Part = fn(&mut Case) -> &mut Vec<f32>;
    let parts: [(&str, Part, Vec<f32>); 3] = [
        ("hidden", |case| &mut case.hidden, hidden),
        ("decoder", |case| &mut case.decoder, decoder),
        ("bias", |case| &mut case.bias, bias),
    ];
    const STEP: f32 = 1e-2;
    for (name, part, gradient) in parts {
        for (index, gradient) in gradient.into_iter().enumerate() {
            let at = |step| {
                let mut moved = case.clone();
                part(&mut moved)[index] += step;
                moved.objective(&device)
            };
            let slope = (at(STEP) - at(-STEP)) / f64::from(2.0 * STEP);
            let error = (slope - f64::from(gradient)).abs();
            assert!(error < 2e-3, "{name}[{index}]: {slope} {gradient}");
        }
    }
}

#[test]
fn nothing_positive_means_no_weight_and_no_gradient() {
    let Some(device) = device() else {
        return;
    };
    let mut case = Case::new([4, 130], &[70, 1]);
    case.bias.fill(-100.0);
    let mut checks = Checks::new();
    for (name, part) in PARTS.iter().zip(case.run(sparse_head, &device)) {
        checks.close(name, &part, &vec![0.0; part.len()], &EXACT);
    }
    checks.finish();
}

/// Equal tokens in one unit's registers, in several units and in several tiles.
#[test]
fn ties_go_to_the_first_position() {
    let Some(device) = device() else {
        return;
    };
    let mut case = Case::new([2, 5], &[3, 150]);
    case.hidden.fill(1.0);
    case.decoder.fill(1.0);
    case.bias.fill(0.0);
    case.upstream.fill(1.0);
    // The second document's first five tokens are below its maximum.
    case.hidden[2 * 3..2 * 8].fill(0.5);
    let [_, hidden, ..] = case.run(sparse_head, &device);
    let winners = hidden
        .iter()
        .enumerate()
        .filter(|(_, value)| **value != 0.0);
    let winners: Vec<usize> = winners.map(|(index, _)| index).collect();
    assert_eq!(winners, [0, 1, 2 * 8, 2 * 8 + 1]);
}

#[test]
fn documents_without_tokens_have_no_weights() {
    let Some(device) = device() else {
        return;
    };
    let [weights, hidden, decoder, bias] = Case::new([3, 5], &[0, 0]).run(sparse_head, &device);
    assert_eq!(weights, [0.0; 10]);
    assert!(hidden.is_empty());
    assert_eq!(decoder, [0.0; 15]);
    assert_eq!(bias, [0.0; 5]);
}
