//! Which documents each query of a batch is scored against.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// Added to a score to take its document out of a softmax. Finite, so that 0 times it is 0.
const EXCLUDED: f32 = -1e30;

/// Which documents each query of a batch is scored against.
///
/// Documents come in group order: those of query 0, then those of query 1, ..., each group's positive first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidates {
    /// Its own group's: scores are `[B, n]`.
    Own,
    /// Every document of the batch: scores are `[B, B * n]`.
    InBatch,
}

impl Candidates {
    /// `score[b, j] = query[b] · document[candidate j of b]`, in float32 whatever the weights' type.
    ///
    /// # Shapes
    ///
    /// - queries: `[B, V]`
    /// - documents: `[B * n, V]`
    /// - output: `[B, n]` or `[B, B * n]`
    pub fn scores(self, queries: Tensor<2>, documents: Tensor<2>) -> Tensor<2> {
        let [rows, vocab] = queries.dims();
        let docs_per_query = documents.dims()[0] / rows;
        let queries = queries.cast(DType::F32);
        let documents = documents.cast(DType::F32);
        match self {
            Self::Own => documents
                .reshape([rows, docs_per_query, vocab])
                .matmul(queries.reshape([rows, vocab, 1])) // [B, n, 1]
                .reshape([rows, docs_per_query]),
            Self::InBatch => queries.matmul(documents.transpose()),
        }
    }

    /// The column of query `row`'s positive in a score matrix of `columns` columns and `rows` rows.
    pub fn positive_column(self, row: usize, rows: usize, columns: usize) -> usize {
        match self {
            Self::Own => 0,
            Self::InBatch => row * (columns / rows),
        }
    }

    /// 1 at each query's positive, 0 elsewhere.
    ///
    /// # Shapes
    ///
    /// - output: `[rows, columns]`
    pub fn positives(self, [rows, columns]: [usize; 2], device: &Device) -> Tensor<2> {
        let mut indicator = vec![0.0f32; rows * columns];
        for row in 0..rows {
            indicator[row * columns + self.positive_column(row, rows, columns)] = 1.0;
        }
        Tensor::from_data(TensorData::new(indicator, [rows, columns]), device)
    }

    /// What is added to the scores so that other queries' positives drop out of a softmax: 0 or a huge negative
    /// number.
    ///
    /// # Shapes
    ///
    /// - output: `[rows, columns]`
    pub fn exclusions(self, [rows, columns]: [usize; 2], device: &Device) -> Tensor<2> {
        let mut added = vec![0.0f32; rows * columns];
        for row in 0..rows {
            let own = self.positive_column(row, rows, columns);
            for other in 0..rows {
                let column = self.positive_column(other, rows, columns);
                if column != own {
                    added[row * columns + column] = EXCLUDED;
                }
            }
        }
        Tensor::from_data(TensorData::new(added, [rows, columns]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::floats;
    use super::*;

    #[test]
    fn scores_of_both_kinds_agree_on_the_own_group() {
        let device = Device::flex();
        let queries = Tensor::<2>::from_floats([[1.0, 0.0, 2.0], [0.0, 3.0, 0.5]], &device);
        let documents = Tensor::<2>::from_floats(
            [
                [1.0, 1.0, 1.0],
                [0.0, 2.0, 4.0],
                [2.0, 0.0, 0.0],
                [0.0, 1.0, 2.0],
            ],
            &device,
        );
        let own = Candidates::Own.scores(queries.clone(), documents.clone());
        assert_eq!(floats(own), [3.0, 8.0, 0.0, 4.0]);
        let all = Candidates::InBatch.scores(queries, documents);
        assert_eq!(floats(all), [3.0, 8.0, 2.0, 4.0, 3.5, 8.0, 0.0, 4.0]);
    }

    #[test]
    fn other_positives_are_excluded_in_batch_only() {
        let device = Device::flex();
        let shape = [2, 4];
        assert_eq!(
            floats(Candidates::InBatch.positives(shape, &device)),
            [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        );
        assert_eq!(
            floats(Candidates::InBatch.exclusions(shape, &device)),
            [0.0, 0.0, EXCLUDED, 0.0, EXCLUDED, 0.0, 0.0, 0.0]
        );
        assert_eq!(
            floats(Candidates::Own.exclusions([2, 2], &device)),
            [0.0; 4]
        );
    }

    #[test]
    fn one_query_is_the_same_either_way() {
        let device = Device::flex();
        let queries = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
        let documents = Tensor::<2>::from_floats([[1.0, 1.0], [0.0, 2.0]], &device);
        for candidates in [Candidates::Own, Candidates::InBatch] {
            let scores = candidates.scores(queries.clone(), documents.clone());
            assert_eq!(scores.dims(), [1, 2]);
            assert_eq!(floats(scores), [3.0, 4.0]);
        }
    }
}
