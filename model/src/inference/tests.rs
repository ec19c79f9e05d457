use burn::module::{Module, ModuleMapper};
use burn::tensor::{Device, Tensor};
use configs::Activation;
use data::TokenBatch;

use super::*;
use crate::classifier::HeadActivation;
use crate::config::{EncoderConfig, Family};
use crate::masked_lm::{MaskedLm, TokenTensors};
use crate::ops::check::{Draws, assert_close, floats as numbers};

/// Gives every parameter the same values in every run: matrices around 0, vectors (LayerNorm's scales among them)
/// around a quarter.
struct Redraw<'a>(Draws<'a>);

impl ModuleMapper for Redraw<'_> {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let values = self.0.next(parameter.val().dims()) * 0.15;
        parameter.map(|_| if D == 1 { values + 0.25 } else { values })
    }
}

/// A model with an untied decoder for BERT and a tied one for the others.
fn model(family: Family, device: &Device) -> MaskedLm {
    let mut model = EncoderConfig::tiny(family).init(device);
    if family == Family::Bert {
        let decoder = Tensor::zeros([131, 36], device);
        model.head.decoder = Some(Param::from_tensor(decoder));
    }
    model.map(&mut Redraw(Draws::new(device)))
}

fn texts(lengths: &[usize]) -> Vec<Vec<u32>> {
    let text = |&length: &usize| (0..length).map(move |i| ((i * i + 7 * length) % 131) as u32);
    lengths
        .iter()
        .map(|length| text(length).collect())
        .collect()
}

fn encode(encoder: &CpuMaskedLm, texts: &[Vec<u32>], limit: BatchLimit) -> Vec<f32> {
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    encoder.encode(&texts, limit, <[f32]>::to_vec).concat()
}

const LENGTHS: [usize; 6] = [5, 1, 130, 0, 14, 33];

#[test]
fn values_are_those_of_the_model() {
    let device = Device::flex();
    for family in [Family::Bert, Family::DistilBert, Family::Gte] {
        let model = model(family, &device);
        let texts = texts(&LENGTHS);
        let tokens = TokenTensors::new(&TokenBatch::new(&texts), &device);
        let hidden = model.head_states(&tokens);
        let expected = crate::ops::sparse_head::reference::sparse_head(
            hidden,
            model.decoder(),
            model.head.bias.val(),
            &LENGTHS,
            Activation::Relu,
        );
        // The op has the logarithm of one `relu`.
        let expected: Vec<f32> = numbers(expected).into_iter().map(f32::exp_m1).collect();
        let encoder = CpuMaskedLm::pack(&model, Precision::Float32);
        let found = encode(&encoder, &texts, BatchLimit::Tokens(40));
        assert_close(&found, &expected, 2e-5, &format!("{family:?}"));
    }
}

#[test]
fn a_text_does_not_depend_on_its_company() {
    for family in [Family::Bert, Family::Gte] {
        let encoder = CpuMaskedLm::pack(&model(family, &Device::flex()), Precision::Float32);
        let texts = texts(&LENGTHS);
        let alone = encode(&encoder, &texts, BatchLimit::Rows(1));
        for limit in [BatchLimit::Rows(6), BatchLimit::Tokens(50)] {
            assert_eq!(encode(&encoder, &texts, limit), alone, "{family:?}");
        }
    }
}

/// Rounded numbers change hidden states a little, and winners whose logits are close.
#[test]
fn less_precision_is_close() {
    let device = Device::flex();
    for family in [Family::DistilBert, Family::Gte] {
        let model = model(family, &device);
        let texts = texts(&LENGTHS);
        let exact = encode(
            &CpuMaskedLm::pack(&model, Precision::Float32),
            &texts,
            BatchLimit::Rows(2),
        );
        let mean = |values: &mut dyn Iterator<Item = f32>| values.sum::<f32>() / exact.len() as f32;
        let size = mean(&mut exact.iter().copied());
        for (precision, share) in [(Precision::BFloat16, 0.01), (Precision::Int8, 0.03)] {
            if let Err(error) = precision.check(&device) {
                println!("SKIPPED {precision}: {error}");
                continue;
            }
            let encoder = CpuMaskedLm::pack(&model, precision);
            let found = encode(&encoder, &texts, BatchLimit::Rows(2));
            assert_ne!(found, exact, "{family:?} {precision} rounds");
            let error = mean(&mut exact.iter().zip(&found).map(|(a, b)| (a - b).abs()));
            assert!(
                error < share * size,
                "{family:?} {precision}: {error} of {size}"
            );
        }
    }
}

/// The second token type from the third of a text on; a family without types does not see it.
#[test]
fn hidden_states_are_those_of_the_encoder() {
    let device = Device::flex();
    for family in [Family::Bert, Family::DistilBert] {
        let encoder = model(family, &device).encoder;
        let texts = texts(&LENGTHS);
        let first = LENGTHS.map(|length| length / 3);
        let tokens = TokenTensors::new(&TokenBatch::new(&texts), &device);
        let plain = numbers(encoder.forward(&tokens));
        let expected = numbers(encoder.forward(&tokens.with_second_type(&first)));
        assert_eq!(plain != expected, family == Family::Bert);
        let segments = texts.iter().zip(first);
        let segments: Vec<Segments> = segments
            .map(|(ids, first)| Segments { ids, first })
            .collect();
        let packed = CpuEncoder::pack(&encoder, Precision::Float32);
        let found = packed.encode(&segments, BatchLimit::Tokens(40), <[f32]>::to_vec);
        assert_close(&found.concat(), &expected, 2e-5, &format!("{family:?}"));
    }
}

#[test]
fn logits_are_those_of_the_classifier() {
    const LENGTHS: [usize; 5] = [5, 1, 130, 14, 33];
    let device = Device::flex();
    for (family, activation) in [
        (Family::Bert, HeadActivation::Tanh),
        (Family::DistilBert, HeadActivation::Relu),
    ] {
        let classifier = EncoderConfig::tiny(family).init_classifier(activation, &device);
        let classifier = classifier.map(&mut Redraw(Draws::new(&device)));
        let texts = texts(&LENGTHS);
        let first = LENGTHS.map(|length| length / 2);
        let tokens = TokenTensors::new(&TokenBatch::new(&texts), &device).with_second_type(&first);
        let expected = numbers(classifier.logits(&tokens));
        let packed = CpuClassifier::pack(&classifier, Precision::Float32);
        let segments = texts.iter().zip(first);
        let segments: Vec<Segments> = segments
            .map(|(ids, first)| Segments { ids, first })
            .collect();
        let alone = packed.logits(&segments, BatchLimit::Rows(1));
        assert_close(&alone, &expected, 2e-5, &format!("{family:?}"));
        for limit in [BatchLimit::Rows(5), BatchLimit::Tokens(50)] {
            assert_eq!(packed.logits(&segments, limit), alone);
        }
    }
}
