//! What servers and connections do wrong, and what is made of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use data::Hub;
use data::hub::{Files, HubError, Settings, Silent};

use crate::compare::Checks;
use crate::fixture;

use super::server::{COMMIT, Fault, Seen, Server, files, sha256};

const WEIGHTS: &str = "model.safetensors";

struct World {
    server: Server,
    home: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            server: Server::with_model(&fixture::path("distilbert_tiny")),
            home: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    fn model(&self) -> Result<PathBuf, HubError> {
        let hub = self.server.hub(self.home.path());
        hub.model(Path::new("org/name"), Files::Model)
    }

    /// A blob of the cache, or the beginning of one.
    fn blob(&self, name: &str) -> PathBuf {
        let blobs = "hub/models--org--name/blobs";
        self.home.path().join(blobs).join(name)
    }

    fn weights(&self) -> Vec<u8> {
        fs::read(fixture::path("distilbert_tiny").join(WEIGHTS)).expect("weights")
    }

    #[track_caller]
    fn assert_complete(&self, dir: &Path) {
        let found = fs::read(dir.join(WEIGHTS)).expect("weights");
        assert!(found == self.weights(), "the weights differ");
    }
}

/// First bytes asked for in the requests for the weights' content.
fn starts(seen: &[Seen]) -> Vec<Option<u64>> {
    let linked = seen.iter().filter(|request| request.is_linked);
    linked.map(|request| request.start).collect()
}

#[test]
fn a_body_that_breaks_off_is_continued() {
    let world = World::new();
    let content = format!("/{}", sha256(&world.weights()));
    world.server.fail(&content, Fault::Cut(50_000), 1);
    world.server.fail(&content, Fault::Cut(20_000), 1);
    let dir = world.model().unwrap_or_else(|error| panic!("{error}"));
    world.assert_complete(&dir);
    let seen = world.server.take_seen();
    assert_eq!(starts(&seen), [None, Some(50_000), Some(70_000)]);
    assert!(
        !world
            .blob(&format!("{}.incomplete", &content[1..]))
            .exists()
    );
}

#[test]
fn a_body_that_never_goes_on_is_given_up_and_kept() {
    let world = World::new();
    let sha256 = sha256(&world.weights());
    world.server.fail(&sha256, Fault::Cut(50_000), 1);
    world.server.fail(&sha256, Fault::Cut(0), 99);
    let error = world.model().expect_err("half a file");
    let message = error.to_string();
    for part in [WEIGHTS, "after 50000 of", "continues from there"] {
        assert!(message.contains(part), "{message}");
    }
    let partial = world.blob(&format!("{sha256}.incomplete"));
    assert_eq!(fs::metadata(&partial).expect("a beginning").len(), 50_000);
    world.server.recover();
    world.server.take_seen();
    let dir = world.model().unwrap_or_else(|error| panic!("{error}"));
    world.assert_complete(&dir);
    assert_eq!(starts(&world.server.take_seen()), [Some(50_000)]);
}

#[test]
fn servers_without_ranges_begin_anew() {
    let world = World::new();
    let sha256 = sha256(&world.weights());
    world.server.fail(&sha256, Fault::Cut(50_000), 1);
    world.server.fail(&sha256, Fault::NoRanges, 1);
    let dir = world.model().unwrap_or_else(|error| panic!("{error}"));
    world.assert_complete(&dir);
}

/// A beginning of something else is noticed, however long it is.
#[test]
fn damaged_beginnings_are_thrown_away() {
    let world = World::new();
    let weights = world.weights();
    let name = format!("{}.incomplete", sha256(&weights));
    for length in [100, weights.len(), weights.len() + 1] {
        let world = World::new();
        let partial = world.blob(&name);
        fs::create_dir_all(partial.parent().expect("a folder")).expect("made");
        fs::write(&partial, vec![b'x'; length]).expect("written");
        let dir = world.model().unwrap_or_else(|error| panic!("{error}"));
        world.assert_complete(&dir);
    }
}

#[test]
fn a_wrong_digest_is_refused_and_the_file_removed() {
    let weights = sha256(&World::new().weights());
    for (file, part, digest) in [
        (WEIGHTS, weights.as_str(), "SHA-256"),
        ("config.json", "/config.json", "git id"),
    ] {
        let world = World::new();
        world.server.fail(part, Fault::Corrupt, 1);
        let error = world.model().expect_err("a damaged file");
        let message = error.to_string();
        for part in [file, digest, "expected", "it was removed"] {
            assert!(message.contains(part), "{message}");
        }
        let blobs = fs::read_dir(world.blob("")).expect("a folder");
        let incomplete = blobs.filter(|entry| {
            let name = entry.as_ref().expect("an entry").file_name();
            name.to_string_lossy().ends_with(".incomplete")
        });
        assert_eq!(incomplete.count(), 0);
        let dir = world.model().unwrap_or_else(|error| panic!("{error}"));
        world.assert_complete(&dir);
    }
}

#[test]
fn passing_faults_are_waited_for() {
    for status in [429, 500, 502, 503, 504] {
        let world = World::new();
        world.server.fail("/api/", Fault::Status(status, "", ""), 2);
        world
            .server
            .fail("config.json", Fault::Status(status, "", ""), 1);
        let dir = world.model().unwrap_or_else(|error| panic!("{error}"));
        world.assert_complete(&dir);
    }
}

