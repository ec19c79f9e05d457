//! From a query and a document to what monoT5 reads.

use std::path::Path;

use data::{TokenizeError, Tokenizer};

use super::config::T5Config;
use super::{MonoT5Error, MonoT5Options};

/// What follows the document.
const TAIL: &str = " Relevant:";

/// The file that SentencePiece itself writes.
const SENTENCE_PIECE: &str = "spiece.model";

/// A tokenizer with what monoT5 asks.
pub(super) struct Prompt {
    tokenizer: Tokenizer,
    /// [`TAIL`] and the token that ends a text.
    tail: Vec<u32>,
    /// Tokens before the tail.
    room: usize,
    /// The answers' tokens, the positive one first.
    pub(super) answers: [u32; 2],
}

impl Prompt {
    /// Reads the tokenizer in `dir`.
    pub(super) fn load(
        dir: &Path,
        options: &MonoT5Options,
        config: &T5Config,
    ) -> Result<Self, MonoT5Error> {
        let sentence_piece = dir.join(SENTENCE_PIECE);
        if !dir.join("tokenizer.json").is_file() && sentence_piece.is_file() {
            return Err(MonoT5Error::SentencePieceOnly(sentence_piece));
        }
        let tokenizer = Tokenizer::from_dir(dir)?;
        if tokenizer.vocab_size() > config.vocab_size {
            return Err(MonoT5Error::Vocabulary {
                path: dir.to_owned(),
                tokenizer: tokenizer.vocab_size(),
                model: config.vocab_size,
            });
        }
        let frame = tokenizer.encode("", usize::MAX)?;
        if frame != [config.end_token] {
            return Err(MonoT5Error::Frame {
                path: dir.to_owned(),
                found: frame,
                expected: config.end_token,
            });
        }
        let tail = tokenizer.encode(TAIL, usize::MAX)?;
        let room = match options.max_length.checked_sub(tail.len()) {
            Some(room) if room > 0 => room,
            _ => {
                return Err(MonoT5Error::TooShort {
                    max_length: options.max_length,
                    least: tail.len() + 1,
                });
            }
        };
        if options.positive == options.negative {
            return Err(MonoT5Error::SameAnswer(options.positive.clone()));
        }
        let id = |token: &String| {
            let missing = || MonoT5Error::NoSuchToken {
                path: dir.join("tokenizer.json"),
                token: token.clone(),
            };
            tokenizer.id(token).ok_or_else(missing)
        };
        let answers = [id(&options.positive)?, id(&options.negative)?];
        Ok(Self {
            tokenizer,
            tail,
            room,
            answers,
        })
    }

    /// `Query: {query} Document: {document} Relevant:</s>` in tokens; what is too long ends where the tail begins.
    pub(super) fn tokens(&self, query: &str, document: &str) -> Result<Vec<u32>, TokenizeError> {
        let text = format!("Query: {query} Document: {document}");
        let mut tokens = self.tokenizer.encode_content(&text)?;
        tokens.truncate(self.room);
        tokens.extend_from_slice(&self.tail);
        Ok(tokens)
    }
}
