//! `config.json`: from its keys to an [`EncoderConfig`], and back for export.

use std::fs;
use std::path::{Path, PathBuf};

use configs::Activation;
use serde_json::{Map, Value};

use super::{ImportError, WeightType};
use crate::config::{EncoderConfig, Family};

const FILE: &str = "config.json";

/// Where an exported model says which activation its documents have, for the variants that no other file of
/// the layout can name.
const ACTIVATION_KEY: &str = "sparse_activation";

/// Larger sizes are a damaged file, not a model.
const MAX_SIZE: u64 = 1 << 24;
const MAX_LAYERS: u64 = 1 << 10;

/// Names of the settings that differ between the families.
struct Names {
    model_type: &'static str,
    /// Of a masked-LM model.
    architecture: &'static str,
    /// Of a sequence classifier.
    classifier: &'static str,
    hidden_size: &'static str,
    num_layers: &'static str,
    num_heads: &'static str,
    intermediate_size: &'static str,
    hidden_dropout: &'static str,
    attention_dropout: &'static str,
    activation: &'static str,
}

const BERT: Names = Names {
    model_type: "bert",
    architecture: "BertForMaskedLM",
    classifier: "BertForSequenceClassification",
    hidden_size: "hidden_size",
    num_layers: "num_hidden_layers",
    num_heads: "num_attention_heads",
    intermediate_size: "intermediate_size",
    hidden_dropout: "hidden_dropout_prob",
    attention_dropout: "attention_probs_dropout_prob",
    activation: "hidden_act",
};

const DISTILBERT: Names = Names {
    model_type: "distilbert",
    architecture: "DistilBertForMaskedLM",
    classifier: "DistilBertForSequenceClassification",
    hidden_size: "dim",
    num_layers: "n_layers",
    num_heads: "n_heads",
    intermediate_size: "hidden_dim",
    hidden_dropout: "dropout",
    attention_dropout: "attention_dropout",
    activation: "activation",
};

/// Reads the shape of a model from `config.json` in `dir`.
///
/// Sizes must be there; probabilities, the LayerNorm epsilon and the initializer range default to the
/// families' published values (0.1, 1e-12, 0.02), as they do in transformers.
///
/// # Errors
///
/// When the file is missing or not JSON, and for every setting that this implementation would compute
/// wrongly: another model type, an activation other than exact gelu, relative positions, a decoder.
pub fn load_config(dir: &Path) -> Result<EncoderConfig, ImportError> {
    let settings = Settings::read(dir)?;
    let family = settings.family()?;
    let names = names(family);
    settings.only(names.activation, "gelu")?;
    settings.only("position_embedding_type", "absolute")?;
    settings.off("is_decoder")?;
    settings.off("add_cross_attention")?;

    let config = EncoderConfig {
        family,
        vocab_size: settings.size("vocab_size", MAX_SIZE)?,
        hidden_size: settings.size(names.hidden_size, MAX_SIZE)?,
        num_layers: settings.size(names.num_layers, MAX_LAYERS)?,
        num_heads: settings.size(names.num_heads, MAX_SIZE)?,
        intermediate_size: settings.size(names.intermediate_size, MAX_SIZE)?,
        max_positions: settings.size("max_position_embeddings", MAX_SIZE)?,
        token_types: match family {
            Family::Bert => settings.size("type_vocab_size", MAX_SIZE)?,
            Family::DistilBert => 0,
        },
        layer_norm_eps: match family {
            Family::Bert => settings.number("layer_norm_eps", 1e-12, f64::MIN_POSITIVE..1.0)?,
            Family::DistilBert => 1e-12,
        },
        hidden_dropout: settings.number(names.hidden_dropout, 0.1, 0.0..1.0)?,
        attention_dropout: settings.number(names.attention_dropout, 0.1, 0.0..1.0)?,
        initializer_range: settings.number("initializer_range", 0.02, 0.0..10.0)?,
    };
    if !config.hidden_size.is_multiple_of(config.num_heads) {
        let expected = format!(
            "a divisor of {} = {}",
            names.hidden_size, config.hidden_size
        );
        return Err(settings.refuse(names.num_heads, expected));
    }
    Ok(config)
}

