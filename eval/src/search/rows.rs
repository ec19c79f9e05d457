//! Rows of tokens to rows of documents, by counting.

use std::ops::Range;

use model::SparseVector;

/// Size of an unpacked posting: a 32-bit document number and a 32-bit weight.
pub const POSTING_BYTES: usize = 8;

/// Document vectors waiting to be inverted.
#[derive(Debug, Default)]
pub struct Rows {
    row_ends: Vec<usize>,
    tokens: Vec<u32>,
    weights: Vec<f32>,
    counts: Vec<u64>,
}

impl Rows {
    /// Number of documents.
    pub fn num_rows(&self) -> usize {
        self.row_ends.len()
    }

    /// Number of non-zero weights.
    pub fn num_postings(&self) -> usize {
        self.tokens.len()
    }

    /// Appends a document.
    pub fn push(&mut self, vector: &SparseVector) {
        let needed = vector.ids.last().map_or(0, |&last| last as usize + 1);
        if needed > self.counts.len() {
            self.counts.resize(needed, 0);
        }
        for &token in &vector.ids {
            self.counts[token as usize] += 1;
        }
        self.tokens.extend_from_slice(&vector.ids);
        self.weights.extend_from_slice(&vector.weights);
        self.row_ends.push(self.tokens.len());
    }

    /// Documents are numbered from `first_doc`.
    pub fn invert(self, first_doc: u32) -> Inverted {
        let mut offsets = vec![0; self.counts.len() + 1];
        for (token, count) in self.counts.iter().enumerate() {
            offsets[token + 1] = offsets[token] + count;
        }
        let mut next = offsets.clone();
        let mut postings = vec![0; self.tokens.len() * POSTING_BYTES];
        let (slots, _) = postings.as_chunks_mut::<POSTING_BYTES>();
        let mut start = 0;
        for (row, &end) in self.row_ends.iter().enumerate() {
            let doc = (first_doc + row as u32).to_le_bytes();
            for entry in start..end {
                let slot = &mut next[self.tokens[entry] as usize];
                let posting = &mut slots[*slot as usize];
                posting[..4].copy_from_slice(&doc);
                posting[4..].copy_from_slice(&self.weights[entry].to_le_bytes());
                *slot += 1;
            }
            start = end;
        }
        Inverted { offsets, postings }
    }
}

/// Rows by token, not yet packed.
#[derive(Debug)]
pub struct Inverted {
    /// Where each token's postings start, counted in postings, and the end of the last.
    pub offsets: Vec<u64>,
    /// Each a document number and a weight.
    pub postings: Vec<u8>,
}

/// Where postings number `range` lie.
pub fn byte_range(range: Range<u64>) -> Range<usize> {
    range.start as usize * POSTING_BYTES..range.end as usize * POSTING_BYTES
}

/// The postings in `bytes`.
pub fn postings(bytes: &[u8]) -> impl Iterator<Item = (u32, f32)> + '_ {
    let postings = bytes.as_chunks::<POSTING_BYTES>().0.iter();
    postings.map(|&[a, b, c, d, e, f, g, h]| {
        let doc = u32::from_le_bytes([a, b, c, d]);
        (doc, f32::from_le_bytes([e, f, g, h]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postings_are_by_token_then_by_document() {
        let mut rows = Rows::default();
        for entries in [vec![(0, 1.0), (2, 2.0)], vec![], vec![(2, 3.0)]] {
            rows.push(&entries.into_iter().collect());
        }
        let inverted = rows.invert(10);
        assert_eq!(inverted.offsets, [0, 1, 1, 3]);
        let found: Vec<(u32, f32)> = postings(&inverted.postings).collect();
        assert_eq!(found, [(10, 1.0), (10, 2.0), (12, 3.0)]);
    }
}
