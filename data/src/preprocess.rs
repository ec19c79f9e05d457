//! Text rewriting before tokenization (`preprocess_func`).

use std::borrow::Cow;

use configs::Preprocess;

/// Rewrites `text` as the recipe asks; without a rewriting the text itself.
pub fn preprocess(function: Option<Preprocess>, text: &str) -> Cow<'_, str> {
    match function {
        None => Cow::Borrowed(text),
        Some(Preprocess::ToLower) => Cow::Owned(text.to_lowercase()),
        Some(Preprocess::BlankPrefix) => Cow::Owned(format!(" {text}")),
        Some(Preprocess::BlankPrefixLower) => Cow::Owned(format!(" {}", text.to_lowercase())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function() {
        assert_eq!(preprocess(None, "Ab"), "Ab");
        assert_eq!(preprocess(Some(Preprocess::ToLower), "ÀB"), "àb");
        assert_eq!(preprocess(Some(Preprocess::BlankPrefix), "Ab"), " Ab");
        assert_eq!(preprocess(Some(Preprocess::BlankPrefixLower), "Ab"), " ab");
    }
}
