//! Token ids to the encoder's first hidden states.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Embedding, LayerNorm};
use burn::tensor::{Device, Int, Tensor};

use crate::config::{EncoderConfig, Positions};
use crate::masked_lm::TokenTensors;
use crate::ops;

/// `LayerNorm(word + position + token type)`, of the last two what there is, with dropout while training.
#[derive(Module, Debug)]
pub struct Embeddings {
    /// `[vocab, hidden]`; also the tied decoder of the masked-LM head.
    pub word: Embedding,
    /// `[max_positions, hidden]`; `None` where positions are rotary.
    pub position: Option<Embedding>,
    /// `[token_types, hidden]`; `None` where there are no token types.
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
            position: match config.positions {
                Positions::Absolute => Some(config.embedding(config.max_positions, device)),
                Positions::Rotary { .. } => None,
            },
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
        let words = rows(&self.word, &tokens.ids);
        let normal = match self.place(tokens) {
            Some(place) => {
                let place = place.expand(words.dims());
                ops::add_norm(words, place, &self.norm, self.norm_eps)
            }
            None => self.norm.forward(words),
        };
        self.dropout.forward(normal)
    }

    /// What is added to the words: `[tokens, hidden]`, or `[1, hidden]` where it is the same for all tokens.
    fn place(&self, tokens: &TokenTensors) -> Option<Tensor<2>> {
        let position = self.position.as_ref();
        let position = position.map(|table| rows(table, &tokens.positions));
        let kind = self.token_type.as_ref().map(|table| match &tokens.types {
            Some(types) => rows(table, types),
            None => table.weight.val().slice(0..1), // [1, hidden]
        });
        match (position, kind) {
            (Some(position), Some(kind)) => Some(position + kind),
            (position, kind) => position.or(kind),
        }
    }
}

/// Rows of a table: `[ids, hidden]`.
fn rows(table: &Embedding, ids: &Tensor<1, Int>) -> Tensor<2> {
    ops::lookup(table.weight.val(), ids.clone())
}