/// The `config.json` that describes an exported model: the source's, every key kept, with what the weights
/// beside it decide.
pub(super) fn exported(
    source: &Path,
    tied: bool,
    weight_type: WeightType,
    activation: Activation,
) -> Result<Value, ImportError> {
    let settings = Settings::read(source)?;
    let architecture = names(settings.family()?).architecture;
    let mut values = settings.values;
    values.insert("architectures".into(), Value::from(vec![architecture]));
    // Newer releases of transformers write `dtype`; all of them read `torch_dtype`.
    let type_key = if values.contains_key("dtype") {
        "dtype"
    } else {
        "torch_dtype"
    };
    values.insert(type_key.into(), weight_type.torch_name().into());
    if !tied || values.contains_key("tie_word_embeddings") {
        values.insert("tie_word_embeddings".into(), tied.into());
    }
    values.insert(ACTIVATION_KEY.into(), activation.name().into());
    Ok(Value::Object(values))
}

/// The activation that [`exported`] wrote, where `config.json` in `dir` has one.
pub(super) fn stored_activation(dir: &Path) -> Result<Option<Activation>, ImportError> {
    let settings = Settings::read(dir)?;
    let Some(value) = settings.values.get(ACTIVATION_KEY) else {
        return Ok(None);
    };
    let known = [
        Activation::Relu,
        Activation::L1Relu,
        Activation::L2Relu,
        Activation::L3Relu,
    ];
    match known.into_iter().find(|known| value == known.name()) {
        Some(activation) => Ok(Some(activation)),
        None => Err(settings.refuse(ACTIVATION_KEY, "relu, l1_relu, l2_relu or l3_relu")),
    }
}

/// The name of a family's sequence classifier under `architectures`.
pub(super) fn classifier_architecture(family: Family) -> &'static str {
    names(family).classifier
}

fn names(family: Family) -> &'static Names {
    match family {
        Family::Bert => &BERT,
        Family::DistilBert => &DISTILBERT,
    }
}

/// Reads a JSON file that must hold an object.
pub(super) fn read_object(path: &Path) -> Result<Map<String, Value>, ImportError> {
    let text = fs::read(path).map_err(ImportError::io(path))?;
    serde_json::from_slice(&text).map_err(|cause| ImportError::Json {
        path: path.to_path_buf(),
        cause,
    })
}

/// A JSON file of settings, and where it is, for messages.
pub(super) struct Settings {
    path: PathBuf,
    values: Map<String, Value>,
}

impl Settings {
    /// `config.json` of a model directory.
    pub fn read(dir: &Path) -> Result<Self, ImportError> {
        if !dir.is_dir() {
            return Err(ImportError::NoDirectory(dir.to_path_buf()));
        }
        Self::read_file(&dir.join(FILE))
    }

    /// Any JSON file that holds an object.
    pub fn read_file(path: &Path) -> Result<Self, ImportError> {
        Ok(Self {
            path: path.to_path_buf(),
            values: read_object(path)?,
        })
    }

    /// The value of a key that is there and not null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// The error of a key whose value is not what is `expected`.
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

    fn family(&self) -> Result<Family, ImportError> {
        let model_type = self.values.get("model_type").and_then(Value::as_str);
        [Family::Bert, Family::DistilBert]
            .into_iter()
            .find(|&family| model_type == Some(names(family).model_type))
            .ok_or_else(|| self.refuse("model_type", "\"bert\" or \"distilbert\""))
    }

    fn size(&self, key: &str, max: u64) -> Result<usize, ImportError> {
        match self.values.get(key).and_then(Value::as_u64) {
            Some(size) if (1..=max).contains(&size) => Ok(size as usize),
            _ => Err(self.refuse(key, format!("a whole number from 1 to {max}"))),
        }
    }

