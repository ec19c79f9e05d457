//! Scores that were given before, by teacher, query and document.
//!
//! Memory holds 20 bytes a pair, and as much again for the table's free places at worst. In training their number is
//! bounded; behind a file all of the file's are held, whatever the size of the texts.

mod record_file;

use std::collections::HashMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::fingerprint::Fingerprint;
use super::{QueryDocuments, Text};
pub use record_file::CacheError;
use record_file::RecordFile;

/// Pairs kept in training: about 200 MB.
const MOST_PAIRS: usize = 4 << 20;

/// What a score is kept by: 128 bits of a hash over teacher, query and document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PairKey(pub [u32; 4]);

/// The beginning of the keys of one teacher and one query.
pub struct QueryKey(Sha256);

impl QueryKey {
    /// `by_id` says whether the teacher sees ids and no texts.
    pub fn new(teacher: &Fingerprint, by_id: bool, row: &QueryDocuments) -> Self {
        let mut hash = Sha256::new_with_prefix(teacher.0);
        add(&mut hash, by_id, &row.query);
        Self(hash)
    }

    /// The key of one of the query's documents.
    pub fn pair(&self, by_id: bool, document: &Text) -> PairKey {
        let mut hash = self.0.clone();
        add(&mut hash, by_id, document);
        let bytes: [u8; 32] = hash.finalize().into();
        let words = bytes.as_chunks::<4>().0;
        PairKey(std::array::from_fn(|word| u32::from_le_bytes(words[word])))
    }
}

fn add(hash: &mut Sha256, by_id: bool, text: &Text) {
    let text = match by_id {
        true => text.id.unwrap_or_default(),
        false => text.text,
    };
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

/// How often teachers were asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Pairs that a teacher scored.
    pub asked: u64,
    /// Pairs whose score was known.
    pub known: u64,
}

/// Scores by pair, in memory and, where there is one, in a file.
pub struct ScoreCache {
    /// What was added or looked up last.
    young: HashMap<PairKey, f32>,
    /// What was before: forgotten as a whole when `young` is full.
    old: HashMap<PairKey, f32>,
    /// Pairs in each of the two; `None` where nothing is forgotten.
    most: Option<usize>,
    file: Option<RecordFile>,
    counts: CacheCounts,
    damaged: usize,
}

impl ScoreCache {
    /// A cache without a file that keeps the last few million pairs.
    pub fn in_memory() -> Self {
        Self::bounded(MOST_PAIRS / 2)
    }

    fn bounded(most: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            most: Some(most),
            file: None,
            counts: CacheCounts::default(),
            damaged: 0,
        }
    }

    /// The cache in folder `dir`, which is made where it is not there. What a killed run left half written is cut off.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written, is of another kind, or another run is writing it.
    pub fn open(dir: &Path) -> Result<Self, CacheError> {
        let mut scores = HashMap::new();
        let (file, damaged) = RecordFile::open(dir, |key, score| {
            scores.insert(key, score);
        })?;
        Ok(Self {
            young: scores,
            most: None,
            file: Some(file),
            damaged,
            ..Self::bounded(0)
        })
    }

    /// The score of a pair, if it is known.
    pub fn get(&mut self, key: PairKey) -> Option<f32> {
        let score = self.young.get(&key).copied().or_else(|| {
            let score = self.old.remove(&key)?;
            self.remember(key, score);
            Some(score)
        });
        self.counts.known += u64::from(score.is_some());
        score
    }

    /// Adds what a teacher said.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn insert(&mut self, key: PairKey, score: f32) -> Result<(), CacheError> {
        self.counts.asked += 1;
        self.remember(key, score);
        match &mut self.file {
            Some(file) => file.append(key, score),
            None => Ok(()),
        }
    }

    fn remember(&mut self, key: PairKey, score: f32) {
        if self.most.is_some_and(|most| self.young.len() >= most) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, score);
    }

    /// Hands what was added to the system, which keeps it even if this process is killed.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn flush(&mut self) -> Result<(), CacheError> {
        match &mut self.file {
            Some(file) => file.flush(),
            None => Ok(()),
        }
    }

    /// How often teachers were asked since it was opened.
    pub fn counts(&self) -> CacheCounts {
        self.counts
    }

    /// Records of the file that were not what was written, and are left out.
    pub fn damaged(&self) -> usize {
        self.damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teacher::double::candidates;

    fn key(number: u32) -> PairKey {
        PairKey([number, 0, 0, 1])
    }

    #[test]
    fn a_bounded_cache_forgets_what_is_not_used() {
        let mut cache = ScoreCache::bounded(2);
        for number in 0..4 {
            cache.insert(key(number), number as f32).unwrap();
        }
        // 0 and 1 are the old ones; looking 1 up keeps it alive when 2 and 3 push them out.
        assert_eq!(cache.get(key(1)), Some(1.0));
        assert_eq!(cache.get(key(0)), None);
        assert_eq!(cache.get(key(3)), Some(3.0));
        assert!(cache.young.len() <= 2 && cache.old.len() <= 2);
        assert_eq!(cache.counts(), CacheCounts { asked: 4, known: 2 });
    }

    #[test]
    fn keys_follow_teacher_query_and_document() {
        let of = |teacher: u8, by_id: bool, query: Text, document: Text| {
            let row = QueryDocuments {
                query,
                documents: vec![document],
            };
            QueryKey::new(&Fingerprint([teacher; 32]), by_id, &row).pair(by_id, &document)
        };
        let text = |text, id| Text { id: Some(id), text };
        let base = of(1, false, text("q", "1"), text("d", "2"));
        assert_eq!(
            base,
            of(1, false, text("q", "9"), text("d", "8")),
            "ids do not matter"
        );
        assert_ne!(base, of(2, false, text("q", "1"), text("d", "2")));
        assert_ne!(base, of(1, false, text("qd", "1"), text("", "2")));
        assert_ne!(base, of(1, false, text("d", "1"), text("q", "2")));
        let by_id = of(1, true, text("q", "1"), text("d", "2"));
        assert_eq!(
            by_id,
            of(1, true, text("x", "1"), text("y", "2")),
            "texts do not matter"
        );
        assert_ne!(by_id, of(1, true, text("q", "1"), text("d", "3")));
    }

    #[test]
    fn a_second_run_knows_what_the_first_one_asked() {
        let dir = tempfile::tempdir().unwrap();
        let row = candidates("q", &["a", "b"]);
        let teacher = Fingerprint([3; 32]);
        let keys: Vec<PairKey> = row
            .documents
            .iter()
            .map(|text| QueryKey::new(&teacher, false, &row).pair(false, text))
            .collect();
        let mut cache = ScoreCache::open(dir.path()).unwrap();
        assert_eq!(cache.get(keys[0]), None);
        cache.insert(keys[0], -1.25).unwrap();
        cache.insert(keys[1], 3.5).unwrap();
        drop(cache);
        let mut cache = ScoreCache::open(dir.path()).unwrap();
        assert_eq!(
            (cache.get(keys[0]), cache.get(keys[1])),
            (Some(-1.25), Some(3.5))
        );
        assert_eq!(cache.counts(), CacheCounts { asked: 0, known: 2 });
    }
}
