//! Documents as the server gets them.

use std::io;

use super::mapping::ID_FIELD;
use super::weight::{feature_name, is_nameable, is_storable};

/// Writes a document: its id, what is only kept, and its vector.
pub(super) fn write_document<'a>(
    out: &mut Vec<u8>,
    id: &str,
    kept: &[(&str, &str)],
    field: &str,
    weights: impl IntoIterator<Item = (&'a str, f32)>,
) -> io::Result<()> {
    out.push(b'{');
    for &(name, value) in [(ID_FIELD, id)].iter().chain(kept) {
        serde_json::to_writer(&mut *out, name)?;
        out.push(b':');
        serde_json::to_writer(&mut *out, value)?;
        out.push(b',');
    }
    serde_json::to_writer(&mut *out, field)?;
    out.push(b':');
    write_vector(out, weights)?;
    out.push(b'}');
    Ok(())
}

/// Writes a vector as the value of a field; what the server cannot store is left out.
fn write_vector<'a>(
    out: &mut Vec<u8>,
    weights: impl IntoIterator<Item = (&'a str, f32)>,
) -> io::Result<()> {
    let mut separator = b'{';
    let mut entry = |out: &mut Vec<u8>, name: &str, weight: f32| {
        out.push(separator);
        separator = b',';
        serde_json::to_writer(&mut *out, name)?;
        out.push(b':');
        serde_json::to_writer(out, &weight)
    };
    for (token, weight) in weights {
        if !is_nameable(token) || !is_storable(weight) {
            continue;
        }
        entry(out, token, weight)?;
        let feature = feature_name(token);
        if feature != token {
            entry(out, &feature, weight)?;
        }
    }
    if separator == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_what_the_server_can_store() {
        let written = |weights: &[(&str, f32)]| {
            let mut out = Vec::new();
            write_vector(&mut out, weights.iter().copied()).expect("memory");
            String::from_utf8(out).expect("JSON")
        };
        assert_eq!(written(&[]), "{}");
        assert_eq!(
            written(&[("a", 0.0), ("\0", 1.0), ("", 1.0), ("b", 1.0e-40)]),
            "{}"
        );
        assert_eq!(
            written(&[("a\"", 0.1), ("1.5", 2.0)]),
            "{\"a\\\"\":0.1,\"1.5\":2.0,\"1\u{e02e}5\":2.0}"
        );
    }

    #[test]
    fn documents_have_their_id_what_is_kept_and_the_vector() {
        let mut out = Vec::new();
        write_document(&mut out, "d\"1", &[("text", "a\nb")], "vec", [("sea", 0.5)])
            .expect("memory");
        let text = String::from_utf8(out).expect("JSON");
        assert_eq!(
            text,
            "{\"id\":\"d\\\"1\",\"text\":\"a\\nb\",\"vec\":{\"sea\":0.5}}"
        );
    }
}
