//! BERT's tokenizer from vocab.txt and tokenizer_config.json.

use std::path::Path;

use serde_json::Value;
use tokenizers::AddedToken;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;

use super::{TokenizeError, read};

/// What tokenizer_config.json says, with bert-base-uncased's values where it says nothing.
pub(super) struct Settings {
    lowercase: bool,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: bool,
    /// Padding, unknown, classification, separator and mask token.
    pub(super) special_tokens: [String; 5],
}

impl Settings {
    /// Reads the file where there is one.
    pub(super) fn read(path: &Path) -> Result<Self, TokenizeError> {
        let config: Value = if path.is_file() {
            serde_json::from_slice(&read(path)?).map_err(|error| TokenizeError::Invalid {
                path: path.to_path_buf(),
                reason: error.to_string(),
            })?
        } else {
            Value::Null
        };
        let switch = |key: &str| config.get(key).and_then(Value::as_bool);
        // Written either as a string or as an object with the string under `content`.
        let token = |key: &str, default: &str| {
            let value = config
                .get(key)
                .map(|value| value.get("content").unwrap_or(value));
            value.and_then(Value::as_str).unwrap_or(default).to_owned()
        };
        Ok(Self {
            lowercase: switch("do_lower_case").unwrap_or(true),
            strip_accents: switch("strip_accents"),
            tokenize_chinese_chars: switch("tokenize_chinese_chars").unwrap_or(true),
            special_tokens: [
                token("pad_token", "[PAD]"),
                token("unk_token", "[UNK]"),
                token("cls_token", "[CLS]"),
                token("sep_token", "[SEP]"),
                token("mask_token", "[MASK]"),
            ],
        })
    }
}

/// BERT's tokenizer over a vocabulary with one token per line.
pub(super) fn wordpiece(
    vocabulary: &str,
    settings: &Settings,
) -> Result<tokenizers::Tokenizer, String> {
    let ids: serde_json::Map<String, Value> = vocabulary
        .lines()
        .enumerate()
        .map(|(id, token)| (token.to_owned(), id.into()))
        .collect();
    let [_, unk, cls, sep, _] = &settings.special_tokens;
    // Through JSON, because the builder wants a hash map of a crate that is none of our business.
    let model = serde_json::json!({
        "type": "WordPiece",
        "unk_token": unk,
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": ids,
    });
    let model = WordPiece::from_bytes(model.to_string()).map_err(|error| error.to_string())?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    let id_of = |tokenizer: &tokenizers::Tokenizer, token: &str| {
        tokenizer
            .token_to_id(token)
            .ok_or_else(|| format!("the special token {token:?} is not in the vocabulary"))
    };
    id_of(&tokenizer, unk)?;
    let (cls_id, sep_id) = (id_of(&tokenizer, cls)?, id_of(&tokenizer, sep)?);
    let normalizer = BertNormalizer::new(
        true,
        settings.tokenize_chinese_chars,
        settings.strip_accents,
        settings.lowercase,
    );
    tokenizer
        .with_normalizer(Some(normalizer))
        .map_err(|error| error.to_string())?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(BertProcessing::new(
        (sep.clone(), sep_id),
        (cls.clone(), cls_id),
    )));
    let present: Vec<AddedToken> = settings
        .special_tokens
        .iter()
        .filter(|token| tokenizer.token_to_id(token).is_some())
        .map(|token| AddedToken::from(token.clone(), true))
        .collect();
    tokenizer
        .add_special_tokens(present)
        .map_err(|error| error.to_string())?;
    Ok(tokenizer)
}
