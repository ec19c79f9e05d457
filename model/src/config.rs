//! The shape of an encoder, whatever file it came from.

/// The model families whose checkpoints can be read and written.
///
/// They share one implementation ([`crate::encoder`]); the family decides key names and whether there are
/// token-type embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `BertForMaskedLM`: word, position and token-type embeddings.
    Bert,
    /// `DistilBertForMaskedLM`: BERT without token types.
    DistilBert,
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
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Longest sequence that has position embeddings.
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
