//! What can be wrong with a recipe.

use std::fmt;
use std::path::PathBuf;

/// Why a recipe was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read (missing, a directory, not UTF-8).
    #[error("{}: cannot read the {what}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What it should hold: recipe or teachers.
        what: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The text is not a YAML mapping.
    #[error("{place}: expected `key: value` lines in YAML, but {message}")]
    Syntax {
        /// The line the parser stopped at.
        place: Place,
        /// What the parser said.
        message: String,
    },
    /// The file holds no key.
    #[error("{}: the recipe is empty; copy one of configs/*.yaml to start from", path.display())]
    Empty {
        /// The recipe.
        path: PathBuf,
    },
    /// An override without `=`, or whose value is not YAML.
    #[error(
        "--set {text}: {problem}; expected --set key=value with the value as YAML, for example --set max_steps=100"
    )]
    Override {
        /// The override as given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A key nobody knows.
    #[error("{place}: unknown key `{key}`{}", .suggestion.map(|k| format!("; did you mean `{k}`?")).unwrap_or_default())]
    UnknownKey {
        /// Where it is written.
        place: Place,
        /// The key.
        key: String,
        /// The nearest known key, if one is near.
        suggestion: Option<&'static str>,
    },
    /// A value of the wrong type.
    #[error("{place}: {key}: expected {expected}, found {found}")]
    WrongType {
        /// Where it is written.
        place: Place,
        /// The key.
        key: String,
        /// The type that the key takes.
        expected: &'static str,
        /// The value, described.
        found: String,
    },
    /// A required key is not there.
    #[error("{}: {key} is missing: {advice}", path.display())]
    Missing {
        /// The recipe.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What to write.
        advice: &'static str,
    },
    /// A key or value that is understood but not possible: out of range, not supported, or at odds with another.
    #[error("{place}: {key}: {reason}")]
    Refused {
        /// Where it is written.
        place: Place,
        /// The key.
        key: String,
        /// Why, and what to do instead.
        reason: String,
    },
}

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of the recipe, counted from 1.
    Line(PathBuf, u64),
    /// The recipe, where no line is known (a default).
    File(PathBuf),
    /// An override on the command line.
    Override(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Override(text) => write!(f, "--set {text}"),
        }
    }
}
