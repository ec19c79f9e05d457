//! The cache on the disk, in the layout of `huggingface_hub`.
//!
//! ```text
//! models--ORG--NAME/refs/REVISION            the commit of a branch or tag
//! models--ORG--NAME/snapshots/COMMIT/PATH    a link to the content of a file
//! models--ORG--NAME/blobs/ETAG               the content
//! models--ORG--NAME/blobs/ETAG.incomplete    the beginning of it
//! models--ORG--NAME/trees/COMMIT.json        the files of a commit
//! .locks/models--ORG--NAME/ETAG.lock         held by the process that downloads it
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::listing::Listing;
use super::name::{is_commit, native};
use super::{HubError, Report, Repository};
use crate::output::{self, OutputError};

/// The folder with a folder for each commit.
const SNAPSHOTS: &str = "snapshots";

/// The part of the cache that a repository has.
pub(super) struct RepositoryCache {
    /// Folder of all repositories.
    root: PathBuf,
    /// `models--ORG--NAME`.
    name: String,
}

impl RepositoryCache {
    pub fn new(root: &Path, repository: &Repository) -> Self {
        let id = repository.id.replace('/', "--");
        Self {
            root: root.to_path_buf(),
            name: format!("{}--{id}", repository.kind.plural()),
        }
    }

    /// Where it is.
    pub fn dir(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// Where the files of a commit are.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.dir().join(SNAPSHOTS).join(commit)
    }

    /// Where the content of a file is, or will be.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.dir().join("blobs").join(etag)
    }

    /// The commit that a branch or tag had when it was last asked for; of a commit itself.
    pub fn commit(&self, repository: &Repository) -> Option<String> {
        if repository.is_pinned() {
            return Some(repository.revision.clone());
        }
        let path = self.ref_path(&repository.revision);
        let commit = fs::read_to_string(path).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes the commit of a branch or tag.
    pub fn note_commit(&self, repository: &Repository, commit: &str) -> Result<(), HubError> {
        if self.commit(repository).as_deref() == Some(commit) {
            return Ok(());
        }
        self.write(&self.ref_path(&repository.revision), commit)
    }

    fn ref_path(&self, revision: &str) -> PathBuf {
        self.dir().join("refs").join(native(revision))
    }

    /// The files of a commit, if they were ever listed.
    pub fn listing(&self, commit: &str) -> Option<Listing> {
        Listing::from_json(commit, &fs::read(self.listing_path(commit)).ok()?)
    }

    /// Keeps a listing, if everything is known of its files.
    pub fn keep_listing(&self, listing: &Listing) -> Result<(), HubError> {
        let path = self.listing_path(&listing.commit);
        match listing.to_json() {
            Some(json) if !path.exists() => self.write(&path, &json),
            _ => Ok(()),
        }
    }

    fn listing_path(&self, commit: &str) -> PathBuf {
        self.dir().join("trees").join(format!("{commit}.json"))
    }

    /// Paths of the files of a commit that are here.
    pub fn files(&self, commit: &str) -> BTreeSet<String> {
        let root = self.snapshot(commit);
        let mut found = BTreeSet::new();
        let mut open = vec![(root, String::new())];
        while let Some((dir, prefix)) = open.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = entry.path();
                if path.is_dir() {
                    open.push((path, format!("{prefix}{name}/")));
                } else if path.is_file() {
                    found.insert(format!("{prefix}{name}"));
                }
            }
        }
        found
    }

    /// Lets the file `path` of a commit be the content `etag`.
    pub fn link(&self, commit: &str, path: &str, etag: &str) -> Result<(), HubError> {
        let link = self.snapshot(commit).join(native(path));
        create_parent(&link)?;
        let depth = path.split('/').count() + 1;
        let target: PathBuf = (0..depth).map(|_| "..").collect();
        let target = target.join("blobs").join(etag);
        let temporary = link.with_file_name(format!(".{etag}.{}.tmp", std::process::id()));
        // What a killed process with the same id left.
        let _ = fs::remove_file(&temporary);
        make_link(&target, &self.blob(etag), &temporary)
            .and_then(|()| fs::rename(&temporary, &link))
            .map_err(HubError::cache(&link))
    }

    /// Waits until no other process downloads this content, and keeps others waiting until the file that it returns is
    /// closed or the process ends in whatever way.
    pub fn lock(&self, etag: &str, report: &dyn Report) -> Result<File, HubError> {
        let dir = self.root.join(".locks").join(&self.name);
        let path = dir.join(format!("{etag}.lock"));
        create_parent(&path)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(HubError::cache(&path))?;
        let locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                report.notice(&format!(
                    "another process is downloading the same file; waiting for it ({})",
                    path.display()
                ));
                file.lock()
            }
            Err(TryLockError::Error(cause)) => Err(cause),
            Ok(()) => Ok(()),
        };
        match locked {
            // Some network file systems have no locks: two downloads of one file are then one too many, and since the
            // result is checked, no more than that.
            Err(cause) if cause.kind() == io::ErrorKind::Unsupported => Ok(file),
            Err(cause) => Err(HubError::cache(&path)(cause)),
            Ok(()) => Ok(file),
        }
    }

    fn write(&self, path: &Path, content: &str) -> Result<(), HubError> {
        create_parent(path)?;
        output::write_file(path, content.as_bytes()).map_err(|error| {
            HubError::cache(path)(match error {
                OutputError::Write { cause, .. } => cause,
                error => error.into(),
            })
        })
    }
}

