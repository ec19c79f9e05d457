//! What sentence-transformers and OpenSearch expect in a model directory besides the Hugging Face files.

use std::fmt;
use std::fs;
use std::io::{self, Cursor, Write};
use std::path::Path;
use std::str::FromStr;

use configs::Activation;
use data::Idf;
use data::output::{OutputError, write_file};
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zip::write::{SimpleFileOptions, ZipWriter};

use super::config::{self, read_object};
use super::export::{ExportOptions, write_json};
use super::{ExportError, ImportError, WeightType, tokenizer_files};
use crate::config::EncoderConfig;

/// Where sentence-transformers keeps the pooling settings: behind a router, and alone.
const POOLING_DIRS: [&str; 2] = ["document_1_SpladePooling", "1_SpladePooling"];
const QUERY_DIR: &str = "query_0_SparseStaticEmbedding";

/// Python module of the classes named in `modules.json`.
const SPARSE_MODELS: &str = "sentence_transformers.sparse_encoder.models";

/// A set of files for one reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// transformers: the base of the others.
    Hf,
    /// sentence-transformers' `SparseEncoder`.
    SentenceTransformers,
    /// OpenSearch ml-commons: the query side as a `SPARSE_TOKENIZE` archive.
    OpenSearch,
}

/// The text is not a layout.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("layout `{0}` is not known: expected hf, sentence-transformers or opensearch")]
pub struct UnknownLayout(String);

impl Layout {
    /// The layouts that a model can have without losing anything: sentence-transformers has no name for more
    /// than two logarithms.
    pub fn usual(activation: Activation) -> &'static [Self] {
        match pooling_name(activation) {
            Some(_) => &[Self::Hf, Self::SentenceTransformers],
            None => &[Self::Hf],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hf => "hf",
            Self::SentenceTransformers => "sentence-transformers",
            Self::OpenSearch => "opensearch",
        }
    }

    /// Whether the layout can say what the model does.
    pub(super) fn check(self, options: &ExportOptions) -> Result<(), ExportError> {
        let reason = match self {
            Self::SentenceTransformers if pooling_name(options.activation).is_none() => format!(
                "activation {} applies {} logarithms, and it has names for one and two only",
                options.activation.name(),
                options.activation.logarithms()
            ),
            Self::OpenSearch if options.idf.is_none() => {
                "it holds a query weight table, and this model has none; give one with --idf".into()
            }
            _ => return Ok(()),
        };
        Err(ExportError::Layout {
            layout: self.name(),
            reason,
        })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layout {
    type Err = UnknownLayout;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Hf, Self::SentenceTransformers, Self::OpenSearch]
            .into_iter()
            .find(|layout| layout.name() == name)
            .ok_or_else(|| UnknownLayout(name.to_owned()))
    }
}

/// The activation that the files of a model directory state: sentence-transformers' pooling settings, or else
/// a key that [`super::export`] leaves in `config.json`. A plain masked-LM directory states none.
///
/// # Errors
///
/// When a file is there but cannot be read, or names an activation that is not known.
pub fn stored_activation(dir: &Path) -> Result<Option<Activation>, ImportError> {
    for pooling in POOLING_DIRS {
        let path = dir.join(pooling).join("config.json");
        if !path.exists() {
            continue;
        }
        let key = "activation_function";
        let found = read_object(&path)?.remove(key).unwrap_or_default();
        return [Activation::Relu, Activation::L1Relu]
            .into_iter()
            .find(|&activation| pooling_name(activation).is_some_and(|name| found == name))
            .map(Some)
            .ok_or_else(|| ImportError::Setting {
                path,
                key: key.to_owned(),
                found: found.to_string(),
                expected: "\"relu\" or \"log1p_relu\"".to_owned(),
            });
    }
    config::stored_activation(dir)
}

/// sentence-transformers' name of what comes before its own, last logarithm.
fn pooling_name(activation: Activation) -> Option<&'static str> {
    match activation {
        Activation::Relu => Some("relu"),
        Activation::L1Relu => Some("log1p_relu"),
        Activation::L2Relu | Activation::L3Relu => None,
    }
}

/// Writes the files of one layout into `dir`; `idf` holds the weights that queries get.
pub(super) fn write(
    layout: Layout,
    options: &ExportOptions,
    config: &EncoderConfig,
    idf: Option<&Idf>,
    name: &str,
    dir: &Path,
) -> Result<(), ExportError> {
    match (layout, idf) {
        (Layout::Hf, _) => Ok(()),
        (Layout::SentenceTransformers, Some(idf)) => {
            write_router(options, dir)?;
            write_query_embedding(options, config, idf, &dir.join(QUERY_DIR))?;
            write_sentence_transformers(options, config, dir)
        }
        (Layout::SentenceTransformers, None) => {
            write_siamese_modules(options, dir)?;
            write_sentence_transformers(options, config, dir)
        }
        (Layout::OpenSearch, _) => write_sparse_tokenize(name, &dir.join("opensearch"), dir),
    }
}

