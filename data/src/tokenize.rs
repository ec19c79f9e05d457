//! Text to token ids, through the `tokenizers` crate.

mod cuts;
mod pairs;
mod vocabulary;

pub use pairs::PairTokens;

use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use thiserror::Error;

use cuts::Cuts;
use pairs::PairFrame;
use vocabulary::{Settings, wordpiece};

/// Why a tokenizer could not be loaded or used.
#[derive(Debug, Error)]
pub enum TokenizeError {
    /// Neither of the files that a tokenizer can be made from is there.
    #[error("no tokenizer.json and no vocab.txt in {}", dir.display())]
    Missing {
        /// Folder asked for.
        dir: PathBuf,
    },
    /// A file is there but cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// File asked for.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file has the wrong content.
    #[error("{}: not a usable tokenizer: {reason}", path.display())]
    Invalid {
        /// File at fault.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The length bound leaves no room for the special tokens.
    #[error(
        "a maximum length of {max_len} tokens is too short: the special tokens alone take {specials}"
    )]
    MaxLenTooShort {
        /// Bound asked for.
        max_len: usize,
        /// Special tokens around every text.
        specials: usize,
    },
    /// The tokenizer failed on a text.
    #[error("cannot tokenize {text:?}: {reason}")]
    Encode {
        /// Beginning of the text.
        text: String,
        /// What the tokenizer said.
        reason: String,
    },
}

/// A tokenizer and its vocabulary.
///
/// Truncation and padding settings that a tokenizer.json carries are ignored: length is the caller's
/// choice, and nothing is padded.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    dir: PathBuf,
    /// Token of each id; `None` where the vocabulary has holes.
    tokens: Vec<Option<String>>,
    special_ids: Vec<u32>,
    mask_id: Option<u32>,
    /// Special tokens before and after every text.
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    /// The form of pairs, or why there is none.
    pairs: Result<PairFrame, String>,
    cuts: Option<Cuts>,
}

impl Tokenizer {
    /// Loads tokenizer.json from a model directory, or else vocab.txt (WordPiece, with the casing and accent
    /// settings of tokenizer_config.json; without it lower-cased as bert-base-uncased is).
    ///
    /// # Errors
    /// [`TokenizeError`], naming the file at fault.
    pub fn from_dir(dir: &Path) -> Result<Self, TokenizeError> {
        for name in ["tokenizer.json", "vocab.txt"] {
            let path = dir.join(name);
            if path.is_file() {
                return Self::from_file(&path);
            }
        }
        Err(TokenizeError::Missing {
            dir: dir.to_path_buf(),
        })
    }

    /// Loads one file: a vocabulary with one token per line when its name ends in `.txt`, otherwise a
    /// tokenizer in the JSON form of the `tokenizers` library.
    ///
    /// # Errors
    /// [`TokenizeError`], naming the file at fault.
    pub fn from_file(path: &Path) -> Result<Self, TokenizeError> {
        let dir = path.parent().unwrap_or(Path::new(".")).to_path_buf();
        let settings = Settings::read(&dir.join("tokenizer_config.json"))?;
        let bytes = read(path)?;
        let invalid = |reason: String| TokenizeError::Invalid {
            path: path.to_path_buf(),
            reason,
        };
        let mut inner = if path.extension().is_some_and(|extension| extension == "txt") {
            let vocabulary =
                String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8 text".to_owned()))?;
            wordpiece(&vocabulary, &settings).map_err(invalid)?
        } else {
            tokenizers::Tokenizer::from_bytes(&bytes).map_err(|error| invalid(error.to_string()))?
        };
        inner
            .with_truncation(None)
            .map_err(|error| invalid(error.to_string()))?;
        inner.with_padding(None);
        Self::new(inner, dir, &settings).map_err(invalid)
    }

    fn new(
        inner: tokenizers::Tokenizer,
        dir: PathBuf,
        settings: &Settings,
    ) -> Result<Self, String> {
        let vocabulary = inner.get_vocab(true);
        let size = vocabulary
            .values()
            .max()
            .map_or(0, |&last| last as usize + 1);
        let mut tokens = vec![None; size];
        for (token, id) in vocabulary {
            tokens[id as usize] = Some(token);
        }
        let mut special_ids: Vec<u32> = settings
            .special_tokens
            .iter()
            .filter_map(|token| inner.token_to_id(token))
            .collect();
        special_ids.sort_unstable();
        special_ids.dedup();
        let [pad, .., mask] = &settings.special_tokens;
        let mask_id = inner.token_to_id(mask);
        // Nothing is padded here, but it is wherever an exported model goes.
        inner
            .token_to_id(pad)
            .ok_or_else(|| format!("the padding token {pad:?} is not in the vocabulary"))?;
        let (prefix, suffix) = frame(&inner)?;
        Ok(Self {
            cuts: Cuts::new(&inner),
            pairs: PairFrame::new(&inner),
            inner,
            dir,
            tokens,
            special_ids,
            mask_id,
            prefix,
            suffix,
        })
    }

