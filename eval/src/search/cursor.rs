//! Going through a posting list, from one window of document numbers to the next.

use std::ops::Range;

use super::posting_block::BLOCK_LEN;
use super::posting_list::PostingList;

/// A place in a posting list, with the block unpacked that was used last.
#[derive(Debug)]
pub struct Cursor<'a> {
    list: PostingList<'a>,
    /// The first block that reaches into the window or beyond.
    first: usize,
    /// Blocks that may reach into the window.
    blocks: Range<usize>,
    window: Range<u32>,
    docs_of: Option<usize>,
    weights_of: Option<usize>,
    len: usize,
    docs: [u32; BLOCK_LEN],
    weights: [f32; BLOCK_LEN],
}

impl<'a> Cursor<'a> {
    /// Before the first document.
    pub fn new(list: PostingList<'a>) -> Self {
        Self {
            list,
            first: 0,
            blocks: 0..0,
            window: 0..0,
            docs_of: None,
            weights_of: None,
            len: 0,
            docs: [0; BLOCK_LEN],
            weights: [0.0; BLOCK_LEN],
        }
    }

    /// Goes to a window that begins where the one before ends, or later.
    pub fn move_to(&mut self, window: Range<u32>) {
        let (list, blocks) = (self.list, self.list.num_blocks());
        let mut first = self.first;
        while first < blocks && list.last_doc(first) < window.start {
            first += 1;
        }
        let mut end = first;
        while end < blocks && (end == first || list.last_doc(end - 1) + 1 < window.end) {
            end += 1;
        }
        self.first = first;
        self.blocks = first..end;
        self.window = window;
    }

    /// The largest weight in the blocks that reach into the window.
    pub fn max_weight(&self) -> f32 {
        let weights = self.blocks.clone().map(|block| self.list.max_weight(block));
        weights.fold(0.0, f32::max)
    }

    /// How many postings may be in the window.
    pub fn len_bound(&self) -> usize {
        self.blocks.len() * BLOCK_LEN
    }

    /// Hands over all postings in the window, ascending by document.
    pub fn for_each(&mut self, mut visit: impl FnMut(u32, f32)) {
        let window = self.window.clone();
        for block in self.blocks.clone() {
            self.unpack_docs(block);
            self.unpack_weights(block);
            let (docs, weights) = (&self.docs[..self.len], &self.weights[..self.len]);
            let range = match docs[0] >= window.start && docs[docs.len() - 1] < window.end {
                true => 0..docs.len(),
                false => {
                    docs.partition_point(|&doc| doc < window.start)
                        ..docs.partition_point(|&doc| doc < window.end)
                }
            };
            for (&doc, &weight) in docs[range.clone()].iter().zip(&weights[range]) {
                visit(doc, weight);
            }
        }
    }

    /// Hands over the weights of those of `docs` that have one, with their places among `docs`, which ascend within the
    /// window.
    pub fn for_each_of(&mut self, docs: &[u32], mut visit: impl FnMut(usize, f32)) {
        let mut block = self.blocks.start;
        // Where in the block the next document may be.
        let mut index = 0;
        for (place, &doc) in docs.iter().enumerate() {
            while block < self.blocks.end && self.list.last_doc(block) < doc {
                (block, index) = (block + 1, 0);
            }
            if block == self.blocks.end {
                return;
            }
            self.unpack_docs(block);
            let rest = &self.docs[index..self.len];
            index += rest.partition_point(|&other| other < doc);
            if self.docs[index] == doc {
                let weight = match self.weights_of == Some(block) {
                    true => self.weights[index],
                    false => self.list.block(block).weight(index),
                };
                visit(place, weight);
            }
        }
    }

    fn unpack_docs(&mut self, block: usize) {
        if self.docs_of != Some(block) {
            let packed = self.list.block(block);
            packed.docs(self.list.before(block), &mut self.docs);
            (self.len, self.docs_of) = (packed.len(), Some(block));
        }
    }

    fn unpack_weights(&mut self, block: usize) {
        if self.weights_of != Some(block) {
            self.list.block(block).weights(&mut self.weights);
            self.weights_of = Some(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::IndexBuilder;

    #[test]
    fn windows_of_any_width_show_every_posting_once() {
        let mut builder = IndexBuilder::default();
        let has = |doc: u32| doc.is_multiple_of(3) || doc > 900;
        for doc in 0..1500u32 {
            let weight = has(doc).then_some((0, 1.0 + doc as f32));
            let vector = weight.into_iter().collect();
            builder.add(&doc.to_string(), &vector).expect("a new id");
        }
        let index = builder.finish().expect("unique ids");
        let expected: Vec<(u32, f32)> = (0..1500)
            .filter(|&doc| has(doc))
            .map(|doc| (doc, 1.0 + doc as f32))
            .collect();
        for width in [1, 7, 128, 400, 5000] {
            let mut cursor = Cursor::new(index.segments[0].list(0));
            let (mut all, mut asked) = (Vec::new(), Vec::new());
            for start in (0..1500).step_by(width as usize) {
                cursor.move_to(start..start + width);
                let before = all.len();
                cursor.for_each(|doc, weight| all.push((doc, weight)));
                let part = &all[before..];
                let max = part.iter().map(|posting| posting.1).fold(0.0, f32::max);
                assert!(cursor.max_weight() >= max && cursor.len_bound() >= part.len());
                let docs: Vec<u32> = (start..(start + width).min(1500)).collect();
                cursor.for_each_of(&docs, |place, weight| asked.push((docs[place], weight)));
            }
            assert_eq!(all, expected, "width {width}");
            assert_eq!(asked, expected, "width {width}");
        }
    }
}
