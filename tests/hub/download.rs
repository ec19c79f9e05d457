//! Downloads through the library: what is requested, what is kept, and what is not requested again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use data::hub::{Files, Settings, Silent};
use data::{Dataset, Hub, Tokenizer};
use model::hf::{self, ImportOptions};

use crate::fixture;

use super::server::{COMMIT, Fault, Server, files, git_id, hex, lines, sha256};

const LISTING: &str = "GET /api/models/org/name/revision/main?blobs=true";

fn model_dir() -> PathBuf {
    fixture::path("distilbert_tiny")
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn model(hub: &Hub, name: &str) -> PathBuf {
    hub.model(Path::new(name), Files::Model)
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn file(path: &str) -> String {
    format!("GET /org/name/resolve/{COMMIT}/{path}")
}

#[test]
fn a_model_by_its_name_is_the_model() {
    let (server, home) = (Server::with_model(&model_dir()), home());
    let dir = model(&server.hub(home.path()), "org/name");
    let load = |dir: &Path| {
        let loaded = hf::load(dir, &ImportOptions::default(), &Device::flex());
        let (model, config, _) = loaded.unwrap_or_else(|error| panic!("{error}"));
        hf::named_parameters(&model, config.family)
    };
    assert_eq!(load(&dir), load(&model_dir()));
    Tokenizer::from_dir(&dir).unwrap_or_else(|error| panic!("{error}"));

    // One request for the list, and one for each file that is needed.
    let seen = server.take_seen();
    let mut expected = vec![LISTING.to_owned()];
    for name in [
        "tokenizer.json",
        "vocab.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "config.json",
        "model.safetensors",
    ] {
        expected.push(file(name));
    }
    let own: Vec<_> = seen.iter().filter(|request| !request.is_linked).collect();
    let own: Vec<&str> = own.iter().map(|request| request.line.as_str()).collect();
    assert_eq!(own, expected);
    assert!(!dir.join("io.safetensors").exists());
}

/// Models that are older than organisations: the server redirects, the cache keeps the name that was given.
#[test]
fn a_name_without_an_organisation() {
    let (server, home) = (Server::with_model(&model_dir()), home());
    server.redirect("bert-base-uncased", "org/name");
    for names_only in [false, true] {
        let home = match names_only {
            false => home.path().join("all"),
            true => home.path().join("names"),
        };
        if names_only {
            server.list_names_only();
        }
        let dir = model(&server.hub(&home), "bert-base-uncased");
        assert_eq!(
            dir,
            home.join("hub/models--bert-base-uncased/snapshots")
                .join(COMMIT)
        );
        let weights = |dir: &Path| fs::read(dir.join("model.safetensors")).expect("weights");
        assert!(weights(&dir) == weights(&model_dir()));
        server.take_seen();
        let pinned = format!("bert-base-uncased@{COMMIT}");
        assert_eq!(data::hub::pinned_model(&dir), Some(pinned.clone()));
        assert_eq!(model(&server.hub(&home), &pinned), dir);
    }
}

/// Where Python looks for it: the content under its digest, and a link to it under its name.
#[test]
fn the_cache_is_laid_out_as_pythons() {
    let (server, home) = (Server::with_model(&model_dir()), home());
    let dir = model(&server.hub(home.path()), "org/name");
    let root = home.path().join("hub/models--org--name");
    assert_eq!(dir, root.join("snapshots").join(COMMIT));
    let commit = fs::read_to_string(root.join("refs/main")).expect("a ref");
    assert_eq!(commit, COMMIT);
    for (name, content) in files(&dir) {
        let etag = match name.ends_with(".safetensors") {
            true => sha256(&content),
            false => git_id(&content),
        };
        assert_eq!(
            fs::read(root.join("blobs").join(&etag)).expect("a blob"),
            content
        );
        #[cfg(unix)]
        assert_eq!(
            fs::read_link(dir.join(&name)).expect("a link"),
            Path::new("../../blobs").join(&etag)
        );
    }
    let blobs = fs::read_dir(root.join("blobs")).expect("a folder").count();
    assert_eq!(blobs, files(&dir).len(), "nothing incomplete is left");
}

#[test]
fn a_second_run_asks_for_the_commit_and_nothing_else() {
    let (server, home) = (Server::with_model(&model_dir()), home());
    let first = model(&server.hub(home.path()), "org/name");
    server.take_seen();
    let second = model(&server.hub(home.path()), "org/name");
    assert_eq!(first, second);
    assert_eq!(lines(&server.take_seen()), [LISTING]);

    // A commit never changes, so that it is not even asked for.
    let pinned = model(&server.hub(home.path()), &format!("org/name@{COMMIT}"));
    assert_eq!(pinned, first);
    assert_eq!(lines(&server.take_seen()), [] as [&str; 0]);
}

#[test]
fn a_commit_is_downloaded_as_such() {
    let (server, home) = (Server::with_model(&model_dir()), home());
    let name = format!("org/name@{COMMIT}");
    let dir = model(&server.hub(home.path()), &name);
    assert!(dir.ends_with(COMMIT));
    assert!(!home.path().join("hub/models--org--name/refs").exists());
    let listing = format!("GET /api/models/org/name/revision/{COMMIT}?blobs=true");
    assert_eq!(server.take_seen()[0].line, listing);
    model(&server.hub(home.path()), "org/name@v/1");
    let asked = server.take_seen();
    assert_eq!(
        lines(&asked),
        ["GET /api/models/org/name/revision/v%2F1?blobs=true"]
    );
    assert!(home.path().join("hub/models--org--name/refs/v/1").is_file());
}

#[test]
fn offline_the_cache_is_enough_and_nobody_is_asked() {
    let (server, home) = (Server::with_model(&model_dir()), home());
    let offline = || {
        let settings = Settings {
            offline: true,
            ..server.settings(home.path())
        };
        Hub::new(settings, Silent)
    };
    let missing = offline().model(Path::new("org/name"), Files::Model);
    let message = missing.expect_err("an empty cache").to_string();
    assert!(message.contains("HF_HUB_OFFLINE is set"), "{message}");
    let online = model(&server.hub(home.path()), "org/name");
    server.take_seen();
    assert_eq!(model(&offline(), "org/name"), online);
    assert_eq!(lines(&server.take_seen()), [] as [&str; 0]);

    // What is known to be missing is no snapshot.
    fs::remove_file(online.join("config.json")).expect("removed");
    let missing = offline().model(Path::new("org/name"), Files::Model);
    let message = missing.expect_err("half a snapshot").to_string();
    assert!(message.contains("no config.json"), "{message}");
}

/// Only what changed comes again, and without an answer the last commit will do.
#[test]
fn a_branch_moves_on() {
    let (server, home) = (Server::with_model(&model_dir()), home());
    let first = model(&server.hub(home.path()), "org/name");
    server.fail("/api/", Fault::Status(503, "", ""), 1);
    server.take_seen();
    let (hub, notices) = server.hub_with_notices(home.path());
    assert_eq!(model(&hub, "org/name"), first);
    assert!(notices.text().contains("Taking what is in the cache"));
    assert_eq!(server.take_seen().len(), 1, "one try is enough");

    let commit = "ff".repeat(20);
    let mut changed = files(&model_dir());
    changed.insert("idf.json".to_owned(), b"{\"the\": 1.5}".to_vec());
    server.put("models/org/name", &commit, changed);
    let second = model(&server.hub(home.path()), "org/name");
    assert!(second.ends_with(&commit));
    assert!(second.join("idf.json").is_file());
    let asked = server.take_seen();
    assert!(!asked.iter().any(|request| request.is_linked));
    assert!(first.join("model.safetensors").is_file());
}

/// A server that lists names alone is asked about each file.
#[test]
fn names_alone_are_enough() {
    let (server, home) = (Server::with_model(&model_dir()), home());
    server.list_names_only();
    let dir = model(&server.hub(home.path()), "org/name");
    let weights = fs::read(dir.join("model.safetensors")).expect("weights");
    assert_eq!(
        hex(&weights[..64]),
        hex(&files(&model_dir())["model.safetensors"][..64])
    );
    let asked = server.take_seen();
    let heads = asked.iter().filter(|seen| seen.line.starts_with("HEAD "));
    assert_eq!(heads.count(), 6);
    assert!(
        fs::read_link(dir.join("model.safetensors"))
            .is_ok_and(|blob| { blob.ends_with(sha256(&weights)) })
    );
}

#[test]
fn weights_in_parts_come_by_their_index() {
    let server = Server::start();
    let mut all = files(&model_dir());
    let weights = all.remove("model.safetensors").expect("weights");
    let keys = fixture::Arrays::open(&model_dir().join("model.safetensors"));
    let map: BTreeMap<&str, &str> = keys
        .iter()
        .map(|(key, _)| (key, "part 1.safetensors"))
        .collect();
    let index = serde_json::json!({"weight_map": map}).to_string();
    all.insert(
        "model.safetensors.index.json".to_owned(),
        index.into_bytes(),
    );
    all.insert("part 1.safetensors".to_owned(), weights);
    all.insert("pytorch_model.bin".to_owned(), vec![0; 9]);
    server.put("models/org/name", COMMIT, all);
    let home = home();
    let dir = model(&server.hub(home.path()), "org/name");
    assert!(dir.join("part 1.safetensors").is_file());
    assert!(!dir.join("pytorch_model.bin").exists());
    hf::load(&dir, &ImportOptions::default(), &Device::flex())
        .unwrap_or_else(|error| panic!("{error}"));
    // Without its weights where they are not wanted.
    let other = tempfile::tempdir().expect("a temporary folder");
    let hub = server.hub(other.path());
    let dir = hub.model(Path::new("org/name"), Files::Untrained);
    let dir = dir.unwrap_or_else(|error| panic!("{error}"));
    assert!(!dir.join("model.safetensors.index.json").exists());
}

#[test]
fn data_by_its_address() {
    let server = Server::start();
    let rows = "{\"_id\": \"a\", \"text\": \"x\"}\n";
    let content = BTreeMap::from([
        ("README.md".to_owned(), b"about".to_vec()),
        ("corpus.jsonl".to_owned(), rows.as_bytes().to_vec()),
        ("queries.jsonl".to_owned(), rows.as_bytes().to_vec()),
        ("qrels/test.tsv".to_owned(), b"a\ta\t1\n".to_vec()),
    ]);
    server.put("datasets/org/set", COMMIT, content);
    let home = home();
    let hub = server.hub(home.path());
    let data = |address: &str| hub.data(Path::new(address));
    let corpus = data("hf://datasets/org/set/corpus.jsonl").expect("a file");
    assert_eq!(Dataset::open(&corpus).expect("rows").len(), 1);
    let asked = server.take_seen();
    assert_eq!(
        lines(&asked),
        [
            "GET /api/datasets/org/set/revision/main?blobs=true".to_owned(),
            format!("GET /datasets/org/set/resolve/{COMMIT}/corpus.jsonl"),
        ]
    );
    let dir = data("hf://datasets/org/set").expect("a folder");
    let beir = data::beir::BeirDir::open(&dir).expect("a BEIR directory");
    assert_eq!(
        (beir.name(), beir.splits()),
        ("set".to_owned(), vec!["test".to_owned()])
    );
    assert!(!dir.join("README.md").exists());
    let message = data("hf://datasets/org/set/corpus.json").expect_err("no such file");
    let message = message.to_string();
    for part in ["data set org/set at main", "corpus.json;", "qrels/test.tsv"] {
        assert!(message.contains(part), "{message}");
    }
}
