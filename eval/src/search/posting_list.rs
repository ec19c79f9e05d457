//! The documents that have a token: blocks of postings, and what can be known of a block without unpacking it.
//!
//! A directory entry has the block's last document (u32), its largest weight (f32) and where it starts among all blocks'
//! bytes (u64).

use std::io::{self, Write};

use super::posting_block::{BLOCK_LEN, Block, encode};
use super::section::Section;

/// Size of a directory entry.
pub const ENTRY_BYTES: usize = 16;

/// For each list, its weights of these ranks, the largest being 1: any query with that token has as many documents with
/// at least such a score.
pub const RANKS: [usize; 4] = [1, 16, 128, 1024];

const DEEPEST: usize = RANKS[RANKS.len() - 1];

/// The postings of one token.
#[derive(Debug, Clone, Copy)]
pub struct PostingList<'a> {
    /// Directory entries of its blocks.
    pub entries: &'a [[u8; ENTRY_BYTES]],
    /// All lists' blocks.
    pub postings: &'a [u8],
}

impl<'a> PostingList<'a> {
    /// Number of blocks.
    pub fn num_blocks(&self) -> usize {
        self.entries.len()
    }

    /// Number of postings.
    pub fn len(&self) -> usize {
        match self.num_blocks() {
            0 => 0,
            blocks => (blocks - 1) * BLOCK_LEN + self.block(blocks - 1).len(),
        }
    }

    /// The last document of a block.
    pub fn last_doc(&self, block: usize) -> u32 {
        let [a, b, c, d, ..] = self.entries[block];
        u32::from_le_bytes([a, b, c, d])
    }

    /// The last document before a block.
    pub fn before(&self, block: usize) -> Option<u32> {
        (block > 0).then(|| self.last_doc(block - 1))
    }

    /// The largest weight of a block.
    pub fn max_weight(&self, block: usize) -> f32 {
        let [_, _, _, _, a, b, c, d, ..] = self.entries[block];
        f32::from_le_bytes([a, b, c, d])
    }

    /// A block.
    pub fn block(&self, block: usize) -> Block<'a> {
        self.try_block(block)
            .expect("checked when the index was built or opened")
    }

    fn try_block(&self, block: usize) -> Option<Block<'a>> {
        let [.., a, b, c, d, e, f, g, h] = self.entries[block];
        let start = usize::try_from(u64::from_le_bytes([a, b, c, d, e, f, g, h])).ok()?;
        Block::parse(self.postings.get(start..)?)
    }

    /// All postings, ascending by document.
    pub fn iter(self) -> impl Iterator<Item = (u32, f32)> + 'a {
        (0..self.num_blocks()).flat_map(move |number| {
            let block = self.block(number);
            let (mut docs, mut weights) = ([0; BLOCK_LEN], [0.0; BLOCK_LEN]);
            block.docs(self.before(number), &mut docs);
            block.weights(&mut weights);
            docs.into_iter().zip(weights).take(block.len())
        })
    }

    /// Whether every block can be unpacked, and documents ascend and stay below `documents`.
    pub fn is_valid(&self, documents: usize) -> bool {
        let mut docs = [0; BLOCK_LEN];
        (0..self.num_blocks()).all(|number| {
            let Some(block) = self.try_block(number) else {
                return false;
            };
            let before = self.before(number);
            block.docs(before, &mut docs);
            let docs = &docs[..block.len()];
            let is_last = number + 1 == self.num_blocks();
            (is_last || block.len() == BLOCK_LEN)
                && before.is_none_or(|before| before < docs[0])
                && docs.is_sorted_by(|a, b| a < b)
                && docs[block.len() - 1] == self.last_doc(number)
                && (self.last_doc(number) as usize) < documents
        })
    }
}

/// What [`ListWriter`] leaves besides the blocks.
#[derive(Debug)]
pub struct Directory {
    /// Where each list's entries start, counted in entries, and the end of the last.
    pub offsets: Section,
    /// Entries of all blocks.
    pub entries: Section,
    /// For each list a float32 for each of [`RANKS`], 0 where the list is shorter.
    pub strongest: Section,
}

/// Packs postings that come list by list.
pub struct ListWriter<'a> {
    out: &'a mut dyn Write,
    written: u64,
    offsets: Vec<u64>,
    entries: Vec<u8>,
    strongest: Vec<u8>,
    before: Option<u32>,
    docs: Vec<u32>,
    weights: Vec<f32>,
    /// The largest weights of the list, and some that are not.
    large: Vec<f32>,
    /// As many as [`DEEPEST`] weights are not less.
    least: f32,
    packed: Vec<u8>,
}

