//! Whatever is left out, packed, divided or appended: the result is that of scoring every document.

use model::SparseVector;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{
    INDEX_FILE, IndexBuilder, IndexWriter, InvertedIndex, Pruning, Searcher, Vocabulary, merge,
};
use crate::ranking::{Hit, rank_order};

/// Documents and queries with the skew of text: token 0 nearly everywhere, most tokens rare.
struct Collection {
    ids: Vec<String>,
    documents: Vec<SparseVector>,
    queries: Vec<SparseVector>,
}

/// How weights are drawn.
#[derive(Debug, Clone, Copy)]
enum Weights {
    /// Any float32 of a range.
    Any,
    /// Few values, so that many scores tie.
    Few,
    /// From subnormal ones to those whose sums overflow.
    Extreme,
}

const TOKENS: u32 = 400;

impl Weights {
    fn draw(self, random: &mut ChaCha8Rng) -> f32 {
        match self {
            Self::Any => random.random_range(0.1..2.5),
            Self::Few => 0.5 * random.random_range(1..4u8) as f32,
            Self::Extreme => match random.random_range(0..4u8) {
                0 => f32::from_bits(random.random_range(1..100)),
                1 => random.random_range(1e17..1e19),
                2 => random.random_range(1e-22..1e-19),
                _ => random.random_range(0.1..2.5),
            },
        }
    }
}

impl Collection {
    fn draw(documents: usize, queries: usize, weights: Weights, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut vector = |length: usize| -> SparseVector {
            let token =
                |random: &mut ChaCha8Rng| f64::from(TOKENS).powf(random.random::<f64>()) as u32 - 1;
            let mut tokens: Vec<u32> = (0..length).map(|_| token(&mut random)).collect();
            tokens.sort_unstable();
            tokens.dedup();
            let weigh = |token| (token, weights.draw(&mut random));
            tokens.into_iter().map(weigh).collect()
        };
        Self {
            ids: (0..documents)
                .map(|doc| format!("d{}", doc * 7919 % 100_003))
                .collect(),
            documents: (0..documents).map(|doc| vector(doc * 31 % 60)).collect(),
            queries: (0..queries).map(|query| vector(query % 13)).collect(),
        }
    }

    fn rows(&self) -> impl Iterator<Item = (&str, &SparseVector)> {
        self.ids.iter().map(String::as_str).zip(&self.documents)
    }

    fn index(&self) -> InvertedIndex {
        let mut builder = IndexBuilder::default();
        for (id, vector) in self.rows() {
            builder.add(id, vector).expect("a new id");
        }
        builder.finish().expect("unique ids")
    }

    /// The best `k` by multiplying out.
    fn expected(&self, query: &SparseVector, k: usize) -> Vec<Hit> {
        let score = |(id, vector): (&str, &SparseVector)| Hit {
            id: id.to_owned(),
            score: query.dot(vector),
        };
        let mut all: Vec<Hit> = self
            .rows()
            .map(score)
            .filter(|hit| hit.score > 0.0)
            .collect();
        all.sort_by(rank_order);
        all.truncate(k);
        all
    }
}

fn vocabulary(tokens: u32) -> Vocabulary {
    (0..tokens).map(|token| format!("t{token}")).collect()
}

fn bits(hits: &[Hit]) -> Vec<(&str, u32)> {
    let bits = |hit: &Hit| hit.score.to_bits();
    hits.iter()
        .map(|hit| (hit.id.as_str(), bits(hit)))
        .collect()
}

const KS: [usize; 6] = [1, 3, 10, 100, 1000, 20_000];

/// 10,000 queries, each at one of the k: those of exhaustive search in all of them, multiplied out in a tenth.
#[test]
fn pruned_is_exhaustive_on_ten_thousand_queries() {
    for (weights, queries, seed) in [
        (Weights::Any, 4000, 1),
        (Weights::Few, 4000, 2),
        (Weights::Extreme, 2000, 3),
    ] {
        let collection = Collection::draw(12_000, queries, weights, seed);
        let mut index = collection.index();
        let of = |index: &InvertedIndex| -> Vec<Vec<(u32, u32)>> {
            let best = |(number, query): (usize, &SparseVector)| {
                let best = index.best(std::slice::from_ref(query), KS[number % KS.len()]);
                let best = best.into_iter().flatten();
                best.map(|(doc, score)| (doc, score.to_bits())).collect()
            };
            collection
                .queries
                .par_iter()
                .enumerate()
                .map(best)
                .collect()
        };
        let pruned = of(&index);
        index.set_pruning(Pruning::Exhaustive);
        let exhaustive = of(&index);
        for (number, query) in collection.queries.iter().enumerate() {
            assert_eq!(pruned[number], exhaustive[number], "{weights:?}: {query:?}");
        }
        index.set_pruning(Pruning::Exact);
        for (number, query) in collection.queries.iter().enumerate().step_by(10) {
            let k = KS[number / 10 % KS.len()];
            let found = index.search(std::slice::from_ref(query), k);
            let (found, expected) = (found.expect("embedded"), collection.expected(query, k));
            assert_eq!(
                bits(&found[0]),
                bits(&expected),
                "{weights:?}, k {k}: {query:?}"
            );
        }
    }
}

