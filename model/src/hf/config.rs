//! `config.json`: from its keys to an [`EncoderConfig`], and back for export.

use std::path::Path;

use configs::Activation;
use serde_json::Value;

use super::settings::Settings;
use super::{ImportError, WeightType};
use crate::config::{EncoderConfig, Family, FeedForward, Positions};

/// Where an exported model says which activation its documents have, for the variants that no other file of
/// the layout can name.
const ACTIVATION_KEY: &str = "sparse_activation";

/// Larger sizes are a damaged file, not a model.
pub(super) const MAX_SIZE: u64 = 1 << 24;
pub(super) const MAX_LAYERS: u64 = 1 << 10;
/// Positions that no table in the weights' file bounds.
const MAX_ROTARY_POSITIONS: u64 = 1 << 20;

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

/// `Alibaba-NLP/new-impl`, which GTE v1.5 is.
const GTE: Names = Names {
    model_type: "new",
    architecture: "NewForMaskedLM",
    classifier: "NewForSequenceClassification",
    ..BERT
};

/// Reads the shape of a model from `config.json` in `dir`.
///
/// Sizes must be there; probabilities, the LayerNorm epsilon and the initializer range default to the
/// families' published values (0.1, GTE's attention 0; 1e-12; 0.02), as they do in transformers.
///
/// # Errors
///
/// When the file is missing or not JSON, and for every setting that this implementation would compute
/// wrongly: another model type, an activation other than exact gelu, relative positions, a decoder, and what GTE's
/// code can do beyond its published models.
pub fn load_config(dir: &Path) -> Result<EncoderConfig, ImportError> {
    let settings = Settings::read(dir)?;
    let family = settings.family()?;
    let names = names(family);
    settings.only(names.activation, "gelu")?;
    settings.off("is_decoder")?;
    settings.off("add_cross_attention")?;
    let (positions, max_positions) = positions(&settings, family)?;

    let config = EncoderConfig {
        family,
        vocab_size: settings.size("vocab_size", MAX_SIZE)?,
        hidden_size: settings.size(names.hidden_size, MAX_SIZE)?,
        num_layers: settings.size(names.num_layers, MAX_LAYERS)?,
        num_heads: settings.size(names.num_heads, MAX_SIZE)?,
        intermediate_size: settings.size(names.intermediate_size, MAX_SIZE)?,
        feed_forward: match family {
            Family::Bert | Family::DistilBert => FeedForward::Plain,
            Family::Gte => FeedForward::Gated,
        },
        positions,
        max_positions,
        token_types: match family {
            Family::Bert => settings.size("type_vocab_size", MAX_SIZE)?,
            Family::DistilBert => 0,
            Family::Gte => settings.whole("type_vocab_size", 0..=MAX_SIZE)?,
        },
        layer_norm_eps: match family {
            Family::Bert | Family::Gte => {
                settings.number("layer_norm_eps", 1e-12, f64::MIN_POSITIVE..1.0)?
            }
            Family::DistilBert => 1e-12,
        },
        hidden_dropout: settings.number(names.hidden_dropout, 0.1, 0.0..1.0)?,
        attention_dropout: match family {
            Family::Bert | Family::DistilBert => {
                settings.number(names.attention_dropout, 0.1, 0.0..1.0)?
            }
            Family::Gte => settings.number(names.attention_dropout, 0.0, 0.0..1.0)?,
        },
        initializer_range: settings.number("initializer_range", 0.02, 0.0..10.0)?,
    };
    if !config.hidden_size.is_multiple_of(config.num_heads) {
        let expected = format!(
            "a divisor of {} = {}",
            names.hidden_size, config.hidden_size
        );
        return Err(settings.refuse(names.num_heads, expected));
    }
    let head = config.hidden_size / config.num_heads;
    if config.positions != Positions::Absolute && !head.is_multiple_of(2) {
        let expected = "heads of an even width, whose halves rotary positions turn";
        return Err(settings.refuse(names.num_heads, expected));
    }
    Ok(config)
}

