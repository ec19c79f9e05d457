//! The segments of an index in their folder: `index.bin`, `index-2.bin`, `index-3.bin` and so on.
//!
//! Each names the one before it by its checksum, so an index is `index.bin` and what follows on it without a gap. Whatever
//! happens in between, a folder holds an index as it was before a change or as it is after it: appending makes one file,
//! and building anew or merging replaces `index.bin`, upon which the others are followers of nothing, and are removed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::IndexError;
use super::section::{StringTable, StringTableBuilder};
use super::segment::Segment;
use super::segment_file::{self, SegmentFile};

/// Name of an index's first file within its folder: where it is, there is an index.
pub const INDEX_FILE: &str = "index.bin";

/// Where segment number `number`, from 1, is.
pub fn path(dir: &Path, number: usize) -> PathBuf {
    match number {
        1 => dir.join(INDEX_FILE),
        _ => dir.join(format!("index-{number}.bin")),
    }
}

/// Opens all segments.
pub fn open(dir: &Path) -> Result<Vec<Segment>, IndexError> {
    loop {
        let segments = open_once(dir)?;
        // Merged or built anew meanwhile: the followers of what was opened may be gone.
        let path = path(dir, 1);
        let first = SegmentFile::checksum_of(&path);
        let first = first.map_err(|cause| IndexError::Read { path, cause })?;
        if first == segments[0].checksum {
            return Ok(segments);
        }
    }
}

fn open_once(dir: &Path) -> Result<Vec<Segment>, IndexError> {
    let mut segments: Vec<Segment> = Vec::new();
    loop {
        let path = path(dir, segments.len() + 1);
        let file = SegmentFile::open(&path)?;
        let predecessor = segments.last().map_or(0, |segment| segment.checksum);
        match file {
            None if segments.is_empty() => return Err(IndexError::NotAnIndex { path }),
            None => return Ok(segments),
            Some(file) if !segments.is_empty() && file.predecessor() != predecessor => {
                return Ok(segments);
            }
            Some(file) => {
                let segment = file.into_segment(&path)?;
                if let Some(last) = segments.last() {
                    refuse_other_tokens(&path, &last.tokens, &segment.tokens)?;
                }
                segments.push(segment);
            }
        }
    }
}

/// A follower has the tokens of the one before it, in the same places, and maybe more.
fn refuse_other_tokens(
    path: &Path,
    before: &StringTable,
    tokens: &StringTable,
) -> Result<(), IndexError> {
    if tokens.iter().take(before.len()).eq(before.iter()) {
        return Ok(());
    }
    Err(IndexError::Corrupt {
        path: path.to_owned(),
        what: "its tokens do not continue those of the segment before it".into(),
    })
}

/// Removes what no index in the folder has after its first `count` segments.
pub fn remove_after(dir: &Path, count: usize) -> io::Result<()> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_str().and_then(|name| name.strip_prefix("index-"));
        let number = name.and_then(|name| name.strip_suffix(".bin")?.parse().ok());
        numbers.extend(number.filter(|&number: &usize| number > count));
    }
    // In this order there is never a gap with something behind it that belongs there.
    numbers.sort_unstable();
    numbers
        .into_iter()
        .try_for_each(|number| fs::remove_file(path(dir, number)))
}

/// Keeps others from writing into the folder until it is dropped, where the system can lock folders.
pub fn lock(dir: &Path) -> Result<Option<File>, IndexError> {
    let Ok(folder) = File::open(dir) else {
        return Ok(None);
    };
    match folder.try_lock() {
        Err(TryLockError::WouldBlock) => Err(IndexError::InUse {
            path: dir.to_owned(),
        }),
        _ => Ok(Some(folder)),
    }
}

/// Makes one segment of those in the folder `dir`. Returns how many there were.
///
/// The result is the same, byte for byte, as an index of the same documents and tokens built at once.
///
/// # Errors
///
/// If there is no index, or it cannot be read or written; then it stays as it was.
pub fn merge(dir: &Path) -> Result<usize, IndexError> {
    let _lock = lock(dir)?;
    let segments = open(dir)?;
    let count = segments.len();
    if count > 1 {
        let mut documents = StringTableBuilder::default();
        let ids = segments.iter().flat_map(|segment| segment.documents.iter());
        ids.for_each(|id| documents.push(id));
        let tokens = &segments[count - 1].tokens;
        let lists = segments[count - 1].num_lists() as u32;
        let file = segment_file::write(&path(dir, 1), 0, &documents.finish(), tokens, |out| {
            for token in 0..lists {
                let mut first_doc = 0;
                for segment in &segments {
                    for (doc, weight) in segment.list(token).iter() {
                        out.push(first_doc + doc, weight)?;
                    }
                    first_doc += segment.documents.len() as u32;
                }
                out.end_list()?;
            }
            Ok(())
        })?;
        // Some systems replace no file that is mapped.
        drop(segments);
        file.finish().map_err(io::Error::from)?;
    }
    remove_after(dir, 1).map_err(|cause| IndexError::Write {
        path: dir.to_owned(),
        cause,
    })?;
    Ok(count)
}
