//! One transformer layer.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, Linear};
use burn::tensor::activation::gelu;
use burn::tensor::{Bool, Device, Tensor};

use super::SelfAttention;
use crate::config::EncoderConfig;

/// Self-attention and a gelu feed-forward, each with a residual connection and LayerNorm after it.
#[derive(Module, Debug)]
pub struct Layer {
    /// Multi-head self-attention.
    pub attention: SelfAttention,
    /// LayerNorm after attention.
    pub attention_norm: LayerNorm,
    /// Feed-forward, first half: `[hidden, intermediate]`.
    pub intermediate: Linear,
    /// Feed-forward, second half: `[intermediate, hidden]`.
    pub output: Linear,
    /// LayerNorm after the feed-forward.
    pub output_norm: LayerNorm,
    /// Applied to both sub-layers' outputs while training.
    pub dropout: Dropout,
}

impl Layer {
    pub(super) fn new(config: &EncoderConfig, device: &Device) -> Self {
        Self {
            attention: SelfAttention::new(config, device),
            attention_norm: config.layer_norm(device),
            intermediate: config.linear(config.hidden_size, config.intermediate_size, device),
            output: config.linear(config.intermediate_size, config.hidden_size, device),
            output_norm: config.layer_norm(device),
            dropout: DropoutConfig::new(config.hidden_dropout).init(),
        }
    }

    /// # Shapes
    ///
    /// - hidden: `[docs, seq, hidden]`
    /// - padding: `[docs, seq]`, true where masked
    /// - output: `[docs, seq, hidden]`
    pub fn forward(&self, hidden: Tensor<3>, padding: Option<Tensor<2, Bool>>) -> Tensor<3> {
        let attended = self.attention.forward(hidden.clone(), padding);
        let hidden = self
            .attention_norm
            .forward(self.dropout.forward(attended) + hidden);
        let inner = gelu(self.intermediate.forward(hidden.clone()));
        let output = self.output.forward(inner);
        self.output_norm
            .forward(self.dropout.forward(output) + hidden)
    }
}
