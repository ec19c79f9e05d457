//! Near duplicates by MinHash (Broder 1997) and banding: texts whose sets of word triples overlap.
//!
//! A signature has the minima of 80 hash functions over a text's triples; two texts agree in one of them with
//! probability J, their Jaccard similarity. Texts that agree in all 5 of one of 16 bands are compared exactly. A pair
//! at the threshold, J = 0.8, is found with probability 1 - (1 - 0.8^5)^16 = 0.998.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::random::{hash, mix};

/// Words of a shingle.
const SHINGLE_WORDS: usize = 3;
const BANDS: usize = 16;
const BAND_HASHES: usize = 5;
/// Jaccard similarity from which on a text is a near duplicate.
pub(super) const THRESHOLD: f64 = 0.8;

/// The hashes of a text's word triples, sorted; of a shorter text the hash of all its words.
pub(super) fn shingles(text: &str) -> Vec<u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let windows = words.windows(SHINGLE_WORDS.min(words.len()).max(1));
    let mut shingles: Vec<u64> = windows
        .map(|words| hash(0, words.join(" ").as_bytes()))
        .collect();
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

/// The near duplicates of one text.
pub struct NearDuplicates(Vec<u64>);

impl NearDuplicates {
    /// Those of `text`.
    pub fn of(text: &str) -> Self {
        Self(shingles(text))
    }

    /// Whether `other` is one: the Jaccard similarity of their sets of word triples is at least 0.8.
    pub fn contain(&self, other: &str) -> bool {
        jaccard(&self.0, &shingles(other)) >= THRESHOLD
    }
}

/// One number per band.
pub(super) type Bands = [u32; BANDS];

/// The bands of a text's signature.
pub(super) fn bands(shingles: &[u64]) -> Bands {
    std::array::from_fn(|band| {
        let minimum = |function: usize| {
            let salt = mix((band * BAND_HASHES + function) as u64 + 1);
            let hashes = shingles.iter().map(|shingle| mix(shingle ^ salt));
            hashes.min().unwrap_or(0)
        };
        let minima = (0..BAND_HASHES).map(minimum);
        minima.fold(0, |band, minimum| mix(band ^ minimum)) as u32
    })
}

/// Size of the intersection over size of the union.
pub(super) fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut common) = (0, 0, 0);
    while let (Some(left), Some(right)) = (a.get(i), b.get(j)) {
        let order = left.cmp(right);
        common += usize::from(order == Ordering::Equal);
        i += usize::from(order != Ordering::Greater);
        j += usize::from(order != Ordering::Less);
    }
    let union = a.len() + b.len() - common;
    if union == 0 {
        return 1.0;
    }
    common as f64 / union as f64
}

/// The rows kept so far, by the bands of their signatures.
#[derive(Default)]
pub(super) struct BandIndex {
    tables: [HashMap<u32, u32>; BANDS],
}

impl BandIndex {
    /// Rows that share a band, in ascending order.
    pub(super) fn candidates(&self, bands: &Bands) -> Vec<u32> {
        let tables = self.tables.iter().zip(bands);
        let mut rows: Vec<u32> = tables
            .filter_map(|(table, band)| table.get(band).copied())
            .collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// Of rows with the same band the first is remembered: what is like the others is like it too, as a rule.
    pub(super) fn insert(&mut self, bands: &Bands, row: u32) {
        for (table, &band) in self.tables.iter_mut().zip(bands) {
            table.entry(band).or_insert(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(range: std::ops::Range<usize>) -> String {
        let words: Vec<String> = range.map(|word| format!("w{word}")).collect();
        words.join(" ")
    }

    #[test]
    fn similarity_is_that_of_word_triples() {
        let set = |text: &str| shingles(text);
        assert_eq!(set("a b c d").len(), 2);
        assert_eq!((set("a b").len(), set("").len()), (1, 0));
        assert_eq!(jaccard(&set("a b c d"), &set("a b c d e")), 2.0 / 3.0);
        assert_eq!(jaccard(&set("a b c"), &set("c b a")), 0.0);
        assert_eq!(jaccard(&[], &[]), 1.0);
    }

    #[test]
    fn near_duplicates_share_most_triples() {
        let near = NearDuplicates::of(&words(0..100));
        assert!(near.contain(&words(0..100)) && near.contain(&words(8..108)));
        assert!(!near.contain(&words(60..160)) && !near.contain(""));
    }

    #[test]
    fn pairs_above_the_threshold_are_candidates() {
        let mut found = [0, 0];
        for text in 0..200 {
            let start = text * 1000;
            let mut index = BandIndex::default();
            index.insert(&bands(&shingles(&words(start..start + 100))), 7);
            for (found, moved) in found.iter_mut().zip([8, 60]) {
                let other = shingles(&words(start + moved..start + 100 + moved));
                *found += usize::from(!index.candidates(&bands(&other)).is_empty());
            }
        }
        // J = 0.85 and 0.25.
        assert!(found[0] >= 198, "{found:?}");
        assert!(found[1] <= 12, "{found:?}");
    }
}
