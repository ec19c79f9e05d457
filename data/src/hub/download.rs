//! One file from the server into the cache: continued where it broke off, checked, and named only when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::answer::header;
use super::cache::{RepositoryCache, create_parent};
use super::client::{ATTEMPTS, Client, Method, Request, Response, encode};
use super::listing::{Content, Digest, FileInfo};
use super::name::Kind;
use super::{HubError, Report, Repository, Settings};

const BUFFER_BYTES: usize = 1 << 17;

/// Downloads files of a commit.
pub(super) struct Downloader<'a> {
    pub settings: &'a Settings,
    pub client: &'a Client<'a>,
    pub report: &'a dyn Report,
    pub cache: &'a RepositoryCache,
    pub repository: &'a Repository,
    pub commit: &'a str,
}

/// A file on the server.
struct Source<'a> {
    path: &'a str,
    /// For messages.
    asked: String,
    url: String,
    content: Content,
}

/// How a part of a file ended.
enum End {
    /// With the end of the file.
    Complete,
    /// Before it, for this reason.
    Broken(String),
}

/// What a file has, and what it should have.
struct Mismatch {
    digest: &'static str,
    found: String,
    expected: String,
}

impl Downloader<'_> {
    /// Brings a file into the snapshot of the commit; `info` is what the server said about it before.
    pub fn file(&self, path: &str, info: Option<&FileInfo>) -> Result<(), HubError> {
        let Repository { kind, id, .. } = self.repository;
        let prefix = match kind {
            Kind::Model => "",
            Kind::Dataset => "datasets/",
        };
        let endpoint = &self.settings.endpoint;
        let (commit, file) = (self.commit, encode(path, true));
        let url = format!("{endpoint}/{prefix}{id}/resolve/{commit}/{file}");
        let asked = format!("{path} of {}", self.repository.describe());
        let content = match info {
            Some(info) => info.content(),
            None => self.head(&asked, &url)?,
        };
        let source = Source {
            path,
            asked,
            url,
            content,
        };
        let etag = &source.content.etag;
        let _lock = self.cache.lock(etag, self.report)?;
        let blob = self.cache.blob(etag);
        if !has_size(&blob, source.content.size) {
            self.content(&source, &blob)?;
        }
        self.cache.link(self.commit, path, etag)
    }

    /// Asks the server about a file.
    fn head(&self, asked: &str, url: &str) -> Result<Content, HubError> {
        let response = self
            .client
            .send(&self.request(asked, url, Method::Head, 0))?;
        let linked = header(&response, "x-linked-etag");
        let etag = linked.or(header(&response, "etag")).unwrap_or_default();
        let own_length = header(&response, "content-length");
        let own_length = own_length.filter(|_| !response.status().is_redirection());
        let size = header(&response, "x-linked-size").or(own_length);
        let size = size.and_then(|size| size.parse().ok());
        Content::from_headers(etag, linked.is_some(), size).ok_or_else(|| HubError::NotAHub {
            asked: asked.to_owned(),
            url: url.to_owned(),
            reason: format!("expected an ETag that can name a file, found {etag:?}"),
        })
    }

    fn request<'r>(
        &'r self,
        asked: &'r str,
        url: &'r str,
        method: Method,
        start: u64,
    ) -> Request<'r> {
        Request {
            repository: self.repository,
            asked,
            url,
            method,
            start,
            attempts: ATTEMPTS,
        }
    }

    /// Downloads a file's content. What an earlier process left is continued, and if the result is not what it should
    /// be, downloaded once more from its beginning.
    fn content(&self, source: &Source, blob: &Path) -> Result<(), HubError> {
        let partial = PathBuf::from(format!("{}.incomplete", blob.display()));
        create_parent(&partial)?;
        loop {
            let was_begun = partial.metadata().is_ok_and(|meta| meta.len() > 0);
            let received = self.receive(source, &partial);
            self.report.end();
            received?;
            let Some(mismatch) =
                mismatch(&partial, &source.content).map_err(HubError::cache(&partial))?
            else {
                return fs::rename(&partial, blob).map_err(HubError::cache(blob));
            };
            fs::remove_file(&partial).map_err(HubError::cache(&partial))?;
            if !was_begun {
                return Err(HubError::Checksum {
                    asked: source.asked.clone(),
                    url: source.url.clone(),
                    digest: mismatch.digest,
                    found: mismatch.found,
                    expected: mismatch.expected,
                });
            }
            self.report.notice(&format!(
                "what was here of {} does not belong to it; downloading all of it",
                source.asked
            ));
        }
    }

    /// Fills the file `partial` until nothing is missing.
    fn receive(&self, source: &Source, partial: &Path) -> Result<(), HubError> {
        let cache_error = HubError::cache;
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(partial)
            .map_err(cache_error(partial))?;
        let size = source.content.size;
        let mut done = file.seek(SeekFrom::End(0)).map_err(cache_error(partial))?;
        if size.is_some_and(|size| done > size) {
            done = restart(&mut file).map_err(cache_error(partial))?;
        }
        self.report.begin(source.path, done, size);
        let mut fruitless = 0;
        while size != Some(done) {
            let before = done;
            let reason = match self.receive_part(source, &mut file, &mut done, partial)? {
                End::Complete => break,
                End::Broken(reason) => reason,
            };
            fruitless = if done > before { 1 } else { fruitless + 1 };
            if fruitless >= ATTEMPTS {
                return Err(HubError::Truncated {
                    asked: source.asked.clone(),
                    url: source.url.clone(),
                    received: done,
                    expected: size.map_or("an unknown number".to_owned(), |size| size.to_string()),
                    attempts: fruitless,
                });
            }
            self.client.pause(&reason, None, fruitless);
        }
        file.sync_all().map_err(cache_error(partial))
    }

    /// One request for what is missing after the first `done` bytes.
    fn receive_part(
        &self,
        source: &Source,
        file: &mut File,
        done: &mut u64,
        partial: &Path,
    ) -> Result<End, HubError> {
        let request = self.request(&source.asked, &source.url, Method::Get, *done);
        let response = self.client.send(&request)?;
        let cache_error = HubError::cache;
        match placement(&response, *done) {
            Placement::Continues => {}
            Placement::IsComplete => return Ok(End::Complete),
            Placement::Begins => *done = restart(file).map_err(cache_error(partial))?,
            Placement::Elsewhere => {
                *done = restart(file).map_err(cache_error(partial))?;
                return Ok(End::Broken("gives another part of the file".to_owned()));
            }
        }
        let length: Option<u64> =
            header(&response, "content-length").and_then(|length| length.parse().ok());
        let total = length.map(|length| *done + length).or(source.content.size);
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) if total.is_some_and(|total| *done < total) => {
                    return Ok(End::Broken("breaks off".to_owned()));
                }
                Ok(0) => return Ok(End::Complete),
                Ok(read) => {
                    file.write_all(&buffer[..read])
                        .map_err(cache_error(partial))?;
                    *done += read as u64;
                    self.report.advance(*done);
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Ok(End::Broken(format!("breaks off ({cause})"))),
            }
        }
    }
}

