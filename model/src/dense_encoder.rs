//! Dense bi-encoders: text to one vector, queries and documents apart.

use std::path::Path;

use burn::tensor::Device;
use data::{BatchLimit, TokenBatch, Tokenizer, bucket};

use crate::device;
use crate::encoder::Encoder;
use crate::hf;
use crate::inference::{CpuEncoder, Segments};
use crate::masked_lm::TokenTensors;
use crate::pooling::{Pooling, normalise};
use crate::precision::{Precision, PrecisionError};
use crate::vocabulary::VocabularyMismatch;

/// Longest sequence where neither the caller nor the model's files name one.
const MAX_LEN: usize = 512;

/// How a bi-encoder's directory is to be used; the defaults follow sentence-transformers' files in it.
#[derive(Debug, Clone, Default)]
pub struct DenseOptions {
    /// How hidden states become a vector; by default what the files say, or else that of `[CLS]`.
    pub pooling: Option<Pooling>,
    /// Whether vectors get length 1, so that their dot product is the cosine; by default unless the files say that
    /// they are compared by dot product as they are.
    pub normalise: Option<bool>,
    /// Longest text in tokens, specials included; by default what the files say, or else 512. Never beyond the model's
    /// positions.
    pub max_len: Option<usize>,
    /// What comes before every query; by default the prompt in the files, or else nothing.
    pub query_prefix: Option<String>,
    /// What comes before every document; by default the prompt in the files, or else nothing.
    pub document_prefix: Option<String>,
    /// How exactly texts are encoded.
    pub precision: Precision,
}

/// An encoder, how its hidden states become a vector, and its tokenizer (Reimers and Gurevych 2019).
pub struct DenseEncoder {
    model: Model,
    tokenizer: Tokenizer,
    pooling: Pooling,
    normalise: bool,
    max_len: usize,
    query_prefix: String,
    document_prefix: String,
    /// Width of a vector.
    dim: usize,
}

/// What computes.
enum Model {
    Cpu(Box<CpuEncoder>),
    Gpu(Box<Encoder>, Device),
}

/// Why a bi-encoder cannot be used or a text cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum DenseError {
    /// Weights, config.json or the files of sentence-transformers.
    #[error(transparent)]
    Import(#[from] hf::ImportError),
    /// Tokenizer files or tokenization.
    #[error(transparent)]
    Tokenize(#[from] data::TokenizeError),
    /// The device cannot compute in the precision asked for.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// The tokenizer and the model disagree.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyMismatch),
}

/// What [`DenseEncoder::load`] has to say besides the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenseNotes {
    /// Neither the caller nor the files name a pooling mode, so `[CLS]` was taken.
    pub pooling_assumed: bool,
    /// Keys in the weights' file that the model has no use for: buffers, and heads.
    pub unused: Vec<String>,
}

impl DenseEncoder {
    /// Loads a model directory: one of sentence-transformers, or a plain one of an encoder with or without a head.
    ///
    /// # Errors
    ///
    /// If a file is missing, broken or of the wrong shape, or the files ask for something that is not implemented; the
    /// error names it.
    pub fn load(
        dir: &Path,
        options: &DenseOptions,
        device: &Device,
    ) -> Result<(Self, DenseNotes), DenseError> {
        options.precision.check(device)?;
        let device = device.clone().inner();
        let settings = hf::bi_encoder_settings(dir, options.pooling, options.normalise)?;
        let dir = &settings.transformer;
        let tokenizer = Tokenizer::from_dir(dir)?;
        let (model, config, unused) = hf::load_encoder(dir, &device)?;
        VocabularyMismatch::check(dir, &tokenizer, &config)?;
        let prefix = |chosen: &Option<String>, stored: &Option<String>| {
            let prefix = chosen.as_ref().or(stored.as_ref());
            prefix.cloned().unwrap_or_default()
        };
        let max_len = options.max_len.or(settings.max_len).unwrap_or(MAX_LEN);
        let encoder = Self {
            model: match device::is_cpu(&device) {
                true => Model::Cpu(Box::new(CpuEncoder::pack(&model, options.precision))),
                false => Model::Gpu(Box::new(model), device),
            },
            tokenizer,
            pooling: settings.pooling.unwrap_or(Pooling::Cls),
            normalise: settings.normalise.unwrap_or(true),
            max_len: max_len.min(config.max_positions),
            query_prefix: prefix(&options.query_prefix, &settings.query_prefix),
            document_prefix: prefix(&options.document_prefix, &settings.document_prefix),
            dim: config.hidden_size,
        };
        let notes = DenseNotes {
            pooling_assumed: settings.pooling.is_none(),
            unused,
        };
        Ok((encoder, notes))
    }

    /// Width of its vectors.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How its hidden states become a vector.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// Whether its vectors have length 1.
    pub fn normalises(&self) -> bool {
        self.normalise
    }