    fn number(
        &self,
        key: &str,
        default: f64,
        range: std::ops::Range<f64>,
    ) -> Result<f64, ImportError> {
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
    fn only(&self, key: &str, supported: &str) -> Result<(), ImportError> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if value == supported => Ok(()),
            Some(_) => Err(self.refuse(key, format!("\"{supported}\", the only one implemented"))),
        }
    }

    fn off(&self, key: &str) -> Result<(), ImportError> {
        match self.values.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => Ok(()),
            Some(_) => Err(self.refuse(key, "false: only encoders are implemented")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn dir_with(config: &Value) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), config.to_string()).unwrap();
        dir
    }

    fn bert() -> Value {
        json!({
            "model_type": "bert", "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 16, "max_position_embeddings": 32,
            "type_vocab_size": 2, "hidden_dropout_prob": 0.25, "layer_norm_eps": 1e-7, "architectures": ["BertModel"],
            "custom": {"kept": true},
        })
    }

    #[test]
    fn both_families_are_read() {
        let config = load_config(dir_with(&bert()).path()).unwrap();
        assert_eq!((config.vocab_size, config.token_types), (11, 2));
        assert_eq!(
            (config.hidden_dropout, config.attention_dropout),
            (0.25, 0.1)
        );
        assert_eq!(config.layer_norm_eps, 1e-7);

        let distilbert = json!({
            "model_type": "distilbert", "vocab_size": 11, "dim": 8, "n_layers": 3, "n_heads": 2, "hidden_dim": 24,
            "max_position_embeddings": 32, "dropout": 0.0, "attention_dropout": 0.2, "activation": "gelu",
        });
        let config = load_config(dir_with(&distilbert).path()).unwrap();
        assert_eq!((config.num_layers, config.intermediate_size), (3, 24));
        assert_eq!((config.token_types, config.attention_dropout), (0, 0.2));
    }

    #[test]
    fn what_cannot_be_computed_is_refused_by_key() {
        let cases = [
            ("model_type", json!("roberta")),
            ("hidden_act", json!("gelu_new")),
            ("position_embedding_type", json!("relative_key")),
            ("is_decoder", json!(true)),
            ("hidden_size", json!("8")),
            ("hidden_size", json!(0)),
            ("hidden_size", json!(8.5)),
            ("num_hidden_layers", json!(1_000_000)),
            ("num_attention_heads", json!(3)),
            ("hidden_dropout_prob", json!(1.0)),
            ("layer_norm_eps", json!("small")),
        ];
        for (key, value) in cases {
            let mut config = bert();
            config[key] = value.clone();
            let error = load_config(dir_with(&config).path())
                .unwrap_err()
                .to_string();
            let expected = format!("key `{key}`: found {value}");
            assert!(error.contains(&expected), "{key}: {error}");
        }
    }

    #[test]
    fn a_missing_size_is_named() {
        let mut config = bert();
        config.as_object_mut().unwrap().remove("vocab_size");
        let error = load_config(dir_with(&config).path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("`vocab_size`: found no such key"), "{error}");
    }

    #[test]
    fn export_keeps_every_key() {
        let dir = dir_with(&bert());
        let written = exported(dir.path(), false, WeightType::F16, Activation::L2Relu).unwrap();
        assert_eq!(written["custom"], json!({"kept": true}));
        assert_eq!(written["architectures"], json!(["BertForMaskedLM"]));
        assert_eq!(written["torch_dtype"], "float16");
        assert_eq!(written["tie_word_embeddings"], false);

        let again = dir_with(&written);
        assert_eq!(
            stored_activation(again.path()).unwrap(),
            Some(Activation::L2Relu)
        );
        assert_eq!(stored_activation(dir.path()).unwrap(), None);
        assert_eq!(
            load_config(again.path()).unwrap(),
            load_config(dir.path()).unwrap()
        );
    }
}
