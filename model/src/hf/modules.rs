//! The modules of a sentence-transformers model, and how one of them pools.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ImportError;
use super::settings::Settings;
use crate::pooling::Pooling;

/// Modules of sentence-transformers that are implemented, in the only order that makes sense.
const MODULES: [&str; 3] = ["Transformer", "Pooling", "Normalize"];

/// Where the pooling mode is: one key today, one switch for each mode in older files.
const POOLING_MODE: &str = "pooling_mode";
const POOLING_SWITCHES: [(&str, &str); 6] = [
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_max_tokens", "max"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    ("pooling_mode_weightedmean_tokens", "weightedmean"),
    ("pooling_mode_lasttoken", "lasttoken"),
];

/// `modules.json`: which modules a text goes through.
pub(super) struct Modules {
    pub transformer: PathBuf,
    /// The pooling settings.
    pub pooling: PathBuf,
    pub normalise: bool,
}

impl Modules {
    /// `None` where there is no such file.
    pub fn read(dir: &Path) -> Result<Option<Self>, ImportError> {
        let path = dir.join("modules.json");
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read(&path).map_err(ImportError::io(&path))?;
        let modules: Vec<Value> =
            serde_json::from_slice(&text).map_err(|cause| ImportError::Json {
                path: path.clone(),
                cause,
            })?;
        let refuse = |key: &str, found: String, expected: &str| ImportError::Setting {
            path: path.clone(),
            key: key.to_owned(),
            found,
            expected: expected.to_owned(),
        };
        // Classes have moved between releases; their names have not.
        let class = |module: &Value| {
            let name = module["type"].as_str().unwrap_or_default();
            name.rsplit('.').next().unwrap_or_default().to_owned()
        };
        let classes: Vec<String> = modules.iter().map(class).collect();
        if classes != MODULES && classes != MODULES[..2] {
            let expected = "Transformer, Pooling and perhaps Normalize, in this order: the only ones implemented";
            return Err(refuse("type", format!("{classes:?}"), expected));
        }
        // Below the directory and nowhere else.
        let folder = |module: &Value| match module["path"].as_str() {
            Some("") => Ok(dir.to_path_buf()),
            Some(name) if Path::new(name).file_name() == Some(name.as_ref()) => Ok(dir.join(name)),
            _ => Err(refuse(
                "path",
                module["path"].to_string(),
                "the name of a folder beside it",
            )),
        };
        Ok(Some(Self {
            transformer: folder(&modules[0])?,
            pooling: folder(&modules[1])?.join("config.json"),
            normalise: modules.len() == MODULES.len(),
        }))
    }
}

