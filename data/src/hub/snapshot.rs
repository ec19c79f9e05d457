//! From a repository to its snapshot: what is there, what is missing, and where the rest comes from.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cache::RepositoryCache;
use super::client::{Client, Method, Request, encode};
use super::download::{Downloader, has_size};
use super::listing::Listing;
use super::name::{is_inside, native};
use super::selection::{files_below, index_in, model_files};
use super::{Files, Hub, HubError, Repository};

/// Tries of the first request: enough for a server that starts anew, and a misspelt path fails soon without a network.
const FIRST_ATTEMPTS: usize = 3;
/// File names that an error shows.
const SHOWN_FILES: usize = 12;

/// What is wanted of a repository.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    Model(Files),
    /// The file of that path, or what is below the folder.
    Path(&'a str),
}

impl Wanted<'_> {
    /// The files to have, out of all that there are, or what is missing among those.
    fn choose(self, all: &BTreeSet<String>) -> Result<Vec<String>, String> {
        match self {
            Self::Model(files) => model_files(all, files),
            Self::Path(path) => match files_below(all, path) {
                files if files.is_empty() => Err(match path {
                    "" => "no data files".to_owned(),
                    path => format!("no file and no folder {path}"),
                }),
                files => Ok(files),
            },
        }
    }
}

/// A snapshot that has everything wanted of it.
struct Cached {
    path: PathBuf,
    commit: String,
    /// Whether the files of the commit are known; else those that are here may not be all.
    is_certain: bool,
}

impl Hub {
    /// The snapshot of a repository with everything wanted of it.
    pub(super) fn snapshot(
        &self,
        repository: &Repository,
        wanted: Wanted,
    ) -> Result<PathBuf, HubError> {
        let settings = self.settings()?;
        let cache = RepositoryCache::new(&settings.cache, repository);
        let cached = cached(&cache, repository, wanted);
        if settings.offline {
            return match cached {
                Ok(cached) => Ok(self.as_it_is(cached, repository)),
                Err(missing) => Err(HubError::Offline {
                    asked: repository.describe(),
                    missing,
                }),
            };
        }
        match cached {
            Ok(cached) if repository.is_pinned() && cached.is_certain => Ok(cached.path),
            Ok(cached) => match self.download(&cache, repository, wanted, 1) {
                Err(error) if error.is_outage() => {
                    let commit = &cached.commit;
                    self.report
                        .notice(&format!("{error}\nTaking what is in the cache, {commit}"));
                    Ok(self.as_it_is(cached, repository))
                }
                result => result,
            },
            Err(_) => self.download(&cache, repository, wanted, FIRST_ATTEMPTS),
        }
    }

    /// A snapshot that nobody compared with the server's.
    fn as_it_is(&self, cached: Cached, repository: &Repository) -> PathBuf {
        if !cached.is_certain {
            self.report.notice(&format!(
                "{}: the cache does not say whether {} has all of its files",
                repository.describe(),
                cached.path.display()
            ));
        }
        cached.path
    }

    /// Downloads what is not there; the snapshot's path.
    fn download(
        &self,
        cache: &RepositoryCache,
        repository: &Repository,
        wanted: Wanted,
        attempts: usize,
    ) -> Result<PathBuf, HubError> {
        let settings = self.settings()?;
        let client = Client::new(settings, &*self.report)?;
        let known = match repository.is_pinned() {
            true => cache.listing(&repository.revision),
            false => None,
        };
        let listing = match known {
            Some(listing) => listing,
            None => self.list(&client, repository, attempts)?,
        };
        let kept = cache.keep_listing(&listing);
        let chosen = wanted.choose(&listing.names());
        let files = chosen.map_err(|reason| lacks(repository, &listing, &reason))?;
        let downloader = Downloader {
            settings,
            client: &client,
            report: &*self.report,
            cache,
            repository,
            commit: &listing.commit,
        };
        let snapshot = cache.snapshot(&listing.commit);
        let mut fetched = fetch(&downloader, &listing, &files)?;
        if let (Wanted::Model(_), Some(index)) = (wanted, index_in(&files)) {
            let parts = parts(&snapshot.join(index));
            let parts = parts.map_err(|reason| lacks(repository, &listing, &reason))?;
            fetched += fetch(&downloader, &listing, &parts)?;
        }
        let noted = cache.note_commit(repository, &listing.commit);
        // A cache that cannot be written will do where nothing is missing from it.
        if fetched > 0 {
            kept.and(noted)?;
            self.report.notice(&format!(
                "{}: {fetched} of its files downloaded to {}",
                repository.describe(),
                snapshot.display()
            ));
        }
        Ok(snapshot)
    }

