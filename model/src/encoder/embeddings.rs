//! Token ids to the encoder's first hidden states.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Embedding, LayerNorm};
use burn::tensor::{Device, Int, Tensor};

use crate::config::EncoderConfig;

/// `LayerNorm(word + position + token type)`, with dropout while training.
#[derive(Module, Debug)]
pub struct Embeddings {
    /// `[vocab, hidden]`; also the tied decoder of the masked-LM head.
    pub word: Embedding,
    /// `[max_positions, hidden]`.
    pub position: Embedding,
    /// `[token_types, hidden]`; `None` for DistilBERT.
    pub token_type: Option<Embedding>,
    /// Normalises the sum.
    pub norm: LayerNorm,
    /// Applied to the normalised sum.
    pub dropout: Dropout,
}

impl Embeddings {
    pub(super) fn new(config: &EncoderConfig, device: &Device) -> Self {
        Self {
            word: config.embedding(config.vocab_size, device),
            position: config.embedding(config.max_positions, device),
            token_type: (config.token_types > 0)
                .then(|| config.embedding(config.token_types, device)),
            norm: config.layer_norm(device),
            dropout: DropoutConfig::new(config.hidden_dropout).init(),
        }
    }

    /// Embeds tokens at positions 0, 1, ...; token types default to 0.
    ///
    /// # Shapes
    ///
    /// - ids, token_types: `[docs, seq]`
    /// - output: `[docs, seq, hidden]`
    pub fn forward(&self, ids: Tensor<2, Int>, token_types: Option<Tensor<2, Int>>) -> Tensor<3> {
        let [docs, seq] = ids.dims();
        let device = ids.device();
        let positions = Tensor::<1, Int>::arange(0..seq as i64, &device).reshape([1, seq]);
        let mut sum = self.word.forward(ids) + self.position.forward(positions); // [docs, seq, hidden]
        if let Some(table) = &self.token_type {
            let types = token_types.unwrap_or_else(|| Tensor::zeros([1, seq], &device));
            sum = sum + table.forward(types);
        }
        debug_assert_eq!(sum.dims()[..2], [docs, seq]);
        self.dropout.forward(self.norm.forward(sum))
    }
}
