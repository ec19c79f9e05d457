//! The files of a repository at a commit: what the server lists, kept in the cache because it never changes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::name::{is_commit, is_inside};

/// Version of the form in which `huggingface_hub` keeps a listing, which is ours too.
const FORMAT_VERSION: u64 = 1;

/// The files of a commit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listing {
    /// The commit.
    pub commit: String,
    /// What is known of each file; `None` where the server gave no more than its name.
    pub files: BTreeMap<String, Option<FileInfo>>,
}

/// What the server says about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileInfo {
    /// Bytes of the file.
    size: u64,
    /// Git's id of what is stored: the file, or the pointer to it.
    blob_id: String,
    /// SHA-256 of a file that git only has a pointer to.
    #[serde(skip_serializing_if = "Option::is_none")]
    lfs_sha256: Option<String>,
    /// Bytes of such a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    lfs_size: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format_version: u64,
    files: BTreeMap<String, FileInfo>,
}

/// What tells whether a file is what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digest {
    /// SHA-256 of the file.
    Sha256,
    /// SHA-1 of `blob LENGTH\0` and the file: git's id of it.
    GitBlob,
}

/// A file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// Its name in the cache, which is its digest where that is known.
    pub etag: String,
    /// Bytes.
    pub size: Option<u64>,
    /// What `etag` is.
    pub digest: Option<Digest>,
}

impl FileInfo {
    pub fn content(&self) -> Content {
        let (etag, size, digest) = match &self.lfs_sha256 {
            Some(sha256) => (sha256, self.lfs_size.unwrap_or(self.size), Digest::Sha256),
            None => (&self.blob_id, self.size, Digest::GitBlob),
        };
        Content {
            etag: etag.clone(),
            size: Some(size),
            digest: Some(digest),
        }
    }

    fn is_valid(&self) -> bool {
        is_hex(&self.blob_id, 40) && self.lfs_sha256.as_ref().is_none_or(|hex| is_hex(hex, 64))
    }

    /// From an entry of `siblings`, as the server gives them with `?blobs=true`.
    fn parse(sibling: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let lfs = sibling["lfs"].as_object();
        let info = Self {
            size: sibling["size"].as_u64()?,
            blob_id: text(&sibling["blobId"])?,
            lfs_sha256: lfs.and_then(|lfs| text(lfs.get("sha256")?)),
            lfs_size: lfs.and_then(|lfs| lfs.get("size")?.as_u64()),
        };
        // The id of a pointer says nothing about the file.
        let is_told = lfs.is_none() || info.lfs_sha256.is_some();
        Some(info).filter(|info| is_told && info.is_valid())
    }
}

impl Content {
    /// From the headers of a file: `linked` and `size` are those of a file that git only has a pointer to.
    ///
    /// Other etags than SHA-256 of such files are names and nothing more: mirrors have their own.
    pub fn from_headers(etag: &str, is_linked: bool, size: Option<u64>) -> Option<Self> {
        let etag = etag.trim();
        let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_sha256 = is_linked && is_hex(etag, 64);
        let has_name = !etag.is_empty() && etag.chars().all(is_name) && !etag.starts_with('.');
        has_name.then(|| Self {
            etag: etag.to_owned(),
            size,
            digest: is_sha256.then_some(Digest::Sha256),
        })
    }
}

impl Listing {
    /// Reads the server's answer about a revision.
    ///
    /// # Errors
    /// What was found, and what was expected.
    pub fn parse(answer: &Value) -> Result<Self, String> {
        let commit = answer["sha"].as_str().unwrap_or_default();
        if !is_commit(commit) {
            return Err(format!(
                "expected a commit in `sha`, found {}",
                answer["sha"]
            ));
        }
        let siblings = answer["siblings"].as_array();
        let siblings = siblings.ok_or("expected a list of files in `siblings`")?;
        let mut files = BTreeMap::new();
        for sibling in siblings {
            let path = sibling["rfilename"].as_str().unwrap_or_default();
            if !is_inside(path) {
                return Err(format!(
                    "expected the path of a file in `rfilename`, found {}",
                    sibling["rfilename"]
                ));
            }
            files.insert(path.to_owned(), FileInfo::parse(sibling));
        }
        Ok(Self {
            commit: commit.to_owned(),
            files,
        })
    }

