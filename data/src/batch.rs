//! Token batches: rows of one length, padded on the right, and how texts are shared out among them.

/// Token ids of several texts, right-padded to the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// Row-major `[rows, seq_len]`.
    pub ids: Vec<u32>,
    /// Number of real tokens of each row.
    pub lengths: Vec<usize>,
    /// Length of every padded row.
    pub seq_len: usize,
}

impl TokenBatch {
    /// Pads `rows` with `pad_id`.
    pub fn new<R: AsRef<[u32]>>(rows: &[R], pad_id: u32) -> Self {
        let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().len()).collect();
        let seq_len = lengths.iter().copied().max().unwrap_or(0);
        let mut ids = Vec::with_capacity(rows.len() * seq_len);
        for row in rows {
            ids.extend_from_slice(row.as_ref());
            ids.resize(ids.len() + seq_len - row.as_ref().len(), pad_id);
        }
        Self {
            ids,
            lengths,
            seq_len,
        }
    }

    /// Number of texts.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Number of real tokens, padding not counted.
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }
}

/// How large a batch may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchLimit {
    /// At most this many texts.
    Rows(usize),
    /// At most this many tokens, padding counted: texts times the longest one's length.
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
    while let Some(&longest) = rest.first() {
        let rows = match limit {
            BatchLimit::Rows(rows) => rows,
            BatchLimit::Tokens(tokens) => tokens / lengths[longest].max(1),
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
    fn pads_on_the_right() {
        let batch = TokenBatch::new(&[vec![1, 2, 3], vec![4]], 0);
        assert_eq!(batch.ids, [1, 2, 3, 4, 0, 0]);
        assert_eq!(batch.lengths, [3, 1]);
        assert_eq!((batch.rows(), batch.seq_len, batch.tokens()), (2, 3, 4));
    }

    #[test]
    fn buckets_hold_every_text_once_within_the_limit() {
        let lengths = [3, 9, 1, 9, 4, 4, 30, 0];
        assert_eq!(
            bucket(&lengths, BatchLimit::Tokens(18)),
            [vec![6], vec![1, 3], vec![4, 5, 0, 2], vec![7]]
        );
        assert_eq!(
            bucket(&lengths, BatchLimit::Rows(3)),
            [vec![6, 1, 3], vec![4, 5, 0], vec![2, 7]]
        );
        assert_eq!(bucket(&lengths, BatchLimit::Rows(0)).len(), lengths.len());
        assert!(bucket(&[], BatchLimit::Tokens(8)).is_empty());
    }
}