/// How the family has positions, and for how many.
fn positions(settings: &Settings, family: Family) -> Result<(Positions, usize), ImportError> {
    let kind = "position_embedding_type";
    let count = "max_position_embeddings";
    match family {
        Family::Bert | Family::DistilBert => {
            settings.only(kind, "absolute")?;
            Ok((Positions::Absolute, settings.size(count, MAX_SIZE)?))
        }
        Family::Gte => {
            settings.only(kind, "rope")?;
            settings.only("layer_norm_type", "layer_norm")?;
            settings.only("pack_qkv", true)?;
            settings.only("logn_attention_scale", false)?;
            settings.only("logn_attention_clip1", false)?;
            let positions = Positions::Rotary {
                theta: settings.number("rope_theta", 10_000.0, 1.0..1e12)?,
                scaling: rotary_scaling(settings)?,
            };
            Ok((positions, settings.size(count, MAX_ROTARY_POSITIONS)?))
        }
    }
}

/// The factor of NTK-aware scaling; 1 where there is none.
fn rotary_scaling(settings: &Settings) -> Result<f64, ImportError> {
    // transformers 5 can write theta and scaling under this key: reading half of it would be wrong.
    if settings.get("rope_parameters").is_some() {
        let expected = "no such key: write rope_theta and rope_scaling instead";
        return Err(settings.refuse("rope_parameters", expected));
    }
    let key = "rope_scaling";
    let Some(scaling) = settings.get(key) else {
        return Ok(1.0);
    };
    let understood = |(key, value): (&String, &Value)| match key.as_str() {
        "type" | "rope_type" => value == "ntk",
        "factor" => true,
        "mixed_b" => value.is_null(),
        _ => false,
    };
    scaling
        .as_object()
        .filter(|scaling| scaling.contains_key("type") || scaling.contains_key("rope_type"))
        .filter(|scaling| scaling.iter().all(understood))
        .and_then(|scaling| scaling.get("factor")?.as_f64())
        .filter(|factor| (1.0..1e6).contains(factor))
        .ok_or_else(|| {
            let expected = r#"null, or {"type": "ntk", "factor": a number from 1 on}"#;
            settings.refuse(key, expected)
        })
}

/// The `config.json` that describes an exported model: the source's, every key kept, with what the weights
/// beside it decide.
pub(super) fn exported(
    source: &Path,
    tied: bool,
    weight_type: WeightType,
    activation: Option<Activation>,
) -> Result<Value, ImportError> {
    let settings = Settings::read(source)?;
    let architecture = names(settings.family()?).architecture;
    let mut values = settings.into_values();
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
    match activation {
        Some(activation) => values.insert(ACTIVATION_KEY.into(), activation.name().into()),
        None => values.remove(ACTIVATION_KEY),
    };
    Ok(Value::Object(values))
}

/// The activation that [`exported`] wrote, where `config.json` in `dir` has one.
pub(super) fn stored_activation(dir: &Path) -> Result<Option<Activation>, ImportError> {
    let settings = Settings::read(dir)?;
    let Some(value) = settings.get(ACTIVATION_KEY) else {
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
        Family::Gte => &GTE,
    }
}