/// The pooling mode, of which there must be one that is implemented.
pub(super) fn stored_pooling(path: &Path) -> Result<Pooling, ImportError> {
    const EXPECTED: &str =
        "cls or mean pooling alone, the only ones implemented; name one to use it instead";
    let settings = Settings::read_file(path)?;
    if settings.get("include_prompt") == Some(&Value::Bool(false)) {
        return Err(settings.refuse("include_prompt", "true: the mean is over all tokens"));
    }
    let modes: Vec<(&str, &str)> = match settings.get(POOLING_MODE) {
        Some(Value::Array(modes)) => {
            let names = modes.iter().map(|mode| mode.as_str().unwrap_or_default());
            names.map(|name| (POOLING_MODE, name)).collect()
        }
        Some(mode) => vec![(POOLING_MODE, mode.as_str().unwrap_or_default())],
        None => {
            let is_on = |key| settings.get(key) == Some(&Value::Bool(true));
            let switches = POOLING_SWITCHES.into_iter();
            switches.filter(|(key, _)| is_on(key)).collect()
        }
    };
    match modes[..] {
        [(_, "cls")] => Ok(Pooling::Cls),
        [(_, "mean")] => Ok(Pooling::Mean),
        // No switch at all means the mean.
        [] if settings.get(POOLING_MODE).is_none() => Ok(Pooling::Mean),
        _ => Err(settings.refuse(modes.last().map_or(POOLING_MODE, |mode| mode.0), EXPECTED)),
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    /// A directory with these JSON files.
    pub fn dir_with(files: &[(&str, Value)]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content.to_string()).unwrap();
        }
        dir
    }

    /// `modules.json` with modules of these classes.
    pub fn modules(classes: &[&str]) -> Value {
        let module = |(index, class): (usize, &&str)| {
            let path = if index == 0 {
                String::new()
            } else {
                format!("{index}_{class}")
            };
            json!({"idx": index, "name": index.to_string(), "path": path, "type": format!("some.package.{class}")})
        };
        classes.iter().enumerate().map(module).collect()
    }

    /// What a model of a transformer and this pooling says.
    fn pooling_of(settings: &Value) -> Result<Pooling, ImportError> {
        let dir = dir_with(&[("1_Pooling/config.json", settings.clone())]);
        stored_pooling(&dir.path().join("1_Pooling/config.json"))
    }

    #[test]
    fn pooling_is_read_in_both_spellings() {
        let table = [
            (json!({"pooling_mode": "cls"}), Pooling::Cls),
            (json!({"pooling_mode": ["mean"]}), Pooling::Mean),
            (
                json!({"pooling_mode_cls_token": true, "pooling_mode_max_tokens": false}),
                Pooling::Cls,
            ),
            (
                json!({"pooling_mode_mean_tokens": true, "include_prompt": true}),
                Pooling::Mean,
            ),
            (json!({"word_embedding_dimension": 8}), Pooling::Mean),
        ];
        for (settings, expected) in table {
            assert_eq!(pooling_of(&settings).unwrap(), expected, "{settings}");
        }
    }

    #[test]
    fn other_pooling_is_refused_by_key() {
        let mean_and = |key: &str| json!({"pooling_mode_mean_tokens": true, key: true});
        let table = [
            (
                json!({"pooling_mode": "max"}),
                "`pooling_mode`: found \"max\"",
            ),
            (
                json!({"pooling_mode": "weightedmean"}),
                "`pooling_mode`: found \"weightedmean\"",
            ),
            (
                json!({"pooling_mode": "lasttoken"}),
                "`pooling_mode`: found \"lasttoken\"",
            ),
            (
                json!({"pooling_mode": ["cls", "mean"]}),
                "`pooling_mode`: found [\"cls\",\"mean\"]",
            ),
            (json!({"pooling_mode": []}), "`pooling_mode`: found []"),
            (json!({"pooling_mode": 3}), "`pooling_mode`: found 3"),
            (
                mean_and("pooling_mode_max_tokens"),
                "`pooling_mode_max_tokens`: found true",
            ),
            (
                mean_and("pooling_mode_weightedmean_tokens"),
                "`pooling_mode_weightedmean_tokens`: found true",
            ),
            (
                json!({"pooling_mode_lasttoken": true}),
                "`pooling_mode_lasttoken`: found true",
            ),
            (
                json!({"include_prompt": false}),
                "`include_prompt`: found false",
            ),
        ];
        for (settings, expected) in table {
            let error = pooling_of(&settings).unwrap_err().to_string();
            assert!(error.contains("1_Pooling/config.json"), "{error}");
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn modules_are_found_below_the_directory() {
        let dir = dir_with(&[(
            "modules.json",
            modules(&["Transformer", "Pooling", "Normalize"]),
        )]);
        let found = Modules::read(dir.path()).unwrap().unwrap();
        assert_eq!(found.transformer, dir.path());
        assert_eq!(found.pooling, dir.path().join("1_Pooling/config.json"));
        assert!(found.normalise);
        assert!(
            Modules::read(&dir.path().join("elsewhere"))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn other_modules_are_refused() {
        let mut outside = modules(&["Transformer", "Pooling"]);
        outside[0]["path"] = json!("../elsewhere");
        let table = [
            (
                modules(&["Transformer", "Pooling", "Dense"]),
                "key `type`: found [\"Transformer\", \"Pooling\", \"Dense\"]",
            ),
            (
                modules(&["MLMTransformer", "SpladePooling"]),
                "key `type`: found [\"MLMTransformer\"",
            ),
            (modules(&["Router"]), "key `type`: found [\"Router\"]"),
            (modules(&[]), "key `type`: found []"),
            (outside, "key `path`: found \"../elsewhere\""),
            (json!({}), "is not valid JSON"),
        ];
        for (content, expected) in table {
            let dir = dir_with(&[("modules.json", content)]);
            let error = Modules::read(dir.path()).err().unwrap().to_string();
            assert!(error.contains("modules.json"), "{error}");
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
