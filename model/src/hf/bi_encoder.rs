//! The model directory of a dense bi-encoder: an encoder, and what sentence-transformers' files say about pooling,
//! normalisation, length and prompts.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use serde_json::Value;

use super::ImportError;
use super::config::load_config;
use super::fill::fill_from;
use super::keys::Head;
use super::modules::{Modules, stored_pooling};
use super::settings::Settings;
use crate::config::EncoderConfig;
use crate::encoder::Encoder;
use crate::pooling::Pooling;

/// What the files of a directory say; whatever they leave open is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BiEncoderSettings {
    /// Where the transformer and its tokenizer are.
    pub transformer: PathBuf,
    /// How hidden states become a vector.
    pub pooling: Option<Pooling>,
    /// Whether vectors are to be compared by their angle, so that they get length 1.
    pub normalise: Option<bool>,
    /// Longest sequence in tokens, specials included.
    pub max_len: Option<usize>,
    /// What comes before every query.
    pub query_prefix: Option<String>,
    /// What comes before every document.
    pub document_prefix: Option<String>,
}

/// Gives the encoder's parameters the paths that they have in other models.
#[derive(Module, Debug)]
struct Bare {
    encoder: Encoder,
}

/// Loads the encoder in `dir`, with its shape and the keys of the file that it has no use for.
///
/// # Errors
///
/// Everything in [`ImportError`].
pub fn load_encoder(
    dir: &Path,
    device: &Device,
) -> Result<(Encoder, EncoderConfig, Vec<String>), ImportError> {
    let config = load_config(dir)?;
    let encoder = config.init_encoder(device);
    let (model, unused) = fill_from(dir, Bare { encoder }, &config, Head::Nothing)?;
    Ok((model.encoder, config, unused))
}

/// Reads what sentence-transformers' files in `dir` say. A directory without `modules.json` says nothing of pooling.
///
/// Where there is no module `Normalize`, vectors are compared as `similarity` of sentence-transformers would do it: by
/// their angle unless `config_sentence_transformers.json` names `dot`. A `pooling` or `normalise` that the caller has
/// chosen is taken instead of what the files say, even where that is not implemented.
///
/// # Errors
///
/// When a file that is named or there cannot be read, and for everything that this implementation would compute
/// wrongly: other modules, other pooling modes or several, another similarity, prompts left out of the mean, a forced
/// lower case.
pub fn bi_encoder_settings(
    dir: &Path,
    pooling: Option<Pooling>,
    normalise: Option<bool>,
) -> Result<BiEncoderSettings, ImportError> {
    let modules = Modules::read(dir)?;
    let transformer = match &modules {
        Some(modules) => modules.transformer.clone(),
        None => dir.to_path_buf(),
    };
    let similarity = optional(&dir.join("config_sentence_transformers.json"))?;
    let prompt = |names: &[&str]| match &similarity {
        Some(settings) => stored_prompt(settings, names),
        None => Ok(None),
    };
    let settings = BiEncoderSettings {
        pooling: match (pooling, &modules) {
            (None, Some(modules)) => Some(stored_pooling(&modules.pooling)?),
            (pooling, _) => pooling,
        },
        normalise: match (normalise, &modules, &similarity) {
            (Some(_), ..) | (_, None, None) => normalise,
            (_, Some(modules), _) if modules.normalise => Some(true),
            (_, _, Some(settings)) => Some(compares_angles(settings)?),
            (_, Some(_), None) => Some(true),
        },
        max_len: stored_max_len(&transformer)?,
        query_prefix: prompt(&["query"])?,
        document_prefix: prompt(&["document", "passage", "corpus"])?,
        transformer,
    };
    Ok(settings)
}

/// The longest sequence that a model's files name: sentence-transformers' `max_seq_length`, or else the tokenizer's
/// `model_max_length`.
///
/// # Errors
///
/// When a file is there but cannot be read, holds something else than a length, or forces text into lower case.
pub fn stored_max_len(dir: &Path) -> Result<Option<usize>, ImportError> {
    if let Some(settings) = optional(&dir.join("sentence_bert_config.json"))? {
        if settings.get("do_lower_case") == Some(&Value::Bool(true)) {
            let expected = "false: the tokenizer's own files decide about case";
            return Err(settings.refuse("do_lower_case", expected));
        }
        if let Some(length) = length(&settings, "max_seq_length")? {
            return Ok(Some(length));
        }
    }
    match optional(&dir.join("tokenizer_config.json"))? {
        Some(settings) => length(&settings, "model_max_length"),
        None => Ok(None),
    }
}

/// A number of tokens; `None` where there is no bound, which is written as 1e30.
fn length(settings: &Settings, key: &str) -> Result<Option<usize>, ImportError> {
    match settings.get(key).map(Value::as_f64) {
        None => Ok(None),
        Some(Some(length)) if length >= 1.0 => {
            Ok((length < f64::from(u32::MAX)).then_some(length as usize))
        }
        Some(_) => Err(settings.refuse(key, "a number of tokens")),
    }
}

/// Whether the similarity is that of angles.
fn compares_angles(settings: &Settings) -> Result<bool, ImportError> {
    let key = "similarity_fn_name";
    match settings.get(key).map(Value::as_str) {
        None | Some(Some("cosine")) => Ok(true),
        Some(Some("dot")) => Ok(false),
        Some(_) => Err(settings.refuse(key, "\"cosine\" or \"dot\", the only ones implemented")),
    }
}

