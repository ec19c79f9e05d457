//! The parameters of a T5 model, by their place in it.

use super::config::FeedForwardKind;

/// Which half of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// Reads the text.
    Encoder,
    /// Answers.
    Decoder,
}

/// A residual step of a layer: a norm, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sublayer {
    /// Attention to the stack's own tokens.
    SelfAttention,
    /// The decoder's attention to the encoder's output.
    CrossAttention,
    /// Two or three linear layers.
    FeedForward,
}

/// A parameter of a [`Sublayer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Weights of the norm.
    Norm,
    /// Attention: makes queries.
    Query,
    /// Attention: makes keys.
    Key,
    /// Attention: makes values.
    Value,
    /// Feed-forward: what the activation is applied to.
    Inner,
    /// Feed-forward: what the activation is multiplied with.
    Factor,
    /// Leads back to the hidden states.
    Output,
}

/// Where a [`Part`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Encoder or decoder.
    pub stack: Stack,
    /// Number of the layer.
    pub layer: usize,
    /// The step of the layer.
    pub sublayer: Sublayer,
}

/// A parameter of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// Of tokens, for both stacks.
    Embeddings,
    /// What the decoder's output is multiplied with, where that is not the embeddings.
    Head,
    /// What a stack's attention, of all its layers, adds to the scores of a class of distances.
    PositionBias(Stack),
    /// Weights of the norm after the last layer.
    FinalNorm(Stack),
    /// Everything else.
    Layer(Place, Part),
}

impl Stack {
    /// What a layer does, in order.
    pub fn sublayers(self) -> &'static [Sublayer] {
        use Sublayer::{CrossAttention, FeedForward, SelfAttention};
        match self {
            Self::Encoder => &[SelfAttention, FeedForward],
            Self::Decoder => &[SelfAttention, CrossAttention, FeedForward],
        }
    }
}

impl Sublayer {
    /// Its parameters.
    pub fn parts(self, feed_forward: FeedForwardKind) -> &'static [Part] {
        use Part::{Factor, Inner, Key, Norm, Output, Query, Value};
        match (self, feed_forward) {
            (Self::SelfAttention | Self::CrossAttention, _) => &[Norm, Query, Key, Value, Output],
            (Self::FeedForward, FeedForwardKind::Relu) => &[Norm, Inner, Output],
            (Self::FeedForward, FeedForwardKind::GatedGelu) => &[Norm, Inner, Factor, Output],
        }
    }
}
