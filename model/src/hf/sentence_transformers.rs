//! What sentence-transformers' `SparseEncoder` expects besides the Hugging Face files.

use std::path::Path;

use configs::Activation;
use data::Idf;
use data::output::write_file;
use safetensors::tensor::TensorView;
use serde_json::json;

use super::export::{ExportOptions, create_dir, write_json};
use super::{ExportError, WeightType, tokenizer_files};
use crate::config::EncoderConfig;

/// Where the pooling settings are: behind a router, and alone.
pub(super) const POOLING_DIRS: [&str; 2] = ["document_1_SpladePooling", "1_SpladePooling"];
const QUERY_DIR: &str = "query_0_SparseStaticEmbedding";

/// Python module of the classes named in `modules.json`.
const SPARSE_MODELS: &str = "sentence_transformers.sparse_encoder.models";

/// sentence-transformers' name of what comes before its own, last logarithm.
pub(super) fn pooling_name(activation: Activation) -> Option<&'static str> {
    match activation {
        Activation::Relu => Some("relu"),
        Activation::L1Relu => Some("log1p_relu"),
        Activation::L2Relu | Activation::L3Relu => None,
    }
}

/// Writes the settings into `dir`; `idf` holds the weights that queries get, `None` makes the model siamese.
pub(super) fn write(
    options: &ExportOptions,
    config: &EncoderConfig,
    idf: Option<&Idf>,
    dir: &Path,
) -> Result<(), ExportError> {
    match idf {
        Some(idf) => {
            write_router(options, dir)?;
            write_query_embedding(options, config, idf, &dir.join(QUERY_DIR))?;
        }
        None => write_siamese_modules(options, dir)?,
    }
    let settings = json!({
        "model_type": "SparseEncoder",
        "__version__": {"sentence_transformers": "5.0.0"},
        "prompts": {"query": "", "document": ""},
        "default_prompt_name": null,
        "similarity_fn_name": "dot",
    });
    write_json(&dir.join("config_sentence_transformers.json"), &settings)?;
    let max_seq_length = options.max_seq_len.min(config.max_positions);
    let transformer = json!({"max_seq_length": max_seq_length, "do_lower_case": false});
    write_json(&dir.join("sentence_bert_config.json"), &transformer)
}

/// Queries through a weight table, documents through the model.
fn write_router(options: &ExportOptions, dir: &Path) -> Result<(), ExportError> {
    let [pooling, _] = POOLING_DIRS;
    let modules = json!([{
        "idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Router",
    }]);
    write_json(&dir.join("modules.json"), &modules)?;
    let router = json!({
        "types": {
            QUERY_DIR: class("SparseStaticEmbedding"),
            "": class("MLMTransformer"),
            pooling: class("SpladePooling"),
        },
        "structure": {"query": [QUERY_DIR], "document": ["", pooling]},
        "parameters": {"default_route": "document", "allow_empty_key": true},
    });
    write_json(&dir.join("router_config.json"), &router)?;
    write_pooling(options, &dir.join(pooling))
}

/// The model for both sides.
fn write_siamese_modules(options: &ExportOptions, dir: &Path) -> Result<(), ExportError> {
    let [_, pooling] = POOLING_DIRS;
    let modules = json!([
        {"idx": 0, "name": "0", "path": "", "type": class("MLMTransformer")},
        {"idx": 1, "name": "1", "path": pooling, "type": class("SpladePooling")},
    ]);
    write_json(&dir.join("modules.json"), &modules)?;
    write_pooling(options, &dir.join(pooling))
}

fn class(name: &str) -> String {
    format!("{SPARSE_MODELS}.{name}.{name}")
}

fn write_pooling(options: &ExportOptions, dir: &Path) -> Result<(), ExportError> {
    let settings = json!({
        "pooling_strategy": "max",
        "activation_function": options.activation.and_then(pooling_name),
        "word_embedding_dimension": null,
    });
    create_dir(dir)?;
    write_json(&dir.join("config.json"), &settings)
}

/// The query weight table as a module: one float32 tensor `weight`, `[vocab]`, and the tokenizer.
fn write_query_embedding(
    options: &ExportOptions,
    config: &EncoderConfig,
    idf: &Idf,
    dir: &Path,
) -> Result<(), ExportError> {
    create_dir(dir)?;
    write_json(&dir.join("config.json"), &json!({"frozen": true}))?;
    tokenizer_files::write(options.tokenizer, config, dir)?;
    let bytes: Vec<u8> = idf.weights.iter().flat_map(|w| w.to_le_bytes()).collect();
    let shape = vec![idf.weights.len()];
    let file = TensorView::new(WeightType::F32.safetensors(), shape, &bytes)
        .and_then(|weight| safetensors::serialize([("weight", weight)], None))
        .expect("one vector of known length is a valid file");
    write_file(&dir.join("model.safetensors"), &file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use data::Tokenizer;
    use serde_json::Value;
    use tempfile::TempDir;

    use super::super::fixture::{VOCABULARY, options, random_model};
    use super::super::{Layout, export, stored_activation};
    use super::*;
    use crate::config::Family;

    fn exported(activation: Activation, idf: Option<&Idf>) -> TempDir {
        let (dir, model, config) = random_model(Family::Bert);
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        let options = ExportOptions {
            activation: Some(activation),
            idf,
            layouts: Layout::usual(activation),
            ..options(dir.path(), &tokenizer)
        };
        export(&model, &config, &options, &dir.path().join("out")).unwrap();
        dir
    }

    fn read_json(path: &Path) -> Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn an_inference_free_model_has_a_router() {
        let weights = vec![2.0; VOCABULARY.len()];
        let dir = exported(Activation::L1Relu, Some(&Idf { weights }));
        let out = dir.path().join("out");
        let router = read_json(&out.join("router_config.json"));
        assert_eq!(router["structure"]["query"], json!([QUERY_DIR]));
        let pooling = read_json(&out.join("document_1_SpladePooling/config.json"));
        assert_eq!(pooling["activation_function"], "log1p_relu");
        assert_eq!(stored_activation(&out).unwrap(), Some(Activation::L1Relu));

        let query = fs::read(out.join(QUERY_DIR).join("model.safetensors")).unwrap();
        let query = safetensors::SafeTensors::deserialize(&query).unwrap();
        assert_eq!(query.tensor("weight").unwrap().shape(), [VOCABULARY.len()]);
    }

    #[test]
    fn a_siamese_model_pools_what_the_encoder_gives() {
        let dir = exported(Activation::Relu, None);
        let out = dir.path().join("out");
        let modules = read_json(&out.join("modules.json"));
        assert_eq!(modules[1]["path"], "1_SpladePooling");
        assert_eq!(stored_activation(&out).unwrap(), Some(Activation::Relu));
    }
}
