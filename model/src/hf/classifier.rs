//! The model directory of a cross-encoder: sequence classification with one logit.

use std::path::Path;

use burn::tensor::Device;
use serde_json::Value;

use super::ImportError;
use super::config::{classifier_architecture, load_config};
use super::fill::fill_from;
use super::keys::Head;
use super::settings::Settings;
use crate::classifier::{HeadActivation, SequenceClassifier};
use crate::config::{EncoderConfig, Family};

/// Loads the classifier in `dir`, with its shape and the keys of the file that it has no use for.
///
/// # Errors
///
/// Everything in [`ImportError`]: unlike a masked-LM head, a classification head is never made up, and `config.json`
/// must say that it has one label. With two, which of them (or what of both) is a score is the model's secret.
pub fn load_classifier(
    dir: &Path,
    device: &Device,
) -> Result<(SequenceClassifier, EncoderConfig, Vec<String>), ImportError> {
    let config = load_config(dir)?;
    let settings = Settings::read(dir)?;
    check(&settings, &config)?;
    let activation = match config.family {
        Family::Bert => HeadActivation::Tanh,
        Family::DistilBert => HeadActivation::Relu,
        Family::Gte => {
            let expected = "\"bert\" or \"distilbert\", the classifiers that are implemented";
            return Err(settings.refuse("model_type", expected));
        }
    };
    let model = config.init_classifier(activation, device);
    let (model, unused) = fill_from(dir, model, &config, Head::Classifier)?;
    Ok((model, config, unused))
}

/// Refuses what is no classifier of pairs with one logit.
fn check(settings: &Settings, config: &EncoderConfig) -> Result<(), ImportError> {
    let architecture = classifier_architecture(config.family);
    if let Some(found) = settings.get("architectures") {
        let names = found.as_array().map_or(&[][..], Vec::as_slice);
        if !names.iter().any(|name| name == architecture) {
            return Err(settings.refuse("architectures", format!("\"{architecture}\"")));
        }
    }
    let mut stated = false;
    for key in ["id2label", "num_labels"] {
        stated |= match settings.get(key) {
            None => false,
            Some(Value::Object(labels)) if labels.len() == 1 => true,
            Some(value) if value == 1 => true,
            Some(_) => return Err(settings.refuse(key, "one label, whose logit is the score")),
        };
    }
    if !stated {
        let expected = "one label: where none is named, transformers assumes two";
        return Err(settings.refuse("id2label", expected));
    }
    // DistilBERT has no token types, and sees from [SEP] alone where the second text begins.
    if config.token_types == 1 {
        return Err(settings.refuse("type_vocab_size", "2, one for each text of a pair"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;
    use tempfile::TempDir;

    use super::super::fixture::{Weights, config_json, random_weights, write_weights};
    use super::*;

    /// A directory with the configuration and the weights of a small random classifier.
    fn classifier_dir(
        family: Family,
        edit_config: impl FnOnce(&mut Value),
        edit_weights: impl FnOnce(&mut Weights),
    ) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config_json(family);
        config["id2label"] = json!({"0": "LABEL_0"});
        edit_config(&mut config);
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let mut weights = random_weights(family);
        let dense = match family {
            Family::Bert | Family::Gte => "bert.pooler.dense",
            Family::DistilBert => "pre_classifier",
        };
        for (key, shape) in [
            (format!("{dense}.weight"), vec![8, 8]),
            (format!("{dense}.bias"), vec![8]),
            ("classifier.weight".to_owned(), vec![1, 8]),
            ("classifier.bias".to_owned(), vec![1]),
        ] {
            let count: usize = shape.iter().product();
            let values = (0..count).map(|index| index as f32).collect();
            weights.insert(key, (shape, values));
        }
        edit_weights(&mut weights);
        write_weights(&dir.path().join("model.safetensors"), &weights);
        dir
    }

    fn load_error(
        edit_config: impl FnOnce(&mut Value),
        edit_weights: impl FnOnce(&mut Weights),
    ) -> String {
        let dir = classifier_dir(Family::Bert, edit_config, edit_weights);
        load_classifier(dir.path(), &Device::flex())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_head_gets_its_values_and_other_heads_are_left() {
        for family in [Family::Bert, Family::DistilBert] {
            let dir = classifier_dir(family, |_| (), |_| ());
            let (model, _, unused) = load_classifier(dir.path(), &Device::flex()).unwrap();
            let dense = model.classifier.dense.weight.val().into_data();
            let dense: Vec<f32> = dense.iter::<f32>().collect();
            assert_eq!(dense[..3], [0.0, 8.0, 16.0], "transposed");
            let output = model.classifier.output.weight.val();
            assert_eq!(output.dims(), [8, 1]);
            let masked_lm_head = match family {
                Family::Bert | Family::Gte => "cls.predictions.",
                Family::DistilBert => "vocab_",
            };
            assert_eq!(unused.len(), 5);
            assert!(
                unused.iter().all(|key| key.starts_with(masked_lm_head)),
                "{unused:?}"
            );
        }
    }

    #[test]
    fn settings_of_other_models_are_refused_by_key() {
        let table = [
            (
                "architectures",
                json!(["BertForMaskedLM"]),
                "BertForSequenceClassification",
            ),
            ("id2label", json!({"0": "no", "1": "yes"}), "one label"),
            ("id2label", Value::Null, "transformers assumes two"),
            ("num_labels", json!(2), "one label"),
            ("model_type", json!("roberta"), "distilbert"),
        ];
        for (key, value, expected) in table {
            let error = load_error(|config| config[key] = value.clone(), |_| ());
            assert!(error.contains("config.json"), "{error}");
            assert!(
                error.contains(&format!("key `{key}`: found {value}")),
                "{error}"
            );
            assert!(error.contains(expected), "{expected}: {error}");
        }
        let error = load_error(
            |config| config["type_vocab_size"] = json!(1),
            |weights| {
                let key = "bert.embeddings.token_type_embeddings.weight";
                weights.insert(key.to_owned(), (vec![1, 8], vec![0.0; 8]));
            },
        );
        assert!(error.contains("key `type_vocab_size`: found 1"), "{error}");
    }

    #[test]
    fn weights_that_do_not_fit_are_named() {
        type Edit = fn(&mut Weights);
        let table: [(Edit, &[&str]); 4] = [
            (
                |weights| drop(weights.remove("classifier.weight")),
                &["key `classifier.weight` is missing (1 of the"],
            ),
            (
                |weights| weights.retain(|key, _| !key.starts_with("bert.pooler")),
                &["key `bert.pooler.dense.weight` is missing (2 of the"],
            ),
            (
                |weights| {
                    let two = (vec![2, 8], vec![0.0; 16]);
                    weights.insert("classifier.weight".to_owned(), two);
                },
                &["key `classifier.weight` has shape [2, 8], expected [1, 8]"],
            ),
            (
                |weights| {
                    let extra = "classifier.out_proj.weight".to_owned();
                    weights.insert(extra, (vec![1], vec![0.0]));
                },
                &["key `classifier.out_proj.weight` is unexpected"],
            ),
        ];
        for (edit, expected) in table {
            let error = load_error(|_| (), edit);
            for part in [&["model.safetensors"], expected].concat() {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }
}
