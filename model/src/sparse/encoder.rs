//! Text to sparse vectors with a loaded model: what evaluation, indexing and serving use.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use configs::Activation;
use data::{BatchLimit, Idf, TokenBatch, Tokenizer, bucket};

use super::{SparseVector, idf_query};
use crate::device;
use crate::hf::{self, ImportOptions, ImportReport};
use crate::inference::CpuMaskedLm;
use crate::masked_lm::{MaskedLm, TokenTensors};
use crate::precision::{Precision, PrecisionError};
use crate::vocabulary::VocabularyMismatch;

/// How a model directory is to be read and used; the defaults follow the model's own files.
#[derive(Debug, Clone)]
pub struct SparseOptions {
    /// Overrides the activation that the model's files name.
    pub activation: Option<Activation>,
    /// IDF table for queries, instead of the model's own.
    pub idf: Option<PathBuf>,
    /// Longest sequence in tokens, specials included.
    pub max_len: usize,
    /// Documents or tokens per batch.
    pub batch: BatchLimit,
    /// Keep document weights above this share of the row's largest.
    pub prune_ratio: Option<f32>,
    /// How exactly documents are encoded.
    pub precision: Precision,
    /// How a checkpoint without a masked-LM head gets one.
    pub import: ImportOptions,
}

impl Default for SparseOptions {
    fn default() -> Self {
        Self {
            activation: None,
            idf: None,
            max_len: 512,
            batch: BatchLimit::Tokens(8192),
            prune_ratio: None,
            precision: Precision::default(),
            import: ImportOptions::default(),
        }
    }
}

/// Where query weights come from.
#[derive(Debug, Clone)]
pub enum QueryWeights {
    /// A table: no model runs.
    Idf(Idf),
    /// The document encoder.
    Siamese,
}

/// A model with everything needed to turn text into sparse vectors.
///
/// Special tokens never appear in its vectors.
pub struct SparseEncoder {
    model: Model,
    /// Longest sequence that the model has positions for.
    positions: usize,
    tokenizer: Tokenizer,
    queries: QueryWeights,
    activation: Activation,
    max_len: usize,
    batch: BatchLimit,
    prune_ratio: Option<f32>,
}

/// What computes.
enum Model {
    Cpu(Box<CpuMaskedLm>),
    Gpu(Box<MaskedLm>, Device),
}

