//! The on-disk form of an index: one file, memory-mapped, each section with its checksum.
//!
//! ```text
//! magic "ellzeroI", format version u32
//! sections, one after the other: document id offsets, document ids, token offsets, tokens,
//!                                posting offsets, postings
//! for each section: start u64, length u64, CRC-32 u32
//! CRC-32 of magic, version and the table above, u32
//! ```
//!
//! All numbers are little-endian. The file appears under its name only when it is complete.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use data::output::AtomicFile;
use memmap2::Mmap;
use rayon::prelude::*;

use super::IndexError;
use super::inverted_index::{InvertedIndex, POSTING_BYTES};
use super::section::{Section, StringTable};

/// Name of the index file within its folder.
pub const INDEX_FILE: &str = "index.bin";

const MAGIC: &[u8; 8] = b"ellzeroI";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 12;
const SECTION_NAMES: [&str; 6] = [
    "document id offsets",
    "document ids",
    "token offsets",
    "tokens",
    "posting offsets",
    "postings",
];
const ENTRY_BYTES: usize = 20;
const TRAILER_BYTES: usize = SECTION_NAMES.len() * ENTRY_BYTES + 4;

/// Writes an index into `dir`; `postings` produces the last section.
pub fn write(
    dir: &Path,
    documents: &StringTable,
    tokens: &StringTable,
    offsets: &Section,
    postings: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), IndexError> {
    let mut file = AtomicFile::create(&dir.join(INDEX_FILE)).map_err(io::Error::from)?;
    write_sections(
        &mut file,
        [
            &documents.offsets,
            &documents.text,
            &tokens.offsets,
            &tokens.text,
            offsets,
        ],
        postings,
    )?;
    Ok(file.finish().map_err(io::Error::from)?)
}

fn write_sections(
    file: &mut dyn Write,
    sections: [&Section; 5],
    postings: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    file.write_all(&header)?;
    let mut out = SectionWriter {
        file,
        written: HEADER_BYTES as u64,
        start: HEADER_BYTES as u64,
        crc: crc32fast::Hasher::new(),
    };
    let mut checked = header;
    for section in sections {
        out.write_all(section)?;
        checked.extend(out.end_section());
    }
    postings(&mut out)?;
    checked.extend(out.end_section());
    file.write_all(&checked[HEADER_BYTES..])?;
    file.write_all(&crc32fast::hash(&checked).to_le_bytes())
}

/// Notes place and checksum of what passes through.
struct SectionWriter<'a> {
    file: &'a mut dyn Write,
    written: u64,
    start: u64,
    crc: crc32fast::Hasher,
}

impl SectionWriter<'_> {
    /// The table entry of the section that ends here.
    fn end_section(&mut self) -> Vec<u8> {
        let mut entry = self.start.to_le_bytes().to_vec();
        entry.extend((self.written - self.start).to_le_bytes());
        entry.extend(std::mem::take(&mut self.crc).finalize().to_le_bytes());
        self.start = self.written;
        entry
    }
}

impl Write for SectionWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.crc.update(&bytes[..written]);
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Maps and verifies the index in `dir`.
pub fn open(dir: &Path) -> Result<InvertedIndex, IndexError> {
    let path = dir.join(INDEX_FILE);
    let map = match File::open(&path) {
        Ok(file) => map_file(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(IndexError::NotAnIndex { path });
        }
        Err(error) => Err(error),
    };
    let map = map.map_err(|cause| IndexError::Read {
        path: path.clone(),
        cause,
    })?;
    let ranges = section_ranges(&path, &map)?;
    let map = Arc::new(map);
    let [
        document_offsets,
        documents,
        token_offsets,
        tokens,
        offsets,
        postings,
    ] = ranges.map(|range| Section::Mapped(map.clone(), range));
    let index = InvertedIndex {
        documents: StringTable {
            offsets: document_offsets,
            text: documents,
        },
        tokens: StringTable {
            offsets: token_offsets,
            text: tokens,
        },
        offsets,
        postings,
    };
    refuse_inconsistent(&path, &index)?;
    Ok(index)
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: index files are never changed in place, only replaced by renaming; somebody else truncating one
    // while it is mapped is the accepted risk of every memory-mapped index.
    unsafe { Mmap::map(file) }
}

