//! Byte sections of an index, in memory or mapped from its file. Numbers are little-endian and unaligned.

use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

/// Bytes of one kind of data.
#[derive(Debug)]
pub enum Section {
    /// Built by this process.
    Owned(Vec<u8>),
    /// Part of an index file.
    Mapped(Arc<Mmap>, Range<usize>),
}

impl Deref for Section {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Mapped(map, range) => &map[range.clone()],
        }
    }
}

impl Section {
    /// Packs 64-bit numbers.
    pub fn of_offsets(offsets: &[u64]) -> Self {
        Self::Owned(
            offsets
                .iter()
                .flat_map(|offset| offset.to_le_bytes())
                .collect(),
        )
    }

    /// The number at `index` of a section of 64-bit numbers.
    pub fn offset(&self, index: usize) -> u64 {
        u64::from_le_bytes(self.as_chunks::<8>().0[index])
    }

    /// How many 64-bit numbers there are.
    pub fn offset_count(&self) -> usize {
        self.len() / 8
    }

    /// Whether these are 64-bit numbers from 0, never descending, to `end`.
    pub fn are_offsets_up_to(&self, end: u64) -> bool {
        let (numbers, rest) = self.as_chunks::<8>();
        let numbers = || numbers.iter().map(|&bytes| u64::from_le_bytes(bytes));
        rest.is_empty()
            && numbers().next() == Some(0)
            && numbers().is_sorted()
            && numbers().next_back() == Some(end)
    }
}

/// Strings by number.
#[derive(Debug)]
pub struct StringTable {
    /// Where each string starts in `text`, and the end of the last.
    pub offsets: Section,
    /// All strings, one after the other.
    pub text: Section,
}

impl StringTable {
    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.offsets.offset_count() - 1
    }

    /// The string number `index`.
    pub fn get(&self, index: usize) -> &str {
        let range = self.offsets.offset(index) as usize..self.offsets.offset(index + 1) as usize;
        std::str::from_utf8(&self.text[range]).expect("checked when the table was built or opened")
    }

    /// All strings, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Whether the offsets fit the text and every string is UTF-8.
    pub fn is_valid(&self) -> bool {
        self.offsets.are_offsets_up_to(self.text.len() as u64)
            && std::str::from_utf8(&self.text).is_ok_and(|text| {
                (0..self.len())
                    .all(|index| text.is_char_boundary(self.offsets.offset(index) as usize))
            })
    }
}

/// A growing [`StringTable`]: strings in memory, one after the other.
#[derive(Debug)]
pub struct StringTableBuilder {
    offsets: Vec<u64>,
    text: Vec<u8>,
}

impl Default for StringTableBuilder {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            text: Vec::new(),
        }
    }
}

impl StringTableBuilder {
    /// Appends a string.
    pub fn push(&mut self, string: &str) {
        self.text.extend_from_slice(string.as_bytes());
        self.offsets.push(self.text.len() as u64);
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The finished table.
    pub fn finish(self) -> StringTable {
        StringTable {
            offsets: Section::of_offsets(&self.offsets),
            text: Section::Owned(self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back_and_broken_offsets_are_seen() {
        let mut builder = StringTableBuilder::default();
        ["d1", "", "dé"]
            .into_iter()
            .for_each(|string| builder.push(string));
        let mut table = builder.finish();
        assert_eq!(table.iter().collect::<Vec<_>>(), ["d1", "", "dé"]);
        assert!(table.is_valid());
        // In the middle of é, beyond the end, descending, not from 0, not a whole number.
        for offsets in [
            vec![0, 4, 5],
            vec![0, 9, 5],
            vec![0, 3, 2, 5],
            vec![1, 5],
            vec![0, 4],
        ] {
            table.offsets = Section::of_offsets(&offsets);
            assert!(!table.is_valid(), "{offsets:?}");
        }
        table.offsets = Section::Owned(vec![0; 3]);
        assert!(!table.is_valid());
    }
}
