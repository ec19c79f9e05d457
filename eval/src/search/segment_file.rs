//! The on-disk form of a segment: one file, memory-mapped, each section with its checksum.
//!
//! ```text
//! magic "ellzeroI", format version u32, checksum of the segment before this u32 (0: this is the first)
//! sections, one after the other: document id offsets, document ids, token offsets, tokens, postings, block offsets,
//!                                blocks, strongest weights
//! for each section: start u64, length u64, CRC-32 u32
//! checksum: CRC-32 of magic, version, the other segment's checksum and the table above, u32
//! ```
//!
//! All numbers are little-endian. The file appears under its name only when it is complete.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use data::output::AtomicFile;
use memmap2::Mmap;
use rayon::prelude::*;

use super::IndexError;
use super::posting_list::{Directory, ListWriter};
use super::section::{Section, StringTable};
use super::segment::Segment;

const MAGIC: &[u8; 8] = b"ellzeroI";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 16;
const SECTION_NAMES: [&str; 8] = [
    "document id offsets",
    "document ids",
    "token offsets",
    "tokens",
    "postings",
    "block offsets",
    "blocks",
    "strongest weights",
];
const ENTRY_BYTES: usize = 20;
const TRAILER_BYTES: usize = SECTION_NAMES.len() * ENTRY_BYTES + 4;