impl Settings {
    fn family(&self) -> Result<Family, ImportError> {
        let model_type = self.get("model_type").and_then(Value::as_str);
        [Family::Bert, Family::DistilBert, Family::Gte]
            .into_iter()
            .find(|&family| model_type == Some(names(family).model_type))
            .ok_or_else(|| self.refuse("model_type", r#""bert", "distilbert" or "new""#))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::settings::tests::dir_with;
    use super::*;

    fn bert() -> Value {
        json!({
            "model_type": "bert", "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 16, "max_position_embeddings": 32,
            "type_vocab_size": 2, "hidden_dropout_prob": 0.25, "layer_norm_eps": 1e-7, "architectures": ["BertModel"],
            "custom": {"kept": true},
        })
    }

    #[test]
    fn bert_and_distilbert_are_read() {
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

    /// The settings of gte-base-en-v1.5, in small.
    fn gte() -> Value {
        json!({
            "model_type": "new", "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 16, "max_position_embeddings": 32, "type_vocab_size": 0,
            "hidden_act": "gelu", "layer_norm_type": "layer_norm", "logn_attention_clip1": false,
            "logn_attention_scale": false, "pack_qkv": true, "position_embedding_type": "rope",
            "rope_scaling": {"factor": 2.0, "type": "ntk"}, "rope_theta": 500_000, "unpad_inputs": false,
            "use_memory_efficient_attention": false,
        })
    }

    #[test]
    fn gte_is_read() {
        let config = load_config(dir_with(&gte()).path()).unwrap();
        assert_eq!(config.family, Family::Gte);
        assert_eq!((config.token_types, config.max_positions), (0, 32));
        assert_eq!(
            (config.hidden_dropout, config.attention_dropout),
            (0.1, 0.0)
        );
        assert_eq!(config.feed_forward, FeedForward::Gated);
        let (theta, scaling) = (500_000.0, 2.0);
        assert_eq!(config.positions, Positions::Rotary { theta, scaling });

        let mut plain = gte();
        plain["rope_scaling"] = Value::Null;
        plain["type_vocab_size"] = json!(1);
        plain.as_object_mut().unwrap().remove("rope_theta");
        let config = load_config(dir_with(&plain).path()).unwrap();
        let (theta, scaling) = (10_000.0, 1.0);
        assert_eq!(config.positions, Positions::Rotary { theta, scaling });
        assert_eq!(config.token_types, 1);
    }

    fn assert_refused(base: Value, cases: &[(&str, Value)]) {
        for (key, value) in cases {
            let mut config = base.clone();
            config[key] = value.clone();
            let error = load_config(dir_with(&config).path())
                .unwrap_err()
                .to_string();
            let expected = format!("key `{key}`: found {value}");
            assert!(error.contains(&expected), "{key}: {error}");
        }
    }

    #[test]
    fn what_gte_does_not_publish_is_refused_by_key() {
        let cases = [
            ("position_embedding_type", json!("absolute")),
            ("layer_norm_type", json!("rms_norm")),
            ("hidden_act", json!("gelu_new")),
            ("pack_qkv", json!(false)),
            ("logn_attention_scale", json!(true)),
            ("logn_attention_clip1", json!(true)),
            ("rope_theta", json!(0.5)),
            ("rope_scaling", json!({"type": "linear", "factor": 2.0})),
            ("rope_scaling", json!({"type": "ntk"})),
            ("rope_scaling", json!({"factor": 2.0})),
            ("rope_scaling", json!({"type": "ntk", "factor": 0.5})),
            (
                "rope_scaling",
                json!({"type": "ntk", "factor": 2.0, "mixed_b": 0.6}),
            ),
            ("rope_parameters", json!({"rope_theta": 160_000.0})),
            ("max_position_embeddings", json!(1 << 21)),
            ("num_attention_heads", json!(8)),
            ("type_vocab_size", json!(-1)),
        ];
        assert_refused(gte(), &cases);
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
        assert_refused(bert(), &cases);
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
        let l2 = Some(Activation::L2Relu);
        let written = exported(dir.path(), false, WeightType::F16, l2).unwrap();
        assert_eq!(written["custom"], json!({"kept": true}));
        assert_eq!(written["architectures"], json!(["BertForMaskedLM"]));
        assert_eq!(written["torch_dtype"], "float16");
        assert_eq!(written["tie_word_embeddings"], false);

        let again = dir_with(&written);
        assert_eq!(stored_activation(again.path()).unwrap(), l2);
        let plain = exported(again.path(), false, WeightType::F16, None).unwrap();
        assert_eq!(plain.get(ACTIVATION_KEY), None);
        assert_eq!(stored_activation(dir.path()).unwrap(), None);
        assert_eq!(
            load_config(again.path()).unwrap(),
            load_config(dir.path()).unwrap()
        );
    }
}
