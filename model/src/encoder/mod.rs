//! The transformer encoder that BERT and DistilBERT share.

mod attention;
mod embeddings;
mod layer;

pub use attention::SelfAttention;
pub use embeddings::Embeddings;
pub use layer::Layer;

use burn::module::Module;
use burn::nn::{EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use crate::config::EncoderConfig;
use crate::masked_lm::TokenTensors;

/// Embeddings followed by post-LayerNorm transformer layers (Devlin et al. 2019, Vaswani et al. 2017).
#[derive(Module, Debug)]
pub struct Encoder {
    /// Word, position and (BERT) token-type embeddings.
    pub embeddings: Embeddings,
    /// Transformer layers, first to last.
    pub layers: Vec<Layer>,
}

impl EncoderConfig {
    /// A freshly initialised encoder: weights N(0, `initializer_range`), biases 0, LayerNorm 1 and 0.
    pub fn init_encoder(&self, device: &Device) -> Encoder {
        Encoder {
            embeddings: Embeddings::new(self, device),
            layers: (0..self.num_layers)
                .map(|_| Layer::new(self, device))
                .collect(),
        }
    }

    pub(crate) fn linear(&self, input: usize, output: usize, device: &Device) -> Linear {
        let mut linear = LinearConfig::new(input, output)
            .with_initializer(self.initializer())
            .init(device);
        linear.bias = Some(Initializer::Zeros.init([output], device));
        linear
    }

    pub(crate) fn layer_norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.hidden_size)
            .with_epsilon(self.layer_norm_eps)
            .init(device)
    }

    pub(crate) fn embedding(&self, rows: usize, device: &Device) -> burn::nn::Embedding {
        EmbeddingConfig::new(rows, self.hidden_size)
            .with_initializer(self.initializer())
            .init(device)
    }

    fn initializer(&self) -> Initializer {
        Initializer::Normal {
            mean: 0.0,
            std: self.initializer_range,
        }
    }
}

impl Encoder {
    /// The last hidden states.
    ///
    /// # Shapes
    ///
    /// - output: `[tokens, hidden]`
    pub fn forward(&self, tokens: &TokenTensors) -> Tensor<2> {
        let embedded = self.embeddings.forward(tokens);
        self.layers
            .iter()
            .fold(embedded, |hidden, layer| layer.forward(hidden, tokens))
    }

    /// Every hidden state, from the embeddings' output to the last layer's.
    ///
    /// # Shapes
    ///
    /// As [`Encoder::forward`]; the result has `num_layers + 1` entries.
    pub fn hidden_states(&self, tokens: &TokenTensors) -> Vec<Tensor<2>> {
        let mut states = vec![self.embeddings.forward(tokens)];
        for layer in &self.layers {
            let next = layer.forward(states[states.len() - 1].clone(), tokens);
            states.push(next);
        }
        states
    }
}