/// Writes a segment that follows the one with checksum `predecessor`; `lists` produces all lists. The file still has to
/// be finished.
pub fn write(
    path: &Path,
    predecessor: u32,
    documents: &StringTable,
    tokens: &StringTable,
    lists: impl FnOnce(&mut ListWriter) -> io::Result<()>,
) -> io::Result<AtomicFile> {
    let mut file = AtomicFile::create(path)?;
    let mut checked = MAGIC.to_vec();
    checked.extend(VERSION.to_le_bytes());
    checked.extend(predecessor.to_le_bytes());
    file.write_all(&checked)?;
    let mut out = SectionWriter {
        file: &mut file,
        written: HEADER_BYTES as u64,
        start: HEADER_BYTES as u64,
        crc: crc32fast::Hasher::new(),
    };
    for table in [documents, tokens] {
        for section in [&table.offsets, &table.text] {
            out.write_all(section)?;
            checked.extend(out.end_section());
        }
    }
    let mut writer = ListWriter::new(&mut out);
    lists(&mut writer)?;
    let Directory {
        offsets,
        entries,
        strongest,
    } = writer.finish();
    checked.extend(out.end_section());
    for section in [offsets, entries, strongest] {
        out.write_all(&section)?;
        checked.extend(out.end_section());
    }
    file.write_all(&checked[HEADER_BYTES..])?;
    file.write_all(&crc32fast::hash(&checked).to_le_bytes())?;
    Ok(file)
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

/// A segment file that was mapped and whose checksums were found right.
#[derive(Debug)]
pub struct SegmentFile {
    map: Mmap,
    sections: [Range<usize>; SECTION_NAMES.len()],
}

impl SegmentFile {
    /// Maps and verifies a file; `None` if there is none.
    pub fn open(path: &Path) -> Result<Option<Self>, IndexError> {
        let map = match File::open(path) {
            Ok(file) => map_file(&file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        };
        let map = map.map_err(|cause| IndexError::Read {
            path: path.to_owned(),
            cause,
        })?;
        let sections = section_ranges(path, &map)?;
        Ok(Some(Self { map, sections }))
    }

    /// The checksum at the end of a file, unverified; 0 if there is none.
    pub fn checksum_of(path: &Path) -> io::Result<u32> {
        let mut bytes = [0; 4];
        let read = File::open(path).and_then(|mut file| {
            file.seek(io::SeekFrom::End(-4))?;
            file.read_exact(&mut bytes)
        });
        match read {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(u32::from_le_bytes(bytes)),
        }
    }

    /// Checksum of the segment that this one follows.
    pub fn predecessor(&self) -> u32 {
        u32_at(&self.map, MAGIC.len() + 4)
    }

    /// The segment, if nothing in it contradicts the rest.
    pub fn into_segment(self, path: &Path) -> Result<Segment, IndexError> {
        let checksum = u32_at(&self.map, self.map.len() - 4);
        let map = Arc::new(self.map);
        let mapped = self
            .sections
            .map(|range| Section::Mapped(map.clone(), range));
        let [
            ids_at,
            ids,
            tokens_at,
            tokens,
            postings,
            offsets,
            entries,
            strongest,
        ] = mapped;
        let table = |offsets, text| StringTable { offsets, text };
        let segment = Segment {
            documents: table(ids_at, ids),
            tokens: table(tokens_at, tokens),
            postings,
            directory: Directory {
                offsets,
                entries,
                strongest,
            },
            checksum,
        };
        match segment.inconsistency() {
            None => Ok(segment),
            Some(name) => Err(IndexError::Corrupt {
                path: path.to_owned(),
                what: format!("inconsistent {name}"),
            }),
        }
    }
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: index files are never changed in place, only replaced by renaming; somebody else truncating one
    // while it is mapped is the accepted risk of every memory-mapped index.
    unsafe { Mmap::map(file) }
}

/// The places of the sections, after all checksums were found right.
fn section_ranges(
    path: &Path,
    map: &[u8],
) -> Result<[Range<usize>; SECTION_NAMES.len()], IndexError> {
    let corrupt = |what: String| IndexError::Corrupt {
        path: path.to_owned(),
        what,
    };
    if map.len() < MAGIC.len() + 4 || &map[..MAGIC.len()] != MAGIC {
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
        range.start > range.end || range.end > table || crc32fast::hash(&map[range.clone()]) != *crc
    });
    match wrong {
        Some(number) => Err(corrupt(format!(
            "wrong checksum of the {}",
            SECTION_NAMES[number]
        ))),
        None => Ok(std::array::from_fn(|number| entries[number].0.clone())),
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
    use crate::search::{INDEX_FILE, IndexWriter, InvertedIndex, Pruning, Vocabulary};

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
        let open = || InvertedIndex::open(dir.path());
        assert_eq!(open().expect("whole").num_documents(), 2);
        let path = dir.path().join(INDEX_FILE);
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0x10;
            std::fs::write(&path, &changed).expect("writable");
            assert!(open().is_err(), "byte {place}");
            std::fs::write(&path, &bytes[..place]).expect("writable");
            assert!(open().is_err(), "cut at {place}");
        }
    }

    /// Damage that somebody gave the right checksums: an error or an index that can be searched, and no panic.
    #[test]
    fn what_has_right_checksums_and_wrong_bytes_does_not_panic() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let bytes = written(dir.path());
        let path = dir.path().join(INDEX_FILE);
        let table = bytes.len() - TRAILER_BYTES;
        let query = [(0, 1.0), (1, 2.0)].into_iter().collect();
        let mut refused = 0;
        for place in HEADER_BYTES..bytes.len() - 4 {
            for value in [0, 1, 2, 33, 128, 255] {
                let mut forged = bytes.clone();
                forged[place] = value;
                for number in 0..SECTION_NAMES.len() {
                    let entry = table + number * ENTRY_BYTES;
                    let start = u64_at(&forged, entry) as usize;
                    let end = start.saturating_add(u64_at(&forged, entry + 8) as usize);
                    if let Some(section) = forged.get(start..end) {
                        let crc = crc32fast::hash(section).to_le_bytes();
                        forged[entry + 16..entry + 20].copy_from_slice(&crc);
                    }
                }
                let checked = [&forged[..HEADER_BYTES], &forged[table..bytes.len() - 4]].concat();
                let end = bytes.len() - 4;
                forged[end..].copy_from_slice(&crc32fast::hash(&checked).to_le_bytes());
                std::fs::write(&path, &forged).expect("writable");
                match InvertedIndex::open(dir.path()) {
                    Err(_) => refused += 1,
                    Ok(mut index) => {
                        for pruning in [Pruning::Exact, Pruning::Exhaustive] {
                            index.set_pruning(pruning);
                            index.best(std::slice::from_ref(&query), 2);
                        }
                        index.document_lengths();
                        index.token_counts();
                    }
                }
            }
        }
        assert!(refused > bytes.len());
    }

    #[test]
    fn says_what_is_wrong() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let open = |dir: &Path| InvertedIndex::open(dir);
        let message = |dir: &Path| open(dir).expect_err("broken").to_string();
        assert!(message(dir.path()).contains("not an ellzero index"));
        let mut bytes = written(dir.path());
        bytes[MAGIC.len()] = 1;
        std::fs::write(dir.path().join(INDEX_FILE), &bytes).expect("writable");
        let message = message(dir.path());
        assert!(
            message.contains("index format 1") && message.contains("anew"),
            "{message}"
        );
    }
}
