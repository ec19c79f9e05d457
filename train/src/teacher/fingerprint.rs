//! What tells one teacher from another: scores are kept by it, so that those of a changed teacher are not found.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::error::TeacherError;

/// SHA-256 over everything that decides a teacher's scores, but for rounding on other devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// A fingerprint in the making; parts are told apart by their lengths.
pub struct FingerprintBuilder(Sha256);

impl FingerprintBuilder {
    /// Starts with what kind of thing it is of.
    pub fn new(kind: &str) -> Self {
        let mut builder = Self(Sha256::new());
        builder.bytes(kind.as_bytes());
        builder
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds the content of a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn file(&mut self, path: &Path) -> Result<(), TeacherError> {
        self.content(path).map_err(read_error(path))
    }

    fn content(&mut self, path: &Path) -> io::Result<()> {
        let mut file = File::open(path)?;
        self.0.update(file.metadata()?.len().to_le_bytes());
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                read => self.0.update(&buffer[..read]),
            }
        }
    }

    /// Adds the names and contents of all files of a model directory, hidden ones aside: a model that is copied or
    /// moved stays the same, and one whose weights were replaced does not, whatever its time stamps say.
    ///
    /// # Errors
    ///
    /// If the directory cannot be listed or a file not be read.
    pub fn model(&mut self, dir: &Path) -> Result<(), TeacherError> {
        for (name, path) in files(dir)? {
            self.bytes(name.as_bytes());
            self.file(&path)?;
        }
        Ok(())
    }

    /// Adds sizes and times of modification of a file, or of the files of a directory: for data too large to be read
    /// for this.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn stamp(&mut self, path: &Path) -> Result<(), TeacherError> {
        let paths = match path.is_dir() {
            true => files(path)?,
            false => vec![(String::new(), path.to_owned())],
        };
        for (name, path) in paths {
            let found = fs::metadata(&path).map_err(read_error(&path))?;
            let modified = found.modified().ok();
            let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            self.bytes(name.as_bytes());
            self.bytes(&found.len().to_le_bytes());
            self.bytes(&since.unwrap_or_default().as_nanos().to_le_bytes());
        }
        Ok(())
    }

    /// The fingerprint.
    pub fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finalize().into())
    }
}

/// The files below a directory by their names in it, sorted; hidden files and folders are passed over.
fn files(root: &Path) -> Result<Vec<(String, PathBuf)>, TeacherError> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(&dir).map_err(read_error(&dir))? {
            let entry = entry.map_err(read_error(&dir))?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            // A link to a folder is not followed: it may lead back up.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if path.is_file() {
                let name = path.strip_prefix(root).unwrap_or(&path);
                files.push((name.to_string_lossy().into_owned(), path));
            }
        }
    }
    files.sort();
    Ok(files)
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> TeacherError {
    let path = path.to_owned();
    move |cause| TeacherError::Read { path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_model(dir: &Path) -> Fingerprint {
        let mut builder = FingerprintBuilder::new("test");
        builder.model(dir).unwrap();
        builder.finish()
    }

    #[test]
    fn a_moved_model_is_the_same_and_a_changed_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| root.path().join(name));
        for dir in [&a, &b] {
            fs::create_dir(dir).unwrap();
            fs::write(dir.join("config.json"), "{}").unwrap();
            fs::write(dir.join("weights"), "1234").unwrap();
        }
        assert_eq!(of_model(&a), of_model(&b));
        fs::write(b.join("weights"), "1235").unwrap();
        assert_ne!(of_model(&a), of_model(&b));
        fs::write(b.join("weights"), "1234").unwrap();
        assert_eq!(of_model(&a), of_model(&b));
        fs::create_dir(b.join("1_Pooling")).unwrap();
        fs::write(b.join("1_Pooling/config.json"), "{}").unwrap();
        assert_ne!(of_model(&a), of_model(&b));
        fs::remove_dir_all(b.join("1_Pooling")).unwrap();
        fs::create_dir(b.join(".git")).unwrap();
        fs::write(b.join(".git/index"), "").unwrap();
        assert_eq!(of_model(&a), of_model(&b));
        fs::rename(b.join("weights"), b.join("weight")).unwrap();
        assert_ne!(of_model(&a), of_model(&b));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: [&str; 2]| {
            let mut builder = FingerprintBuilder::new("test");
            parts.iter().for_each(|part| builder.bytes(part.as_bytes()));
            builder.finish()
        };
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
    }

    #[test]
    fn a_stamp_follows_size_and_time() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("vectors.jsonl");
        let stamp = || {
            let mut builder = FingerprintBuilder::new("test");
            builder.stamp(&path).map(|()| builder.finish())
        };
        assert!(stamp().is_err());
        fs::write(&path, "one").unwrap();
        let first = stamp().unwrap();
        assert_eq!(stamp().unwrap(), first);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(5))
            .unwrap();
        assert_ne!(stamp().unwrap(), first);
    }
}