/// What both kinds of sentence-transformers model have.
fn write_sentence_transformers(
    options: &ExportOptions,
    config: &EncoderConfig,
    dir: &Path,
) -> Result<(), ExportError> {
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
        "activation_function": pooling_name(options.activation),
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

/// The archive that OpenSearch registers for queries, and the settings to register it with.
///
/// Its members are the `idf.json` and `tokenizer.json` that `dir` already has.
fn write_sparse_tokenize(name: &str, target: &Path, dir: &Path) -> Result<(), ExportError> {
    create_dir(target)?;
    let archive_path = target.join("sparse_tokenize.zip");
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for member in ["idf.json", "tokenizer.json"] {
        let path = dir.join(member);
        let content = fs::read(&path).map_err(ImportError::io(&path))?;
        // Deflated with a fixed date: the same model gives the same hash.
        archive
            .start_file(
                member,
                SimpleFileOptions::default().last_modified_time(Default::default()),
            )
            .map_err(io::Error::from)
            .and_then(|()| archive.write_all(&content))
            .map_err(write_error(&archive_path))?;
    }
    let archive = archive
        .finish()
        .map_err(io::Error::from)
        .map_err(write_error(&archive_path))?
        .into_inner();
    write_file(&archive_path, &archive)?;
    let hash: String = Sha256::digest(&archive)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let settings: Value = json!({
        "name": name,
        "version": "1.0.0",
        "description": "Query tokenizer and token weights of an inference-free sparse retriever",
        "model_format": "TORCH_SCRIPT",
        "function_name": "SPARSE_TOKENIZE",
        "model_content_size_in_bytes": archive.len(),
        "model_content_hash_value": hash,
    });
    write_json(&target.join("config.json"), &settings)
}

fn create_dir(dir: &Path) -> Result<(), ExportError> {
    fs::create_dir_all(dir).map_err(write_error(dir))
}

fn write_error(path: &Path) -> impl Fn(io::Error) -> ExportError + '_ {
    move |cause| {
        ExportError::Output(OutputError::Write {
            path: path.to_path_buf(),
            cause,
        })
    }
}

#[cfg(test)]
mod tests {
    use data::Tokenizer;

    use super::super::fixture::{VOCABULARY, options, random_model};
    use super::super::{export, export::write_files};
    use super::*;
    use crate::config::Family;

    fn read_json(path: &Path) -> Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    fn all_layouts(
        activation: Activation,
        idf: Option<&Idf>,
    ) -> Result<tempfile::TempDir, ExportError> {
        let (dir, model, config) = random_model(Family::Bert);
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        let layouts: &[Layout] = match idf {
            Some(_) => &[Layout::SentenceTransformers, Layout::OpenSearch],
            None => &[Layout::SentenceTransformers],
        };
        let options = ExportOptions {
            activation,
            idf,
            layouts,
            ..options(dir.path(), &tokenizer)
        };
        export(&model, &config, &options, &dir.path().join("out")).map(|()| dir)
    }

    #[test]
    fn an_inference_free_model_has_a_router_and_an_archive() {
        let idf = Idf {
            weights: vec![2.0; VOCABULARY.len()],
        };
        let dir = all_layouts(Activation::L1Relu, Some(&idf)).unwrap();
        let out = dir.path().join("out");
        let router = read_json(&out.join("router_config.json"));
        assert_eq!(router["structure"]["query"], json!([QUERY_DIR]));
        let pooling = read_json(&out.join("document_1_SpladePooling/config.json"));
        assert_eq!(pooling["activation_function"], "log1p_relu");
        assert_eq!(stored_activation(&out).unwrap(), Some(Activation::L1Relu));

        let query = fs::read(out.join(QUERY_DIR).join("model.safetensors")).unwrap();
        let query = safetensors::SafeTensors::deserialize(&query).unwrap();
        assert_eq!(query.tensor("weight").unwrap().shape(), [VOCABULARY.len()]);

        let archive = fs::read(out.join("opensearch/sparse_tokenize.zip")).unwrap();
        let settings = read_json(&out.join("opensearch/config.json"));
        assert_eq!(settings["model_content_size_in_bytes"], archive.len());
        let mut archive = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
        let mut member = String::new();
        let mut idf_json = archive.by_name("idf.json").unwrap();
        io::Read::read_to_string(&mut idf_json, &mut member).unwrap();
        assert_eq!(member, fs::read_to_string(out.join("idf.json")).unwrap());
    }

    #[test]
    fn a_siamese_model_pools_what_the_encoder_gives() {
        let dir = all_layouts(Activation::Relu, None).unwrap();
        let modules = read_json(&dir.path().join("out/modules.json"));
        assert_eq!(modules[1]["path"], "1_SpladePooling");
        assert_eq!(
            stored_activation(&dir.path().join("out")).unwrap(),
            Some(Activation::Relu)
        );
    }

    #[test]
    fn what_a_layout_cannot_say_is_refused() {
        let error = all_layouts(Activation::L2Relu, None)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("`sentence-transformers` cannot hold this model"),
            "{error}"
        );
        assert_eq!(Layout::usual(Activation::L3Relu), [Layout::Hf]);

        let (dir, model, config) = random_model(Family::Bert);
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        let options = ExportOptions {
            layouts: &[Layout::OpenSearch],
            ..options(dir.path(), &tokenizer)
        };
        let error = write_files(&model, &config, &options, "m", dir.path()).unwrap_err();
        assert!(error.to_string().contains("query weight table"), "{error}");
    }

    #[test]
    fn an_unknown_pooling_activation_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let pooling = dir.path().join("1_SpladePooling");
        fs::create_dir(&pooling).unwrap();
        fs::write(
            pooling.join("config.json"),
            r#"{"activation_function": "tanh"}"#,
        )
        .unwrap();
        let error = stored_activation(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("`activation_function`: found \"tanh\""),
            "{error}"
        );
    }
}