/// Where an answer's body belongs.
enum Placement {
    /// After what is there.
    Continues,
    /// At the beginning of the file.
    Begins,
    /// Nowhere: all of the file is there.
    IsComplete,
    /// Nowhere where it was wanted.
    Elsewhere,
}

/// Reads `Content-Range: bytes FIRST-LAST/TOTAL`, or `bytes */TOTAL` of a refusal.
fn placement(response: &Response, done: u64) -> Placement {
    let range = header(response, "content-range").unwrap_or_default();
    let range = range.trim().strip_prefix("bytes").unwrap_or(range).trim();
    let (place, total) = range.split_once('/').unwrap_or((range, ""));
    match response.status().as_u16() {
        206 => match place.split_once('-') {
            Some((first, _)) if first.trim().parse() == Ok(done) => Placement::Continues,
            _ => Placement::Elsewhere,
        },
        416 if total.trim().parse() == Ok(done) => Placement::IsComplete,
        416 => Placement::Elsewhere,
        _ if done == 0 => Placement::Continues,
        _ => Placement::Begins,
    }
}

/// Empties the file; its new length.
fn restart(file: &mut File) -> io::Result<u64> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))
}

/// Whether the file is there, with all its bytes where their number is known.
pub(super) fn has_size(path: &Path, size: Option<u64>) -> bool {
    let expected =
        |meta: fs::Metadata| meta.is_file() && size.is_none_or(|size| size == meta.len());
    path.metadata().is_ok_and(expected)
}

