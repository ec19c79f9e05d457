//! From groups of texts to tensors.

use std::path::PathBuf;

use burn::tensor::{Device, Int, Tensor, TensorData};
use configs::Preprocess;
use data::mlm::MlmError;
use data::{
    GroupId, TokenBatch, TokenizeError, Tokenizer, TrainData, TrainDataError, TrainGroup,
    preprocess,
};
use model::TokenTensors;

use crate::teacher::{OnlineTeachers, TeacherError};

/// Why a batch cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The groups cannot be read.
    #[error(transparent)]
    Data(#[from] TrainDataError),
    /// The documents cannot be read.
    #[error(transparent)]
    Mlm(#[from] MlmError),
    /// A text cannot be tokenized.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// The teachers give no scores.
    #[error(transparent)]
    Teacher(#[from] TeacherError),
    /// A loss learns from scores that the data lacks.
    #[error(
        "{}: no teacher scores for the query {query:?}, and kldiv and marginmse learn from them: add a scores column \
         (`ellzero-train score`), name teachers in kd_ensemble_teacher_kwargs, or use loss_types: [infonce]",
        path.display()
    )]
    NoScores {
        /// The data set.
        path: PathBuf,
        /// The beginning of the query.
        query: String,
    },
}

/// A batch in numbers, not yet on a device. Documents come in group order: those of query 0, then those of query
/// 1, ..., each group's positive first.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenizedBatch {
    /// Special tokens included.
    pub queries: TokenBatch,
    /// Special tokens included; the same number for each query.
    pub documents: TokenBatch,
    /// Teacher scores, one per candidate, row by row: of a query's own documents as the data or the teachers have them,
    /// or of all documents of the batch.
    pub scores: Option<Vec<f32>>,
}

/// Reads groups and tokenizes them.
pub struct BatchMaker<'a> {
    /// Where the groups are.
    pub data: &'a TrainData,
    /// Splits the texts.
    pub tokenizer: &'a Tokenizer,
    /// Rewrites every text first.
    pub preprocess: Option<Preprocess>,
    /// Longest sequence, specials included.
    pub max_seq_len: usize,
    /// Whether a loss needs teacher scores.
    pub needs_scores: bool,
    /// Who gives them, instead of the data.
    pub teachers: Option<&'a OnlineTeachers>,
    /// Whether every document of the batch is a candidate of every query.
    pub in_batch: bool,
}

impl BatchMaker<'_> {
    /// The batch of these groups.
    ///
    /// # Errors
    ///
    /// If a group cannot be read, tokenized or scored, or lacks the scores that a loss needs.
    pub fn make(&self, ids: &[GroupId]) -> Result<TokenizedBatch, BatchError> {
        let groups = ids.iter().map(|&id| self.data.group(id));
        let groups: Vec<TrainGroup> = groups.collect::<Result<_, _>>()?;
        let scores = match (self.needs_scores, self.teachers) {
            (false, _) => None,
            (true, Some(teachers)) => Some(teachers.scores(&groups, self.in_batch)?),
            (true, None) => Some(self.stored_scores(ids, &groups)?),
        };
        let (mut queries, mut documents) = (Vec::new(), Vec::new());
        for group in groups {
            queries.push(group.query);
            documents.extend(group.docs);
        }
        Ok(TokenizedBatch {
            queries: self.tokenize(&queries)?,
            documents: self.tokenize(&documents)?,
            scores,
        })
    }

    fn stored_scores(
        &self,
        ids: &[GroupId],
        groups: &[TrainGroup],
    ) -> Result<Vec<f32>, BatchError> {
        let mut scores = Vec::new();
        for (id, group) in ids.iter().zip(groups) {
            let own = group.scores.as_ref().ok_or_else(|| BatchError::NoScores {
                path: self.data.sets()[id.set].path().to_path_buf(),
                query: group.query.chars().take(80).collect(),
            })?;
            scores.extend(own);
        }
        Ok(scores)
    }

    fn tokenize(&self, texts: &[String]) -> Result<TokenBatch, TokenizeError> {
        let texts: Vec<_> = texts
            .iter()
            .map(|text| preprocess(self.preprocess, text))
            .collect();
        let rows = self.tokenizer.encode_all(&texts, self.max_seq_len)?;
        Ok(TokenBatch::new(&rows))
    }
}

/// The queries of a batch, on a device.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one per batch")]
pub enum Queries {
    /// For the document encoder.
    Siamese(TokenTensors),
    /// For the IDF table.
    InferenceFree(QueryTokens),
}