    /// Reads what [`Listing::to_json`] or Python wrote; `None` where it is anything else.
    pub fn from_json(commit: &str, json: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(json).ok()?;
        let is_valid = stored.format_version == FORMAT_VERSION
            && stored.files.keys().all(|path| is_inside(path))
            && stored.files.values().all(FileInfo::is_valid);
        is_valid.then(|| Self {
            commit: commit.to_owned(),
            files: stored
                .files
                .into_iter()
                .map(|(path, info)| (path, Some(info)))
                .collect(),
        })
    }

    /// The listing as it is kept; `None` where something is not known of a file.
    pub fn to_json(&self) -> Option<String> {
        let files = self.files.iter();
        let files: Option<BTreeMap<_, _>> = files
            .map(|(path, info)| Some((path.clone(), info.clone()?)))
            .collect();
        let stored = Stored {
            format_version: FORMAT_VERSION,
            files: files?,
        };
        serde_json::to_string_pretty(&stored).ok()
    }

    /// The names of the files.
    pub fn names(&self) -> BTreeSet<String> {
        self.files.keys().cloned().collect()
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({
            "sha": "0".repeat(40),
            "siblings": [
                {"rfilename": "config.json", "size": 5, "blobId": "a".repeat(40)},
                {"rfilename": "x/model.safetensors", "size": 9, "blobId": "b".repeat(40),
                 "lfs": {"sha256": "c".repeat(64), "size": 9, "pointerSize": 134}},
            ],
        })
    }

    #[test]
    fn listings_are_kept_and_read_again() {
        let listing = Listing::parse(&answer()).unwrap();
        let json = listing.to_json().unwrap();
        let again = Listing::from_json(&listing.commit, json.as_bytes()).unwrap();
        assert_eq!(again, listing);
        let content = |path: &str| listing.files[path].as_ref().unwrap().content();
        assert_eq!(content("config.json").digest, Some(Digest::GitBlob));
        let weights = content("x/model.safetensors");
        assert_eq!(weights.digest, Some(Digest::Sha256));
        assert_eq!((weights.etag, weights.size), ("c".repeat(64), Some(9)));
        // As Python writes it, with keys that are not ours.
        let python = json.replace("\"size\": 5", "\"size\": 5, \"xet_hash\": null");
        assert!(Listing::from_json(&listing.commit, python.as_bytes()).is_some());
        let newer = json.replace("\"format_version\": 1", "\"format_version\": 2");
        assert_eq!(Listing::from_json(&listing.commit, newer.as_bytes()), None);
    }

    #[test]
    fn names_alone_are_not_kept() {
        let mut answer = answer();
        answer["siblings"][0] = json!({"rfilename": "config.json"});
        answer["siblings"][1]["lfs"] = json!({"size": 9});
        let listing = Listing::parse(&answer).unwrap();
        assert_eq!(listing.files["config.json"], None);
        assert_eq!(listing.files["x/model.safetensors"], None);
        assert_eq!(listing.to_json(), None);
    }

    #[test]
    fn answers_that_no_hub_gives() {
        for (change, expected) in [
            (json!({"sha": "main", "siblings": []}), "`sha`"),
            (json!({"sha": "0".repeat(40)}), "`siblings`"),
            (
                json!({"sha": "0".repeat(40), "siblings": [{"rfilename": "../x"}]}),
                "../x",
            ),
            (
                json!({"sha": "0".repeat(40), "siblings": [{"rfilename": "/etc/x"}]}),
                "/etc/x",
            ),
        ] {
            let reason = Listing::parse(&change).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn etags_are_names() {
        let content = |etag, linked| Content::from_headers(etag, linked, Some(3));
        let sha256 = "d".repeat(64);
        let quoted = format!("\"{sha256}\"");
        assert_eq!(content(&quoted, true).unwrap().digest, Some(Digest::Sha256));
        assert_eq!(content(&quoted, false).unwrap().digest, None);
        assert_eq!(content("W/\"abc-1\"", false).unwrap().etag, "abc-1");
        for etag in ["", "\"\"", "../x", "a/b", ".."] {
            assert_eq!(content(etag, false), None, "{etag}");
        }
    }
}
