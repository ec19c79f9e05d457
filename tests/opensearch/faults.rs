//! Busy servers, refused documents, killed loads, and indices that replace each other.

use std::sync::mpsc::{TryRecvError, channel};
use std::thread;

use eval::opensearch::{
    BulkOptions, IndexSettings, LoadOptions, LoadSummary, Loader, OpenSearchError, SearchOptions,
    SparseIndex, delete_all,
};
use eval::search::Searcher;
use serde_json::{Value, json};

use super::server::{ask, behind, client, ids, shared, wait_until};
use crate::cli::world::World;

/// `count` documents with a token of their own and one that all have, weighing `weight`.
fn load(
    url: &str,
    name: &str,
    count: usize,
    weight: f32,
    options: LoadOptions,
) -> Result<LoadSummary, OpenSearchError> {
    let client = client(url);
    let mut loader = Loader::open(&client, name, options)?;
    for number in loader.resumed()..count {
        let own = format!("t{number}");
        loader.add(
            &format!("d{number}"),
            &[],
            [("all", weight), (own.as_str(), 1.0)],
        )?;
    }
    loader.finish()
}

fn sorted_ids(count: usize) -> Vec<String> {
    let mut ids: Vec<String> = (0..count).map(|number| format!("d{number}")).collect();
    ids.sort();
    ids
}

/// Real refusals: one thread writes, and one request may wait for it.
#[test]
fn documents_refused_by_a_busy_server_are_sent_again() {
    let Some(url) = shared() else { return };
    let options = LoadOptions {
        settings: IndexSettings {
            shards: 4,
            ..IndexSettings::default()
        },
        bulk: BulkOptions {
            body_bytes: 16 << 10,
            in_flight: 8,
        },
        ..LoadOptions::default()
    };
    let summary = load(url, "busy", 9000, 1.0, options).expect("loaded");
    assert!(
        summary.rejected > 0,
        "the server was never busy: {summary:?}"
    );
    assert_eq!(ids(url, "busy"), sorted_ids(9000));
    delete_all(&client(url), "busy").expect("removable");
}

/// The document, the index and the server's reason are named, and no alias leads to a part of the documents.
#[test]
fn documents_that_cannot_be_stored_are_named() {
    let Some(url) = shared() else { return };
    let client = client(url);
    let long = |length| "x".repeat(length);
    for (id, token, expected) in [
        (long(600), "a".to_owned(), "too long"),
        (String::new(), "a".to_owned(), "id"),
        ("bad".to_owned(), long(40_000), "document `bad`"),
    ] {
        let mut loader =
            Loader::open(&client, "refused", LoadOptions::default()).expect("a new index");
        loader.add("good", &[], [("a", 1.0)]).expect("taken");
        let added = loader.add(&id, &[], [(token.as_str(), 1.0)]);
        let message = added
            .and_then(|()| loader.finish())
            .expect_err("refused")
            .to_string();
        for part in [url, "refused-0000", "400", expected] {
            assert!(message.contains(part), "no {part} in {message}");
        }
        assert!(!message.contains("filter_path"), "{message}");
    }
    let mut loader = Loader::open(&client, "refused", LoadOptions::default()).expect("a new index");
    for _ in 0..2 {
        loader.add("twice", &[], [("a", 1.0)]).expect("taken");
    }
    let message = loader.finish().expect_err("refused").to_string();
    assert!(
        message.contains("2 documents were added and 1 are there"),
        "{message}"
    );
    let alias = ask("GET", &format!("{url}/_alias/refused"), &Value::Null);
    assert_eq!(alias["status"], 404, "{alias}");
    delete_all(&client, "refused").expect("removable");
}

