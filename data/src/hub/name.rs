//! What is asked for: names of repositories, and addresses of files in them.

use std::path::{Path, PathBuf};

use super::HubError;

const DEFAULT_REVISION: &str = "main";
/// How an address of the Hub begins.
const SCHEME: &str = "hf://";
/// How the addresses of data sets go on.
const DATASETS: &str = "datasets/";
/// The longest part of a repository's id.
const MAX_PART_CHARS: usize = 96;
/// Endings of files: what ends so is a path and never the id of a repository.
const FILE_SUFFIXES: [&str; 11] = [
    "json",
    "jsonl",
    "txt",
    "tsv",
    "yaml",
    "yml",
    "gz",
    "zst",
    "parquet",
    "safetensors",
    "bin",
];

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

impl Kind {
    /// Its name in the server's interface and in the cache.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }

    fn singular(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "data set",
        }
    }
}

/// A repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// What it holds.
    pub kind: Kind,
    /// `org/name`; `name` alone for models that were there before organisations were.
    pub id: String,
    /// Branch, tag or commit.
    pub revision: String,
}

impl Repository {
    /// The repository that a MODEL names, `org/name[@revision]` or `name[@revision]`, with or without `hf://` before it;
    /// `None` for what can only be a path: it begins with `.`, `/` or `~`, has more than one slash, or ends with a slash
    /// or like a file.
    pub fn model(text: &str) -> Option<Self> {
        let explicit = text.strip_prefix(SCHEME);
        let text = explicit.unwrap_or(text);
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, revision),
            None => (text, DEFAULT_REVISION),
        };
        let suffix = Path::new(id).extension().and_then(|suffix| suffix.to_str());
        let like_a_file = suffix.is_some_and(|suffix| FILE_SUFFIXES.contains(&suffix));
        let is_model = is_id(id) || is_word(id);
        (is_model && is_revision(revision) && !(like_a_file && explicit.is_none())).then(|| Self {
            kind: Kind::Model,
            id: id.to_owned(),
            revision: revision.to_owned(),
        })
    }

    /// The folder of a MODEL that leads nowhere, where that folder is here: so it was meant as a path, whatever else it
    /// may name. With `hf://` or a revision it was not.
    pub(super) fn folder_here(text: &str) -> Option<&Path> {
        let folder = Path::new(text).parent()?;
        let is_plain = !text.starts_with(SCHEME) && !text.contains('@');
        let is_here = !folder.as_os_str().is_empty() && folder.is_dir();
        (is_plain && is_here).then_some(folder)
    }

    /// `org/name@revision`, as it is written on a command line.
    pub fn name(&self) -> String {
        format!("{}@{}", self.id, self.revision)
    }

    /// Whether the revision is a commit, which never changes.
    pub fn is_pinned(&self) -> bool {
        is_commit(&self.revision)
    }

    /// For messages.
    pub(super) fn describe(&self) -> String {
        format!("{} {} at {}", self.kind.singular(), self.id, self.revision)
    }
}

/// A file or folder of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Where it is.
    pub repository: Repository,
    /// Its path in the repository, without slashes around it; empty for all of the repository.
    pub path: String,
}

impl Address {
    /// Whether a path is an address of the Hub.
    pub fn is_one(path: &Path) -> bool {
        path.to_str().is_some_and(|text| text.starts_with(SCHEME))
    }

    /// Reads `hf://datasets/ORG/NAME[@REVISION][/PATH]`, or without `datasets/` for the files of a model. A slash in
    /// the revision is written `%2F`, except in the Hub's own `refs/pr/N` and `refs/convert/NAME`.
    ///
    /// # Errors
    /// [`HubError::Address`], saying what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let error = |reason: &str| HubError::Address {
            address: text.to_owned(),
            reason: reason.to_owned(),
        };
        // A path that went through `Path` may have lost a slash, or have one more at its end.
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| error("it does not begin with hf://"))?;
        let (kind, rest) = match rest.strip_prefix(DATASETS) {
            Some(rest) => (Kind::Dataset, rest),
            None => (Kind::Model, rest),
        };
        let (id, revision, path) = split(rest.trim_end_matches('/'))
            .ok_or_else(|| error("a repository is named by two words, ORG/NAME"))?;
        if !is_id(id) {
            return Err(error(&format!("{id:?} is no name of a repository")));
        }
        if !is_revision(&revision) {
            return Err(error(&format!("{revision:?} is no revision")));
        }
        if !path.is_empty() && !is_inside(path) {
            return Err(error(&format!("{path:?} is no path inside a repository")));
        }
        Ok(Self {
            repository: Repository {
                kind,
                id: id.to_owned(),
                revision,
            },
            path: path.to_owned(),
        })
    }

    /// The address as text.
    pub fn text(&self) -> String {
        let Repository { kind, id, revision } = &self.repository;
        let kind = match kind {
            Kind::Model => "",
            Kind::Dataset => DATASETS,
        };
        let revision = revision.replace('/', "%2F");
        match self.path.as_str() {
            "" => format!("{SCHEME}{kind}{id}@{revision}"),
            path => format!("{SCHEME}{kind}{id}@{revision}/{path}"),
        }
    }
}

