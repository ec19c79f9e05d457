//! Multi-head self-attention.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Tensor};

use crate::config::EncoderConfig;

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
    num_heads: usize,
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

    /// Attends from every position to every position that is not padding.
    ///
    /// # Shapes
    ///
    /// - hidden: `[docs, seq, hidden]`
    /// - padding: `[docs, seq]`, true where masked
    /// - output: `[docs, seq, hidden]`
    pub fn forward(&self, hidden: Tensor<3>, padding: Option<Tensor<2, Bool>>) -> Tensor<3> {
        let [docs, seq, width] = hidden.dims();
        let per_head = width / self.num_heads;
        let heads = |states: Tensor<3>| {
            states
                .reshape([docs, seq, self.num_heads, per_head])
                .swap_dims(1, 2) // [docs, heads, seq, per_head]
        };
        // Scaling the query costs seq * per_head products, scaling the scores seq * seq.
        let query = heads(self.query.forward(hidden.clone()) * (per_head as f64).powf(-0.5));
        let key = heads(self.key.forward(hidden.clone()));
        let value = heads(self.value.forward(hidden));

        let mut scores = query.matmul(key.swap_dims(2, 3)); // [docs, heads, seq, seq]
        if let Some(padding) = padding {
            let mask = padding
                .reshape([docs, 1, 1, seq])
                .expand([docs, self.num_heads, seq, seq]);
            scores = scores.mask_fill(mask, f32::MIN);
        }
        let weights = self.dropout.forward(softmax(scores, 3));
        let context = weights
            .matmul(value)
            .swap_dims(1, 2)
            .reshape([docs, seq, width]);
        self.output.forward(context)
    }
}