/// The places of the sections, after all checksums were found right.
fn section_ranges(path: &Path, map: &[u8]) -> Result<[Range<usize>; 6], IndexError> {
    let corrupt = |what: String| IndexError::Corrupt {
        path: path.to_owned(),
        what,
    };
    if map.len() < HEADER_BYTES || &map[..MAGIC.len()] != MAGIC {
        return Err(IndexError::NotAnIndex {
            path: path.to_owned(),
        });
    }
    let found = u32_at(map, MAGIC.len());
    if found != VERSION {
        return Err(IndexError::Version {
            path: path.to_owned(),
            found,
            expected: VERSION,
        });
    }
    let table = map
        .len()
        .checked_sub(TRAILER_BYTES)
        .filter(|&start| start >= HEADER_BYTES)
        .ok_or_else(|| corrupt("it is cut off".into()))?;
    let mut checked = map[..HEADER_BYTES].to_vec();
    checked.extend_from_slice(&map[table..map.len() - 4]);
    if crc32fast::hash(&checked) != u32_at(map, map.len() - 4) {
        return Err(corrupt(
            "the table of sections is missing or wrong, the file may be cut off".into(),
        ));
    }
    let entries: Vec<(Range<usize>, u32)> = (0..SECTION_NAMES.len())
        .map(|number| {
            let entry = table + number * ENTRY_BYTES;
            let start = u64_at(map, entry) as usize;
            (
                start..start.saturating_add(u64_at(map, entry + 8) as usize),
                u32_at(map, entry + 16),
            )
        })
        .collect();
    let wrong = entries.par_iter().position_any(|(range, crc)| {
        range.end > table || crc32fast::hash(&map[range.clone()]) != *crc
    });
    match wrong {
        Some(number) => Err(corrupt(format!(
            "wrong checksum of the {}",
            SECTION_NAMES[number]
        ))),
        None => Ok(std::array::from_fn(|number| entries[number].0.clone())),
    }
}

/// Checks everything that searching relies on, so that no file can make it panic.
fn refuse_inconsistent(path: &Path, index: &InvertedIndex) -> Result<(), IndexError> {
    let (postings, rest) = index.postings.as_chunks::<POSTING_BYTES>();
    let documents = index.documents.is_valid().then(|| index.documents.len());
    let in_range = |&[a, b, c, d, ..]: &[u8; POSTING_BYTES]| {
        documents.is_some_and(|documents| (u32::from_le_bytes([a, b, c, d]) as usize) < documents)
    };
    let checks = [
        ("document ids", documents.is_some()),
        ("tokens", index.tokens.is_valid()),
        (
            "posting offsets",
            index.offsets.are_offsets_up_to(postings.len() as u64),
        ),
        (
            "postings",
            rest.is_empty() && postings.par_iter().with_min_len(1 << 16).all(in_range),
        ),
    ];
    match checks.iter().find(|(_, holds)| !holds) {
        None => Ok(()),
        Some((name, _)) => Err(IndexError::Corrupt {
            path: path.to_owned(),
            what: format!("inconsistent {name}"),
        }),
    }
}

fn u32_at(bytes: &[u8], start: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| bytes[start + index]))
}

fn u64_at(bytes: &[u8], start: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| bytes[start + index]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{IndexWriter, Vocabulary};

    fn written(dir: &Path) -> Vec<u8> {
        let mut writer = IndexWriter::create(dir, 100).expect("writable");
        let mut vocabulary = Vocabulary::default();
        for (id, entries) in [("a", vec![("x", 1.0), ("y", 2.0)]), ("é", vec![("y", 0.5)])] {
            writer
                .add(id, &vocabulary.intern_vector(entries))
                .expect("new id");
        }
        writer.finish(vocabulary.tokens()).expect("written");
        std::fs::read(dir.join(INDEX_FILE)).expect("readable")
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let bytes = written(dir.path());
        assert_eq!(open(dir.path()).expect("whole").num_documents(), 2);
        let path = dir.path().join(INDEX_FILE);
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0x10;
            std::fs::write(&path, &changed).expect("writable");
            assert!(open(dir.path()).is_err(), "byte {place}");
            std::fs::write(&path, &bytes[..place]).expect("writable");
            assert!(open(dir.path()).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let message = |dir: &Path| open(dir).expect_err("broken").to_string();
        assert!(message(dir.path()).contains("not an ellzero index"));
        let mut bytes = written(dir.path());
        bytes[MAGIC.len()] = 9;
        std::fs::write(dir.path().join(INDEX_FILE), &bytes).expect("writable");
        assert!(message(dir.path()).contains("index format 9"));
    }
}
