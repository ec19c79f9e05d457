//! The files of a run: what is in `output_dir`, and where.

use std::fs;
use std::path::{Path, PathBuf};

use configs::TrainConfig;
use data::output::{OutputError, write_file};

use crate::error::TrainError;

const CHECKPOINT: &str = "checkpoint-";
const FILES: [&str; 4] = [
    "config.yaml",
    "config.resolved.yaml",
    "train.log",
    "metrics.jsonl",
];

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// In an empty or new directory.
    New,
    /// In place of the run that the directory holds.
    Overwrite,
    /// From the newest complete checkpoint.
    Resume,
}

impl Start {
    /// What a recipe asks for.
    pub fn of(config: &TrainConfig) -> Self {
        match (config.run.resume, config.run.overwrite_output_dir) {
            (true, _) => Self::Resume,
            (false, true) => Self::Overwrite,
            (false, false) => Self::New,
        }
    }
}

/// The directory of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// The directory at `path`, which need not exist yet.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log.
    pub fn log(&self) -> PathBuf {
        self.path.join("train.log")
    }

    /// Figures, one JSON object per line.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The trained model.
    pub fn final_model(&self) -> PathBuf {
        self.path.join("final")
    }

    /// The checkpoint after `step` steps.
    pub fn checkpoint(&self, step: usize) -> PathBuf {
        self.path.join(format!("{CHECKPOINT}{step}"))
    }

    /// Steps of all checkpoints, ascending. A checkpoint gets its name when it is complete, so that all of them are.
    pub fn checkpoints(&self) -> Vec<usize> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut steps: Vec<usize> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                name.strip_prefix(CHECKPOINT)?.parse().ok()
            })
            .collect();
        steps.sort_unstable();
        steps
    }

    /// Says whether a run may begin here, and from which checkpoint; changes nothing.
    ///
    /// # Errors
    ///
    /// If a new run finds the directory not empty, or a resumed one finds no checkpoint.
    pub fn check(&self, start: Start) -> Result<Option<PathBuf>, TrainError> {
        match start {
            Start::Overwrite => Ok(None),
            Start::New => {
                let mut entries = match fs::read_dir(&self.path) {
                    Ok(entries) => entries,
                    Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(cause) => return Err(TrainError::io(&self.path)(cause)),
                };
                match entries.next() {
                    Some(_) => Err(TrainError::OutputExists(self.path.clone())),
                    None => Ok(None),
                }
            }
            Start::Resume => match self.checkpoints().last() {
                Some(&step) => Ok(Some(self.checkpoint(step))),
                None => Err(TrainError::NoCheckpoint(self.path.clone())),
            },
        }
    }

    /// Creates the directory with its two configs: the recipe as given, and as resolved. Overwriting removes
    /// the files of the run before, and nothing else.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn create(
        &self,
        start: Start,
        recipe: &[u8],
        config: &TrainConfig,
    ) -> Result<(), TrainError> {
        fs::create_dir_all(&self.path).map_err(|cause| OutputError::Write {
            path: self.path.clone(),
            cause,
        })?;
        self.remove_debris()?;
        if start == Start::Overwrite {
            self.remove_run()?;
        }
        // The copy starts the run again, however this one was started.
        let mut resolved = config.clone();
        resolved.run.resume = false;
        write_file(&self.path.join("config.yaml"), recipe)?;
        write_file(
            &self.path.join("config.resolved.yaml"),
            resolved.to_yaml().as_bytes(),
        )?;
        Ok(())
    }

    /// Deletes the oldest checkpoints until `limit` are left.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn prune(&self, limit: Option<usize>) -> Result<(), TrainError> {
        let steps = self.checkpoints();
        let surplus = limit.map_or(0, |limit| steps.len().saturating_sub(limit));
        steps[..surplus]
            .iter()
            .try_for_each(|&step| remove(&self.checkpoint(step)))
    }

    fn remove_run(&self) -> Result<(), TrainError> {
        for name in FILES {
            remove(&self.path.join(name))?;
        }
        remove(&self.final_model())?;
        self.prune(Some(0))
    }

    /// What killed runs left half written: `.checkpoint-7.1234.tmp` and the like.
    fn remove_debris(&self) -> Result<(), TrainError> {
        let entries = fs::read_dir(&self.path).map_err(TrainError::io(&self.path))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let ours = [".checkpoint-", ".final."]
                .iter()
                .any(|prefix| name.starts_with(prefix));
            if ours && name.ends_with(".tmp") {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Removes a file or a directory, if there is one.
pub(crate) fn remove(path: &Path) -> Result<(), TrainError> {
    let removed = match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match removed {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(TrainError::io(path)(cause))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_entries(names: &[&str]) -> (tempfile::TempDir, RunDir) {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let run = RunDir::new(dir.path());
        (dir, run)
    }

    #[test]
    fn a_new_run_needs_an_empty_directory() {
        let (dir, run) = with_entries(&[]);
        assert_eq!(run.check(Start::New).unwrap(), None);
        assert_eq!(
            RunDir::new(&dir.path().join("none"))
                .check(Start::New)
                .unwrap(),
            None
        );
        let (_dir, run) = with_entries(&["final"]);
        let error = run.check(Start::New).unwrap_err().to_string();
        assert!(
            error.contains("--resume") && error.contains("overwrite_output_dir=true"),
            "{error}"
        );
        assert_eq!(run.check(Start::Overwrite).unwrap(), None);
        assert!(run.check(Start::Resume).is_err());
    }

    #[test]
    fn the_newest_complete_checkpoint_is_resumed() {
        let (dir, run) = with_entries(&[
            "checkpoint-9",
            "checkpoint-10",
            ".checkpoint-11.77.tmp",
            "checkpoint-x",
        ]);
        assert_eq!(run.checkpoints(), [9, 10]);
        let newest = run.check(Start::Resume).unwrap();
        assert_eq!(newest, Some(dir.path().join("checkpoint-10")));
        run.remove_debris().unwrap();
        run.prune(Some(1)).unwrap();
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["checkpoint-10", "checkpoint-x"]);
    }

    #[test]
    fn overwriting_leaves_the_files_of_others() {
        let (dir, run) = with_entries(&["checkpoint-9", "final", "notes"]);
        fs::write(run.metrics(), "{}").unwrap();
        run.remove_run().unwrap();
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["notes"]);
    }
}
