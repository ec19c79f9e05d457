//! The Hugging Face Hub: models and data sets by name, in the cache that Python's `huggingface_hub` uses too.
//!
//! A MODEL is a directory or `ORG/NAME[@REVISION]` (`NAME[@REVISION]` for the Hub's oldest); a data file may be
//! `hf://datasets/ORG/NAME[@REVISION]/PATH`. Either becomes a path in the cache. What is there already is not downloaded
//! again: of a branch or tag the server is asked for the commit, of a commit it is asked for nothing.
//!
//! The requests are made with `ureq`, since the crate `hf-hub` (1.0) begins every download anew, compares no checksum,
//! and brings an asynchronous runtime and the Xet protocol along. Files on Xet storage come over plain HTTPS.

mod answer;
mod cache;
mod client;
mod display;
mod download;
mod error;
mod listing;
mod name;
mod report;
mod selection;
mod settings;
mod snapshot;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use cache::snapshot_parts;
use name::native;
use snapshot::Wanted;

pub use display::Display;
pub use error::HubError;
pub use name::{Address, Kind, Repository};
pub use report::{Report, Silent};
pub use selection::Files;
pub use settings::Settings;

/// Turns names into paths, downloading what is not there.
pub struct Hub {
    /// The environment's, where none were given: read when they are needed, since local paths need none.
    settings: OnceCell<Settings>,
    report: Box<dyn Report>,
}

impl Hub {
    /// A Hub with these settings, which tells `report` what it does.
    pub fn new(settings: Settings, report: impl Report + 'static) -> Self {
        Self {
            settings: OnceCell::from(settings),
            report: Box::new(report),
        }
    }

    /// The Hub of the environment, for binaries: downloads are shown on standard error, unless `quiet`.
    pub fn for_command_line(quiet: bool) -> Self {
        Self {
            settings: OnceCell::new(),
            report: Box::new(Display::new(quiet)),
        }
    }

    /// The directory of a model, which is `model` itself where that exists (a file too), or else a snapshot of the
    /// Hub's repository of that name. What can only be a path, or lies in a folder that is here, is not asked for.
    ///
    /// # Errors
    /// [`HubError`]: what was asked for, of whom, what they said and what to do.
    pub fn model(&self, model: &Path, files: Files) -> Result<PathBuf, HubError> {
        if model.exists() {
            return Ok(model.to_path_buf());
        }
        let name = model.display().to_string();
        let repository = model.to_str().and_then(Repository::model);
        let folder = Repository::folder_here(&name).map(Path::to_path_buf);
        match (repository, folder) {
            (None, _) => Err(HubError::NoDirectory { name }),
            (Some(_), Some(folder)) => Err(HubError::NotInFolder { name, folder }),
            (Some(repository), None) => {
                let snapshot = self.snapshot(&repository, Wanted::Model(files));
                snapshot.map_err(|cause| HubError::NotHad {
                    name,
                    cause: Box::new(cause),
                })
            }
        }
    }

    /// The path of data: that of the snapshot's file or folder for an address, `hf://...`, and any other as it is.
    ///
    /// # Errors
    /// [`HubError`]: what was asked for, of whom, what they said and what to do.
    pub fn data(&self, path: &Path) -> Result<PathBuf, HubError> {
        match path.to_str().filter(|_| Address::is_one(path)) {
            None => Ok(path.to_path_buf()),
            Some(text) => {
                let address = Address::parse(text)?;
                let snapshot = self.snapshot(&address.repository, Wanted::Path(&address.path))?;
                Ok(match address.path.as_str() {
                    "" => snapshot,
                    path => snapshot.join(native(path)),
                })
            }
        }
    }

    fn settings(&self) -> Result<&Settings, HubError> {
        if let Some(settings) = self.settings.get() {
            return Ok(settings);
        }
        let settings = Settings::from_env()?;
        Ok(self.settings.get_or_init(|| settings))
    }
}

/// The name under which `path`, which came of [`Hub::model`], can be had again, wherever and whenever: with its commit
/// for a revision. `None` for what does not come from the Hub.
pub fn pinned_model(path: &Path) -> Option<String> {
    let (id, commit, _) = snapshot_parts(path)?;
    Some(format!("{id}@{commit}"))
}

/// [`pinned_model`] for an address of data and the path that [`Hub::data`] made of it.
pub fn pinned_address(address: &Path, path: &Path) -> Option<String> {
    let mut address = Address::parse(address.to_str()?).ok()?;
    address.repository.revision = snapshot_parts(path)?.1;
    Some(address.text())
}

