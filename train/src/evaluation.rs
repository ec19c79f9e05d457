//! Evaluating the model as it stands, on BEIR directories.

use std::borrow::Cow;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use configs::{Preprocess, TrainConfig};
use data::beir::BeirDir;
use data::{BatchLimit, Idf, Tokenizer, preprocess};
use eval::beir::{DatasetReport, EvalOptions, evaluate, evaluate_lexical};
use eval::text_encoder::TextEncoder;
use model::sparse::SparseError;
use model::{QueryWeights, SparseEncoder, SparseVector};

use crate::error::TrainError;
use crate::step::Trainable;

/// A BEIR directory with the split to evaluate on.
#[derive(Debug, Clone)]
pub struct EvalSet {
    /// Where it is.
    pub dir: BeirDir,
    /// `test`, or else `dev`, or else the first there is.
    pub split: String,
}

impl EvalSet {
    /// Opens a directory and reads its judgements once, so that what is wrong with them is told early.
    ///
    /// # Errors
    ///
    /// If a file is missing or broken.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let dir = BeirDir::open(path)?;
        let splits = dir.splits();
        let preferred = ["test", "dev"]
            .into_iter()
            .find(|name| splits.iter().any(|split| split == name));
        let split = match preferred {
            Some(name) => name.to_owned(),
            None => splits
                .into_iter()
                .next()
                .ok_or_else(|| TrainError::NoJudgements(path.to_path_buf()))?,
        };
        dir.qrels(&split)?;
        Ok(Self { dir, split })
    }
}

/// How a run's model encodes texts outside training: special tokens weigh nothing.
#[derive(Clone, Copy)]
pub struct Evaluator<'a> {
    /// The recipe.
    pub config: &'a TrainConfig,
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Where the model is.
    pub device: &'a Device,
}

impl Evaluator<'_> {
    /// Evaluates the model as it stands.
    ///
    /// # Errors
    ///
    /// If the data cannot be read or encoded.
    pub fn evaluate(
        &self,
        trainable: &Trainable,
        set: &EvalSet,
    ) -> Result<DatasetReport, TrainError> {
        let trained = trainable.valid();
        let queries = match &trained.idf {
            Some(_) => QueryWeights::Idf(idf_table(trainable, self.tokenizer)),
            None => QueryWeights::Siamese,
        };
        let encoder = SparseEncoder::new(
            trained.model,
            Tokenizer::from_dir(self.tokenizer.dir())?,
            queries,
            self.config.model.activation,
            &self.device.clone().inner(),
        )
        .with_max_len(self.config.data.eval_max_seq_len)
        .with_batch(BatchLimit::Rows(self.config.run.eval_batch_docs))
        .with_prune_ratio(self.config.model.prune_ratio);
        let encoder = Rewriting {
            encoder,
            function: self.config.model.preprocess,
        };
        Ok(evaluate(&encoder, &set.dir, &set.split, &options())?)
    }

    /// Evaluates what needs no model: the untrained table against `log1p` of the documents' token counts.
    ///
    /// # Errors
    ///
    /// If the data cannot be read or tokenized.
    pub fn evaluate_lexical(&self, idf: &Idf, set: &EvalSet) -> Result<DatasetReport, TrainError> {
        let report = evaluate_lexical(&set.dir, &set.split, self.tokenizer, idf, &options())?;
        Ok(report)
    }
}

/// Latency says nothing about training.
fn options() -> EvalOptions<'static> {
    EvalOptions {
        timed_queries: 0,
        ..EvalOptions::default()
    }
}

/// The IDF table of a run as it stands, one weight per entry of the tokenizer; all 1 where there is none.
pub fn idf_table(trainable: &Trainable, tokenizer: &Tokenizer) -> Idf {
    let size = tokenizer.vocab_size();
    match &trainable.idf {
        None => Idf::uniform(size),
        Some(table) => Idf {
            weights: table.val().into_data().iter::<f32>().take(size).collect(),
        },
    }
}

/// An encoder behind `preprocess_func`.
struct Rewriting {
    encoder: SparseEncoder,
    function: Option<Preprocess>,
}

impl Rewriting {
    fn rewrite<'t>(&self, texts: &'t [String]) -> Vec<Cow<'t, str>> {
        texts
            .iter()
            .map(|text| preprocess(self.function, text))
            .collect()
    }
}

impl TextEncoder for Rewriting {
    fn encode_documents(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
        self.encoder.encode_documents(&self.rewrite(texts))
    }

    fn encode_queries(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
        self.encoder.encode_queries(&self.rewrite(texts))
    }

    fn token_names(&self) -> Vec<String> {
        self.encoder.token_names()
    }
}