/// The name of the repository in whose snapshot `path` is, and what is to be written after it: `(ORG/NAME, COMMIT,
/// PATH)`.
pub(super) fn snapshot_parts(path: &Path) -> Option<(String, String, PathBuf)> {
    let mut dir = path;
    loop {
        let parent = dir.parent()?;
        let commit = dir.file_name()?.to_str()?;
        if parent.file_name().is_some_and(|name| name == SNAPSHOTS) && is_commit(commit) {
            let name = parent.parent()?.file_name()?.to_str()?;
            let (_, id) = name.split_once("--")?;
            let rest = path.strip_prefix(dir).ok()?.to_path_buf();
            return Some((id.replace("--", "/"), commit.to_owned(), rest));
        }
        dir = parent;
    }
}

pub(super) fn create_parent(path: &Path) -> Result<(), HubError> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(HubError::cache(parent)),
        None => Ok(()),
    }
}

#[cfg(unix)]
fn make_link(target: &Path, _content: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Where links take a privilege, a second name or a copy does.
#[cfg(not(unix))]
fn make_link(_target: &Path, content: &Path, link: &Path) -> io::Result<()> {
    fs::hard_link(content, link).or_else(|_| fs::copy(content, link).map(|_| ()))
}

#[cfg(test)]
mod tests {
    use super::super::Silent;
    use super::*;

    fn cache() -> (tempfile::TempDir, RepositoryCache, Repository) {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::model("org/name@refs/pr/1").unwrap();
        let cache = RepositoryCache::new(dir.path(), &repository);
        (dir, cache, repository)
    }

    #[test]
    fn the_layout_is_that_of_python() {
        let (dir, cache, repository) = cache();
        let commit = "0a".repeat(20);
        let blob = cache.blob("etag");
        create_parent(&blob).unwrap();
        fs::write(&blob, "content").unwrap();
        cache.link(&commit, "a/b.json", "etag").unwrap();
        cache.link(&commit, "a/b.json", "etag").unwrap();
        cache.note_commit(&repository, &commit).unwrap();
        drop(cache.lock("etag", &Silent).unwrap());

        let root = dir.path().join("models--org--name");
        let link = root.join(format!("snapshots/{commit}/a/b.json"));
        assert_eq!(fs::read(&link).unwrap(), b"content");
        #[cfg(unix)]
        assert_eq!(
            fs::read_link(&link).unwrap(),
            Path::new("../../../blobs/etag")
        );
        assert_eq!(
            fs::read(root.join("refs/refs/pr/1")).unwrap(),
            commit.as_bytes()
        );
        assert!(
            dir.path()
                .join(".locks/models--org--name/etag.lock")
                .is_file()
        );
        assert_eq!(cache.commit(&repository).as_ref(), Some(&commit));
        assert_eq!(
            cache.files(&commit),
            BTreeSet::from(["a/b.json".to_owned()])
        );
    }

    #[test]
    fn snapshots_know_where_they_come_from() {
        let (_dir, cache, _) = cache();
        let commit = "0b".repeat(20);
        let snapshot = cache.snapshot(&commit);
        let (id, found, rest) = snapshot_parts(&snapshot.join("a/b")).unwrap();
        assert_eq!((id.as_str(), found.as_str()), ("org/name", commit.as_str()));
        assert_eq!(rest, Path::new("a/b"));
        assert_eq!(snapshot_parts(&snapshot).unwrap().2, Path::new(""));
        assert_eq!(snapshot_parts(Path::new("outputs/snapshots/final")), None);
    }

    #[test]
    fn a_lock_is_held_once() {
        let (dir, cache, _) = cache();
        let lock = cache.lock("etag", &Silent).unwrap();
        let path = dir.path().join(".locks/models--org--name/etag.lock");
        let other = File::options().write(true).open(path).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(lock);
        other.try_lock().unwrap();
    }
}
