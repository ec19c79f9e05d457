//! What a recipe means: enums, defaults filled in, cross-field checks done.

use std::path::PathBuf;

use serde::Serialize;

use crate::teachers::TeachersConfig;

/// Everything a training run needs to know.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainConfig {
    /// What it learns.
    pub task: Task,
    /// Which model is trained and how it represents text.
    pub model: ModelConfig,
    /// What it reads.
    pub data: DataConfig,
    /// What it minimises, where it learns to rank.
    pub loss: LossConfig,
    /// Who scores the batches, instead of the data's own scores.
    pub teachers: Option<TeachersConfig>,
    /// How it steps.
    pub optimizer: OptimizerConfig,
    /// When it logs, saves, evaluates and stops.
    pub run: RunConfig,
}

/// What a run learns; `data_type` decides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Task {
    /// To rank documents by queries (kd, posnegs).
    Ranking,
    /// To guess masked tokens (mlm). There are no queries: what the other sections say of them, of losses and of
    /// representations is left at its default and read by nobody.
    MaskedLm(MaskedLmConfig),
}

/// What is masked, and what the guesses are measured on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MaskedLmConfig {
    /// Share of the tokens that are to be guessed.
    pub probability: f64,
    /// Words are masked with all of their `##` pieces.
    pub whole_word: bool,
    /// Documents are joined and cut into sequences of equal length; otherwise each is a sequence of its own.
    pub packed: bool,
    /// Texts to evaluate on (`mlm_eval_file`).
    pub eval_file: Option<PathBuf>,
}

/// `model_name_or_path` and how text becomes a vector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelConfig {
    /// A model directory, or a Hub id.
    pub name_or_path: String,
    /// Where the tokenizer comes from; the model itself by default.
    pub tokenizer: String,
    /// Start from random weights: only config.json and the tokenizer are read (`init_from_scratch`).
    pub from_scratch: bool,
    /// Where queries come from.
    pub query: QueryEncoder,
    /// Applied to the largest logit of each vocabulary entry.
    pub activation: Activation,
    /// Keep weights above this share of the row's largest.
    pub prune_ratio: Option<f32>,
    /// Rewrites every text before tokenization.
    pub preprocess: Option<Preprocess>,
    /// Overrides both dropout probabilities of config.json (`dropout`).
    pub dropout: Option<f64>,
    /// Taken from the decoder's bias before the first step (`head_threshold`).
    pub head_threshold: Option<f64>,
    /// Each token's IDF, but at most this, is added to the decoder's bias before the first step (`head_idf_cap`).
    ///
    /// A masked-LM's logit is, up to a constant, log P(token | text), which is high for a common token in any text.
    /// With log P(token) taken away, for which IDF stands, remains what the text says of it, the pointwise mutual
    /// information. The cap is for tokens so rare that neither number is known.
    pub head_idf_cap: Option<f64>,
    /// Module paths of what is not trained.
    pub freeze: Vec<String>,
}

/// Where a query's weights come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum QueryEncoder {
    /// One weight per token from a table; no model runs (`inf_free: true`).
    InferenceFree {
        /// IDF table; without one every weight is 1.
        idf_path: Option<PathBuf>,
        /// Learning rate of the table where it is trained (`idf_requires_grad`, `idf_lr`).
        learning_rate: Option<f64>,
    },
    /// The document encoder (`inf_free: false`).
    Siamese,
}

/// `log1p(act(x))`: the number of logarithms in all is one more than the variant's digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub enum Activation {
    /// `log1p(relu(x))`.
    #[default]
    Relu,
    /// `log1p(log1p(relu(x)))`, the l0 activation of arXiv 2504.14839.
    L1Relu,
    /// Three logarithms.
    L2Relu,
    /// Four logarithms.
    L3Relu,
}

impl Activation {
    /// Number of `log1p` applied after the relu.
    pub fn logarithms(self) -> usize {
        match self {
            Self::Relu => 1,
            Self::L1Relu => 2,
            Self::L2Relu => 3,
            Self::L3Relu => 4,
        }
    }

    /// The name used in configs and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::L1Relu => "l1_relu",
            Self::L2Relu => "l2_relu",
            Self::L3Relu => "l3_relu",
        }
    }
}

/// Text rewriting of the reference's `preprocess_func`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Preprocess {
    /// Lower-case.
    ToLower,
    /// One space before the text.
    BlankPrefix,
    /// Both.
    BlankPrefixLower,
}

/// Training data and how it is cut into groups.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataConfig {
    /// Where the rows are.
    pub source: TrainSource,
    /// What the rows are.
    pub kind: DataKind,
    /// Documents per query of a group, all counted: `sample_num_one_query` for kd and kd-ids, one more (the positive)
    /// for posnegs; 1 for mlm, where a text stands alone.
    pub docs_per_query: usize,
    /// Longest training sequence in tokens, specials included.
    pub max_seq_len: usize,
    /// Longest sequence in evaluation.
    pub eval_max_seq_len: usize,
    /// kd and kd-ids rows whose `first_rank` exceeds this are dropped.
    pub first_rank_thresh: usize,
    /// Random swaps in each kd or kd-ids row's ranking before grouping.
    pub swap_times: usize,
}

/// `train_file` or `train_file_dir`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum TrainSource {
    /// One data set: a JSON lines file or a save_to_disk directory.
    File(PathBuf),
    /// A folder of data sets; each batch comes from one, drawn in proportion to size.
    Dir(PathBuf),
}

/// `data_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum DataKind {
    /// {query, docs, scores}.
    Kd,
    /// {query, pos, negs}.
    PosNegs,
    /// {query, docs, scores} with the texts' ids, {q_id, d_ids}, by which teachers look vectors up.
    KdIds,
}

