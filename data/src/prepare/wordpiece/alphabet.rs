//! The characters of a corpus.

use std::collections::BTreeMap;

/// Begins a piece that continues a word.
const CONTINUES: &str = "##";

/// How often each character occurs, and whether within a word.
#[derive(Default)]
pub(super) struct Alphabet {
    counts: BTreeMap<char, CharacterCount>,
}

#[derive(Default)]
struct CharacterCount {
    occurrences: u64,
    continues: bool,
}

impl Alphabet {
    /// Counts the characters of a word.
    pub(super) fn add(&mut self, word: &str) {
        for (place, character) in word.chars().enumerate() {
            let count = self.counts.entry(character).or_default();
            count.occurrences += 1;
            count.continues |= place > 0;
        }
    }

    /// The most frequent characters, of equally frequent ones those with the lower code points; in the order of their
    /// code points.
    pub(super) fn most_frequent(&self, limit: usize) -> Vec<char> {
        let mut characters: Vec<char> = self.counts.keys().copied().collect();
        characters.sort_by_key(|character| std::cmp::Reverse(self.counts[character].occurrences));
        characters.truncate(limit);
        characters.sort_unstable();
        characters
    }

    /// Number of different characters.
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// The characters as tokens, and after them those that occur within words as pieces of words.
    pub(super) fn tokens(&self, characters: &[char]) -> impl Iterator<Item = String> {
        let alone = characters.iter().map(char::to_string);
        let continuing = characters
            .iter()
            .filter(|character| self.counts[character].continues)
            .map(|character| format!("{CONTINUES}{character}"));
        alone.chain(continuing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_characters_are_kept_and_ties_go_to_the_first() {
        let mut alphabet = Alphabet::default();
        ["cab", "cd", "c"]
            .iter()
            .for_each(|word| alphabet.add(word));
        assert_eq!(alphabet.len(), 4);
        assert_eq!(alphabet.most_frequent(3), ['a', 'b', 'c']);
        let kept = alphabet.most_frequent(9);
        let tokens: Vec<String> = alphabet.tokens(&kept).collect();
        assert_eq!(tokens, ["a", "b", "c", "d", "##a", "##b", "##d"]);
    }
}
