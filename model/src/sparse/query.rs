//! Inference-free queries: a table look-up instead of a model.

use super::SparseVector;

/// `relu(idf[t])` once for each distinct token `t`, the tokens in `excluded` (sorted ascending) left out.
///
/// # Panics
///
/// If a token id is outside the table; [`data::Idf`] always covers its tokenizer's vocabulary.
pub fn idf_query(tokens: &[u32], idf: &[f32], excluded: &[u32]) -> SparseVector {
    let mut distinct = tokens.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
        .into_iter()
        .map(|id| (id, idf[id as usize]))
        .filter(|&(id, weight)| weight > 0.0 && excluded.binary_search(&id).is_err())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_a_token_once_and_drops_specials_and_negative_weights() {
        let idf = [9.0, 1.5, -1.0, 2.0];
        let query = idf_query(&[0, 3, 1, 3, 2, 0], &idf, &[0]);
        assert_eq!(query.iter().collect::<Vec<_>>(), [(1, 1.5), (3, 2.0)]);
    }
}
