//! Rows of tokens to rows of documents, by counting.

use model::SparseVector;

use super::inverted_index::POSTING_BYTES;

/// Document vectors waiting to be inverted.
#[derive(Debug, Default)]
pub struct Block {
    row_ends: Vec<usize>,
    tokens: Vec<u32>,
    weights: Vec<f32>,
    counts: Vec<u64>,
}

impl Block {
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

    /// Offsets by token (in postings) and the postings, each a document number and a weight; documents are
    /// numbered from `first_doc`.
    pub fn invert(self, first_doc: u32) -> (Vec<u64>, Vec<u8>) {
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
        (offsets, postings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postings_are_by_token_then_by_document() {
        let mut block = Block::default();
        for entries in [vec![(0, 1.0), (2, 2.0)], vec![], vec![(2, 3.0)]] {
            block.push(&entries.into_iter().collect());
        }
        let (offsets, postings) = block.invert(10);
        assert_eq!(offsets, [0, 1, 1, 3]);
        let expected: [(u32, f32); 3] = [(10, 1.0), (10, 2.0), (12, 3.0)];
        let bytes: Vec<u8> = expected
            .iter()
            .flat_map(|(doc, weight)| [doc.to_le_bytes(), weight.to_le_bytes()].concat())
            .collect();
        assert_eq!(postings, bytes);
    }
}
