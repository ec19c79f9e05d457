//! Why a training run cannot start or go on.

use std::io;
use std::path::PathBuf;

use crate::batch::BatchError;

/// Why a training run cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The model directory.
    #[error(transparent)]
    Import(#[from] model::hf::ImportError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenize(#[from] data::TokenizeError),
    /// The IDF table.
    #[error(transparent)]
    Idf(#[from] data::IdfError),
    /// The training data.
    #[error(transparent)]
    Data(#[from] data::TrainDataError),
    /// The documents of masked-LM training.
    #[error(transparent)]
    Mlm(#[from] data::mlm::MlmError),
    /// The order of the training data.
    #[error(transparent)]
    Sample(#[from] data::SampleError),
    /// A batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A teacher.
    #[error(transparent)]
    Teacher(#[from] crate::teacher::TeacherError),
    /// The evaluation data.
    #[error(transparent)]
    Beir(#[from] data::beir::BeirError),
    /// An evaluation.
    #[error(transparent)]
    Evaluate(#[from] eval::beir::EvalError),
    /// A model directory cannot be written.
    #[error(transparent)]
    Export(#[from] model::hf::ExportError),
    /// A file cannot be written.
    #[error(transparent)]
    Output(#[from] data::output::OutputError),
    /// A file of the run cannot be read, written or removed.
    #[error("{path}: {cause}")]
    Io {
        /// File or directory.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// The output directory holds something already.
    #[error(
        "output_dir {0} is not empty: continue its run with --resume, replace it with \
         --set overwrite_output_dir=true, or choose another output_dir"
    )]
    OutputExists(PathBuf),
    /// There is no complete checkpoint.
    #[error("output_dir {0} has no complete checkpoint to resume: start the run without --resume")]
    NoCheckpoint(PathBuf),
    /// A file of a checkpoint is not what was written.
    #[error("{path}: {reason}: delete this checkpoint and resume from the one before it")]
    BadCheckpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The recipe differs from the checkpoint's in what the rest of the run depends on.
    #[error(
        "cannot resume {path}: it was made with {name} {stored}, now it is {current}; restore that setting, or start \
         a new run in another output_dir"
    )]
    Changed {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        name: &'static str,
        /// Its value in the checkpoint.
        stored: String,
        /// Its value now.
        current: String,
    },
    /// Tokenizer and model disagree.
    #[error(
        "the tokenizer of {tokenizer} has {tokens} entries, but the vocabulary of {model} has {vocab}: they do not \
         belong together"
    )]
    Vocabulary {
        /// `tokenizer_name`.
        tokenizer: String,
        /// Entries of the tokenizer.
        tokens: usize,
        /// `model_name_or_path`.
        model: String,
        /// Rows of the decoder.
        vocab: usize,
    },
    /// Sequences are longer than the model has positions for.
    #[error("{key} {length} exceeds the {positions} positions of {model}: lower it")]
    TooLong {
        /// The setting.
        key: &'static str,
        /// Its value.
        length: usize,
        /// Positions of the model.
        positions: usize,
        /// `model_name_or_path`.
        model: String,
    },
    /// `freeze` names a part that the model does not have.
    #[error(
        "freeze: the model has no part `{name}`; its parts are {parts}, and what is below them"
    )]
    NoSuchPart {
        /// As written.
        name: String,
        /// What there is, up to two names deep.
        parts: String,
    },
    /// Evaluation data without judgements.
    #[error("eval_data {0} has no judgements: expected qrels/test.tsv in it")]
    NoJudgements(PathBuf),
    /// A number that is none.
    #[error(
        "step {step}: {what} is {value}: training cannot go on. Nothing of this step was written; lower learning_rate \
         or set max_grad_norm, then start again or resume from the last checkpoint"
    )]
    NotFinite {
        /// The step, 1 for the first.
        step: usize,
        /// Which figure.
        what: &'static str,
        /// NaN or an infinity.
        value: f64,
    },
}

impl TrainError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { path, cause }
    }
}
