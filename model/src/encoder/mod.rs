//! The transformer encoder that all families share.

mod attention;
mod embeddings;
mod layer;
mod rotary;

pub use attention::SelfAttention;
pub use embeddings::Embeddings;
pub use layer::Layer;
pub use rotary::{Rotary, Rotation};

use burn::module::Module;
use burn::nn::{EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use crate::config::EncoderConfig;
use crate::masked_lm::TokenTensors;

/// Embeddings followed by post-LayerNorm transformer layers (Devlin et al. 2019, Vaswani et al. 2017).
#[derive(Module, Debug)]
pub struct Encoder {
    /// Word, position and token-type embeddings.
    pub embeddings: Embeddings,
    /// Transformer layers, first to last.
    pub layers: Vec<Layer>,
    /// Turns queries and keys; `None` where positions are embedded.
    #[module(skip)]
    pub(crate) rotary: Option<Rotary>,
    pub(crate) max_positions: usize,
}

impl EncoderConfig {
    /// A freshly initialised encoder: weights N(0, `initializer_range`), biases 0, LayerNorm 1 and 0.
    pub fn init_encoder(&self, device: &Device) -> Encoder {
        Encoder {
            embeddings: Embeddings::new(self, device),
            layers: (0..self.num_layers)
                .map(|_| Layer::new(self, device))
                .collect(),
            rotary: Rotary::new(self),
            max_positions: self.max_positions,
        }
    }

    pub(crate) fn linear(&self, input: usize, output: usize, device: &Device) -> Linear {
        let mut linear = self.linear_without_bias(input, output, device);
        linear.bias = Some(Initializer::Zeros.init([output], device));
        linear
    }

    pub(crate) fn linear_without_bias(
        &self,
        input: usize,
        output: usize,
        device: &Device,
    ) -> Linear {
        LinearConfig::new(input, output)
            .with_initializer(self.initializer())
            .with_bias(false)
            .init(device)
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
        let rotation = self.rotation(tokens, &embedded);
        self.layers.iter().fold(embedded, |hidden, layer| {
            layer.forward(hidden, tokens, rotation.as_ref())
        })
    }

    /// Every hidden state, from the embeddings' output to the last layer's.
    ///
    /// # Shapes
    ///
    /// As [`Encoder::forward`]; the result has `num_layers + 1` entries.
    pub fn hidden_states(&self, tokens: &TokenTensors) -> Vec<Tensor<2>> {
        let mut states = vec![self.embeddings.forward(tokens)];
        let rotation = self.rotation(tokens, &states[0]);
        for layer in &self.layers {
            let last = states[states.len() - 1].clone();
            states.push(layer.forward(last, tokens, rotation.as_ref()));
        }
        states
    }

    /// Longest sequence that it has positions for.
    pub fn max_positions(&self) -> usize {
        self.max_positions
    }

    /// What turns queries and keys in all layers, on the device of `embedded`.
    fn rotation(&self, tokens: &TokenTensors, embedded: &Tensor<2>) -> Option<Rotation> {
        let rotary = self.rotary.as_ref()?;
        Some(rotary.rotation(tokens, &embedded.device()))
    }
}
