//! One transformer layer.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::{Rotation, SelfAttention};
use crate::config::{EncoderConfig, FeedForward};
use crate::masked_lm::TokenTensors;
use crate::ops::{Gelu, add_norm, geglu, linear};

/// Self-attention and a feed-forward, each with a residual connection and LayerNorm after it.
#[derive(Module, Debug)]
pub struct Layer {
    /// Multi-head self-attention.
    pub attention: SelfAttention,
    /// LayerNorm after attention.
    pub attention_norm: LayerNorm,
    /// Feed-forward, first half: `[hidden, intermediate]`, or `[hidden, 2 * intermediate]` where it is gated.
    pub intermediate: Linear,
    /// Feed-forward, second half: `[intermediate, hidden]`.
    pub output: Linear,
    /// LayerNorm after the feed-forward.
    pub output_norm: LayerNorm,
    /// Applied to both sub-layers' outputs while training, and to what a gated feed-forward's second half reads.
    pub dropout: Dropout,
    /// What is between the feed-forward's halves.
    #[module(skip)]
    pub(crate) feed_forward: FeedForward,
    pub(crate) norm_eps: f64,
}

impl Layer {
    pub(super) fn new(config: &EncoderConfig, device: &Device) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            attention: SelfAttention::new(config, device),
            attention_norm: config.layer_norm(device),
            intermediate: match config.feed_forward {
                FeedForward::Plain => config.linear(hidden, inner, device),
                FeedForward::Gated => config.linear_without_bias(hidden, 2 * inner, device),
            },
            output: config.linear(inner, hidden, device),
            output_norm: config.layer_norm(device),
            dropout: DropoutConfig::new(config.hidden_dropout).init(),
            feed_forward: config.feed_forward,
            norm_eps: config.layer_norm_eps,
        }
    }

    /// # Shapes
    ///
    /// - hidden, output: `[tokens, hidden]`
    pub fn forward(
        &self,
        hidden: Tensor<2>,
        tokens: &TokenTensors,
        rotation: Option<&Rotation>,
    ) -> Tensor<2> {
        let attended = self.attention.forward(hidden.clone(), tokens, rotation);
        let attended = self.dropout.forward(attended);
        let hidden = add_norm(attended, hidden, &self.attention_norm, self.norm_eps);
        let inner = linear(hidden.clone(), &self.intermediate, Gelu::Nowhere);
        let output = match self.feed_forward {
            FeedForward::Plain => linear(inner, &self.output, Gelu::Before),
            FeedForward::Gated => {
                let gated = self.dropout.forward(geglu(inner));
                linear(gated, &self.output, Gelu::Nowhere)
            }
        };
        add_norm(
            self.dropout.forward(output),
            hidden,
            &self.output_norm,
            self.norm_eps,
        )
    }
}
