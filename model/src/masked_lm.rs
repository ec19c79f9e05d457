//! The masked-LM model: encoder, head, and the document representation that they give.

use burn::module::{Module, Param};
use burn::nn::{Initializer, LayerNorm, Linear};
use burn::tensor::{Device, Int, Tensor, TensorData};
use configs::Activation;
use data::TokenBatch;

use crate::config::EncoderConfig;
use crate::encoder::Encoder;
use crate::ops::{self, CrossEntropy, Gelu};

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
    /// `[tokens]`: those of the first text, then those of the second, ...
    pub ids: Tensor<1, Int>,
    /// `[tokens]`: place of each token in its text, from 0.
    pub positions: Tensor<1, Int>,
    /// `[tokens]`: token types of BERT; 0 where there are none.
    pub types: Option<Tensor<1, Int>>,
    /// Number of tokens of each text.
    pub lengths: Vec<usize>,
}

impl TokenTensors {
    /// Moves a batch to `device`.
    pub fn new(batch: &TokenBatch, device: &Device) -> Self {
        let tensor = |values: Vec<i32>| {
            let shape = [values.len()];
            Tensor::from_data(TensorData::new(values, shape), device)
        };
        let positions = batch.lengths.iter().flat_map(|&length| 0..length as i32);
        Self {
            ids: tensor(batch.ids.iter().map(|&id| id as i32).collect()),
            positions: tensor(positions.collect()),
            types: None,
            lengths: batch.lengths.clone(),
        }
    }
}

impl TokenTensors {
    /// The same tokens; of each text, those after as many as `first` says get token type 1.
    ///
    /// # Panics
    ///
    /// If `first` has not one number for each text, or one that is larger than the text.
    pub fn with_second_type(self, first: &[usize]) -> Self {
        assert_eq!(first.len(), self.lengths.len(), "one number for each text");
        let of_text = |(&length, &first): (&usize, &usize)| {
            assert!(first <= length, "{first} of {length} tokens");
            std::iter::repeat_n(0, first).chain(std::iter::repeat_n(1, length - first))
        };
        let types: Vec<i32> = self.lengths.iter().zip(first).flat_map(of_text).collect();
        let shape = [types.len()];
        let types = Tensor::from_data(TensorData::new(types, shape), &self.ids.device());
        Self {
            types: Some(types),
            ..self
        }
    }

    /// The row of each text's first token.
    ///
    /// # Shapes
    ///
    /// - output: `[texts]`
    pub fn first_rows(&self) -> Tensor<1, Int> {
        let mut row = 0;
        let rows: Vec<i32> = self
            .lengths
            .iter()
            .map(|&length| {
                let first = row;
                row += length as i32;
                first
            })
            .collect();
        let shape = [rows.len()];
        Tensor::from_data(TensorData::new(rows, shape), &self.ids.device())
    }

    /// The same tokens without autodiff.
    pub fn inner(self) -> Self {
        Self {
            ids: self.ids.inner(),
            positions: self.positions.inner(),
            types: self.types.map(Tensor::inner),
            ..self
        }
    }

    /// The texts in order, at most `texts` at a time.
    pub fn split(&self, texts: usize) -> Vec<Self> {
        let mut first = 0;
        let chunks = self.lengths.chunks(texts.max(1)).map(|lengths| {
            let range = first..first + lengths.iter().sum::<usize>();
            first = range.end;
            let part = |tokens: &Tensor<1, Int>| tokens.clone().slice(range.clone());
            Self {
                ids: part(&self.ids),
                positions: part(&self.positions),
                types: self.types.as_ref().map(part),
                lengths: lengths.to_vec(),
            }
        });
        chunks.collect()
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
    /// - output: `[tokens, hidden]`
    pub fn head_states(&self, tokens: &TokenTensors) -> Tensor<2> {
        self.head.transform(self.encoder.forward(tokens))
    }

    /// Masked-LM logits, materialised. For tests and small inputs: a batch of 80 documents of 256 tokens
    /// takes 2.5 GB at the usual vocabulary; [`MaskedLm::document_weights`] takes 10 MB.
    ///
    /// # Shapes
    ///
    /// - output: `[tokens, vocab]`
    pub fn logits(&self, tokens: &TokenTensors) -> Tensor<2> {
        let bias = self.head.bias.val().unsqueeze::<2>(); // [1, vocab]
        self.head_states(tokens).matmul(self.decoder().transpose()) + bias
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

    /// How well some tokens are guessed, and what the guesses are. The head computes nothing but those tokens.
    ///
    /// # Shapes
    ///
    /// - positions: `[rows]`, places in the batch's tokens
    /// - targets: `[rows]`, what is to be guessed there
    ///
    /// # Panics
    ///
    /// If there is no position.
    pub fn masked_losses(
        &self,
        tokens: &TokenTensors,
        positions: Tensor<1, Int>,
        targets: Tensor<1, Int>,
    ) -> CrossEntropy {
        let hidden = self.encoder.forward(tokens).select(0, positions); // [rows, hidden]
        let hidden = self.head.transform(hidden);
        ops::cross_entropy(hidden, self.decoder(), self.head.bias.val(), targets)
    }

    /// Adds a number to each token's logits from now on.
    ///
    /// # Shapes
    ///
    /// - by: `[vocab]`
    pub fn shift_bias(&mut self, by: &[f32]) {
        let bias = &mut self.head.bias;
        let values = bias.val().into_data().convert::<f32>();
        let shifted: Vec<f32> = values.iter::<f32>().zip(by).map(|(a, b)| a + b).collect();
        let shifted = Tensor::from_floats(shifted.as_slice(), &bias.lazy_device());
        *bias = bias.clone().transform_for_load(shifted, bias.id);
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
    /// - hidden, output: `[tokens, hidden]`
    pub fn transform(&self, hidden: Tensor<2>) -> Tensor<2> {
        let inner = ops::linear(hidden, &self.transform, Gelu::After);
        self.norm.forward(inner)
    }
}