    /// Asks the server for the commit of a revision, and its files.
    fn list(
        &self,
        client: &Client,
        repository: &Repository,
        attempts: usize,
    ) -> Result<Listing, HubError> {
        let Repository { kind, id, revision } = repository;
        let (endpoint, kind) = (&self.settings()?.endpoint, kind.plural());
        let revision = encode(revision, false);
        let url = format!("{endpoint}/api/{kind}/{id}/revision/{revision}?blobs=true");
        let asked = repository.describe();
        let answer = client.json(&Request {
            repository,
            asked: &asked,
            url: &url,
            method: Method::Get,
            start: 0,
            attempts,
        })?;
        Listing::parse(&answer).map_err(|reason| HubError::NotAHub { asked, url, reason })
    }
}

/// Downloads those of the files that are not in the snapshot; their number.
fn fetch(downloader: &Downloader, listing: &Listing, files: &[String]) -> Result<usize, HubError> {
    let snapshot = downloader.cache.snapshot(&listing.commit);
    let mut fetched = 0;
    for path in files {
        let Some(info) = listing.files.get(path) else {
            let reason = format!("no {path}, which its index names");
            return Err(lacks(downloader.repository, listing, &reason));
        };
        let size = info.as_ref().and_then(|info| info.content().size);
        if !has_size(&snapshot.join(native(path)), size) {
            downloader.file(path, info.as_ref())?;
            fetched += 1;
        }
    }
    Ok(fetched)
}

/// The snapshot in the cache, or what is missing from it.
fn cached(
    cache: &RepositoryCache,
    repository: &Repository,
    wanted: Wanted,
) -> Result<Cached, String> {
    let commit = cache
        .commit(repository)
        .ok_or_else(|| format!("it is not in the cache, {}", cache.dir().display()))?;
    let path = cache.snapshot(&commit);
    let listing = cache.listing(&commit);
    let here = cache.files(&commit);
    let is_certain = listing.is_some();
    let all = listing.map_or_else(|| here.clone(), |listing| listing.names());
    let in_cache = |reason: String| format!("the cache, {}, has {reason}", path.display());
    let mut files = wanted.choose(&all).map_err(in_cache)?;
    if let (Wanted::Model(_), Some(index)) = (wanted, index_in(&files))
        && here.contains(index)
    {
        let parts = parts(&path.join(index)).map_err(in_cache)?;
        files.extend(parts);
    }
    match files.into_iter().find(|file| !here.contains(file)) {
        Some(missing) => Err(in_cache(format!("no {missing}"))),
        None => Ok(Cached {
            path,
            commit,
            is_certain,
        }),
    }
}

/// The files that an index of weights names, all of them beside it.
fn parts(index: &Path) -> Result<Vec<String>, String> {
    let bad = |reason: String| format!("no usable index of weights: {}: {reason}", index.display());
    let json = fs::read(index).map_err(|cause| bad(cause.to_string()))?;
    let values: Value = serde_json::from_slice(&json).map_err(|cause| bad(cause.to_string()))?;
    let map = values["weight_map"].as_object();
    let map = map.ok_or_else(|| bad("no object `weight_map`".to_owned()))?;
    let parts: BTreeSet<String> = map
        .values()
        .map(|file| match file.as_str() {
            Some(file) if is_inside(file) => Ok(file.to_owned()),
            _ => Err(bad(format!("{file} is not the name of a file beside it"))),
        })
        .collect::<Result<_, _>>()?;
    Ok(parts.into_iter().collect())
}

fn lacks(repository: &Repository, listing: &Listing, reason: &str) -> HubError {
    let mut shown: Vec<&str> = listing.files.keys().map(String::as_str).collect();
    let count = shown.len();
    shown.truncate(SHOWN_FILES);
    let more = match count - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    HubError::Lacks {
        asked: repository.describe(),
        reason: format!("it has {reason}; its files are: {}{more}", shown.join(", ")),
    }
}
