//! The indices that loads of one name have made.

use serde_json::{Value, json};

use super::client::Body;
use super::{Client, OpenSearchError};

/// An index of ours behind an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Generation {
    pub number: u32,
    pub index: String,
    /// What its mapping says: the fingerprint, if there was one, rows, and whether they are all.
    pub fingerprint: Option<u32>,
    pub rows: usize,
    pub is_complete: bool,
}

/// Removes an index, if it is there.
///
/// # Errors
///
/// If the server refuses.
pub fn delete(client: &Client, index: &str) -> Result<(), OpenSearchError> {
    match client.send::<Value>("DELETE", index, Body::Empty) {
        Err(OpenSearchError::Refused { status: 404, .. }) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Removes an alias of ours with everything behind it.
///
/// # Errors
///
/// If the server refuses.
pub fn delete_all(client: &Client, name: &str) -> Result<(), OpenSearchError> {
    let all = generations(client, name)?;
    all.iter()
        .try_for_each(|generation| delete(client, &generation.index))
}

/// What the mapping of an index of ours says.
pub(super) fn meta(field: &str, fingerprint: Option<u32>, rows: usize, is_complete: bool) -> Value {
    let fingerprint = fingerprint.map(|fingerprint| format!("{fingerprint:08x}"));
    json!({"ellzero": {"field": field, "fingerprint": fingerprint, "rows": rows, "complete": is_complete}})
}

/// Indices behind an alias.
pub(super) fn aliased(client: &Client, name: &str) -> Result<Vec<String>, OpenSearchError> {
    let found = client.find(&format!("_alias/{name}"))?.unwrap_or_default();
    Ok(found
        .as_object()
        .into_iter()
        .flatten()
        .map(|(index, _)| index.clone())
        .collect())
}

/// Indices that loads of `name` have made, by number.
pub(super) fn generations(client: &Client, name: &str) -> Result<Vec<Generation>, OpenSearchError> {
    let path = format!("{name}-*/_mapping?filter_path=*.mappings._meta.ellzero");
    let answer = client.find(&path)?.unwrap_or_default();
    let indices = answer.as_object().into_iter().flatten();
    let mut generations: Vec<Generation> = indices
        .filter_map(|(index, value)| generation(name, index, value))
        .collect();
    generations.sort_by_key(|generation| generation.number);
    Ok(generations)
}

fn generation(name: &str, index: &str, value: &Value) -> Option<Generation> {
    let digits = index.strip_prefix(name)?.strip_prefix('-')?;
    let is_number = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let meta = &value["mappings"]["_meta"]["ellzero"];
    Some(Generation {
        number: is_number.then_some(digits)?.parse().ok()?,
        index: index.to_owned(),
        fingerprint: meta["fingerprint"]
            .as_str()
            .and_then(|text| u32::from_str_radix(text, 16).ok()),
        rows: meta["rows"].as_u64()? as usize,
        is_complete: meta["complete"].as_bool()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_told_from_other_indices() {
        let value = json!({"mappings": {"_meta": meta("vec", Some(0xab), 3, false)}});
        let expected = Generation {
            number: 12,
            index: "docs-000012".to_owned(),
            fingerprint: Some(0xab),
            rows: 3,
            is_complete: false,
        };
        assert_eq!(generation("docs", "docs-000012", &value), Some(expected));
        for index in [
            "docs-x",
            "docs-12",
            "docs-0000012",
            "docs-+00012",
            "other-000012",
            "docs-a-000001",
        ] {
            assert_eq!(generation("docs", index, &value), None, "{index}");
        }
        assert_eq!(
            generation("docs", "docs-000012", &json!({"mappings": {}})),
            None
        );
    }
}