/// While a new index is loaded and takes the old one's place, every search finds all of one of them.
#[test]
fn an_index_is_replaced_at_once() {
    let Some(url) = shared() else { return };
    let count = 400;
    let reload =
        |weight| load(url, "swapped", count, weight, LoadOptions::default()).expect("loaded");
    assert_eq!(reload(1.0).index, "swapped-000001");
    let index = SparseIndex::open(
        &client(url),
        "swapped",
        vec!["all".to_owned()],
        SearchOptions::default(),
    );
    let index = index.expect("searchable");
    let (sender, is_over) = channel::<()>();
    let seen = thread::scope(|scope| {
        let searcher = scope.spawn(move || {
            let mut seen = Vec::new();
            // Until the sender is gone.
            while seen.is_empty() || is_over.try_recv() == Err(TryRecvError::Empty) {
                let query = [(0, 1.0)].into_iter().collect();
                let hits = index
                    .search(&[query], 1000)
                    .expect("never without an index")
                    .remove(0);
                assert_eq!(hits.len(), count);
                assert!(
                    hits.iter().all(|hit| hit.score == hits[0].score),
                    "two indices at once"
                );
                seen.push(hits[0].score);
            }
            seen
        });
        for weight in [2.0, 3.0, 4.0] {
            reload(weight);
        }
        drop(sender);
        searcher.join().expect("no search failed")
    });
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(behind(url, "swapped"), ["swapped-000004"]);
    let left = ask(
        "GET",
        &format!(
            "{url}/swapped-*/_settings?filter_path=*.settings.index.refresh_interval,*.settings.index.uuid"
        ),
        &Value::Null,
    );
    let left = left.as_object().expect("indices");
    // The one before stays; both are refreshed by the server again.
    assert_eq!(
        left.keys().collect::<Vec<_>>(),
        ["swapped-000003", "swapped-000004"]
    );
    for (name, index) in left {
        assert!(
            index["settings"]["index"].get("refresh_interval").is_none(),
            "{name}"
        );
    }
    delete_all(&client(url), "swapped").expect("removable");
}

/// An index is no alias, and may be added to.
#[test]
fn an_index_that_is_there_is_added_to() {
    let Some(url) = shared() else { return };
    let mapping = json!({"mappings": {"properties": {"embedding": {"type": "rank_features"}, "id": {"type": "keyword"}}}});
    ask("PUT", &format!("{url}/plain"), &mapping);
    let message = load(url, "plain", 2, 1.0, LoadOptions::default())
        .expect_err("an index")
        .to_string();
    assert!(
        message.contains("plain: an index, where an alias is expected"),
        "{message}"
    );
    let append = || LoadOptions {
        append: true,
        ..LoadOptions::default()
    };
    for count in [2, 3] {
        assert_eq!(
            load(url, "plain", count, 1.0, append())
                .expect("added")
                .index,
            "plain"
        );
        assert_eq!(ids(url, "plain"), sorted_ids(count));
    }
    let message = load(url, "absent", 2, 1.0, append())
        .expect_err("nothing there")
        .to_string();
    assert!(message.contains("no such index to append to"), "{message}");
    ask("DELETE", &format!("{url}/plain"), &Value::Null);
}

/// `kill -9` in the middle: the same command, given again, goes on where it was, and ends with every document once.
#[test]
fn a_killed_load_goes_on() {
    let Some(url) = shared() else { return };
    let world = World::new();
    let count = 9000;
    let rows: Vec<Value> = (0..count)
        .map(|number| {
            let token = |step: usize| (format!("w{}", (number + step * 37) % 9973), json!(1.5));
            let vector: serde_json::Map<String, Value> = (0..300).map(token).collect();
            json!({"id": format!("d{number}"), "vector": vector})
        })
        .collect();
    world.write_lines("large.jsonl", &rows);
    let line = format!("eval index --input large.jsonl --output {url}/killed --body-mib 1");
    let mut running = world.command(&line).start();
    let noted = || {
        let mapping = ask(
            "GET",
            &format!("{url}/killed-000001/_mapping"),
            &Value::Null,
        );
        mapping["killed-000001"]["mappings"]["_meta"]["ellzero"]["rows"]
            .as_u64()
            .unwrap_or(0)
    };
    assert!(
        running.wait_until(|| noted() > 0),
        "it ended before it noted anything"
    );
    running.kill();
    let rows = noted();
    assert!(rows > 0 && rows < count as u64, "{rows}");
    let alias = ask("GET", &format!("{url}/_alias/killed"), &Value::Null);
    assert_eq!(alias["status"], 404, "{alias}");

    let outcome = world.command(&line).run();
    assert!(
        outcome.stderr.contains("continuing after"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("killed-000001"),
        "{}",
        outcome.stderr
    );
    outcome.success();
    assert_eq!(ids(url, "killed"), sorted_ids(count));
    // Other rows are another load.
    world.write_lines("large.jsonl", &[json!({"id": "d0", "vector": {"w": 1}})]);
    world.command(&line).run().success();
    wait_until("the new index is there", || ids(url, "killed") == ["d0"]);
    assert_eq!(behind(url, "killed"), ["killed-000002"]);
    delete_all(&client(url), "killed").expect("removable");
}
