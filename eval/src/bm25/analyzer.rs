//! Text to terms, following Lucene's English analyzer.

use std::ops::Range;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;

/// The 33 English stop words of Lucene.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it",
    "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "was", "will", "with",
];

/// Unicode words (UAX #29), possessive endings removed, lower-cased, stop words removed, stemmed.
pub struct Analyzer {
    stemmer: Stemmer,
}

impl Default for Analyzer {
    fn default() -> Self {
        Self {
            stemmer: Stemmer::create(Algorithm::English),
        }
    }
}

impl Analyzer {
    /// The terms of `text`, in order, repetitions kept.
    pub fn terms(&self, text: &str) -> Vec<String> {
        text.unicode_words()
            .filter_map(|word| self.term(word))
            .collect()
    }

    /// The terms with the bytes of their words.
    pub fn spans(&self, text: &str) -> Vec<(String, Range<usize>)> {
        text.unicode_word_indices()
            .filter_map(|(start, word)| Some((self.term(word)?, start..start + word.len())))
            .collect()
    }

    fn term(&self, word: &str) -> Option<String> {
        let word = without_possessive(word).to_lowercase();
        let is_stop_word = STOP_WORDS.contains(&word.as_str());
        (!is_stop_word).then(|| self.stemmer.stem(&word).into_owned())
    }
}

fn without_possessive(word: &str) -> &str {
    let ending = [
        "'s",
        "'S",
        "\u{2019}s",
        "\u{2019}S",
        "\u{ff07}s",
        "\u{ff07}S",
    ]
    .into_iter()
    .find(|ending| word.ends_with(ending));
    word.strip_suffix(ending.unwrap_or_default())
        .unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_terms() {
        let terms = |text: &str| Analyzer::default().terms(text).join(" ");
        assert_eq!(
            terms("The dogs' and Alzheimer's DISEASES"),
            "dog alzheim diseas"
        );
        assert_eq!(
            terms("a 3.5-fold increase, in_vitro (IL-2)"),
            "3.5 fold increas in_vitro il 2"
        );
        assert_eq!(terms("It is not to be"), "");
        assert_eq!(
            Analyzer::default().spans("The é dogs"),
            [("é".to_owned(), 4..6), ("dog".to_owned(), 7..11)]
        );
    }
}
