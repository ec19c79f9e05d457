//! monoT5: a T5 that reads a query and a document and says "true" or "false". A teacher: its scores are what a sparse
//! retriever learns to reproduce.
//!
//! It reads `Query: {query} Document: {document} Relevant:`, and with the logits z of the first token that it would
//! write, a pair's score is `log p(true) = log(exp z_true / (exp z_true + exp z_false))`, never above 0. Source:
//! Nogueira et al., Document Ranking with a Pretrained Sequence-to-Sequence Model (arXiv 2003.06713), section 3;
//! checkpoints are castorini/monot5-base-msmarco and others of T5 v1.0, v1.1 and flan.
//!
//! No tensor is made here and there is no GPU code: as in [`crate::inference`], weights are packed once, and each
//! thread carries a few texts at a time through all layers. A pair's score does not depend, bit for bit, on what is
//! scored with it.

mod attention;
pub(crate) mod config;
mod decoder;
mod encoder;
mod feed_forward;
pub(crate) mod parameter;
mod position_bias;
mod projection;
mod prompt;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::Device;
use data::{BatchLimit, TokenizeError, bucket};
use rayon::prelude::*;

use crate::device;
use crate::hf::{self, ImportError, T5Weights};
use crate::inference::GROUP_TOKENS;
use decoder::Decoder;
use encoder::Encoder;
use parameter::Parameter;
use prompt::Prompt;

/// How a monoT5 directory is to be used.
#[derive(Debug, Clone, PartialEq)]
pub struct MonoT5Options {
    /// Token, as the vocabulary has it, whose probability is the score.
    pub positive: String,
    /// Token that the other answer begins with.
    pub negative: String,
    /// Longest input in tokens, the one that ends it included. What is too long loses the end of its document, and of
    /// its query where that alone fills the length; ` Relevant:` always stays. (The reference cuts the whole input, so
    /// that the model is no longer asked.)
    pub max_length: usize,
}

impl Default for MonoT5Options {
    fn default() -> Self {
        Self {
            positive: "\u{2581}true".to_owned(),
            negative: "\u{2581}false".to_owned(),
            max_length: 512,
        }
    }
}

/// Why a monoT5 directory cannot be used or a pair cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum MonoT5Error {
    /// Weights or config.json.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Tokenizer files or tokenization.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// Only the CPU has it.
    #[error("monoT5 is computed on the CPU only, found another device: add --device cpu")]
    NotOnThisDevice,
    /// The tokenizer is in a form that is not read.
    #[error(
        "{0} is the directory's only tokenizer, and SentencePiece files are not read, expected a tokenizer.json beside \
         it: make one in Python, `transformers.AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)`"
    )]
    SentencePieceOnly(PathBuf),
    /// The tokenizer and the model disagree.
    #[error(
        "{path}: the tokenizer has {tokenizer} entries but the model's vocabulary has {model}: \
         they do not belong together"
    )]
    Vocabulary {
        /// Model directory.
        path: PathBuf,
        /// Entries of the tokenizer.
        tokenizer: usize,
        /// Rows of the embeddings.
        model: usize,
    },
    /// The tokenizer does not end a text as T5 does.
    #[error(
        "{path}: the tokenizer puts the tokens {found:?} around a text, expected {expected} (eos_token_id of \
         config.json) at its end: use the tokenizer that the model was trained with"
    )]
    Frame {
        /// Model directory.
        path: PathBuf,
        /// Special tokens of an empty text.
        found: Vec<u32>,
        /// The token that ends a text.
        expected: u32,
    },
    /// An answer is not one token.
    #[error(
        "{path}: token `{token}` is not in the vocabulary: name the two tokens that the model was trained to answer \
         with (U+2581 stands for the space before a word)"
    )]
    NoSuchToken {
        /// The tokenizer's file.
        path: PathBuf,
        /// As asked for.
        token: String,
    },
    /// The answers are the same.
    #[error("token `{0}` stands for both answers, expected two different tokens")]
    SameAnswer(String),
    /// The length bound leaves no room for the query.
    #[error(
        "a maximum length of {max_length} tokens is too short: the question alone takes {}, use {least} or more",
        .least - 1
    )]
    TooShort {
        /// Bound asked for.
        max_length: usize,
        /// The smallest that is possible.
        least: usize,
    },
}

/// A monoT5 as the CPU wants it.
pub struct MonoT5 {
    prompt: Prompt,
    encoder: Encoder,
    decoder: Decoder,
    /// Memory that waits for the next texts.
    idle: Mutex<Vec<Scratch>>,
}

/// What a thread computes in.
#[derive(Default)]
struct Scratch {
    encoder: encoder::Scratch,
    decoder: decoder::Scratch,
}

