//! Which texts occurred before.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Remembers texts by a 128-bit hash: of ids a fifth of their memory, of passages a fiftieth.
#[derive(Default)]
pub(crate) struct SeenTexts {
    hashes: HashSet<u128>,
    hashers: [RandomState; 2],
}

impl SeenTexts {
    /// Whether `text` is new.
    pub(crate) fn insert(&mut self, text: &str) -> bool {
        let [high, low] = self.hashers.each_ref().map(|hasher| hasher.hash_one(text));
        self.hashes.insert(u128::from(high) << 64 | u128::from(low))
    }
}
