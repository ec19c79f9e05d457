//! What can be wrong with a model directory.

use std::io;
use std::path::PathBuf;

/// Why a model directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The directory is not there.
    #[error(
        "model directory {0} does not exist: expected a directory with config.json and weights"
    )]
    NoDirectory(PathBuf),
    /// The operating system refused.
    #[error("cannot read {path}: {cause}")]
    Io {
        /// File that was being read.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// A JSON file that is not JSON.
    #[error("{path} is not valid JSON ({cause}): restore the file from where the model came from")]
    Json {
        /// File that was being read.
        path: PathBuf,
        /// What the parser says, with line and column.
        cause: serde_json::Error,
    },
    /// A setting that is missing, of the wrong type, or not supported.
    #[error("{path}: key `{key}`: found {found}, expected {expected}")]
    Setting {
        /// The JSON file.
        path: PathBuf,
        /// Name of the setting.
        key: String,
        /// Its value, as written.
        found: String,
        /// What this program can work with.
        expected: String,
    },
    /// No file with weights.
    #[error(
        "{0} holds no weights: expected one of model.safetensors, model.safetensors.index.json, \
         pytorch_model.bin, pytorch_model.bin.index.json"
    )]
    NoWeights(PathBuf),
    /// The file is not what its name says, or is damaged.
    #[error("{path}: {reason}: fetch the file again from where the model came from")]
    BadWeights {
        /// The weights' file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A parameter of the model is not in the file.
    #[error(
        "{path}: key `{key}` is missing ({missing} of the {expected} keys that config.json implies are): \
         check that the weights and config.json belong together"
    )]
    MissingKey {
        /// The weights' file, or the index of its parts.
        path: PathBuf,
        /// First missing key.
        key: String,
        /// Number of missing keys.
        missing: usize,
        /// Number of keys that the model has.
        expected: usize,
    },
    /// The file holds a tensor that the model has no place for.
    #[error(
        "{path}: key `{key}` is unexpected ({unexpected} such keys in all): a model of this config.json has no \
         such parameter; check that the weights and config.json belong together"
    )]
    UnexpectedKey {
        /// The file that holds it.
        path: PathBuf,
        /// First unexpected key.
        key: String,
        /// Number of unexpected keys.
        unexpected: usize,
    },
    /// Two tensors claim the same place.
    #[error("{path}: keys `{key}` and `{other}` are the same parameter: remove one of them")]
    Conflict {
        /// The weights' file.
        path: PathBuf,
        /// One key.
        key: String,
        /// The other key.
        other: String,
    },
    /// A tensor of another shape.
    #[error(
        "{path}: key `{key}` has shape {found:?}, expected {expected:?}: check that the weights and config.json \
         belong together"
    )]
    Shape {
        /// The file that holds it.
        path: PathBuf,
        /// The tensor's key.
        key: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape that config.json implies.
        expected: Vec<usize>,
    },
    /// Weights in a type that is not read.
    #[error(
        "{path}: key `{key}` is stored as {found}, expected float32, float16 or bfloat16: convert it first"
    )]
    WeightType {
        /// The file that holds it.
        path: PathBuf,
        /// The tensor's key.
        key: String,
        /// Type in the file.
        found: String,
    },
    /// NaN or infinity.
    #[error(
        "{path}: key `{key}` holds {value} at index {index:?}, expected finite weights: the checkpoint is damaged, \
         or its training diverged; use an earlier one"
    )]
    NotFinite {
        /// The file that holds it.
        path: PathBuf,
        /// The tensor's key.
        key: String,
        /// Position in the tensor.
        index: Vec<usize>,
        /// What is there.
        value: f32,
    },
}

/// Why a model directory cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The operating system refused, or the directory is already there.
    #[error(transparent)]
    Output(#[from] data::output::OutputError),
    /// The source directory's config.json or tokenizer settings cannot be read.
    #[error(transparent)]
    Source(#[from] ImportError),
    /// The tokenizer cannot be read.
    #[error(transparent)]
    Tokenizer(#[from] data::TokenizeError),
    /// The query weight table cannot be written.
    #[error(transparent)]
    Idf(#[from] data::IdfError),
    /// A weight that the file's type cannot hold.
    #[error(
        "weight `{key}` holds {value} at index {index:?}, which {weight_type} cannot store: {}",
        if .value.is_finite() { "write bf16 or f32" } else { "training diverged, use an earlier checkpoint" }
    )]
    Weight {
        /// The tensor's key.
        key: String,
        /// Position in the tensor.
        index: Vec<usize>,
        /// The weight.
        value: f32,
        /// Type of the file.
        weight_type: super::WeightType,
    },
    /// The tokenizer and the model disagree.
    #[error(
        "the tokenizer in {path} has {tokens} tokens but the model's vocabulary has {vocab}: \
         use the tokenizer that the model was trained with"
    )]
    Vocabulary {
        /// Tokenizer directory.
        path: PathBuf,
        /// Its number of tokens.
        tokens: usize,
        /// V.
        vocab: usize,
    },
    /// The layout has no way to say what this model does.
    #[error("layout `{layout}` cannot hold this model: {reason}")]
    Layout {
        /// Name of the layout.
        layout: &'static str,
        /// What it lacks.
        reason: String,
    },
}

impl ImportError {
    /// Wraps an io failure with the path it happened at.
    pub(super) fn io(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |cause| Self::Io {
            path: path.to_path_buf(),
            cause,
        }
    }
}