/// Query weights that bound nothing are no reason to leave anything out.
#[test]
fn queries_with_negative_weights_are_multiplied_out() {
    let collection = Collection::draw(5000, 40, Weights::Any, 4);
    let index = collection.index();
    for (number, query) in collection.queries.iter().enumerate() {
        let mut query = query.clone();
        for weight in query.weights.iter_mut().skip(number % 3).step_by(2) {
            *weight = -*weight;
        }
        let found = index.search(std::slice::from_ref(&query), 7);
        let found = found.expect("embedded");
        assert_eq!(bits(&found[0]), bits(&collection.expected(&query, 7)));
    }
}

#[test]
fn a_single_document_is_found() {
    let mut builder = IndexBuilder::default();
    let vector: SparseVector = [(3, 0.5), (9, 1.5)].into_iter().collect();
    builder.add("only", &vector).expect("new");
    let index = builder.finish().expect("unique");
    for (query, hits) in [(vector.clone(), 1), ([(4, 1.0)].into_iter().collect(), 0)] {
        for k in [0, 1, 5] {
            let found = index.search(std::slice::from_ref(&query), k);
            assert_eq!(found.expect("embedded")[0].len(), hits.min(k));
        }
    }
}

/// What is approximate keeps exact scores, and most of the result at a heap factor just below 1.
#[test]
fn approximate_search_leaves_out_and_invents_nothing() {
    let collection = Collection::draw(12_000, 300, Weights::Any, 5);
    let mut index = collection.index();
    let exact = index.best(&collection.queries, 10);
    let mut recalls = Vec::new();
    for factor in [1.0, 0.9, 0.5] {
        index.set_pruning(Pruning::Approximate(factor));
        let (mut found, mut all) = (0, 0);
        let best = index.best(&collection.queries, 10);
        for ((approximate, exact), query) in best.iter().zip(&exact).zip(&collection.queries) {
            for &(doc, score) in approximate {
                let expected = query.dot(&collection.documents[doc as usize]);
                assert_eq!(score.to_bits(), expected.to_bits());
            }
            found += exact.iter().filter(|hit| approximate.contains(hit)).count();
            all += exact.len();
        }
        recalls.push(found as f64 / all as f64);
    }
    assert_eq!(recalls[0], 1.0);
    assert!(
        recalls[1] > 0.7 && recalls.is_sorted_by(|a, b| a >= b),
        "{recalls:?}"
    );
}

#[test]
fn runs_put_aside_give_the_index_that_memory_gives() {
    let collection = Collection::draw(700, 200, Weights::Any, 6);
    let tokens = vocabulary(TOKENS);
    let written = |block_postings: usize| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut writer = IndexWriter::create(dir.path(), block_postings).expect("writable");
        for (id, vector) in collection.rows() {
            writer.add(id, vector).expect("a new id");
        }
        assert_eq!(writer.finish(tokens.tokens()).expect("written"), 700);
        let bytes = std::fs::read(dir.path().join(INDEX_FILE)).expect("readable");
        let index = InvertedIndex::open(dir.path()).expect("just written");
        (bytes, index)
    };
    let (whole, index) = written(usize::MAX);
    for block_postings in [1, 999] {
        assert!(written(block_postings).0 == whole, "{block_postings}");
    }
    let memory = collection.index();
    assert_eq!(&*memory.segments[0].postings, &*index.segments[0].postings);
    let best = memory.best(&collection.queries, 20);
    assert_eq!(index.best(&collection.queries, 20), best);
    assert_eq!(index.vocabulary().tokens(), tokens.tokens());
}