/// The first of these prompts that there is.
fn stored_prompt(settings: &Settings, names: &[&str]) -> Result<Option<String>, ImportError> {
    let Some(prompts) = settings.get("prompts") else {
        return Ok(None);
    };
    match names.iter().find_map(|name| prompts.get(name)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(prompt)) => Ok(Some(prompt.clone())),
        Some(_) => Err(settings.refuse("prompts", "an object of name: text")),
    }
}

/// The settings in a file that need not be there.
fn optional(path: &Path) -> Result<Option<Settings>, ImportError> {
    path.is_file()
        .then(|| Settings::read_file(path))
        .transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{config_json, random_weights, write_weights};
    use super::super::modules::tests::{dir_with, modules};
    use super::*;
    use crate::config::Family;

    fn read(files: &[(&str, Value)]) -> Result<BiEncoderSettings, ImportError> {
        bi_encoder_settings(dir_with(files).path(), None, None)
    }

    #[test]
    fn a_plain_directory_says_nothing() {
        let dir = dir_with(&[]);
        let expected = BiEncoderSettings {
            transformer: dir.path().to_path_buf(),
            ..BiEncoderSettings::default()
        };
        assert_eq!(
            bi_encoder_settings(dir.path(), None, None).unwrap(),
            expected
        );
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_key() {
        let bert = "sentence_bert_config.json";
        let whole = "config_sentence_transformers.json";
        let table = [
            (
                bert,
                json!({"do_lower_case": true}),
                "key `do_lower_case`: found true",
            ),
            (
                bert,
                json!({"max_seq_length": "long"}),
                "key `max_seq_length`: found \"long\"",
            ),
            (
                whole,
                json!({"similarity_fn_name": "euclidean"}),
                "key `similarity_fn_name`: found \"euclidean\"",
            ),
            (
                whole,
                json!({"prompts": {"query": 3}}),
                "key `prompts`: found {\"query\":3}",
            ),
        ];
        for (file, settings, expected) in table {
            let error = read(&[(file, settings)]).unwrap_err().to_string();
            assert!(error.contains(file) && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_choice_of_the_caller_needs_no_file() {
        let files = [
            ("modules.json", modules(&["Transformer", "Pooling"])),
            (
                "config_sentence_transformers.json",
                json!({"similarity_fn_name": "manhattan"}),
            ),
        ];
        let dir = dir_with(&files);
        let settings = bi_encoder_settings(dir.path(), Some(Pooling::Cls), Some(false)).unwrap();
        assert_eq!(
            (settings.pooling, settings.normalise),
            (Some(Pooling::Cls), Some(false))
        );
        let error = bi_encoder_settings(dir.path(), None, Some(true)).unwrap_err();
        assert!(error.to_string().contains("1_Pooling"), "{error}");
    }

    #[test]
    fn vectors_are_compared_by_angle_unless_the_files_say_dot() {
        let pooling = json!({"pooling_mode": "mean"});
        for (classes, similarity, expected) in [
            (
                &["Transformer", "Pooling", "Normalize"][..],
                json!("dot"),
                true,
            ),
            (&["Transformer", "Pooling"], json!("dot"), false),
            (&["Transformer", "Pooling"], json!("cosine"), true),
            (&["Transformer", "Pooling"], Value::Null, true),
        ] {
            let files = [
                ("modules.json", modules(classes)),
                ("1_Pooling/config.json", pooling.clone()),
                (
                    "config_sentence_transformers.json",
                    json!({"similarity_fn_name": similarity}),
                ),
            ];
            assert_eq!(
                read(&files).unwrap().normalise,
                Some(expected),
                "{classes:?} {similarity}"
            );
        }
    }

    #[test]
    fn lengths_and_prompts_are_read() {
        let unbounded = json!({"model_max_length": 1e30});
        let files = [
            (
                "sentence_bert_config.json",
                json!({"max_seq_length": 256, "do_lower_case": false}),
            ),
            ("tokenizer_config.json", json!({"model_max_length": 512})),
            (
                "config_sentence_transformers.json",
                json!({"prompts": {"query": "query: ", "passage": "passage: "}}),
            ),
        ];
        let settings = read(&files).unwrap();
        assert_eq!(settings.max_len, Some(256));
        assert_eq!(settings.query_prefix.as_deref(), Some("query: "));
        assert_eq!(settings.document_prefix.as_deref(), Some("passage: "));
        assert_eq!(read(&files[1..2]).unwrap().max_len, Some(512));
        assert_eq!(
            read(&[("tokenizer_config.json", unbounded)])
                .unwrap()
                .max_len,
            None
        );
    }

    #[test]
    fn an_encoder_leaves_every_head() {
        for family in [Family::Bert, Family::DistilBert] {
            let dir = dir_with(&[("config.json", config_json(family))]);
            let weights = random_weights(family);
            write_weights(&dir.path().join("model.safetensors"), &weights);
            let (encoder, _, unused) = load_encoder(dir.path(), &Device::flex()).unwrap();
            assert_eq!(unused.len(), 5, "{unused:?}");
            let stored = weights
                .iter()
                .find(|(key, _)| key.ends_with("word_embeddings.weight"));
            let found = encoder.embeddings.word.weight.val().into_data();
            assert_eq!(found.iter::<f32>().collect::<Vec<_>>(), stored.unwrap().1.1);
        }
    }
}
