//! Token strings of vectors that come without their tokenizer.

use std::collections::HashMap;

use model::SparseVector;

/// Numbers for token strings, in the order in which they were first seen.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    ids: HashMap<String, u32>,
    tokens: Vec<String>,
}

impl Vocabulary {
    /// The number of `token`, a new one if it was never seen.
    pub fn intern(&mut self, token: &str) -> u32 {
        if let Some(&id) = self.ids.get(token) {
            return id;
        }
        let id = u32::try_from(self.tokens.len()).expect("fewer than 2^32 distinct tokens");
        self.ids.insert(token.to_owned(), id);
        self.tokens.push(token.to_owned());
        id
    }

    /// The number of `token`, if it was seen.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// The token of number `id`.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// All tokens, by number.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// A vector over this vocabulary; new tokens join it.
    pub fn intern_vector<S: AsRef<str>>(
        &mut self,
        entries: impl IntoIterator<Item = (S, f32)>,
    ) -> SparseVector {
        sorted(
            entries
                .into_iter()
                .map(|(token, weight)| (self.intern(token.as_ref()), weight)),
        )
    }

    /// A vector over this vocabulary; unknown tokens, which no document has, are left out.
    pub fn vector<S: AsRef<str>>(
        &self,
        entries: impl IntoIterator<Item = (S, f32)>,
    ) -> SparseVector {
        sorted(
            entries
                .into_iter()
                .filter_map(|(token, weight)| Some((self.id(token.as_ref())?, weight))),
        )
    }
}

impl<S: AsRef<str>> FromIterator<S> for Vocabulary {
    fn from_iter<I: IntoIterator<Item = S>>(tokens: I) -> Self {
        let mut vocabulary = Self::default();
        for token in tokens {
            vocabulary.intern(token.as_ref());
        }
        vocabulary
    }
}

fn sorted(entries: impl Iterator<Item = (u32, f32)>) -> SparseVector {
    let mut entries: Vec<(u32, f32)> = entries.collect();
    entries.sort_unstable_by_key(|&(id, _)| id);
    entries.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_sorted_and_unknown_tokens_dropped() {
        let mut vocabulary = Vocabulary::from_iter(["b", "a"]);
        let document = vocabulary.intern_vector([("c", 3.0), ("a", 1.0), ("b", 2.0)]);
        assert_eq!(
            document.iter().collect::<Vec<_>>(),
            [(0, 2.0), (1, 1.0), (2, 3.0)]
        );
        let query = vocabulary.vector([("x", 9.0), ("c", 3.0)]);
        assert_eq!(query.iter().collect::<Vec<_>>(), [(2, 3.0)]);
        assert_eq!(vocabulary.token(2), Some("c"));
    }
}
