//! Multi-head self-attention.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor};

use super::Rotation;
use crate::config::EncoderConfig;
use crate::masked_lm::TokenTensors;
use crate::ops::attention::Heads;
use crate::ops::{Gelu, attention, linear};

/// `softmax(Q Kᵀ / √d) V`, heads side by side, projected back to the hidden width.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// Query projection.
    pub query: Linear,
    /// Key projection.
    pub key: Linear,
    /// Value projection.
    pub value: Linear,
    /// Output projection.
    pub output: Linear,
    /// Applied to the attention weights while training.
    pub dropout: Dropout,
    pub(crate) num_heads: usize,
}

impl SelfAttention {
    pub(super) fn new(config: &EncoderConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let projection = || config.linear(hidden, hidden, device);
        Self {
            query: projection(),
            key: projection(),
            value: projection(),
            output: projection(),
            dropout: DropoutConfig::new(config.attention_dropout).init(),
            num_heads: config.num_heads,
        }
    }

    /// Attends from every token to every token of its document; queries and keys are turned where there is a rotation.
    ///
    /// # Shapes
    ///
    /// - hidden, output: `[tokens, hidden]`
    pub fn forward(
        &self,
        hidden: Tensor<2>,
        tokens: &TokenTensors,
        rotation: Option<&Rotation>,
    ) -> Tensor<2> {
        let trains = self.dropout.training.is_enabled() && hidden.device().is_autodiff();
        let heads = Heads {
            lengths: tokens.lengths.clone(),
            count: self.num_heads,
            dropout: if trains { self.dropout.prob } else { 0.0 },
        };
        let project = |layer: &Linear, rows: &Tensor<2>| linear(rows.clone(), layer, Gelu::Nowhere);
        let turned = |rows: Tensor<2>| match rotation {
            Some(rotation) => rotation.apply(rows, self.num_heads),
            None => rows,
        };
        let context = attention(
            turned(project(&self.query, &hidden)),
            turned(project(&self.key, &hidden)),
            project(&self.value, &hidden),
            heads,
        );
        project(&self.output, &context)
    }
}