/// How the file differs from the content it should have, if it does.
fn mismatch(path: &Path, content: &Content) -> io::Result<Option<Mismatch>> {
    let length = path.metadata()?.len();
    if let Some(size) = content.size.filter(|&size| size != length) {
        return Ok(Some(Mismatch {
            digest: "size",
            found: length.to_string(),
            expected: size.to_string(),
        }));
    }
    let (digest, found) = match content.digest {
        None => return Ok(None),
        Some(Digest::Sha256) => {
            let mut hasher = Sha256::new();
            io::copy(&mut File::open(path)?, &mut hasher)?;
            ("SHA-256", hex(&hasher.finalize()))
        }
        Some(Digest::GitBlob) => {
            let mut hasher = Sha1::new();
            hasher.update(format!("blob {length}\0"));
            io::copy(&mut File::open(path)?, &mut hasher)?;
            ("git id", hex(&hasher.finalize()))
        }
    };
    let is_same = found.eq_ignore_ascii_case(&content.etag);
    Ok((!is_same).then(|| Mismatch {
        digest,
        found,
        expected: content.etag.clone(),
    }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, range: &str) -> Response {
        let body = ureq::Body::builder().data("");
        let answer = ureq::http::Response::builder().status(status);
        answer.header("content-range", range).body(body).unwrap()
    }

    #[test]
    fn parts_go_where_the_server_says() {
        for (status, range, done, expected) in [
            (200, "", 0, "continues"),
            (200, "", 5, "begins"),
            (206, "bytes 5-9/10", 5, "continues"),
            (206, "bytes 0-9/10", 5, "elsewhere"),
            (206, "", 5, "elsewhere"),
            (416, "bytes */5", 5, "complete"),
            (416, "bytes */4", 5, "elsewhere"),
        ] {
            let found = match placement(&answer(status, range), done) {
                Placement::Continues => "continues",
                Placement::Begins => "begins",
                Placement::IsComplete => "complete",
                Placement::Elsewhere => "elsewhere",
            };
            assert_eq!(found, expected, "{status} {range:?} after {done}");
        }
    }

    /// The digests are those of `printf 'hello\n' | sha256sum` and `git hash-object`.
    #[test]
    fn contents_are_compared_with_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "hello\n").unwrap();
        let check = |etag: &str, size, digest| {
            let etag = etag.to_owned();
            let content = Content { etag, size, digest };
            mismatch(&path, &content)
                .unwrap()
                .map(|mismatch| mismatch.digest)
        };
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(check(git, Some(6), Some(Digest::GitBlob)), None);
        assert_eq!(check(sha256, Some(6), Some(Digest::Sha256)), None);
        assert_eq!(check("name", Some(6), None), None);
        assert_eq!(check(git, Some(7), Some(Digest::GitBlob)), Some("size"));
        assert_eq!(check(git, None, Some(Digest::Sha256)), Some("SHA-256"));
        assert_eq!(check(sha256, None, Some(Digest::GitBlob)), Some("git id"));
    }
}
