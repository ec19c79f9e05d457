//! Teachers: the models whose scores are distilled.
//!
//! They are written in a file of their own (`teachers:`, a list with one mapping each, and `score_scale`), or in a
//! recipe's `kd_ensemble_teacher_kwargs`, and in both places also in the reference's form (`types`, `model_ids`,
//! `teacher_tokenizer_ids`, `score_scale`). All resolve to a [`TeachersConfig`], whose serialization is the list
//! again.

mod entry;
mod resolve;

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::choice::Choice;
use crate::error::ConfigError;
use crate::resolved::Activation;

/// Longest text in tokens where nothing is said.
const MAX_LENGTH: usize = 512;

/// An ensemble of teachers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TeachersConfig {
    /// Multiplies the mean of the normalised scores.
    pub score_scale: f64,
    /// At least one.
    pub teachers: Vec<TeacherConfig>,
}

/// One teacher and its share of the ensemble.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TeacherConfig {
    /// What it is.
    #[serde(flatten)]
    pub kind: TeacherKind,
    /// Its weight in the mean.
    pub weight: f64,
}

impl TeacherKind {
    /// The model that it runs here, if any.
    pub fn local_model_mut(&mut self) -> Option<&mut LocalModel> {
        match self {
            Self::Sparse(sparse) => Some(&mut sparse.model),
            Self::Dense(dense) => Some(&mut dense.model),
            Self::CrossEncoder(pair) | Self::MonoT5(pair) => Some(&mut pair.model),
            Self::Bm25(_) | Self::Vectors(_) | Self::Remote(_) => None,
        }
    }
}

/// `type`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum TeacherKind {
    /// Dot products of sparse vectors.
    Sparse(SparseTeacher),
    /// Dot products of dense vectors.
    Dense(DenseTeacher),
    /// A BERT classifier with one logit that reads query and document together.
    CrossEncoder(PairTeacher),
    /// A T5 that answers whether a document is relevant: the log probability of "true".
    #[serde(rename = "monot5")]
    MonoT5(PairTeacher),
    /// BM25 over a corpus.
    Bm25(Bm25Teacher),
    /// Dot products of vectors that were made before, looked up by id.
    Vectors(VectorsTeacher),
    /// A server with the HTTP interface of text-embeddings-inference.
    Remote(RemoteTeacher),
}

/// What all local models read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LocalModel {
    /// A model directory, or a Hub id.
    pub model: String,
    /// Longest sequence in tokens, specials included.
    pub max_length: usize,
    /// Tokens encoded at a time.
    pub batch_tokens: usize,
    /// Put before every text.
    #[serde(flatten)]
    pub prefixes: Prefixes,
}

/// What some models expect before a text; `None` is nothing, or what the model's own files say where they do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Prefixes {
    /// Before queries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_prefix: Option<String>,
    /// Before documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_prefix: Option<String>,
}

/// `sparse`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SparseTeacher {
    /// The masked language model.
    #[serde(flatten)]
    pub model: LocalModel,
    /// Whether queries come from an IDF table; `None` where the model directory decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inf_free: Option<bool>,
    /// The table, instead of the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idf_path: Option<PathBuf>,
    /// Instead of what the model's files say.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "label")]
    pub activation_type: Option<Activation>,
}

/// `dense`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DenseTeacher {
    /// The encoder.
    #[serde(flatten)]
    pub model: LocalModel,
    /// How the states of a text become its vector; `None` where the model's files decide.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "label")]
    pub pooling: Option<Pooling>,
    /// Whether vectors have length 1; `None` where the model's files decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize: Option<bool>,
}

/// `cross-encoder` and `monot5`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairTeacher {
    /// The model.
    #[serde(flatten)]
    pub model: LocalModel,
}

/// How the states of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Pooling {
    /// That of the first token.
    Cls,
    /// Their mean.
    Mean,
}

impl Choice for Pooling {
    const CHOICES: &'static [(&'static str, Self)] = &[("cls", Self::Cls), ("mean", Self::Mean)];
}

/// `bm25`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bm25Teacher {
    /// Gives the statistics: a BEIR directory, or a JSON lines or Parquet file of documents.
    pub corpus: PathBuf,
    /// How soon further occurrences of a term stop to count.
    pub k1: f64,
    /// How much long documents are held back.
    pub b: f64,
}

/// `vectors`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VectorsTeacher {
    /// Rows `{id, vector}` of the queries: JSON lines, Parquet or a save_to_disk directory.
    pub queries: PathBuf,
    /// The same of the documents.
    pub documents: PathBuf,
}

/// `remote`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RemoteTeacher {
    /// Beginning of all addresses, as `http://localhost:8080`.
    pub url: String,
    /// What is asked for.
    #[serde(serialize_with = "some_label")]
    pub api: RemoteApi,
    /// Put before every text.
    #[serde(flatten)]
    pub prefixes: Prefixes,
    /// Tells one model behind the same address from another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Environment variable with the bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_env: Option<String>,
    /// Texts in a request.
    pub batch: usize,
    /// Requests under way at a time.
    pub parallel: usize,
    /// Seconds until a request is given up.
    pub timeout_s: f64,
    /// Further tries of a request that failed for a reason that may pass.
    pub retries: usize,
    /// Seconds before the first further try; doubled with each.
    pub backoff_s: f64,
}

/// What a server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum RemoteApi {
    /// Scores: `/rerank`.
    Rerank,
    /// Dense vectors: `/embed`.
    Embed,
    /// Sparse vectors: `/embed_sparse`.
    EmbedSparse,
}

impl Choice for RemoteApi {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("rerank", Self::Rerank),
        ("embed", Self::Embed),
        ("embed_sparse", Self::EmbedSparse),
    ];
}

impl TeacherKind {
    /// Its `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Sparse(_) => "sparse",
            Self::Dense(_) => "dense",
            Self::CrossEncoder(_) => "cross-encoder",
            Self::MonoT5(_) => "monot5",
            Self::Bm25(_) => "bm25",
            Self::Vectors(_) => "vectors",
            Self::Remote(_) => "remote",
        }
    }

    /// Whether it finds texts by their ids.
    pub fn needs_ids(&self) -> bool {
        matches!(self, Self::Vectors(_))
    }
}

/// Reads a file of teachers.
///
/// # Errors
/// The file cannot be read, is not YAML, names an unknown key, or holds a value of the wrong type or out of range. The
/// error names file, line and key.
pub fn load_teachers(path: &Path) -> Result<TeachersConfig, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        what: "teachers",
        source,
    })?;
    resolve::file(path, &text)
}

pub(crate) use resolve::kwargs;

impl TeachersConfig {
    /// The mapping that resolves to the same teachers.
    pub(crate) fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self)
            .expect("texts, numbers and paths of a recipe have a form in JSON")
    }
}

fn some_label<T: Choice, S: Serializer>(choice: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(choice.label())
}

fn label<T: Choice, S: Serializer>(choice: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match choice {
        Some(choice) => some_label(choice, serializer),
        None => serializer.serialize_none(),
    }
}
