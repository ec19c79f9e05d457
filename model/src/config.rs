//! The shape of an encoder, whatever file it came from.

/// The model families whose checkpoints can be read and written.
///
/// They share one implementation ([`crate::encoder`]); the family decides key names, and [`EncoderConfig`] has what
/// differs in the mathematics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `BertForMaskedLM`: word, position and token-type embeddings.
    Bert,
    /// `DistilBertForMaskedLM`: BERT without token types.
    DistilBert,
    /// `NewForMaskedLM`, the architecture of GTE v1.5 (Zhang et al. 2024): rotary positions, a gated feed-forward.
    Gte,
}

/// How tokens get to know their place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Positions {
    /// A learned vector for each position, added to the word embedding.
    Absolute,
    /// Queries and keys are turned by angles in proportion to their position ([`crate::encoder::Rotary`]).
    Rotary {
        /// Base of the geometric progression of angles.
        theta: f64,
        /// How many times longer NTK-aware scaling makes the range; 1 where there is none.
        scaling: f64,
    },
}

/// What is between the two products of the feed-forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedForward {
    /// `gelu(x)`; the first product has a bias.
    Plain,
    /// `u gelu(g)`, u and g being the halves of a first product that is twice as wide and has no bias (GEGLU, Shazeer
    /// 2020).
    Gated,
}

/// The hyperparameters of an encoder, as [`crate::hf`] reads them from `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// Which family's layout the checkpoint has.
    pub family: Family,
    /// V: number of vocabulary entries.
    pub vocab_size: usize,
    /// H: width of the hidden states.
    pub hidden_size: usize,
    /// Number of transformer layers.
    pub num_layers: usize,
    /// Number of attention heads; divides `hidden_size`.
    pub num_heads: usize,
    /// Width of the feed-forward layer: what its second product reads.
    pub intermediate_size: usize,
    /// What is between the feed-forward's products.
    pub feed_forward: FeedForward,
    /// How tokens get to know their place.
    pub positions: Positions,
    /// Longest sequence that there are positions for.
    pub max_positions: usize,
    /// Number of token types; 0 where the family has none.
    pub token_types: usize,
    /// LayerNorm epsilon (BERT: 1e-12).
    pub layer_norm_eps: f64,
    /// Dropout probability of hidden states while training.
    pub hidden_dropout: f64,
    /// Dropout probability of attention weights while training.
    pub attention_dropout: f64,
    /// Standard deviation of newly initialised weights.
    pub initializer_range: f64,
}

#[cfg(test)]
impl EncoderConfig {
    /// Odd sizes: widths that fill no register, a vocabulary that fills no panel.
    pub(crate) fn tiny(family: Family) -> Self {
        let (feed_forward, positions) = match family {
            Family::Bert | Family::DistilBert => (FeedForward::Plain, Positions::Absolute),
            Family::Gte => {
                let (theta, scaling) = (100.0, 2.0);
                (FeedForward::Gated, Positions::Rotary { theta, scaling })
            }
        };
        Self {
            family,
            vocab_size: 131,
            hidden_size: 36,
            num_layers: 2,
            num_heads: 3,
            intermediate_size: 50,
            feed_forward,
            positions,
            max_positions: 150,
            token_types: if family == Family::Bert { 2 } else { 0 },
            layer_norm_eps: 1e-12,
            hidden_dropout: 0.0,
            attention_dropout: 0.0,
            initializer_range: 0.3,
        }
    }
}