    /// Longest text in tokens, prefix and specials included. What is longer is cut at its end.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// What comes before every query, and before every document.
    pub fn prefixes(&self) -> [&str; 2] {
        [&self.query_prefix, &self.document_prefix]
    }

    /// The vector of each query, `[dim]`, in the order of `queries`; `limit` bounds a batch, on the CPU what a thread
    /// has in hand.
    ///
    /// On the CPU a text's vector does not depend, bit for bit, on what is encoded with it; on GPUs up to the rounding
    /// of float32 sums.
    ///
    /// # Errors
    ///
    /// If a text cannot be tokenized.
    pub fn encode_queries<S: AsRef<str> + Sync>(
        &self,
        queries: &[S],
        limit: BatchLimit,
    ) -> Result<Vec<Vec<f32>>, DenseError> {
        self.encode(&self.query_prefix, queries, limit)
    }

    /// The vector of each document; otherwise as [`DenseEncoder::encode_queries`].
    ///
    /// # Errors
    ///
    /// If a text cannot be tokenized.
    pub fn encode_documents<S: AsRef<str> + Sync>(
        &self,
        documents: &[S],
        limit: BatchLimit,
    ) -> Result<Vec<Vec<f32>>, DenseError> {
        self.encode(&self.document_prefix, documents, limit)
    }

    fn encode<S: AsRef<str> + Sync>(
        &self,
        prefix: &str,
        texts: &[S],
        limit: BatchLimit,
    ) -> Result<Vec<Vec<f32>>, DenseError> {
        let rows = if prefix.is_empty() {
            self.tokenizer.encode_all(texts, self.max_len)?
        } else {
            let with_prefix = |text: &S| format!("{prefix}{}", text.as_ref());
            let texts: Vec<String> = texts.iter().map(with_prefix).collect();
            self.tokenizer.encode_all(&texts, self.max_len)?
        };
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let mut vectors = match &self.model {
            Model::Cpu(model) => {
                let texts: Vec<Segments> = rows.iter().map(|&row| row.into()).collect();
                let pool = |hidden: &[f32]| self.pooling.of_text(hidden, self.dim);
                model.encode(&texts, limit, pool)
            }
            Model::Gpu(model, device) => self.encode_with(model, device, &rows, limit),
        };
        if self.normalise {
            vectors.iter_mut().for_each(|vector| normalise(vector));
        }
        Ok(vectors)
    }

    /// The vectors of texts in tokens, through tensors.
    fn encode_with(
        &self,
        model: &Encoder,
        device: &Device,
        texts: &[&[u32]],
        limit: BatchLimit,
    ) -> Vec<Vec<f32>> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let mut vectors = vec![Vec::new(); texts.len()];
        for members in bucket(&lengths, limit) {
            let batch: Vec<&[u32]> = members.iter().map(|&text| texts[text]).collect();
            let tokens = TokenTensors::new(&TokenBatch::new(&batch), device);
            let pooled = self.pooling.of_batch(model.forward(&tokens), &tokens); // [texts, hidden]
            let pooled = pooled.into_data().convert::<f32>();
            let pooled: Vec<f32> = pooled.iter::<f32>().collect();
            for (text, vector) in members.into_iter().zip(pooled.chunks_exact(self.dim)) {
                vectors[text] = vector.to_vec();
            }
        }
        vectors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;
    use crate::hf::fixture::random_model;
    use crate::ops::check::assert_close;

    /// What GPUs compute, on the CPU.
    #[test]
    fn tensors_give_the_vectors_of_slices() {
        let (dir, masked_lm, config) = random_model(Family::Bert);
        let encoder = |model, pooling, normalise| DenseEncoder {
            model,
            tokenizer: Tokenizer::from_dir(dir.path()).unwrap(),
            pooling,
            normalise,
            max_len: config.max_positions,
            query_prefix: String::new(),
            document_prefix: "sun ".to_owned(),
            dim: config.hidden_size,
        };
        let texts = ["moon", "", "moonlight tide sun moon", "tide sun"];
        for (pooling, normalise) in [(Pooling::Cls, false), (Pooling::Mean, true)] {
            let slices = CpuEncoder::pack(&masked_lm.encoder, Precision::Float32);
            let slices = encoder(Model::Cpu(Box::new(slices)), pooling, normalise);
            let tensors = Box::new(masked_lm.encoder.clone());
            let tensors = encoder(Model::Gpu(tensors, Device::flex()), pooling, normalise);
            for limit in [BatchLimit::Rows(3), BatchLimit::Tokens(5)] {
                let expected = slices.encode_documents(&texts, limit).unwrap();
                let found = tensors.encode_documents(&texts, limit).unwrap();
                assert_ne!(found[0], found[3]);
                assert_close(
                    &found.concat(),
                    &expected.concat(),
                    1e-5,
                    &format!("{pooling:?}"),
                );
            }
        }
    }
}
