//! The tokenizer's files: `tokenizer.json` and what older readers expect beside it.

use std::fs;
use std::path::Path;

use data::Tokenizer;
use data::output::write_file;
use serde_json::{Map, Value, json};

use super::export::write_json;
use super::{ExportError, ImportError};
use crate::config::EncoderConfig;

/// The names that transformers gives to the special tokens of BERT's vocabulary.
const SPECIAL_TOKENS: [(&str, &str); 5] = [
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];

/// Files that are copied as they are where the tokenizer has them.
const COPIED: [&str; 4] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "added_tokens.json",
];

/// Writes the tokenizer into `dir`: `tokenizer.json` without the truncation and padding that some files carry
/// (length is the caller's choice), the others copied, or made where the source lacks them.
pub(super) fn write(
    tokenizer: &Tokenizer,
    config: &EncoderConfig,
    dir: &Path,
) -> Result<(), ExportError> {
    let json = tokenizer.to_json()?;
    write_file(&dir.join("tokenizer.json"), json.as_bytes())?;
    for name in COPIED {
        let source = tokenizer.dir().join(name);
        if source.is_file() {
            let content = fs::read(&source).map_err(ImportError::io(&source))?;
            write_file(&dir.join(name), &content)?;
        }
    }
    let missing = |name: &str| !dir.join(name).exists();
    if missing("tokenizer_config.json") {
        let settings = tokenizer_config(tokenizer, &json, config);
        write_json(&dir.join("tokenizer_config.json"), &settings)?;
    }
    if missing("special_tokens_map.json") {
        let specials = Value::Object(special_tokens(tokenizer));
        write_json(&dir.join("special_tokens_map.json"), &specials)?;
    }
    if missing("vocab.txt") {
        write_file(&dir.join("vocab.txt"), vocabulary(tokenizer).as_bytes())?;
    }
    Ok(())
}

fn tokenizer_config(tokenizer: &Tokenizer, json: &str, config: &EncoderConfig) -> Value {
    let tokenizer_json: Value = serde_json::from_str(json).unwrap_or_default();
    let normalizer = &tokenizer_json["normalizer"];
    let mut settings = special_tokens(tokenizer);
    settings.insert("tokenizer_class".into(), "BertTokenizer".into());
    settings.insert("model_max_length".into(), config.max_positions.into());
    for (setting, key) in [
        ("do_lower_case", "lowercase"),
        ("strip_accents", "strip_accents"),
        ("tokenize_chinese_chars", "handle_chinese_chars"),
    ] {
        settings.insert(setting.into(), normalizer[key].clone());
    }
    Value::Object(settings)
}

fn special_tokens(tokenizer: &Tokenizer) -> Map<String, Value> {
    SPECIAL_TOKENS
        .iter()
        .filter(|(_, token)| tokenizer.id(token).is_some())
        .map(|&(name, token)| (name.to_owned(), json!(token)))
        .collect()
}

/// One token per line in the order of ids; an id without a token still needs its line.
fn vocabulary(tokenizer: &Tokenizer) -> String {
    (0..tokenizer.vocab_size() as u32)
        .map(|id| match tokenizer.token(id) {
            Some(token) => format!("{token}\n"),
            None => format!("[unused id {id}]\n"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{VOCABULARY, random_model};
    use super::*;
    use crate::config::Family;

    #[test]
    fn what_the_source_lacks_is_made() {
        let (dir, _, config) = random_model(Family::Bert);
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        let out = tempfile::tempdir().unwrap();
        fs::create_dir(out.path().join("a")).unwrap();
        write(&tokenizer, &config, &out.path().join("a")).unwrap();

        let settings = fs::read(out.path().join("a/tokenizer_config.json")).unwrap();
        let settings: Value = serde_json::from_slice(&settings).unwrap();
        assert_eq!(settings["do_lower_case"], true);
        assert_eq!(settings["model_max_length"], 16);
        assert_eq!(settings["cls_token"], "[CLS]");

        fs::remove_file(out.path().join("a/vocab.txt")).unwrap();
        let again = Tokenizer::from_dir(&out.path().join("a")).unwrap();
        fs::create_dir(out.path().join("b")).unwrap();
        write(&again, &config, &out.path().join("b")).unwrap();
        let vocabulary = fs::read_to_string(out.path().join("b/vocab.txt")).unwrap();
        assert_eq!(vocabulary.lines().collect::<Vec<_>>(), VOCABULARY);
    }
}
