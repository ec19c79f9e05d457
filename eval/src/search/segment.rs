//! Documents indexed together: their ids, their tokens' names, and a posting list for each token.

use rayon::prelude::*;

use super::posting_list::{Directory, ENTRY_BYTES, PostingList, RANKS};
use super::section::{Section, StringTable};

/// A part of an index, in memory or mapped from its file.
#[derive(Debug)]
pub struct Segment {
    pub documents: StringTable,
    /// Token strings; none for an index that was built with its tokenizer's ids in memory.
    pub tokens: StringTable,
    /// Packed blocks of all lists.
    pub postings: Section,
    pub directory: Directory,
    /// Of the file, by which its successor names it.
    pub checksum: u32,
}

impl Segment {
    /// Number of tokens that have lists.
    pub fn num_lists(&self) -> usize {
        self.directory.offsets.offset_count() - 1
    }

    /// The postings of `token`, none if it was never seen.
    pub fn list(&self, token: u32) -> PostingList<'_> {
        let (token, offsets) = (token as usize, &self.directory.offsets);
        let range = match token < self.num_lists() {
            true => offsets.offset(token) as usize..offsets.offset(token + 1) as usize,
            false => 0..0,
        };
        PostingList {
            entries: &self.directory.entries.as_chunks::<ENTRY_BYTES>().0[range],
            postings: &self.postings,
        }
    }

    /// A weight that `k` documents with `token` at least have; 0 if there are fewer.
    pub fn weight_of_rank(&self, token: u32, k: usize) -> f32 {
        let rank = RANKS.iter().position(|&rank| k <= rank);
        let weights = self.directory.strongest.as_chunks::<4>().0;
        rank.and_then(|rank| weights.get(token as usize * RANKS.len() + rank))
            .map_or(0.0, |&bytes| f32::from_le_bytes(bytes))
    }

    /// Size of everything.
    pub fn num_bytes(&self) -> usize {
        let Directory {
            offsets,
            entries,
            strongest,
        } = &self.directory;
        let tables = [&self.documents, &self.tokens];
        let strings = tables.map(|table| table.offsets.len() + table.text.len());
        strings[0]
            + strings[1]
            + self.postings.len()
            + offsets.len()
            + entries.len()
            + strongest.len()
    }

    /// Checks everything that searching relies on, so that no file can make it panic. Names what is wrong.
    pub fn inconsistency(&self) -> Option<&'static str> {
        let (entries, rest) = self.directory.entries.as_chunks::<ENTRY_BYTES>();
        if !self.documents.is_valid() {
            return Some("document ids");
        }
        if !self.tokens.is_valid() {
            return Some("tokens");
        }
        let offsets = &self.directory.offsets;
        if !(rest.is_empty() && offsets.are_offsets_up_to(entries.len() as u64)) {
            return Some("block offsets");
        }
        if self.directory.strongest.len() != self.num_lists() * RANKS.len() * 4 {
            return Some("strongest weights");
        }
        let documents = self.documents.len();
        let lists = (0..self.num_lists() as u32).into_par_iter();
        let all_valid = lists.all(|token| self.list(token).is_valid(documents));
        (!all_valid).then_some("postings")
    }
}