/// Id, revision and path of `ORG/NAME[@REVISION][/PATH]`.
fn split(text: &str) -> Option<(&str, String, &str)> {
    let slash = text.find('/')?;
    let end = text[slash + 1..]
        .find(['/', '@'])
        .map(|end| slash + 1 + end);
    let (id, rest) = text.split_at(end.unwrap_or(text.len()));
    let Some(rest) = rest.strip_prefix('@') else {
        return Some((
            id,
            DEFAULT_REVISION.to_owned(),
            rest.trim_start_matches('/'),
        ));
    };
    let words = if rest.starts_with("refs/pr/") || rest.starts_with("refs/convert/") {
        3
    } else {
        1
    };
    let end = rest.match_indices('/').nth(words - 1).map(|(end, _)| end);
    let (revision, path) = rest.split_at(end.unwrap_or(rest.len()));
    let revision = revision.replace("%2F", "/").replace("%2f", "/");
    Some((id, revision, path.trim_start_matches('/')))
}

/// `org/name`: two words.
fn is_id(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(org, name)| is_word(org) && is_word(name))
}

/// Letters, digits, `-`, `_` and `.`.
fn is_word(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty()
        && text.len() <= MAX_PART_CHARS
        && text.chars().all(inner)
        && !text.starts_with(['.', '-'])
        && !text.ends_with(['.', '-'])
        && !text.contains("--")
        && !text.contains("..")
}

/// What git allows and a file system can keep.
fn is_revision(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
    text.chars().all(allowed) && is_inside(text)
}

/// A full commit hash.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a path with `/` between its parts stays below where it begins, on every system.
pub(super) fn is_inside(path: &str) -> bool {
    let is_plain =
        |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', ':', '\0']);
    path.split('/').all(is_plain)
}

/// The same path with the separators of this system.
pub(super) fn native(path: &str) -> PathBuf {
    path.split('/').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_told_from_paths() {
        for (text, id, revision) in [
            ("org/name", "org/name", "main"),
            ("org/name@v1.0", "org/name", "v1.0"),
            ("hf://org/name@refs/pr/3", "org/name", "refs/pr/3"),
            ("a.b/c_d-e.f", "a.b/c_d-e.f", "main"),
            ("hf://org/name.bin", "org/name.bin", "main"),
            ("bert-base-uncased", "bert-base-uncased", "main"),
            ("t5-small@v1.0", "t5-small", "v1.0"),
            ("hf://gpt2", "gpt2", "main"),
        ] {
            let found = Repository::model(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((found.id.as_str(), found.revision.as_str()), (id, revision));
            assert_eq!(found.kind, Kind::Model);
        }
        for text in [
            ".",
            "..",
            "~",
            "name/",
            "vocab.txt",
            "hf://",
            "./org/name",
            "../name",
            "/org/name",
            "~/name",
            "outputs/run/final",
            "outputs/",
            "models/tokenizer.json",
            "models/vocab.txt",
            "a\\b/c",
            "org/name@",
            "org/name@../x",
            "org/na--me",
            "org name/x",
            "hf://datasets/org/name",
            "",
        ] {
            assert_eq!(Repository::model(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_read_and_written() {
        for (text, id, revision, path, again) in [
            (
                "hf://datasets/org/name",
                "org/name",
                "main",
                "",
                "hf://datasets/org/name@main",
            ),
            (
                "hf://datasets/org/name/data/train.jsonl",
                "org/name",
                "main",
                "data/train.jsonl",
                "hf://datasets/org/name@main/data/train.jsonl",
            ),
            (
                "hf://datasets/org/name@refs/convert/parquet/default/train/0.parquet",
                "org/name",
                "refs/convert/parquet",
                "default/train/0.parquet",
                "hf://datasets/org/name@refs%2Fconvert%2Fparquet/default/train/0.parquet",
            ),
            (
                "hf://datasets/org/name@a%2Fb/x/",
                "org/name",
                "a/b",
                "x",
                "hf://datasets/org/name@a%2Fb/x",
            ),
        ] {
            let found = Address::parse(text).unwrap();
            assert_eq!(found.repository.kind, Kind::Dataset);
            assert_eq!(found.repository.id, id);
            assert_eq!(found.repository.revision, revision);
            assert_eq!(found.path, path);
            assert_eq!(found.text(), again);
            assert_eq!(Address::parse(again).unwrap(), found);
        }
        let model = Address::parse("hf://org/name/idf.json").unwrap();
        assert_eq!(model.repository.kind, Kind::Model);
        assert_eq!(model.path, "idf.json");
    }

    #[test]
    fn addresses_that_are_none_say_why() {
        for (text, reason) in [
            ("hf://datasets/name", "two words"),
            ("hf://datasets/org/..", "no name of a repository"),
            ("hf://datasets/org/name@", "no revision"),
            ("hf://datasets/org/name/../../x", "no path inside"),
            ("hf://datasets/org/name/a//b", "no path inside"),
        ] {
            let message = Address::parse(text).unwrap_err().to_string();
            assert!(message.starts_with(text), "{message}");
            assert!(message.contains(reason), "{message}");
        }
        assert!(Address::is_one(Path::new("hf://datasets/a/b")));
        assert!(!Address::is_one(Path::new("data/train.jsonl")));
    }

    #[test]
    fn commits_are_pinned() {
        let at = |revision: &str| Repository::model(&format!("org/name@{revision}")).unwrap();
        assert!(at(&"0123456789abcdef".repeat(3)[..40]).is_pinned());
        assert!(!at("main").is_pinned());
    }
}
