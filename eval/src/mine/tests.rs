use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::bm25::{Bm25Encoder, Bm25Params};

struct World {
    folder: tempfile::TempDir,
    dir: BeirDir,
    bm25: Bm25Encoder,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let corpus = [
            ("a", "red fox", "red fox runs"),
            ("b", "red hen", "red hen sits"),
            ("c", "red cow", "red cow red"),
            ("d", "", "nothing here"),
        ]
        .map(|(id, title, text)| {
            format!("{{\"_id\":\"{id}\",\"title\":\"{title}\",\"text\":\"{text}\"}}\n")
        });
        fs::create_dir(folder.path().join("qrels")).expect("writable");
        let queries = "{\"_id\":\"2\",\"text\":\"red\"}\n{\"_id\":\"1\",\"text\":\"fox\"}\n";
        let qrels = "q\td\tscore\n1\ta\t1\n2\tb\t1\n2\ta\t2\n2\tc\t0\n2\tz\t1\n9\ta\t1\n";
        for (name, text) in [
            ("corpus.jsonl", corpus.concat().as_str()),
            ("queries.jsonl", queries),
            ("qrels/train.tsv", qrels),
        ] {
            fs::write(folder.path().join(name), text).expect("writable");
        }
        let dir = BeirDir::open(folder.path()).expect("a collection");
        let bm25 = Bm25Encoder::fit(&dir, Bm25Params::default()).expect("readable");
        Self { folder, dir, bm25 }
    }

    fn run(&self, source: &PairSource, depth: usize) -> Result<MineSummary, MineError> {
        let job = MineJob {
            encoder: &self.bm25,
            dir: &self.dir,
            source: source.clone(),
            selection: Selection {
                skip: 0,
                depth,
                count: None,
                seed: 0,
                drop_near_positives: false,
            },
            engine: None,
            index: &self.folder.path().join("index"),
            memory_mib: 1,
            output: &self.folder.path().join("mined.jsonl"),
            fingerprint: 7,
        };
        job.run(&mut |_| {})
    }

    fn mined(&self, source: &PairSource, depth: usize) -> (MineSummary, Vec<Value>) {
        let summary = self.run(source, depth).expect("mined");
        let rows = fs::read_to_string(self.folder.path().join("mined.jsonl")).expect("written");
        let rows = rows.lines();
        (
            summary,
            rows.map(|row| serde_json::from_str(row).expect("JSON"))
                .collect(),
        )
    }
}

fn judged() -> PairSource {
    let split = "train".to_owned();
    PairSource::Judged { split }
}

#[test]
fn judged_positives_are_no_negatives() {
    let (summary, rows) = World::new().mined(&judged(), 5);
    assert_eq!((summary.rows, summary.unknown), (3, 2));
    assert_eq!(
        rows,
        [
            json!({"query": "red", "pos": "red fox red fox runs", "negs": ["red cow red cow red"]}),
            json!({"query": "red", "pos": "red hen red hen sits", "negs": ["red cow red cow red"]}),
            json!({"query": "fox", "pos": "red fox red fox runs", "negs": []}),
        ]
    );
}

#[test]
fn titles_find_other_texts() {
    let titles = |sample, seed| {
        World::new()
            .mined(&PairSource::Titles { sample, seed }, 1)
            .1
    };
    let all = titles(None, 0);
    assert_eq!(all.len(), 3, "a document without a title gives no query");
    assert_eq!(
        all[0],
        json!({"query": "red fox", "pos": "red fox runs", "negs": ["red cow red"]})
    );
    assert_eq!(titles(Some(2), 3), titles(Some(2), 3));
    assert_eq!(titles(Some(2), 3).len(), 2);
    assert_eq!(titles(Some(9), 3), all);
}

/// Cut at any byte, and with the index that the first run built.
#[test]
fn a_broken_run_continues_with_the_same_rows() {
    let world = World::new();
    let (_, rows) = world.mined(&judged(), 5);
    let written = fs::read(world.folder.path().join("mined.jsonl")).expect("written");
    let partial = world.folder.path().join("mined.jsonl.partial-00000007");
    for end in 0..written.len() {
        fs::write(&partial, &written[..end]).expect("writable");
        let (summary, again) = world.mined(&judged(), 5);
        let whole = written[..end].iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!((summary.resumed, summary.rows), (whole, 3));
        assert_eq!(again, rows);
        assert!(!partial.exists());
    }
}

#[test]
fn the_index_of_another_corpus_is_refused() {
    let world = World::new();
    world.mined(&judged(), 5);
    let corpus = world.folder.path().join("corpus.jsonl");
    let rows = fs::read_to_string(&corpus).expect("readable");
    for (changed, expected) in [
        (
            rows.replace("\"b\"", "\"e\""),
            "document \"b\" at place 2, but",
        ),
        (
            format!("{rows}{{\"_id\":\"e\",\"text\":\"\"}}\n"),
            "the end at place 5, but",
        ),
        (
            rows.lines().take(3).collect::<Vec<_>>().join("\n"),
            "another document at place 4, but",
        ),
    ] {
        fs::write(&corpus, changed).expect("writable");
        let message = world
            .run(&judged(), 5)
            .expect_err("another corpus")
            .to_string();
        assert!(message.contains(expected), "{message}");
    }
}