    /// Token ids of `text` between its special tokens, `max_len` ids at most: what is too long is cut at the
    /// end of the text, the special tokens stay.
    ///
    /// # Errors
    /// [`TokenizeError::MaxLenTooShort`], and [`TokenizeError::Encode`] when the tokenizer itself fails.
    pub fn encode(&self, text: &str, max_len: usize) -> Result<Vec<u32>, TokenizeError> {
        let specials = self.prefix.len() + self.suffix.len();
        let room = max_len
            .checked_sub(specials)
            .ok_or(TokenizeError::MaxLenTooShort { max_len, specials })?;
        let mut ids = self.prefix.clone();
        self.extend_with_content(&mut ids, text, room)?;
        ids.extend_from_slice(&self.suffix);
        Ok(ids)
    }

    /// [`Tokenizer::encode`] of many texts on all threads, in input order.
    ///
    /// # Errors
    /// The first text's error.
    pub fn encode_all<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        max_len: usize,
    ) -> Result<Vec<Vec<u32>>, TokenizeError> {
        texts
            .par_iter()
            .map(|text| self.encode(text.as_ref(), max_len))
            .collect()
    }

    /// Token ids of the whole text without special tokens around it.
    ///
    /// # Errors
    /// [`TokenizeError::Encode`] when the tokenizer itself fails.
    pub fn encode_content(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        let mut ids = Vec::new();
        self.extend_with_content(&mut ids, text, usize::MAX)?;
        Ok(ids)
    }

    /// Appends the first `room` ids of `text`. A long text is tokenized piece by piece until there are enough,
    /// so that the cost of a huge document is bounded by what is kept of it.
    fn extend_with_content(
        &self,
        ids: &mut Vec<u32>,
        text: &str,
        room: usize,
    ) -> Result<(), TokenizeError> {
        let end = ids.len().saturating_add(room);
        let mut rest = text;
        while !rest.is_empty() && ids.len() < end {
            let cut = self
                .cuts
                .as_ref()
                .map_or(rest.len(), |cuts| cuts.first(rest));
            let (piece, tail) = rest.split_at(cut);
            let encoding = self.inner.encode_fast(piece, false);
            let encoding = encoding.map_err(|error| encode_error(text, &error))?;
            let kept = encoding.get_ids().len().min(end - ids.len());
            ids.extend_from_slice(&encoding.get_ids()[..kept]);
            rest = tail;
        }
        Ok(())
    }

    /// [`Tokenizer::encode_content`] with the bytes of `text` that each token stands for.
    ///
    /// # Errors
    /// [`TokenizeError::Encode`] when the tokenizer itself fails.
    pub fn spans(&self, text: &str) -> Result<Vec<(u32, Range<usize>)>, TokenizeError> {
        let mut spans = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let rest = &text[start..];
            let cut = self
                .cuts
                .as_ref()
                .map_or(rest.len(), |cuts| cuts.first(rest));
            let encoding = self.inner.encode(&rest[..cut], false);
            let encoding = encoding.map_err(|error| encode_error(text, &error))?;
            let offsets = encoding.get_offsets().iter();
            let ranges = offsets.map(|&(from, to)| start + from..start + to);
            spans.extend(encoding.get_ids().iter().copied().zip(ranges));
            start += cut;
        }
        Ok(spans)
    }

    /// Number of token ids: the largest plus one.
    pub fn vocab_size(&self) -> usize {
        self.tokens.len()
    }

    /// The token with this id.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize)?.as_deref()
    }

    /// The id of this token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Ids of the padding, unknown, classification, separator and mask tokens that exist, ascending.
    pub fn special_ids(&self) -> &[u32] {
        &self.special_ids
    }

    /// Id of the mask token, where there is one.
    pub fn mask_id(&self) -> Option<u32> {
        self.mask_id
    }

    /// Token ids between the special tokens that are put around every text.
    pub fn frame(&self, content: &[u32]) -> Vec<u32> {
        [&self.prefix, content, &self.suffix].concat()
    }

    /// The special tokens after every text: BERT's separator.
    pub fn suffix(&self) -> &[u32] {
        &self.suffix
    }

    /// Special tokens around every text.
    pub fn specials_per_text(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }

    /// The folder that the tokenizer was loaded from.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The tokenizer's files in [`Tokenizer::dir`], for copying into an exported model.
    pub fn files(&self) -> Vec<PathBuf> {
        [
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "added_tokens.json",
            "vocab.txt",
        ]
        .iter()
        .map(|name| self.dir.join(name))
        .filter(|path| path.is_file())
        .collect()
    }

    /// The tokenizer as the content of a tokenizer.json, without truncation and padding.
    ///
    /// # Errors
    /// [`TokenizeError::Invalid`] when the tokenizer cannot be written as JSON.
    pub fn to_json(&self) -> Result<String, TokenizeError> {
        self.inner
            .to_string(true)
            .map_err(|error| TokenizeError::Invalid {
                path: self.dir.join("tokenizer.json"),
                reason: error.to_string(),
            })
    }
}