/// Why a model directory cannot be used or a text cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum SparseError {
    /// Weights, config.json or pooling settings.
    #[error(transparent)]
    Import(#[from] hf::ImportError),
    /// Tokenizer files or tokenization.
    #[error(transparent)]
    Tokenize(#[from] data::TokenizeError),
    /// The IDF table.
    #[error(transparent)]
    Idf(#[from] data::IdfError),
    /// The device cannot compute in the precision asked for.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// The tokenizer and the model disagree.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyMismatch),
}

/// What [`SparseEncoder::load`] has to say besides the encoder.
#[derive(Debug)]
pub struct LoadNotes {
    /// What import initialised or left unused.
    pub import: ImportReport,
    /// The model's files name no activation, so `relu` was taken.
    pub activation_assumed: bool,
}

impl SparseEncoder {
    /// Loads a model directory.
    ///
    /// Queries are inference-free where an IDF table is given or the directory has an `idf.json`, and siamese
    /// otherwise. The activation comes from `options`, else from what the model's files state.
    ///
    /// # Errors
    ///
    /// If a file is missing, broken or of the wrong shape; the error names it.
    pub fn load(
        dir: &Path,
        options: &SparseOptions,
        device: &Device,
    ) -> Result<(Self, LoadNotes), SparseError> {
        options.precision.check(device)?;
        let tokenizer = Tokenizer::from_dir(dir)?;
        let (model, config, import) = hf::load(dir, &options.import, device)?;
        VocabularyMismatch::check(dir, &tokenizer, &config)?;
        let own_idf = dir.join("idf.json");
        let idf = options
            .idf
            .clone()
            .or_else(|| own_idf.is_file().then_some(own_idf));
        let queries = match idf {
            Some(path) => QueryWeights::Idf(Idf::from_file(&path, &tokenizer)?),
            None => QueryWeights::Siamese,
        };
        let named = match options.activation {
            Some(activation) => Some(activation),
            None => hf::stored_activation(dir)?,
        };
        let encoder = Self {
            max_len: options.max_len.min(config.max_positions),
            batch: options.batch,
            prune_ratio: options.prune_ratio,
            ..Self::with_precision(
                model,
                tokenizer,
                queries,
                named.unwrap_or_default(),
                device,
                options.precision,
            )
        };
        let notes = LoadNotes {
            import,
            activation_assumed: named.is_none(),
        };
        Ok((encoder, notes))
    }

    /// An encoder around a model in memory, with default lengths and batches.
    pub fn new(
        model: MaskedLm,
        tokenizer: Tokenizer,
        queries: QueryWeights,
        activation: Activation,
        device: &Device,
    ) -> Self {
        let float32 = Precision::Float32;
        Self::with_precision(model, tokenizer, queries, activation, device, float32)
    }

    fn with_precision(
        model: MaskedLm,
        tokenizer: Tokenizer,
        queries: QueryWeights,
        activation: Activation,
        device: &Device,
        precision: Precision,
    ) -> Self {
        let defaults = SparseOptions::default();
        let positions = model.encoder.max_positions();
        Self {
            model: match device::is_cpu(device) {
                true => Model::Cpu(Box::new(CpuMaskedLm::pack(&model, precision))),
                false => Model::Gpu(Box::new(model), device.clone()),
            },
            positions,
            tokenizer,
            queries,
            activation,
            max_len: defaults.max_len.min(positions),
            batch: defaults.batch,
            prune_ratio: None,
        }
    }

    /// The same encoder with another longest sequence; never beyond the model's positions.
    pub fn with_max_len(mut self, max_len: usize) -> Self {
        self.max_len = max_len.min(self.positions);
        self
    }

    /// The same encoder with another batch limit.
    pub fn with_batch(mut self, batch: BatchLimit) -> Self {
        self.batch = batch;
        self
    }

    /// The same encoder with another pruning ratio.
    pub fn with_prune_ratio(mut self, ratio: Option<f32>) -> Self {
        self.prune_ratio = ratio;
        self
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Where its query weights come from.
    pub fn queries(&self) -> &QueryWeights {
        &self.queries
    }

    /// Its activation.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Document vectors, in the order of `texts`. A text encodes the same alone and among others, up to the
    /// rounding of float32 sums.
    ///
    /// # Errors
    ///
    /// If a text cannot be tokenized.
    pub fn encode_documents<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
    ) -> Result<Vec<SparseVector>, SparseError> {
        let rows = self.tokenizer.encode_all(texts, self.max_len)?;
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        Ok(self.encode_tokens(&rows))
    }

    /// Document vectors of texts in tokens, specials included.
    pub fn encode_tokens(&self, texts: &[&[u32]]) -> Vec<SparseVector> {
        match &self.model {
            Model::Cpu(encoder) => encoder.encode(texts, self.batch, |pooled| {
                let mut vector = SparseVector::from_dense(pooled, self.tokenizer.special_ids());
                for weight in &mut vector.weights {
                    let logarithms = 0..self.activation.logarithms();
                    *weight = logarithms.fold(*weight, |weight, _| weight.ln_1p());
                }
                self.shorten(vector)
            }),
            Model::Gpu(model, device) => {
                let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
                let mut vectors = vec![SparseVector::default(); texts.len()];
                for members in bucket(&lengths, self.batch) {
                    let batch: Vec<&[u32]> = members.iter().map(|&text| texts[text]).collect();
                    let batch = self.encode_batch(&TokenBatch::new(&batch), model, device);
                    for (text, vector) in members.into_iter().zip(batch) {
                        vectors[text] = vector;
                    }
                }
                vectors
            }
        }
    }

    /// Query vectors, in the order of `texts`.
    ///
    /// # Errors
    ///
    /// If a text cannot be tokenized.
    pub fn encode_queries<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
    ) -> Result<Vec<SparseVector>, SparseError> {
        match &self.queries {
            QueryWeights::Siamese => self.encode_documents(texts),
            QueryWeights::Idf(idf) => {
                let rows = self.tokenizer.encode_all(texts, self.max_len)?;
                let special = self.tokenizer.special_ids();
                Ok(rows
                    .iter()
                    .map(|row| idf_query(row, &idf.weights, special))
                    .collect())
            }
        }
    }

    fn encode_batch(
        &self,
        batch: &TokenBatch,
        model: &MaskedLm,
        device: &Device,
    ) -> Vec<SparseVector> {
        let tokens = TokenTensors::new(batch, device);
        let weights = model.document_weights(&tokens, self.activation);
        let vocab = weights.dims()[1];
        let weights: Vec<f32> = weights.into_data().convert::<f32>().iter().collect();
        weights
            .chunks_exact(vocab)
            .map(|row| self.shorten(SparseVector::from_dense(row, self.tokenizer.special_ids())))
            .collect()
    }

    fn shorten(&self, vector: SparseVector) -> SparseVector {
        match self.prune_ratio {
            Some(ratio) => vector.prune(ratio),
            None => vector,
        }
    }
}