impl MonoT5 {
    /// Loads a model directory: `config.json`, weights, and `tokenizer.json`. Besides the model, about twice its
    /// largest tensor is in memory.
    ///
    /// # Errors
    ///
    /// If a file is missing, broken, of the wrong shape or of a T5 that is not implemented, if the tokenizer lacks the
    /// answers, or if `device` is not the CPU.
    pub fn load(dir: &Path, options: &MonoT5Options, device: &Device) -> Result<Self, MonoT5Error> {
        if !device::is_cpu(device) {
            return Err(MonoT5Error::NotOnThisDevice);
        }
        let config = hf::load_t5_config(dir)?;
        let prompt = Prompt::load(dir, options, &config)?;
        let weights = T5Weights::open(dir, &config)?;
        let encoder = Encoder::load(&weights)?;
        let answers = match weights.tied() {
            true => prompt.answers.map(|token| encoder.word(token).to_vec()),
            false => {
                let (head, width) = (weights.read(Parameter::Head)?, config.hidden_size);
                let row = |token: u32| head[token as usize * width..][..width].to_vec();
                prompt.answers.map(row)
            }
        };
        let decoder = Decoder::load(&weights, encoder.word(config.start_token), answers)?;
        Ok(Self {
            prompt,
            encoder,
            decoder,
            idle: Mutex::default(),
        })
    }

    /// `log p(true)` of pairs of a query and a document, in their order, on all threads; `limit` bounds what a thread
    /// has in hand.
    ///
    /// # Errors
    ///
    /// If a text cannot be tokenized.
    pub fn score(
        &self,
        pairs: &[(&str, &str)],
        limit: BatchLimit,
    ) -> Result<Vec<f32>, MonoT5Error> {
        let texts: Vec<Vec<u32>> = pairs
            .par_iter()
            .map(|(query, document)| self.prompt.tokens(query, document))
            .collect::<Result<_, _>>()?;
        let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
        let limit = match limit {
            BatchLimit::Tokens(tokens) => BatchLimit::Tokens(tokens.min(GROUP_TOKENS)),
            rows => rows,
        };
        let groups = bucket(&lengths, limit);
        let scored: Vec<Vec<f32>> = groups
            .par_iter()
            .with_max_len(1)
            .map(|members| {
                let group: Vec<&[u32]> = members.iter().map(|&text| &texts[text][..]).collect();
                self.with_scratch(|scratch| self.score_group(&group, scratch))
            })
            .collect();
        let mut scores = vec![0.0; pairs.len()];
        for (&text, score) in groups.iter().flatten().zip(scored.iter().flatten()) {
            scores[text] = *score;
        }
        Ok(scores)
    }

    /// What the model reads of a pair, in tokens.
    ///
    /// # Errors
    ///
    /// If a text cannot be tokenized.
    pub fn tokens(&self, query: &str, document: &str) -> Result<Vec<u32>, MonoT5Error> {
        Ok(self.prompt.tokens(query, document)?)
    }

    /// The encoder's hidden states of one text in tokens, after the last norm: what the decoder looks at. For tests.
    ///
    /// # Shapes
    ///
    /// - output: `[tokens, hidden]`
    ///
    /// # Panics
    ///
    /// If a token is not in the vocabulary.
    pub fn encoder_states(&self, tokens: &[u32]) -> Vec<f32> {
        self.with_scratch(|scratch| {
            let states = self.encoder.forward(&[tokens], &mut scratch.encoder);
            states.to_vec()
        })
    }

    fn score_group(&self, texts: &[&[u32]], scratch: &mut Scratch) -> Vec<f32> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let states = self.encoder.forward(texts, &mut scratch.encoder);
        let decoder = &mut scratch.decoder;
        let logits = self.decoder.answers(states, &lengths, decoder);
        logits.into_iter().map(log_probability).collect()
    }

    fn with_scratch<R>(&self, run: impl FnOnce(&mut Scratch) -> R) -> R {
        let mut scratch = self.idle().pop().unwrap_or_default();
        let result = run(&mut scratch);
        self.idle().push(scratch);
        result
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Scratch>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `log(exp a / (exp a + exp b))`, without overflow and exact where it is close to 0.
fn log_probability([a, b]: [f32; 2]) -> f32 {
    let margin = a - b;
    margin.min(0.0) - (-margin.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_are_exact_at_both_ends() {
        let exact = |margin: f64| -(-margin).exp().ln_1p();
        for margin in [-80.0, -3.5, 0.0, 0.25, 15.0, 40.0] {
            let found = f64::from(log_probability([margin, 0.0]));
            let expected = exact(f64::from(margin));
            assert!((found / expected - 1.0).abs() < 1e-6, "{found} {expected}");
        }
        assert_eq!(log_probability([-3e4, 3e4]), -6e4);
        assert_eq!(log_probability([3e4, -3e4]), 0.0);
    }
}