#[test]
fn the_server_says_how_long_to_wait() {
    let world = World::new();
    let wait = Fault::Status(429, "Retry-After: 1", "");
    world.server.fail("/api/", wait, 1);
    let (hub, notices) = world.server.hub_with_notices(world.home.path());
    let started = Instant::now();
    hub.model(Path::new("org/name"), Files::Model)
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert!(
        notices
            .text()
            .contains("answers 429; trying again in 1.0 s")
    );

    // Nobody waits for an hour.
    let world = World::new();
    let wait = Fault::Status(429, "Retry-After: 3600", "");
    world.server.fail("/api/", wait, 1);
    let message = world.model().expect_err("a refusal").to_string();
    for part in ["429", "3600 s", "HF_TOKEN"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn lasting_faults_are_told_with_what_to_do() {
    let gated = "X-Error-Code: GatedRepo\nX-Error-Message: Access to model org/name is restricted";
    let mut checks = Checks::new();
    for (part, fault, requests, says) in [
        (
            "/api/",
            Fault::Status(500, "", "{\"error\": \"out of order\"}"),
            3,
            vec![
                "model org/name at main",
                "answers 500 (out of order), 3 times",
            ],
        ),
        (
            "/api/",
            Fault::Status(401, "", "Invalid username or password."),
            1,
            vec![
                "answers 401 (Invalid username",
                "check the name, or set HF_TOKEN",
            ],
        ),
        (
            "model.safetensors",
            Fault::Status(403, gated, ""),
            1,
            vec![
                "model.safetensors of model org/name at main",
                "answers 403 (Access to model org/name is restricted)",
                "accept the licence at http://127.0.0.1",
                "/org/name in a browser",
            ],
        ),
        (
            "/api/",
            Fault::Status(200, "", "<html>Log in to the network</html>"),
            1,
            vec!["does not answer as a Hub", "expected JSON", "HF_ENDPOINT"],
        ),
        (
            "/api/",
            Fault::Status(200, "", "{\"models\": []}"),
            1,
            vec!["does not answer as a Hub", "`sha`"],
        ),
        (
            "/api/",
            Fault::Status(418, "", "short and stout"),
            1,
            vec!["it answers 418 (short and stout)"],
        ),
    ] {
        let world = World::new();
        world.server.fail(part, fault, 99);
        let message = world.model().expect_err("a fault").to_string();
        for expected in says {
            checks.require(message.contains(expected), || {
                format!("no {expected:?} in: {message}")
            });
        }
        let asked = world.server.take_seen();
        let asked = asked.iter().filter(|seen| seen.line.contains(part)).count();
        checks.equal(&format!("requests: {message}"), asked, requests);
    }
    checks.finish();
}

#[test]
fn what_is_not_there_is_named() {
    let world = World::new();
    let mut checks = Checks::new();
    for (name, says) in [
        ("org/nothing", "there is no such repository"),
        (
            "org/name@v9",
            "there is no such revision: check what follows the @",
        ),
    ] {
        let hub = world.server.hub(world.home.path());
        let error = hub.model(Path::new(name), Files::Model);
        let message = error.expect_err("nothing there").to_string();
        for expected in [name, "no such directory here", "answers 404", says] {
            checks.require(message.contains(expected), || {
                format!("no {expected:?} in: {message}")
            });
        }
    }
    // A repository of something else.
    let mut all = files(&fixture::path("distilbert_tiny"));
    all.remove("config.json");
    world.server.put("models/org/name", COMMIT, all);
    let message = world.model().expect_err("no model").to_string();
    for expected in ["it has no config.json", "its files are: io.safetensors"] {
        checks.require(message.contains(expected), || {
            format!("no {expected:?} in: {message}")
        });
    }
    checks.finish();
}

#[test]
fn nobody_there() {
    let world = World::new();
    let settings = Settings {
        // Nothing listens on this port.
        endpoint: "http://127.0.0.1:1".to_owned(),
        ..world.server.settings(world.home.path())
    };
    let hub = Hub::new(settings, Silent);
    let error = hub.model(Path::new("org/name"), Files::Model);
    let message = error.expect_err("no answer").to_string();
    for part in [
        "no answer from http://127.0.0.1:1",
        "after 3 tries",
        "HTTPS_PROXY",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_silent_server_is_not_waited_for_for_ever() {
    let world = World::new();
    let sha256 = sha256(&world.weights());
    world
        .server
        .fail(&sha256, Fault::Slow(Duration::from_secs(3)), 1);
    let settings = Settings {
        timeout: Duration::from_millis(300),
        ..world.server.settings(world.home.path())
    };
    let hub = Hub::new(settings, Silent);
    let dir = hub.model(Path::new("org/name"), Files::Model);
    let dir = dir.unwrap_or_else(|error| panic!("{error}"));
    world.assert_complete(&dir);
    let starts = starts(&world.server.take_seen());
    assert_eq!(starts.len(), 2);
    assert!(starts[1].is_some_and(|start| start > 0), "{starts:?}");
}

#[test]
fn the_token_goes_to_the_endpoint_alone() {
    let world = World::new();
    let settings = Settings {
        token: Some("hf_secret".to_owned()),
        ..world.server.settings(world.home.path())
    };
    let hub = Hub::new(settings, Silent);
    hub.model(Path::new("org/name"), Files::Model)
        .unwrap_or_else(|error| panic!("{error}"));
    let seen = world.server.take_seen();
    assert!(seen.iter().any(|request| request.is_linked));
    for request in seen {
        let expected = (!request.is_linked).then_some("Bearer hf_secret");
        assert_eq!(request.token.as_deref(), expected, "{}", request.line);
    }
}

#[test]
#[cfg(unix)]
fn a_cache_that_cannot_be_written_is_named() {
    let world = World::new();
    let settings = Settings {
        cache: PathBuf::from("/dev/null/hub"),
        ..world.server.settings(world.home.path())
    };
    let hub = Hub::new(settings, Silent);
    let error = hub.model(Path::new("org/name"), Files::Model);
    let message = error.expect_err("no cache").to_string();
    assert!(
        message.contains("the cache of the Hub, /dev/null/hub"),
        "{message}"
    );
}