/// The special tokens that the post-processor puts before and after a text, found by trying it.
fn frame(tokenizer: &tokenizers::Tokenizer) -> Result<(Vec<u32>, Vec<u32>), String> {
    let encode = |specials: bool| {
        tokenizer
            .encode_fast("a", specials)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| error.to_string())
    };
    let (content, framed) = (encode(false)?, encode(true)?);
    let start = framed
        .windows(content.len().max(1))
        .position(|window| window == content)
        .ok_or("its post-processor rewrites the text's tokens, which is not supported")?;
    let end = start + content.len();
    Ok((framed[..start].to_vec(), framed[end..].to_vec()))
}

fn encode_error(text: &str, reason: &dyn std::fmt::Display) -> TokenizeError {
    TokenizeError::Encode {
        text: text.chars().take(80).collect(),
        reason: reason.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TokenizeError> {
    std::fs::read(path).map_err(|cause| TokenizeError::Read {
        path: path.to_path_buf(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: &str =
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n##s\n,\nHello\na\nnaive\n";

    pub(super) fn tokenizer(config: &str) -> Tokenizer {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("vocab.txt"), VOCABULARY).unwrap();
        if !config.is_empty() {
            std::fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
        }
        Tokenizer::from_dir(dir.path()).unwrap()
    }

    #[test]
    fn encodes_and_truncates_around_the_specials() {
        let tokenizer = tokenizer("");
        assert_eq!(
            tokenizer.encode("Hello, worlds naïve x", 512).unwrap(),
            [2, 5, 8, 6, 7, 11, 1, 3]
        );
        assert_eq!(tokenizer.encode("Hello, worlds", 4).unwrap(), [2, 5, 8, 3]);
        assert_eq!(tokenizer.encode("Hello", 2).unwrap(), [2, 3]);
        assert_eq!(tokenizer.encode("", 9).unwrap(), [2, 3]);
        assert_eq!(tokenizer.encode("[MASK] hello", 9).unwrap(), [2, 4, 5, 3]);
        assert_eq!(tokenizer.encode_content("hello").unwrap(), [5]);
        assert!(matches!(
            tokenizer.encode("Hello", 1),
            Err(TokenizeError::MaxLenTooShort {
                max_len: 1,
                specials: 2
            })
        ));
    }

    #[test]
    fn casing_follows_tokenizer_config() {
        let tokenizer = tokenizer(r#"{"do_lower_case": false, "pad_token": {"content": "[PAD]"}}"#);
        assert_eq!(tokenizer.encode_content("Hello hello").unwrap(), [9, 5]);
    }

    #[test]
    fn vocabulary_and_specials() {
        let tokenizer = tokenizer("");
        assert_eq!(tokenizer.vocab_size(), 12);
        assert_eq!(tokenizer.special_ids(), [0, 1, 2, 3, 4]);
        assert_eq!(tokenizer.token(7), Some("##s"));
        assert_eq!(tokenizer.token(12), None);
        assert_eq!(tokenizer.id("world"), Some(6));
    }

    #[test]
    fn cutting_a_long_text_changes_nothing() {
        let tokenizer = tokenizer("");
        assert!(tokenizer.cuts.is_some());
        let spaced = "Hello,  worlds [MASK]\u{301}\nnaïve\t".repeat(4000);
        let dense = "中\u{301}hellos,worlds[SEP],".repeat(2000) + &"a".repeat(40_000);
        for text in [spaced, dense] {
            let whole = tokenizer.inner.encode_fast(text.as_str(), false).unwrap();
            assert_eq!(tokenizer.encode_content(&text).unwrap(), whole.get_ids());
            let (ids, spans): (Vec<_>, Vec<_>) =
                tokenizer.spans(&text).unwrap().into_iter().unzip();
            assert_eq!(ids, whole.get_ids());
            let named = spans.iter().zip(&ids).filter(|&(_, &id)| id == 6);
            let texts: Vec<_> = named.map(|(span, _)| &text[span.clone()]).collect();
            assert!(texts.iter().all(|&text| text == "world"), "{texts:?}");
            let last = spans.last().unwrap();
            assert!(text.get(last.clone()).is_some() && last.end + 8 > text.len());
            assert_eq!(
                tokenizer.encode(&text, 5002).unwrap()[1..5001],
                whole.get_ids()[..5000]
            );
        }
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let message = |dir: &Path| Tokenizer::from_dir(dir).err().unwrap().to_string();
        assert!(message(dir.path()).contains("no tokenizer.json and no vocab.txt"));
        std::fs::write(dir.path().join("vocab.txt"), "a\nb\n").unwrap();
        assert!(message(dir.path()).contains("vocab.txt"));
        assert!(message(dir.path()).contains("[UNK]"));
        std::fs::write(dir.path().join("tokenizer.json"), "{").unwrap();
        assert!(message(dir.path()).contains("tokenizer.json"));
    }
}
