//! Query representations, and their scores.

use burn::tensor::{DType, Int, Tensor};

use super::Candidates;

/// What the queries of a batch weigh.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one per batch")]
pub enum QueryVectors {
    /// A weight for every vocabulary entry: `[B, V]`. The document encoder makes these.
    Dense(Tensor<2>),
    /// The weights of a few tokens each. The IDF table makes these.
    Sparse {
        /// `[entries]`: the queries' distinct tokens, one query after the other.
        tokens: Tensor<1, Int>,
        /// `[entries]`
        weights: Tensor<1>,
        /// `[entries, B]`: 1 where the entry is of the query, 0 elsewhere.
        members: Tensor<2>,
    },
}

impl QueryVectors {
    /// B.
    pub fn count(&self) -> usize {
        match self {
            Self::Dense(weights) => weights.dims()[0],
            Self::Sparse { members, .. } => members.dims()[1],
        }
    }

    /// Mean number of weights that are not 0: `[1]`.
    pub fn mean_length(&self) -> Tensor<1> {
        let count = self.count() as f64;
        let nonzero = match self {
            Self::Dense(weights) => weights.clone().inner().sign().sum(),
            Self::Sparse {
                weights, members, ..
            } => {
                let real = members.clone().inner().sum_dim(1).squeeze_dim::<1>(1);
                (weights.clone().inner().sign() * real).sum()
            }
        };
        nonzero / count
    }

    /// `score[b, j] = query[b] · document[candidate j of b]`, in float32 whatever the weights' type.
    ///
    /// Sparse queries gather their tokens' columns from the documents: a dozen for each query instead of V.
    ///
    /// # Shapes
    ///
    /// - documents: `[B * n, V]`
    /// - output: `[B, n]` or `[B, B * n]`
    pub fn scores(&self, candidates: Candidates, documents: Tensor<2>) -> Tensor<2> {
        let (tokens, weights, members) = match self {
            Self::Dense(queries) => return candidates.scores(queries.clone(), documents),
            Self::Sparse {
                tokens,
                weights,
                members,
            } => (tokens, weights, members),
        };
        let [docs, _] = documents.dims();
        let rows = self.count();
        let columns = documents.select(1, tokens.clone()).cast(DType::F32); // [B * n, entries]
        let products = columns * weights.clone().cast(DType::F32).unsqueeze::<2>();
        let all = members.clone().transpose().matmul(products.transpose()); // [B, B * n]
        match candidates {
            Candidates::InBatch => all,
            Candidates::Own => {
                let own = Tensor::<2>::eye(rows, &all.device()).reshape([rows, rows, 1]);
                let all = all.reshape([rows, rows, docs / rows]); // [B, group, n]
                (all * own).sum_dim(1).squeeze_dim::<2>(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::gradient_check::floats;
    use super::*;

    #[test]
    fn gathered_scores_and_gradients_are_those_of_dense_queries() {
        let device = Device::flex().autodiff();
        let dense = Tensor::<2>::from_floats([[0.0, 2.0, 0.0, 3.0], [0.5, 0.0, 0.0, 0.0]], &device);
        let sparse = |weights| QueryVectors::Sparse {
            tokens: Tensor::from_ints([1, 3, 0], &device),
            weights,
            members: Tensor::from_floats([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], &device),
        };
        let rows: Vec<f32> = (0..16).map(|i| (i * 5 % 7) as f32).collect();
        for candidates in [Candidates::Own, Candidates::InBatch] {
            let documents = || {
                let rows = Tensor::<1>::from_floats(rows.as_slice(), &device);
                rows.reshape([4, 4]).detach().require_grad()
            };
            let run = |queries: &QueryVectors| {
                let documents = documents();
                let scores = queries.scores(candidates, documents.clone());
                let gradients = scores.clone().powi_scalar(2).sum().backward();
                let gradient = documents
                    .grad(&gradients)
                    .expect("documents have a gradient");
                (floats(scores), floats(gradient))
            };
            let weights = Tensor::<1>::from_floats([2.0, 3.0, 0.5], &device);
            let sparse = sparse(weights);
            assert_eq!(run(&sparse), run(&QueryVectors::Dense(dense.clone())));
            assert_eq!(
                (sparse.count(), floats(sparse.mean_length())),
                (2, vec![1.5])
            );
        }
    }
}
