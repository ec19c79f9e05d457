//! What an index of `rank_features` makes of tokens and weights.

use std::borrow::Cow;

/// Stands for a dot in the second name of a token that has one.
///
/// A `rank_feature` query takes the last dot of `FIELD.TOKEN` for the end of the field's name, so that no token with a
/// dot can be asked for. Such a token is therefore stored under two names: its own, for `neural_sparse`, and one with
/// this character, of Unicode's private use area, in place of its dots, for `rank_feature`.
pub const DOT: char = '\u{e02e}';

/// The weight that the server computes with: a float32 cut to 9 significant bits, the implied first one included.
///
/// Lucene keeps a feature's value as a term frequency, the upper 17 bits of the float32 (`FeatureField`). The cut is
/// always downwards, by less than 1 part in 256. A query's weights are not rounded.
pub fn stored_weight(weight: f32) -> f32 {
    f32::from_bits(weight.to_bits() & !0x7fff)
}

/// Whether the server takes a weight: positive, normal float32 numbers alone.
pub(super) fn is_storable(weight: f32) -> bool {
    weight.is_normal() && weight > 0.0
}

/// Whether a token can be stored: an empty one has no name, and names with a zero byte stand for no token at all.
pub(super) fn is_nameable(token: &str) -> bool {
    !token.is_empty() && !token.contains(['\0', DOT])
}

/// The name by which a `rank_feature` query asks for a token.
pub(super) fn feature_name(token: &str) -> Cow<'_, str> {
    match token.contains('.') {
        true => token.replace('.', DOT.encode_utf8(&mut [0; 4])).into(),
        false => token.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_bits_stay() {
        assert_eq!(stored_weight(1.234_567_8), 1.234_375);
        assert_eq!(stored_weight(3.3), 3.296_875);
        for weight in [
            1.0,
            1.5,
            511.0,
            1.0 / 3.0,
            1.0e-37,
            f32::MIN_POSITIVE,
            f32::MAX,
        ] {
            let stored = stored_weight(weight);
            assert!(
                stored <= weight && weight - stored < weight / 256.0,
                "{weight}"
            );
        }
        assert_eq!(stored_weight(511.0), 511.0);
    }

    #[test]
    fn dots_have_another_name() {
        assert_eq!(feature_name("##ing"), "##ing");
        assert_eq!(feature_name("3.5."), "3\u{e02e}5\u{e02e}");
        assert!(
            is_nameable(".") && !is_nameable("") && !is_nameable("\0") && !is_nameable("\u{e02e}")
        );
        assert!(is_storable(1.0e-37));
        assert!(
            ![0.0, -1.0, 1.0e-39, f32::NAN, f32::INFINITY]
                .into_iter()
                .any(is_storable)
        );
    }
}