impl<'a> ListWriter<'a> {
    /// Blocks go to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            written: 0,
            offsets: vec![0],
            entries: Vec::new(),
            strongest: Vec::new(),
            before: None,
            docs: Vec::with_capacity(BLOCK_LEN),
            weights: Vec::with_capacity(BLOCK_LEN),
            large: Vec::new(),
            least: f32::NEG_INFINITY,
            packed: Vec::new(),
        }
    }

    /// Appends a posting to the list; documents ascend.
    pub fn push(&mut self, doc: u32, weight: f32) -> io::Result<()> {
        self.docs.push(doc);
        self.weights.push(weight);
        match self.docs.len() {
            BLOCK_LEN => self.end_block(),
            _ => Ok(()),
        }
    }

    /// Ends the list; what follows is the next token's.
    pub fn end_list(&mut self) -> io::Result<()> {
        if !self.docs.is_empty() {
            self.end_block()?;
        }
        self.keep_largest();
        for rank in RANKS {
            let weight = self.large.get(rank - 1).copied().unwrap_or(0.0);
            self.strongest.extend(weight.to_le_bytes());
        }
        self.large.clear();
        self.least = f32::NEG_INFINITY;
        self.before = None;
        self.offsets.push((self.entries.len() / ENTRY_BYTES) as u64);
        Ok(())
    }

    /// The directory of all lists.
    pub fn finish(self) -> Directory {
        Directory {
            offsets: Section::of_offsets(&self.offsets),
            entries: Section::Owned(self.entries),
            strongest: Section::Owned(self.strongest),
        }
    }

    fn end_block(&mut self) -> io::Result<()> {
        self.packed.clear();
        encode(self.before, &self.docs, &self.weights, &mut self.packed);
        let max = self.weights.iter().copied().fold(0.0, f32::max);
        self.before = self.docs.last().copied();
        let last_doc = self.before.unwrap_or_default();
        self.entries.extend(last_doc.to_le_bytes());
        self.entries.extend(max.to_le_bytes());
        self.entries.extend(self.written.to_le_bytes());
        self.written += self.packed.len() as u64;
        let least = self.least;
        self.large
            .extend(self.weights.drain(..).filter(|&weight| weight > least));
        self.docs.clear();
        if self.large.len() >= 2 * DEEPEST {
            self.keep_largest();
        }
        self.out.write_all(&self.packed)
    }

    fn keep_largest(&mut self) {
        self.large.sort_unstable_by(|a, b| b.total_cmp(a));
        self.large.truncate(DEEPEST);
        if self.large.len() == DEEPEST {
            self.least = self.large[DEEPEST - 1];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(lists: &[Vec<(u32, f32)>]) -> (Vec<u8>, Directory) {
        let mut postings = Vec::new();
        let mut writer = ListWriter::new(&mut postings);
        for list in lists {
            for &(doc, weight) in list {
                writer.push(doc, weight).expect("memory");
            }
            writer.end_list().expect("memory");
        }
        let directory = writer.finish();
        (postings, directory)
    }

    fn list<'a>(
        postings: &'a [u8],
        directory: &'a Directory,
        entries: std::ops::Range<usize>,
    ) -> PostingList<'a> {
        PostingList {
            entries: &directory.entries.as_chunks().0[entries],
            postings,
        }
    }

    #[test]
    fn lists_come_back_with_their_directory() {
        let weight = |doc: u32| 0.25 + (doc * 7919 % 4001) as f32;
        let lists: Vec<Vec<(u32, f32)>> = [0, 1, 128, 129, 6000]
            .map(|len| (0..len).map(|n| (n * 3 + 1, weight(n))).collect())
            .into();
        let (postings, directory) = written(&lists);
        let offsets: Vec<u64> = (0..6)
            .map(|index| directory.offsets.offset(index))
            .collect();
        assert_eq!(offsets, [0, 0, 1, 2, 4, 51]);
        let strongest: Vec<f32> = directory
            .strongest
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect();
        for (number, expected) in lists.iter().enumerate() {
            let entries = offsets[number] as usize..offsets[number + 1] as usize;
            let list = list(&postings, &directory, entries);
            assert_eq!(list.len(), expected.len());
            assert_eq!(list.iter().collect::<Vec<_>>(), *expected);
            assert!(list.is_valid(18_000));
            for (block, part) in expected.chunks(BLOCK_LEN).enumerate() {
                let max = part.iter().map(|posting| posting.1).fold(0.0, f32::max);
                assert_eq!(list.max_weight(block), max);
            }
            let mut sorted: Vec<f32> = expected.iter().map(|posting| posting.1).collect();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let of_ranks = RANKS.map(|rank| sorted.get(rank - 1).copied().unwrap_or(0.0));
            assert_eq!(strongest[number * 4..number * 4 + 4], of_ranks);
        }
    }

    #[test]
    fn lists_that_no_writer_made_are_seen() {
        let postings: Vec<(u32, f32)> = (0..200).map(|doc| (doc, 1.0)).collect();
        let (postings, directory) = written(&[postings]);
        assert!(list(&postings, &directory, 0..2).is_valid(200));
        // Fewer documents than its last, a short block before the end, a list that begins in its middle.
        assert!(!list(&postings, &directory, 0..2).is_valid(199));
        let mut entries = directory.entries.to_vec();
        entries.rotate_left(ENTRY_BYTES);
        let turned = PostingList {
            entries: entries.as_chunks().0,
            postings: &postings,
        };
        assert!(!turned.is_valid(200));
        assert!(!list(&postings, &directory, 1..2).is_valid(200));
        assert!(!list(&postings[..postings.len() - 1], &directory, 0..2).is_valid(200));
    }
}
