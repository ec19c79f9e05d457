//! Sequence classification with one logit: the model of a cross-encoder.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, activation};

use crate::config::EncoderConfig;
use crate::encoder::Encoder;
use crate::masked_lm::TokenTensors;
use crate::ops::{Gelu, linear};

/// An encoder with a classification head.
#[derive(Module, Debug)]
pub struct SequenceClassifier {
    /// Embeddings and transformer layers.
    pub encoder: Encoder,
    /// What makes a logit of the first token's hidden state.
    pub classifier: ClassifierHead,
}

/// `logit = act(state · dense + b) · output + c`, without the dropout of training: nothing here trains it.
#[derive(Module, Debug)]
pub struct ClassifierHead {
    /// `[hidden, hidden]`; BERT's pooler, DistilBERT's pre-classifier.
    pub dense: Linear,
    /// `[hidden, 1]`.
    pub output: Linear,
    /// Between the two.
    #[module(skip)]
    pub activation: HeadActivation,
}

/// What is between the two layers of a classification head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadActivation {
    /// The hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`.
    Relu,
}

impl HeadActivation {
    /// Replaces every value.
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Self::Tanh => values.iter_mut().for_each(|x| *x = x.tanh()),
            Self::Relu => values.iter_mut().for_each(|x| *x = x.max(0.0)),
        }
    }
}

impl EncoderConfig {
    /// A freshly initialised classifier.
    pub fn init_classifier(
        &self,
        activation: HeadActivation,
        device: &Device,
    ) -> SequenceClassifier {
        SequenceClassifier {
            encoder: self.init_encoder(device),
            classifier: ClassifierHead {
                dense: self.linear(self.hidden_size, self.hidden_size, device),
                output: self.linear(self.hidden_size, 1, device),
                activation,
            },
        }
    }
}

impl SequenceClassifier {
    /// The logit of each text.
    ///
    /// # Shapes
    ///
    /// - output: `[texts]`
    ///
    /// # Panics
    ///
    /// If there is no text.
    pub fn logits(&self, tokens: &TokenTensors) -> Tensor<1> {
        let hidden = self.encoder.forward(tokens); // [tokens, hidden]
        let states = hidden.select(0, tokens.first_rows()); // [texts, hidden]
        let head = &self.classifier;
        let inner = linear(states, &head.dense, Gelu::Nowhere);
        let inner = match head.activation {
            HeadActivation::Tanh => activation::tanh(inner),
            HeadActivation::Relu => activation::relu(inner),
        };
        linear(inner, &head.output, Gelu::Nowhere).squeeze_dim(1) // [texts]
    }
}
