//! A cluster of three nodes, of which one is lost while it is loaded and another while it is searched.

use std::sync::mpsc::{Receiver, channel};
use std::thread;

use data::beir::{BeirDir, Qrels};
use eval::Run;
use eval::bm25::{Bm25Encoder, Bm25Params};
use eval::metric::{self, Average, Measure};
use eval::opensearch::{
    BulkOptions, Client, IndexSettings, LoadOptions, SearchOptions, TemporaryIndex,
};
use eval::search::{Engine, IndexBuilder, Searcher, search_run};
use eval::text_encoder::TextEncoder;
use model::SparseVector;

use super::server::{Server, behind, client, ids};
use crate::needs::real_data;

/// Queries searched at a time.
const CHUNK: usize = 10;

/// SciFact as BM25 vectors.
struct Collection {
    names: Vec<String>,
    ids: Vec<String>,
    documents: Vec<SparseVector>,
    query_ids: Vec<String>,
    queries: Vec<SparseVector>,
    qrels: Qrels,
}

impl Collection {
    fn scifact() -> Option<Self> {
        let dir = BeirDir::open(&real_data("scifact")?).expect("a collection");
        let encoder = Bm25Encoder::fit(&dir, Bm25Params::default()).expect("readable");
        let qrels = dir.qrels("test").expect("judgements");
        let documents = dir.documents().expect("readable");
        let (ids, texts): (Vec<String>, Vec<String>) = documents
            .map(|document| document.expect("a document"))
            .map(|document| (document.id.clone(), document.contents()))
            .unzip();
        let queries = dir.queries().expect("readable").into_iter();
        let (query_ids, query_texts): (Vec<String>, Vec<String>) = queries
            .filter(|query| qrels.contains_key(&query.id))
            .map(|query| (query.id, query.text))
            .unzip();
        Some(Self {
            names: encoder.token_names(),
            documents: encoder.encode_documents(&texts).expect("encoded"),
            queries: encoder.encode_queries(&query_texts).expect("encoded"),
            ids,
            query_ids,
            qrels,
        })
    }

    fn ndcg(&self, run: &Run) -> f64 {
        metric::evaluate(&self.qrels, run, &Measure::STANDARD, Average::Judged).mean[0]
    }

    fn embedded_ndcg(&self) -> f64 {
        let mut builder = IndexBuilder::default();
        for (id, document) in self.ids.iter().zip(&self.documents) {
            builder.add(id, document).expect("a new id");
        }
        let index = builder.finish().expect("unique ids");
        self.ndcg(&search_run(&index, &self.query_ids, &self.queries, 100).expect("searched"))
    }

    /// Searches in chunks, telling how many queries are done.
    fn search(&self, index: &dyn Searcher, mut tell: impl FnMut(usize)) -> Run {
        let mut run = Run::new();
        let chunks = self.query_ids.chunks(CHUNK).zip(self.queries.chunks(CHUNK));
        for (ids, queries) in chunks {
            run.extend(search_run(index, ids, queries, 100).expect("answered"));
            tell(run.len());
        }
        run
    }
}

/// Kills a node as soon as `told` says at least `count`, and gives the number that it said last; none where it stops
/// saying numbers before.
fn kill_at(
    server: &mut Server,
    victim: usize,
    told: &Receiver<usize>,
    count: usize,
) -> Option<usize> {
    let last = told.iter().find(|&number| number >= count)?;
    server.kill(victim);
    Some(told.try_iter().last().unwrap_or(last))
}

/// Loads, and kills `victim` when half of the documents are on their way.
fn load(
    server: &mut Server,
    client: &Client,
    name: &str,
    collection: &Collection,
    victim: usize,
) -> TemporaryIndex {
    let options = LoadOptions {
        settings: IndexSettings {
            shards: 3,
            replicas: 1,
            ..IndexSettings::default()
        },
        bulk: BulkOptions {
            body_bytes: 64 << 10,
            in_flight: 4,
        },
        ..LoadOptions::default()
    };
    let names = collection.names.clone();
    let index = TemporaryIndex::create(client, name, names, options, SearchOptions::default());
    let index = index.expect("a new index");
    let half = collection.ids.len() / 2;
    let (sender, told) = channel();
    thread::scope(|scope| {
        let sender = sender; // gone after a panic, so that the killer ends too
        let killer = scope.spawn(move || kill_at(server, victim, &told, half));
        let chunks = collection
            .ids
            .chunks(50)
            .zip(collection.documents.chunks(50));
        let mut sent = 0;
        for (ids, documents) in chunks {
            index.add(ids, documents).expect("taken");
            sent += ids.len();
            let _ = sender.send(sent); // nobody listens any more once the node is killed
        }
        index.finish().expect("complete");
        let killed_at = killer.join().expect("no panic").expect("killed");
        assert!(
            killed_at < collection.ids.len(),
            "killed after the last document"
        );
    });
    index
}

/// Every document is there exactly once, and the figures are those of a cluster that nothing happened to. One round, or
/// as many as `ELLZERO_OPENSEARCH_ROUNDS` says, each with other nodes lost.
#[test]
fn nothing_is_lost_with_a_node() {
    let Some(collection) = Collection::scifact() else {
        return;
    };
    let Some(mut server) = Server::start(&["--nodes", "3", "--heap", "400m"]) else {
        return;
    };
    let rounds = std::env::var("ELLZERO_OPENSEARCH_ROUNDS")
        .map_or(1, |text| text.parse().expect("a number"));
    let mut expected_ids = collection.ids.clone();
    expected_ids.sort();
    let embedded = collection.embedded_ndcg();
    for round in 0..rounds {
        let (first, second) = (round % 3 + 1, (round + 1) % 3 + 1);
        let client = client(&server.address());
        let name = format!("round-{round}");
        let index = load(&mut server, &client, &name, &collection, first);
        let whole = behind(server.node_besides(&[first]), &name);
        assert_eq!(whole, [format!("{name}-000001")]);
        assert_eq!(ids(server.node_besides(&[first]), &name), expected_ids);
        server.restart(first);
        assert_eq!(ids(server.node_besides(&[]), &name), expected_ids);

        let undisturbed = collection.search(&index, |_| {});
        let (sender, told) = channel();
        let (server_ref, third) = (&mut server, collection.queries.len() / 3);
        let disturbed = thread::scope(|scope| {
            let sender = sender;
            let killer = scope.spawn(move || kill_at(server_ref, second, &told, third));
            let run = collection.search(&index, |done| {
                // Nobody listens any more once the node is killed.
                let _ = sender.send(done);
            });
            let killed_at = killer.join().expect("no panic").expect("killed");
            assert!(
                killed_at < collection.queries.len(),
                "killed after the last query"
            );
            run
        });
        let (before, during) = (collection.ndcg(&undisturbed), collection.ndcg(&disturbed));
        println!(
            "round {round}: node {first} lost while loading, node {second} while searching; nDCG@10 {before:.5}, \
             {during:.5} with the loss, embedded {embedded:.5}; {} requests repeated",
            client.repeated()
        );
        assert_eq!(during, before);
        assert!((before - embedded).abs() < 0.002);
        assert_eq!(ids(server.node_besides(&[second]), &name), expected_ids);
        server.restart(second);
    }
}
