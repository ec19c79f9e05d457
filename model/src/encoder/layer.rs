//! One transformer layer.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::SelfAttention;
use crate::config::EncoderConfig;
use crate::masked_lm::TokenTensors;
use crate::ops::{Gelu, add_norm, linear};

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
    pub(crate) norm_eps: f64,
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
            norm_eps: config.layer_norm_eps,
        }
    }

    /// # Shapes
    ///
    /// - hidden, output: `[tokens, hidden]`
    pub fn forward(&self, hidden: Tensor<2>, tokens: &TokenTensors) -> Tensor<2> {
        let attended = self.attention.forward(hidden.clone(), tokens);
        let attended = self.dropout.forward(attended);
        let hidden = add_norm(attended, hidden, &self.attention_norm, self.norm_eps);
        let inner = linear(hidden.clone(), &self.intermediate, Gelu::Nowhere);
        let output = linear(inner, &self.output, Gelu::Before);
        add_norm(
            self.dropout.forward(output),
            hidden,
            &self.output_norm,
            self.norm_eps,
        )
    }
}
