//! How sparse representations are, and what scoring them costs.

use model::SparseVector;

/// How often each token occurs over a set of vectors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenCounts {
    counts: Vec<u64>,
    rows: u64,
}

impl TokenCounts {
    /// Counts the tokens of one vector.
    pub fn add(&mut self, vector: &SparseVector) {
        self.rows += 1;
        if let Some(&last) = vector.ids.last()
            && last as usize >= self.counts.len()
        {
            self.counts.resize(last as usize + 1, 0);
        }
        for &id in &vector.ids {
            self.counts[id as usize] += 1;
        }
    }

    /// Counts that are known already: `counts[token]` vectors out of `rows` have the token.
    pub fn from_counts(counts: Vec<u64>, rows: u64) -> Self {
        Self { counts, rows }
    }

    /// Mean number of non-zero weights of a vector (`q_length`, `d_length`).
    pub fn mean_length(&self) -> f64 {
        self.counts.iter().sum::<u64>() as f64 / self.rows.max(1) as f64
    }
}

impl<'a> FromIterator<&'a SparseVector> for TokenCounts {
    fn from_iter<I: IntoIterator<Item = &'a SparseVector>>(vectors: I) -> Self {
        let mut counts = Self::default();
        vectors.into_iter().for_each(|vector| counts.add(vector));
        counts
    }
}

/// FLOPS: `sum over v of P(v in query) * P(v in document)`, the mean number of multiplications that scoring one
/// query against one document takes.
pub fn flops(queries: &TokenCounts, documents: &TokenCounts) -> f64 {
    let products: f64 = queries
        .counts
        .iter()
        .zip(&documents.counts)
        .map(|(&query, &document)| query as f64 * document as f64)
        .fold(0.0, |sum, product| sum + product);
    products / (queries.rows.max(1) as f64 * documents.rows.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[&[u32]]) -> TokenCounts {
        rows.iter()
            .map(|ids| ids.iter().map(|&id| (id, 1.0)).collect::<SparseVector>())
            .collect::<Vec<_>>()
            .iter()
            .collect()
    }

    #[test]
    fn flops_is_the_mean_overlap_of_a_pair() {
        let queries = counts(&[&[0, 2], &[2]]);
        let documents = counts(&[&[2, 9], &[0, 1, 2], &[1], &[]]);
        let overlaps = 1 + 2 + 1 + 1;
        assert_eq!(flops(&queries, &documents), f64::from(overlaps) / 8.0);
        assert_eq!((queries.mean_length(), documents.mean_length()), (1.5, 1.5));
    }

    #[test]
    fn nothing_costs_nothing() {
        assert_eq!(flops(&TokenCounts::default(), &counts(&[&[1]])), 0.0);
        assert_eq!(TokenCounts::default().mean_length(), 0.0);
    }
}