/// What a folder of the Hub's cache is called: by its repository, since its own name is that of a commit.
pub(crate) fn snapshot_name(path: &Path) -> Option<String> {
    let (id, _, rest) = snapshot_parts(path)?;
    let name = id.rsplit_once('/').map_or(id.as_str(), |(_, name)| name);
    rest.as_os_str().is_empty().then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    fn offline(cache: &Path) -> Hub {
        let settings = Settings {
            // Nothing listens there, and nothing is to be asked.
            endpoint: "http://127.0.0.1:9".to_owned(),
            token: None,
            cache: cache.to_path_buf(),
            offline: true,
            timeout: Duration::from_secs(1),
            first_wait: Duration::ZERO,
            certificates: None,
        };
        Hub::new(settings, Silent)
    }

    /// A snapshot as other tools leave it: without a listing.
    fn write_snapshot(cache: &Path, folder: &str, files: &[&str]) -> PathBuf {
        let commit = "0c".repeat(20);
        let dir = cache.join(folder);
        let snapshot = dir.join("snapshots").join(&commit);
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(dir.join("refs")).unwrap();
        fs::write(dir.join("refs/main"), &commit).unwrap();
        for file in files {
            fs::write(snapshot.join(file), "{}").unwrap();
        }
        snapshot
    }

    #[test]
    fn what_exists_is_taken_and_what_cannot_be_an_id_is_not_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let hub = offline(dir.path());
        assert_eq!(hub.model(dir.path(), Files::Model).unwrap(), dir.path());
        for name in ["nowhere/", "./a/b", "/a/b", "a/b/c", "a/vocab.txt"] {
            let error = hub.model(Path::new(name), Files::Model).unwrap_err();
            assert!(matches!(error, HubError::NoDirectory { .. }), "{error}");
            let expected = format!("{name}: no such directory; expected");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        // Tests run in the crate's folder.
        let error = hub.model(Path::new("src/nowhere"), Files::Model);
        let message = error.unwrap_err().to_string();
        let expected = "src/nowhere: no such directory in src; expected a model directory";
        assert!(message.starts_with(expected), "{message}");
        for name in ["hf://src/nowhere", "src/nowhere@main", "nowhere"] {
            let error = hub.model(Path::new(name), Files::Model).unwrap_err();
            assert!(matches!(error, HubError::NotHad { .. }), "{error}");
        }
        let path = Path::new("data/train.jsonl");
        assert_eq!(hub.data(path).unwrap(), path);
    }

    #[test]
    fn offline_the_cache_must_do() {
        let dir = tempfile::tempdir().unwrap();
        let hub = offline(dir.path());
        let model = |files| hub.model(Path::new("org/name"), files);
        let message = model(Files::Model).unwrap_err().to_string();
        for part in [
            "org/name: no such directory",
            "HF_HUB_OFFLINE",
            "models--org--name",
        ] {
            assert!(message.contains(part), "{message}");
        }
        let files = ["config.json", "vocab.txt"];
        let snapshot = write_snapshot(dir.path(), "models--org--name", &files);
        assert_eq!(model(Files::Untrained).unwrap(), snapshot);
        assert_eq!(model(Files::Tokenizer).unwrap(), snapshot);
        let message = model(Files::Model).unwrap_err().to_string();
        assert!(message.contains("no weights"), "{message}");
        let index = r#"{"weight_map": {"a": "model-1.safetensors"}}"#;
        fs::write(snapshot.join("model.safetensors.index.json"), index).unwrap();
        let message = model(Files::Model).unwrap_err().to_string();
        assert!(message.contains("no model-1.safetensors"), "{message}");
        fs::write(snapshot.join("model-1.safetensors"), "").unwrap();
        assert_eq!(model(Files::Model).unwrap(), snapshot);
    }

    #[test]
    fn names_that_can_be_had_again() {
        let dir = tempfile::tempdir().unwrap();
        let hub = offline(dir.path());
        let snapshot = write_snapshot(dir.path(), "datasets--org--name", &["corpus.jsonl"]);
        let address = Path::new("hf://datasets/org/name/corpus.jsonl");
        let path = hub.data(address).unwrap();
        assert_eq!(path, snapshot.join("corpus.jsonl"));
        let commit = "0c".repeat(20);
        assert_eq!(
            pinned_address(address, &path).unwrap(),
            format!("hf://datasets/org/name@{commit}/corpus.jsonl")
        );
        let folder = hub.data(Path::new("hf://datasets/org/name")).unwrap();
        assert_eq!(snapshot_name(&folder).as_deref(), Some("name"));
        assert_eq!(snapshot_name(&path), None);
        assert_eq!(pinned_model(&snapshot), Some(format!("org/name@{commit}")));
        assert_eq!(pinned_model(dir.path()), None);
        let bare = write_snapshot(dir.path(), "models--bert-base-uncased", &[]);
        let pinned = format!("bert-base-uncased@{commit}");
        assert_eq!(pinned_model(&bare), Some(pinned));
        assert_eq!(snapshot_name(&bare).as_deref(), Some("bert-base-uncased"));
        let missing = hub.data(Path::new("hf://datasets/org/name/x.jsonl"));
        let message = missing.unwrap_err().to_string();
        assert!(
            message.contains("no file and no folder x.jsonl"),
            "{message}"
        );
    }
}