/// The distinct tokens of each query that are not special.
#[derive(Debug, Clone)]
pub struct QueryTokens {
    /// `[entries]`: token ids, one query after the other.
    pub tokens: Tensor<1, Int>,
    /// `[entries, queries]`: 1 where the entry is of the query, 0 elsewhere.
    pub members: Tensor<2>,
}

impl QueryTokens {
    /// `special` are the token ids to leave out, in ascending order. There is at least one entry, of no query where
    /// all are empty.
    fn new(batch: &TokenBatch, special: &[u32], device: &Device) -> Self {
        let rows = batch.rows();
        let (mut tokens, mut members) = (Vec::new(), Vec::new());
        for (row, text) in batch.texts().enumerate() {
            let mut distinct = text.to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            distinct.retain(|token| special.binary_search(token).is_err());
            tokens.extend(distinct.iter().map(|&token| token as i32));
            members.resize(tokens.len() * rows, 0.0);
            let first = tokens.len() - distinct.len();
            (first..tokens.len()).for_each(|entry| members[entry * rows + row] = 1.0);
        }
        if tokens.is_empty() {
            tokens.push(0);
            members.resize(rows, 0.0f32);
        }
        let shape = [tokens.len(), rows];
        Self {
            tokens: Tensor::from_data(TensorData::new(tokens, [shape[0]]), device),
            members: Tensor::from_data(TensorData::new(members, shape), device),
        }
    }
}

/// A batch on a device.
#[derive(Debug, Clone)]
pub struct Batch {
    /// One row per query.
    pub queries: Queries,
    /// One row per document, in group order.
    pub documents: TokenTensors,
    /// Teacher scores times the score scale: `[queries, documents per query]`, or `[queries, documents]` where all of
    /// the batch are candidates.
    pub teacher: Option<Tensor<2>>,
}

impl Batch {
    /// Moves a batch for siamese training to `device`.
    pub fn siamese(batch: &TokenizedBatch, score_scale: f64, device: &Device) -> Self {
        let queries = Queries::Siamese(TokenTensors::new(&batch.queries, device));
        Self::new(batch, queries, score_scale, device)
    }

    /// Moves a batch for inference-free training to `device`; `special` are the token ids that weigh nothing in a
    /// query, in ascending order.
    pub fn inference_free(
        batch: &TokenizedBatch,
        special: &[u32],
        score_scale: f64,
        device: &Device,
    ) -> Self {
        let tokens = QueryTokens::new(&batch.queries, special, device);
        Self::new(batch, Queries::InferenceFree(tokens), score_scale, device)
    }

    fn new(batch: &TokenizedBatch, queries: Queries, score_scale: f64, device: &Device) -> Self {
        let rows = batch.queries.rows();
        let teacher = batch.scores.as_ref().map(|scores| {
            let shape = [rows, scores.len() / rows];
            Tensor::from_data(TensorData::new(scores.clone(), shape), device) * score_scale
        });
        Self {
            queries,
            documents: TokenTensors::new(&batch.documents, device),
            teacher,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_once_and_specials_do_not() {
        let batch = TokenBatch::new(&[vec![2, 5, 4, 5, 3], vec![2, 6, 3]]);
        let found = QueryTokens::new(&batch, &[0, 2, 3], &Device::flex());
        let tokens: Vec<i32> = found.tokens.into_data().iter::<i32>().collect();
        assert_eq!(tokens, [4, 5, 6]);
        let members: Vec<f32> = found.members.into_data().iter::<f32>().collect();
        assert_eq!(members, [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]].concat());
    }

    #[test]
    fn scores_are_scaled_and_shaped_like_the_groups() {
        let tokens = |rows| TokenBatch::new(&vec![vec![2u32, 5, 3]; rows]);
        let batch = TokenizedBatch {
            queries: tokens(2),
            documents: tokens(4),
            scores: Some(vec![1.0, 2.0, 3.0, 4.0]),
        };
        let batch = Batch::inference_free(&batch, &[0, 2, 3], 10.0, &Device::flex());
        let teacher = batch.teacher.expect("the batch has scores");
        assert_eq!(teacher.dims(), [2, 2]);
        assert_eq!(
            teacher.into_data().iter::<f32>().collect::<Vec<_>>(),
            [10.0, 20.0, 30.0, 40.0]
        );
    }
}
