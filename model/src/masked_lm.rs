//! The masked-LM model: encoder, head, and the document representation that they give.

use burn::module::{Module, Param};
use burn::nn::{Initializer, LayerNorm, Linear};
use burn::tensor::activation::gelu;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use configs::Activation;
use data::TokenBatch;

use crate::config::EncoderConfig;
use crate::encoder::Encoder;
use crate::ops;

/// An encoder with its masked-LM head.
#[derive(Module, Debug)]
pub struct MaskedLm {
    /// Embeddings and transformer layers.
    pub encoder: Encoder,
    /// Transform, decoder and its bias.
    pub head: MlmHead,
}

/// `logits = LayerNorm(gelu(transform(hidden))) · decoderᵀ + bias`.
#[derive(Module, Debug)]
pub struct MlmHead {
    /// `[hidden, hidden]`.
    pub transform: Linear,
    /// After the gelu.
    pub norm: LayerNorm,
    /// `[vocab, hidden]`; `None` ties it to the word embeddings.
    pub decoder: Option<Param<Tensor<2>>>,
    /// `[vocab]`.
    pub bias: Param<Tensor<1>>,
}

/// A [`TokenBatch`] on a device.
#[derive(Debug, Clone)]
pub struct TokenTensors {
    /// `[docs, seq]`.
    pub ids: Tensor<2, Int>,
    /// `[docs, seq]`, true where there is no token; `None` when every row is full.
    pub padding: Option<Tensor<2, Bool>>,
    /// Number of real tokens of each document.
    pub lengths: Vec<usize>,
}

impl TokenTensors {
    /// Moves a batch to `device`.
    pub fn new(batch: &TokenBatch, device: &Device) -> Self {
        let shape = [batch.rows(), batch.seq_len];
        let ids: Vec<i32> = batch.ids.iter().map(|&id| id as i32).collect();
        let padded = batch.lengths.iter().any(|&length| length < batch.seq_len);
        let padding = padded.then(|| {
            let flags: Vec<bool> = batch
                .lengths
                .iter()
                .flat_map(|&length| (0..batch.seq_len).map(move |position| position >= length))
                .collect();
            Tensor::from_data(TensorData::new(flags, shape), device)
        });
        Self {
            ids: Tensor::from_data(TensorData::new(ids, shape), device),
            padding,
            lengths: batch.lengths.clone(),
        }
    }
}

impl EncoderConfig {
    /// A freshly initialised model with a tied decoder.
    pub fn init(&self, device: &Device) -> MaskedLm {
        MaskedLm {
            encoder: self.init_encoder(device),
            head: MlmHead {
                transform: self.linear(self.hidden_size, self.hidden_size, device),
                norm: self.layer_norm(device),
                decoder: None,
                bias: Initializer::Zeros.init([self.vocab_size], device),
            },
        }
    }
}

impl MaskedLm {
    /// Last hidden states after the head's transform: what the decoder multiplies.
    ///
    /// # Shapes
    ///
    /// - output: `[docs, seq, hidden]`
    pub fn head_states(&self, tokens: &TokenTensors) -> Tensor<3> {
        let hidden = self
            .encoder
            .forward(tokens.ids.clone(), None, tokens.padding.clone());
        self.head.transform(hidden)
    }

    /// Masked-LM logits, materialised. For tests and small inputs: a batch of 80 documents of 256 tokens
    /// takes 2.5 GB at the usual vocabulary; [`MaskedLm::document_weights`] takes 10 MB.
    ///
    /// # Shapes
    ///
    /// - output: `[docs, seq, vocab]`
    pub fn logits(&self, tokens: &TokenTensors) -> Tensor<3> {
        let decoder = self.decoder().transpose().unsqueeze::<3>(); // [1, hidden, vocab]
        let bias = self.head.bias.val().unsqueeze::<3>(); // [1, 1, vocab]
        self.head_states(tokens).matmul(decoder) + bias
    }

    /// Document representation: `log1p(act(max over the sequence of the logits))`, special tokens included.
    ///
    /// # Shapes
    ///
    /// - output: `[docs, vocab]`, non-negative
    pub fn document_weights(&self, tokens: &TokenTensors, activation: Activation) -> Tensor<2> {
        ops::sparse_head(
            self.head_states(tokens),
            self.decoder(),
            self.head.bias.val(),
            &tokens.lengths,
            activation,
        )
    }

    /// The decoder matrix: its own, or the word embeddings it is tied to.
    ///
    /// # Shapes
    ///
    /// - output: `[vocab, hidden]`
    pub fn decoder(&self) -> Tensor<2> {
        match &self.head.decoder {
            Some(decoder) => decoder.val(),
            None => self.encoder.embeddings.word.weight.val(),
        }
    }
}

impl MlmHead {
    /// `LayerNorm(gelu(transform(hidden)))`.
    ///
    /// # Shapes
    ///
    /// - hidden, output: `[docs, seq, hidden]`
    pub fn transform(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.norm.forward(gelu(self.transform.forward(hidden)))
    }
}
