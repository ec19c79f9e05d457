//! Token ids to the encoder's first hidden states.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Embedding, LayerNorm};
use burn::tensor::{Device, Int, Tensor};

use crate::config::EncoderConfig;
use crate::masked_lm::TokenTensors;
use crate::ops;

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
    pub(crate) norm_eps: f64,
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
            norm_eps: config.layer_norm_eps,
        }
    }

    /// Embeds tokens at their positions.
    ///
    /// # Shapes
    ///
    /// - output: `[tokens, hidden]`
    pub fn forward(&self, tokens: &TokenTensors) -> Tensor<2> {
        let rows = |table: &Embedding, ids: &Tensor<1, Int>| {
            ops::lookup(table.weight.val(), ids.clone()) // [tokens, hidden]
        };
        let mut place = rows(&self.position, &tokens.positions);
        if let Some(table) = &self.token_type {
            place = place
                + match &tokens.types {
                    Some(types) => rows(table, types),
                    None => table.weight.val().slice(0..1), // [1, hidden]
                };
        }
        let words = rows(&self.word, &tokens.ids);
        let normal = ops::add_norm(words, place, &self.norm, self.norm_eps);
        self.dropout.forward(normal)
    }
}
