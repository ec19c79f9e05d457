//! Token batches: texts one after the other, without padding, and how texts are shared out among them.

/// Token ids of several texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// Those of the first text, then those of the second, ...
    pub ids: Vec<u32>,
    /// Number of tokens of each text.
    pub lengths: Vec<usize>,
}

impl TokenBatch {
    /// Puts texts one after the other.
    pub fn new<R: AsRef<[u32]>>(rows: &[R]) -> Self {
        Self {
            ids: rows.iter().flat_map(|row| row.as_ref()).copied().collect(),
            lengths: rows.iter().map(|row| row.as_ref().len()).collect(),
        }
    }

    /// The ids of each text.
    pub fn texts(&self) -> impl Iterator<Item = &[u32]> {
        let mut rest = self.ids.as_slice();
        self.lengths.iter().map(move |&length| {
            let (text, tail) = rest.split_at(length);
            rest = tail;
            text
        })
    }

    /// Number of texts.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }
}

/// How large a batch may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchLimit {
    /// At most this many texts.
    Rows(usize),
    /// At most this many tokens.
    Tokens(usize),
}

/// Shares texts of the given token `lengths` out into batches of similar length.
///
/// Returns the texts' indices batch by batch, the longest texts first (so that a batch that does not
/// fit into memory fails at once), equal lengths in input order. A batch has at least one text, even
/// where that one alone exceeds the limit.
pub fn bucket(lengths: &[usize], limit: BatchLimit) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&text| std::cmp::Reverse(lengths[text]));
    let mut batches = Vec::new();
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        let rows = match limit {
            BatchLimit::Rows(rows) => rows,
            BatchLimit::Tokens(tokens) => {
                let totals = rest.iter().scan(0, |total, &text| {
                    *total += lengths[text];
                    Some(*total)
                });
                totals.take_while(|&total| total <= tokens).count()
            }
        };
        let (batch, tail) = rest.split_at(rows.clamp(1, rest.len()));
        batches.push(batch.to_vec());
        rest = tail;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_out_as_they_went_in() {
        let texts = [vec![1, 2, 3], vec![], vec![4]];
        let batch = TokenBatch::new(&texts);
        assert_eq!((batch.rows(), batch.tokens()), (3, 4));
        assert!(batch.texts().eq(texts.iter().map(Vec::as_slice)));
    }

    #[test]
    fn buckets_hold_every_text_once_within_the_limit() {
        let lengths = [3, 9, 1, 9, 4, 4, 30, 0];
        assert_eq!(
            bucket(&lengths, BatchLimit::Tokens(18)),
            [vec![6], vec![1, 3], vec![4, 5, 0, 2, 7]]
        );
        assert_eq!(
            bucket(&lengths, BatchLimit::Rows(3)),
            [vec![6, 1, 3], vec![4, 5, 0], vec![2, 7]]
        );
        assert_eq!(bucket(&lengths, BatchLimit::Rows(0)).len(), lengths.len());
        assert!(bucket(&[], BatchLimit::Tokens(8)).is_empty());
    }
}
