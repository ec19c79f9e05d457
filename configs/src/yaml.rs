//! From YAML to keys and values, with the line of each.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use serde_saphyr::Spanned;

use crate::error::{ConfigError, Place};

/// The top-level mapping as (line, key, value), in the order of the file.
pub(crate) fn mapping(path: &Path, text: &str) -> Result<Vec<(u64, String, Value)>, ConfigError> {
    let mapping: Option<BTreeMap<String, Spanned<Value>>> =
        from_yaml(text).map_err(|(line, message)| ConfigError::Syntax {
            place: match line {
                Some(line) => Place::Line(path.to_owned(), line),
                None => Place::File(path.to_owned()),
            },
            message,
        })?;
    let mut entries: Vec<_> = mapping
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (value.referenced.line(), key, value.value))
        .collect();
    entries.sort_by_key(|(line, ..)| *line);
    if entries.is_empty() {
        return Err(ConfigError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(entries)
}

/// One override, `key=value`.
pub(crate) fn assignment(text: &str) -> Result<(String, Value), ConfigError> {
    let refuse = |problem: String| ConfigError::Override {
        text: text.to_owned(),
        problem,
    };
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| refuse("there is no `=`".to_owned()))?;
    let value: Option<Value> = from_yaml(value).map_err(|(_, message)| refuse(message))?;
    Ok((key.trim().to_owned(), value.unwrap_or_default()))
}

/// Parses YAML; an error comes with its line, if known.
pub(crate) fn from_yaml<T: serde::de::DeserializeOwned>(
    text: &str,
) -> Result<T, (Option<u64>, String)> {
    // Strict: `save_strategy: no` is a word. Keys that are booleans take `no` all the same.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map(|location| location.line());
        (line, syntax_message(&error))
    })
}

/// What the parser found, without the position that the error names already.
fn syntax_message(error: &serde_saphyr::Error) -> String {
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error.without_snippet()
    {
        return format!("`{key}` is written twice");
    }
    if let serde_saphyr::Error::Unexpected { .. } = error.without_snippet() {
        return "found something else".to_owned();
    }
    let message = error.without_snippet().to_string();
    match message.rsplit_once(" at line ") {
        Some((what, _)) => what.to_owned(),
        None => message,
    }
}
