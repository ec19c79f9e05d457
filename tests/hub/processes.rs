//! Several processes, and processes that end in the middle.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::binary::{Run, ellzero};
use crate::fixture;

use super::server::{Fault, Server, sha256};

/// What each of 8 blocks or more of the weights takes.
const PAUSE: Duration = Duration::from_millis(60);

struct World {
    server: Server,
    home: tempfile::TempDir,
    weights: Vec<u8>,
}

impl World {
    /// A server that takes its time.
    fn new() -> Self {
        let model = fixture::path("distilbert_tiny");
        let world = Self {
            server: Server::with_model(&model),
            home: tempfile::tempdir().expect("a temporary folder"),
            weights: fs::read(model.join("model.safetensors")).expect("weights"),
        };
        let content = sha256(&world.weights);
        world.server.fail(&content, Fault::Slow(PAUSE), 99);
        world
    }

    fn inspect(&self) -> Run {
        ellzero("model", &["inspect", "org/name"])
            .env("HF_HUB_OFFLINE", "0")
            .env("HF_ENDPOINT", self.server.address())
            .env("HF_HOME", self.home.path())
            .within(self.home.path())
    }

    fn blob(&self, suffix: &str) -> PathBuf {
        let name = format!("{}{suffix}", sha256(&self.weights));
        let blobs = "hub/models--org--name/blobs";
        self.home.path().join(blobs).join(name)
    }

    /// First bytes asked for in the requests for the weights' content.
    fn starts(&self) -> Vec<Option<u64>> {
        let seen = self.server.take_seen();
        let linked = seen.iter().filter(|request| request.is_linked);
        linked.map(|request| request.start).collect()
    }
}

#[test]
fn two_processes_download_once() {
    let world = World::new();
    let mut first = world.inspect().start();
    assert!(first.wait_until(|| world.blob(".incomplete").exists()));
    let second = world.inspect().start();
    let texts = [first, second].map(|running| running.wait().success());
    assert!(texts[0].contains("distilbert"), "{}", texts[0]);
    assert_eq!(texts[0], texts[1]);
    assert_eq!(world.starts(), [None]);
    assert_eq!(fs::read(world.blob("")).expect("a blob"), world.weights);
}

#[test]
fn a_killed_process_leaves_what_the_next_one_continues() {
    let world = World::new();
    let partial = world.blob(".incomplete");
    let mut running = world.inspect().start();
    let length = || fs::metadata(&partial).map_or(0, |meta| meta.len());
    assert!(running.wait_until(|| length() > 0), "it ended before that");
    running.kill();
    let kept = length();
    assert!(kept > 0 && kept < world.weights.len() as u64);
    assert!(!world.blob("").exists());
    world.server.recover();
    world.server.take_seen();
    world.inspect().run().success();
    assert_eq!(world.starts(), [Some(kept)]);
    assert_eq!(fs::read(world.blob("")).expect("a blob"), world.weights);
    assert!(!partial.exists());
}
