//! The shape of a T5 model, whatever file it came from.

use super::parameter::{Parameter, Part, Place, Stack, Sublayer};

/// What is between the two products of a feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedForwardKind {
    /// T5 v1.0: `relu(x W)`.
    Relu,
    /// T5 v1.1 and flan: `gelu(x W) * (x V)`, gelu by its tanh formula.
    GatedGelu,
}

/// What `config.json` says about the matrix that makes logits of the decoder's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tying {
    /// It is the embeddings; a file may repeat them.
    Tied,
    /// It is a parameter of its own.
    Untied,
    /// It is the embeddings unless the file has another.
    ByFile,
}

/// The hyperparameters of a T5 encoder-decoder, as [`crate::hf`] reads them from `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct T5Config {
    /// Number of embeddings; tokenizers may have fewer tokens.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Width of an attention head; all heads together may be wider or narrower than the hidden states.
    pub head_size: usize,
    /// Number of attention heads.
    pub num_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Kind of the feed-forward layers.
    pub feed_forward: FeedForwardKind,
    /// Classes of distances between tokens; half of them for either direction.
    pub distance_buckets: usize,
    /// Distance from which on all are in one class.
    pub max_distance: usize,
    /// What is added to the mean square (1e-6).
    pub norm_eps: f64,
    /// Where logits come from.
    pub tying: Tying,
    /// Whether the decoder's output is multiplied by `hidden_size^-0.5` before it becomes logits.
    pub scales_output: bool,
    /// Token that the decoder begins with.
    pub start_token: u32,
    /// Token that ends a text.
    pub end_token: u32,
}

impl T5Config {
    /// Width of all heads together.
    pub fn heads_size(&self) -> usize {
        self.num_heads * self.head_size
    }

    /// Shape of a parameter as torch has it: `[outputs, inputs]`.
    pub fn shape(&self, parameter: Parameter) -> Vec<usize> {
        let hidden = self.hidden_size;
        let (place, part) = match parameter {
            Parameter::Embeddings | Parameter::Head => return vec![self.vocab_size, hidden],
            Parameter::PositionBias(_) => return vec![self.distance_buckets, self.num_heads],
            Parameter::FinalNorm(_) => return vec![hidden],
            Parameter::Layer(place, part) => (place, part),
        };
        let inner = match place.sublayer {
            Sublayer::SelfAttention | Sublayer::CrossAttention => self.heads_size(),
            Sublayer::FeedForward => self.intermediate_size,
        };
        match part {
            Part::Norm => vec![hidden],
            Part::Output => vec![hidden, inner],
            Part::Query | Part::Key | Part::Value | Part::Inner | Part::Factor => {
                vec![inner, hidden]
            }
        }
    }

    /// Every parameter but a head of its own.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = vec![Parameter::Embeddings];
        for (stack, layers) in [
            (Stack::Encoder, self.encoder_layers),
            (Stack::Decoder, self.decoder_layers),
        ] {
            parameters.extend([Parameter::PositionBias(stack), Parameter::FinalNorm(stack)]);
            for layer in 0..layers {
                for &sublayer in stack.sublayers() {
                    let place = Place {
                        stack,
                        layer,
                        sublayer,
                    };
                    let parts = sublayer.parts(self.feed_forward).iter();
                    parameters.extend(parts.map(|&part| Parameter::Layer(place, part)));
                }
            }
        }
        parameters
    }
}