impl DataKind {
    /// Whether rows are rankings of documents, not a positive with its negatives.
    pub fn is_kd(self) -> bool {
        match self {
            Self::Kd | Self::KdIds => true,
            Self::PosNegs => false,
        }
    }
}

/// The objective: ranking losses plus weighted FLOPS penalties.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LossConfig {
    /// Summed.
    pub ranking: Vec<RankingLoss>,
    /// What each of `ranking` is multiplied by before (`loss_weights`).
    pub loss_weights: Vec<f64>,
    /// Times each ranking loss.
    pub ranking_weight: f64,
    /// Score every query against every document of the batch.
    pub in_batch_negatives: bool,
    /// T: scores are divided by it.
    pub temperature: f64,
    /// Multiplies teacher scores.
    pub score_scale: f64,
    /// Penalty of the documents' weights.
    pub document_flops: FlopsConfig,
    /// Penalty of the queries' weights (siamese only).
    pub query_flops: Option<FlopsConfig>,
    /// Zero the special tokens' weights in training too.
    pub mask_special_tokens: bool,
}

impl LossConfig {
    /// The first loss that learns from teacher scores, if any does.
    pub fn needs_scores(&self) -> Option<RankingLoss> {
        let mut losses = self.ranking.iter().copied();
        losses.find(|loss| match loss {
            RankingLoss::KlDiv | RankingLoss::MarginMse => true,
            RankingLoss::InfoNce => false,
        })
    }
}

/// `loss_types`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum RankingLoss {
    /// KL divergence from the teacher's distribution over a query's documents.
    KlDiv,
    /// Squared error of score margins.
    MarginMse,
    /// Cross entropy of the positive.
    InfoNce,
}

/// The FLOPS penalty of one side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FlopsConfig {
    /// lambda at full strength.
    pub lambda: f64,
    /// Steps of quadratic growth up to lambda.
    pub warmup_steps: usize,
    /// Only rows with more non-zero weights than this are penalised (the l0 mask).
    pub threshold: Option<f64>,
    /// Apply log1p once more inside the penalty.
    pub decouple_activation: bool,
    /// How rows of different groups are reduced.
    pub reduction: FlopsReduction,
}

/// `flops_reduction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub enum FlopsReduction {
    /// One mean per document slot of a group, slots summed (the reference).
    #[default]
    Slots,
    /// One mean over all documents (sentence-transformers).
    Documents,
}

/// AdamW and its schedule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OptimizerConfig {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Leave biases and LayerNorm weights undecayed.
    pub exclude_bias_and_norm: bool,
    /// First-moment decay.
    pub beta1: f64,
    /// Second-moment decay.
    pub beta2: f64,
    /// Denominator offset.
    pub epsilon: f64,
    /// Global gradient-norm bound.
    pub max_grad_norm: Option<f64>,
    /// Shape of the learning rate over the steps.
    pub schedule: LrSchedule,
    /// Linear warm-up from 0.
    pub warmup: Warmup,
    /// Micro-batches per optimizer step.
    pub accumulation_steps: usize,
    /// Texts encoded at a time, with their activations in memory; `None` is all of a batch.
    pub grad_cache_docs: Option<usize>,
}

/// `lr_scheduler_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum LrSchedule {
    /// Linear warm-up, linear decay to 0.
    Linear,
    /// Linear warm-up, half a cosine down to 0.
    Cosine,
    /// No warm-up, no decay.
    Constant,
    /// Linear warm-up, then constant.
    ConstantWithWarmup,
}

/// `warmup_steps` or `warmup_ratio`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Warmup {
    /// A number of steps.
    Steps(usize),
    /// A share of all steps.
    Ratio(f64),
}

/// Duration, output and reproducibility of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunConfig {
    /// Receives configs, logs, checkpoints and the final model.
    pub output_dir: PathBuf,
    /// Write into an `output_dir` that already holds a run.
    pub overwrite_output_dir: bool,
    /// When training ends.
    pub duration: Duration,
    /// Queries per batch; texts, where there are no queries.
    pub batch_queries: usize,
    /// Documents per batch in evaluation.
    pub eval_batch_docs: usize,
    /// Drop the last, smaller batch of an epoch.
    pub drop_last: bool,
    /// Initialisation and dropout.
    pub seed: u64,
    /// Order of the data; `seed` where not given.
    pub data_seed: u64,
    /// Steps between rows of metrics.jsonl.
    pub logging_steps: usize,
    /// Steps between checkpoints; `None` saves only the final model.
    pub save_steps: Option<usize>,
    /// Checkpoints kept; older ones are deleted.
    pub save_total_limit: Option<usize>,
    /// BEIR directories to evaluate on (`eval_data`); the final model is evaluated wherever it is not empty.
    pub eval_data: Vec<PathBuf>,
    /// Steps between evaluations while training.
    pub eval_steps: Option<usize>,
    /// Evaluate the model before its first step.
    pub eval_on_start: bool,
    /// Floating-point type of the computation.
    pub precision: Precision,
    /// Recompute cheap activations in the backward pass.
    pub gradient_checkpointing: bool,
    /// Continue from the newest complete checkpoint.
    pub resume: bool,
    /// `log_level`, as tracing names it (error, warn, info, debug, trace).
    pub log_level: String,
}

/// `max_steps` or `num_train_epochs`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Duration {
    /// Optimizer steps.
    Steps(usize),
    /// Passes over the data.
    Epochs(f64),
}

/// `fp16`, `bf16`, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// float16 (GPU).
    F16,
    /// bfloat16 (GPU).
    Bf16,
}
