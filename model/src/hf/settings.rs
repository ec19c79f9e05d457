//! Reading single settings of `config.json`, with errors that name them.

use std::fs;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::ImportError;

const FILE: &str = "config.json";

/// Reads a JSON file that must hold an object.
pub(super) fn read_object(path: &Path) -> Result<Map<String, Value>, ImportError> {
    let text = fs::read(path).map_err(ImportError::io(path))?;
    serde_json::from_slice(&text).map_err(|cause| ImportError::Json {
        path: path.to_path_buf(),
        cause,
    })
}

/// `config.json` and where it is, for messages.
pub(super) struct Settings {
    path: PathBuf,
    pub(super) values: Map<String, Value>,
}

impl Settings {
    /// Reads `config.json` in `dir`.
    pub fn read(dir: &Path) -> Result<Self, ImportError> {
        if !dir.is_dir() {
            return Err(ImportError::NoDirectory(dir.to_path_buf()));
        }
        Self::read_file(&dir.join(FILE))
    }

    /// Reads any JSON file that holds an object.
    pub fn read_file(path: &Path) -> Result<Self, ImportError> {
        Ok(Self {
            path: path.to_path_buf(),
            values: read_object(path)?,
        })
    }

    /// All keys and values.
    pub fn into_values(self) -> Map<String, Value> {
        self.values
    }

    /// A value that is there and not null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// The error of a key whose value is not as expected.
    pub fn refuse(&self, key: &str, expected: impl Into<String>) -> ImportError {
        ImportError::Setting {
            path: self.path.clone(),
            key: key.to_owned(),
            found: match self.values.get(key) {
                Some(value) => value.to_string(),
                None => "no such key".to_owned(),
            },
            expected: expected.into(),
        }
    }

    /// A whole number from 1 to `max`; it must be there.
    pub fn size(&self, key: &str, max: u64) -> Result<usize, ImportError> {
        self.whole(key, 1..=max)
    }

    /// A whole number; it must be there.
    pub fn whole(&self, key: &str, range: RangeInclusive<u64>) -> Result<usize, ImportError> {
        match self.values.get(key).and_then(Value::as_u64) {
            Some(size) if range.contains(&size) => Ok(size as usize),
            _ => {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                Err(self.refuse(key, expected))
            }
        }
    }

    /// A number; `default` where there is none.
    pub fn number(&self, key: &str, default: f64, range: Range<f64>) -> Result<f64, ImportError> {
        let number = match self.values.get(key) {
            None => Some(default),
            Some(value) => value.as_f64(),
        };
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let expected = format!("a number from {} to below {}", range.start, range.end);
                self.refuse(key, expected)
            })
    }

    /// Refuses everything but `supported`, which is also what an absent key means.
    pub fn only(&self, key: &str, supported: impl Into<Value>) -> Result<(), ImportError> {
        let supported = supported.into();
        match self.get(key) {
            Some(value) if *value != supported => {
                Err(self.refuse(key, format!("{supported}, the only one implemented")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what makes the model a decoder.
    pub fn off(&self, key: &str) -> Result<(), ImportError> {
        match self.values.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => Ok(()),
            Some(_) => Err(self.refuse(key, "false: only encoders are implemented")),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A directory with this `config.json`.
    pub fn dir_with(config: &Value) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), config.to_string()).unwrap();
        dir
    }

    #[test]
    fn null_is_as_absent() {
        let dir = dir_with(&serde_json::json!({"a": null, "b": false, "c": 3}));
        let settings = Settings::read(dir.path()).unwrap();
        assert!(settings.get("a").is_none() && settings.get("z").is_none());
        assert!(settings.only("a", true).is_ok() && settings.only("b", false).is_ok());
        let error = settings.only("b", true).unwrap_err().to_string();
        assert!(
            error.ends_with("key `b`: found false, expected true, the only one implemented"),
            "{error}"
        );
        assert_eq!(settings.whole("c", 0..=3).unwrap(), 3);
        assert!(settings.whole("c", 0..=2).is_err() && settings.size("z", 9).is_err());
    }
}