/// Appended three times with a growing vocabulary, then merged.
#[test]
fn appended_is_built_at_once() {
    let collection = Collection::draw(9500, 300, Weights::Few, 7);
    let rows: Vec<(&str, &SparseVector)> = collection.rows().collect();
    let write = |mut writer: IndexWriter, rows: &[(&str, &SparseVector)], tokens: u32| {
        for (id, vector) in rows {
            writer.add(id, vector).expect("a new id");
        }
        let tokens = vocabulary(tokens);
        assert_eq!(writer.finish(tokens.tokens()).expect("written"), rows.len());
    };
    let (parts, whole) = (
        tempfile::tempdir().expect("a temporary folder"),
        tempfile::tempdir().expect("a temporary folder"),
    );
    let create = |dir| IndexWriter::create(dir, 5000).expect("writable");
    write(create(whole.path()), &rows, TOKENS + 2);
    write(create(parts.path()), &rows[..4500], TOKENS);
    for (range, tokens) in [
        (4500..4501, TOKENS),
        (4501..9400, TOKENS + 1),
        (9400..9500, TOKENS + 2),
    ] {
        let writer = IndexWriter::append(parts.path(), 5000).expect("an index");
        write(writer, &rows[range], tokens);
    }
    let open = |dir| InvertedIndex::open(dir).expect("an index");
    let (mut appended, at_once) = (open(parts.path()), open(whole.path()));
    assert_eq!(
        (appended.num_segments(), appended.num_documents()),
        (4, 9500)
    );
    assert_eq!(appended.token_counts(), at_once.token_counts());
    assert_eq!(appended.document_lengths(), at_once.document_lengths());
    for k in [1, 10, 1000] {
        let expected = at_once.best(&collection.queries, k);
        for pruning in [Pruning::Exact, Pruning::Exhaustive] {
            appended.set_pruning(pruning);
            assert_eq!(appended.best(&collection.queries, k), expected);
        }
    }
    drop(appended);
    assert_eq!(merge(parts.path()).expect("merged"), 4);
    let file =
        |dir: &tempfile::TempDir| std::fs::read(dir.path().join(INDEX_FILE)).expect("a file");
    assert!(file(&parts) == file(&whole));
    assert_eq!(
        std::fs::read_dir(parts.path()).expect("a folder").count(),
        1
    );
    assert_eq!(merge(parts.path()).expect("merged"), 1);
}

#[test]
fn what_cannot_be_appended_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let vector: SparseVector = [(1, 1.0)].into_iter().collect();
    let error = IndexWriter::append(dir.path(), 10).expect_err("nothing there");
    assert!(
        error.to_string().contains("not an ellzero index"),
        "{error}"
    );
    let mut writer = IndexWriter::create(dir.path(), 10).expect("writable");
    let other = IndexWriter::create(dir.path(), 10);
    if cfg!(target_os = "linux") {
        let error = other.expect_err("somebody else writes").to_string();
        assert!(error.contains("another process"), "{error}");
    }
    for id in ["a", "b"] {
        writer.add(id, &vector).expect("new");
    }
    let tokens = vocabulary(3);
    writer.finish(tokens.tokens()).expect("written");
    let append = |id: &str, tokens: &Vocabulary| {
        let mut writer = IndexWriter::append(dir.path(), 10).expect("an index");
        assert_eq!(writer.vocabulary().tokens()[..3], tokens.tokens()[..3]);
        writer.add(id, &vector).expect("room");
        writer.finish(tokens.tokens())
    };
    append("c", &tokens).expect("written");
    let error = append("b", &tokens).expect_err("twice").to_string();
    assert!(
        error.contains("`b` is in the index already, as document 2"),
        "{error}"
    );
    let mut writer = IndexWriter::append(dir.path(), 10).expect("an index");
    writer.add("d", &vector).expect("room");
    let error = writer
        .finish(&tokens.tokens()[..2])
        .expect_err("fewer")
        .to_string();
    assert!(
        error.contains("token number 2") && error.contains("`t2`"),
        "{error}"
    );
    let index = InvertedIndex::open(dir.path()).expect("an index");
    assert_eq!((index.num_documents(), index.num_segments()), (3, 2));
}

/// A follower of another `index.bin` is none of the index, and a damaged follower is an error.
#[test]
fn segments_left_over_from_an_older_index_are_no_part_of_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let tokens = vocabulary(2);
    let write = |mut writer: IndexWriter, id: &str| {
        let vector = [(1, 1.0)].into_iter().collect();
        writer.add(id, &vector).expect("new");
        writer.finish(tokens.tokens()).expect("written");
    };
    let documents = || InvertedIndex::open(dir.path()).map(|index| index.num_documents());
    write(IndexWriter::create(dir.path(), 10).expect("writable"), "a");
    write(IndexWriter::append(dir.path(), 10).expect("an index"), "b");
    let follower = dir.path().join("index-2.bin");
    let old = std::fs::read(&follower).expect("a segment");
    write(IndexWriter::create(dir.path(), 10).expect("writable"), "c");
    assert!(!follower.exists());
    std::fs::write(&follower, &old).expect("writable");
    assert_eq!(documents().expect("an index"), 1);
    write(IndexWriter::append(dir.path(), 10).expect("an index"), "b");
    assert_eq!(documents().expect("an index"), 2);
    std::fs::write(&follower, &old[..old.len() / 2]).expect("writable");
    let error = documents().expect_err("cut off").to_string();
    assert!(
        error.contains("index-2.bin") && error.contains("damaged"),
        "{error}"
    );
}
