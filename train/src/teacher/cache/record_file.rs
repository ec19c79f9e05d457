//! The file of a cache: a header, then records of 24 bytes that are only ever appended.
//!
//! A record is the key (16 bytes), the score (float32) and CRC-32 of both, all little-endian.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::PairKey;

const NAME: &str = "scores.bin";
const HEADER: &[u8; 16] = b"ellzero scores 1";
const KEY_BYTES: usize = 16;
const CHECKED_BYTES: usize = KEY_BYTES + 4;
const RECORD_BYTES: usize = CHECKED_BYTES + 4;

/// Why kept scores cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The system refused.
    #[error("cannot use the scores in {path}: {cause}", path = path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
    /// The file is something else.
    #[error(
        "{path} is no file of scores, or one of another version: remove it, or name another folder with --cache",
        path = path.display()
    )]
    OtherFile {
        /// The file.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error(
        "another run is using the scores in {path}: wait for it, or name another folder with --cache",
        path = path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
}

/// The file, open at its end.
pub(super) struct RecordFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl RecordFile {
    /// Opens or makes the file in `dir` and hands all records to `take`, the oldest first. Returns the number of
    /// records that are damaged; a torn one at the end is cut off and not counted.
    pub(super) fn open(
        dir: &Path,
        take: impl FnMut(PairKey, f32),
    ) -> Result<(Self, usize), CacheError> {
        let path = dir.join(NAME);
        let error = |cause| CacheError::Io {
            path: path.clone(),
            cause,
        };
        fs::create_dir_all(dir).map_err(error)?;
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(error)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(CacheError::InUse { path });
        }
        let length = file.metadata().map_err(error)?.len();
        if length < HEADER.len() as u64 {
            // New, or killed before its first record.
            file.set_len(0).map_err(error)?;
            file.write_all(HEADER).map_err(error)?;
        } else {
            let mut header = [0; HEADER.len()];
            file.read_exact(&mut header).map_err(error)?;
            if header != *HEADER {
                return Err(CacheError::OtherFile { path });
            }
        }
        let damaged = read_records(&mut file, take).map_err(error)?;
        let file = BufWriter::new(file);
        Ok((Self { path, file }, damaged))
    }

    /// Adds a record; it may stay in memory until [`Self::flush`].
    pub(super) fn append(&mut self, key: PairKey, score: f32) -> Result<(), CacheError> {
        let mut record = [0; RECORD_BYTES];
        for (bytes, word) in record.chunks_exact_mut(4).zip(key.0) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        record[KEY_BYTES..CHECKED_BYTES].copy_from_slice(&score.to_le_bytes());
        let sum = crc32fast::hash(&record[..CHECKED_BYTES]);
        record[CHECKED_BYTES..].copy_from_slice(&sum.to_le_bytes());
        let written = self.file.write_all(&record);
        written.map_err(|cause| self.error(cause))
    }

    pub(super) fn flush(&mut self) -> Result<(), CacheError> {
        let flushed = self.file.flush();
        flushed.map_err(|cause| self.error(cause))
    }

    fn error(&self, cause: io::Error) -> CacheError {
        CacheError::Io {
            path: self.path.clone(),
            cause,
        }
    }
}

/// Reads what follows the header and leaves the file at the end of its last whole record.
fn read_records(file: &mut File, mut take: impl FnMut(PairKey, f32)) -> io::Result<usize> {
    let bytes = file.metadata()?.len() - HEADER.len() as u64;
    let records = bytes / RECORD_BYTES as u64;
    file.set_len(HEADER.len() as u64 + records * RECORD_BYTES as u64)?;
    file.seek(SeekFrom::Start(HEADER.len() as u64))?;
    let mut reader = BufReader::with_capacity(1 << 16, &mut *file);
    let mut damaged = 0;
    for _ in 0..records {
        let mut record = [0; RECORD_BYTES];
        reader.read_exact(&mut record)?;
        let words = record.as_chunks::<4>().0;
        let word = |index: usize| u32::from_le_bytes(words[index]);
        if crc32fast::hash(&record[..CHECKED_BYTES]) == word(5) {
            take(PairKey(std::array::from_fn(word)), f32::from_bits(word(4)));
        } else {
            damaged += 1;
        }
    }
    drop(reader);
    file.seek(SeekFrom::End(0))?;
    Ok(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(dir: &Path) -> (Vec<(u32, f32)>, usize) {
        let mut found = Vec::new();
        let (_, damaged) =
            RecordFile::open(dir, |key, score| found.push((key.0[0], score))).unwrap();
        (found, damaged)
    }

    fn append(dir: &Path, number: u32) {
        let (mut file, _) = RecordFile::open(dir, |_, _| ()).unwrap();
        file.append(PairKey([number, 1, 2, 3]), number as f32 / 2.0)
            .unwrap();
        file.flush().unwrap();
    }

    /// Whatever byte a kill leaves the file at, what was whole before it is kept and the next record goes behind it.
    #[test]
    fn a_torn_tail_is_cut_at_any_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        for number in 0..3 {
            append(dir.path(), number);
        }
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), HEADER.len() + 3 * RECORD_BYTES);
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            append(dir.path(), 9);
            let kept = length.saturating_sub(HEADER.len()) / RECORD_BYTES;
            let expected: Vec<(u32, f32)> = (0..kept as u32)
                .chain([9])
                .map(|number| (number, number as f32 / 2.0))
                .collect();
            assert_eq!(records(dir.path()), (expected, 0), "{length} bytes");
        }
    }

    #[test]
    fn a_damaged_record_is_left_out_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        for number in 0..3 {
            append(dir.path(), number);
        }
        let mut bytes = fs::read(&path).unwrap();
        bytes[HEADER.len() + RECORD_BYTES + 17] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(records(dir.path()), (vec![(0, 0.0), (2, 1.0)], 1));
    }

    #[test]
    fn other_files_and_second_writers_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), "something else altogether").unwrap();
        let other = RecordFile::open(dir.path(), |_, _| ()).err().unwrap();
        assert!(
            other
                .to_string()
                .contains("scores.bin is no file of scores"),
            "{other}"
        );
        let dir = tempfile::tempdir().unwrap();
        let first = RecordFile::open(dir.path(), |_, _| ()).unwrap();
        let second = RecordFile::open(dir.path(), |_, _| ()).err().unwrap();
        assert!(
            second.to_string().contains("another run is using"),
            "{second}"
        );
        drop(first);
        RecordFile::open(dir.path(), |_, _| ()).unwrap();
    }
}
