//! Why a document scores what it scores.

use model::SparseVector;

/// A token that query and document share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenMatch {
    /// Token id.
    pub token: u32,
    /// Its weight in the query.
    pub query_weight: f32,
    /// Its weight in the document.
    pub document_weight: f32,
}

impl TokenMatch {
    /// What the token adds to the score.
    pub fn product(&self) -> f32 {
        self.query_weight * self.document_weight
    }
}

/// The score: the sum of all products, 0 if no token is shared.
pub fn total(matches: &[TokenMatch]) -> f32 {
    // A sum of nothing is -0.0.
    matches.iter().map(TokenMatch::product).sum::<f32>() + 0.0
}

/// The shared tokens, those that add most first; ties go to the lower id.
pub fn explain(query: &SparseVector, document: &SparseVector) -> Vec<TokenMatch> {
    let mut matches: Vec<TokenMatch> = query
        .iter()
        .filter_map(|(token, query_weight)| {
            let place = document.ids.binary_search(&token).ok()?;
            Some(TokenMatch {
                token,
                query_weight,
                document_weight: document.weights[place],
            })
        })
        .collect();
    matches.sort_by(|a, b| b.product().total_cmp(&a.product()));
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_add_up_to_the_score() {
        let query: SparseVector = [(1, 2.0), (4, 1.0), (7, 3.0)].into_iter().collect();
        let document: SparseVector = [(1, 0.5), (5, 9.0), (7, 1.0)].into_iter().collect();
        let matches = explain(&query, &document);
        assert_eq!(
            matches.iter().map(|found| found.token).collect::<Vec<_>>(),
            [7, 1]
        );
        assert_eq!(total(&matches), query.dot(&document));
        assert_eq!(format!("{}", total(&[])), "0");
    }
}
