//! The documents of a JSON lines file, looked up by id: one number and one hash a document in memory, no text.

use std::path::Path;

use rayon::prelude::*;

use super::{CHUNK_ROWS, PrepareError, SCATTERED_ROWS};
use crate::beir::{BeirError, Document};
use crate::dataset::DatasetError;
use crate::jsonl::JsonLines;
use crate::random::hash;

/// Documents (or queries), found by their ids.
pub(super) struct TextsById {
    lines: JsonLines,
    /// Hash of an id and its row, sorted.
    rows: Vec<(u64, u32)>,
    reads: usize,
}

impl TextsById {
    /// Reads every row once.
    ///
    /// # Errors
    /// [`PrepareError`], naming file and line: a row is no document, or an id occurs twice.
    pub(super) fn open(path: &Path) -> Result<Self, PrepareError> {
        let lines = JsonLines::open(path)?;
        if u32::try_from(lines.len()).is_err() {
            return Err(PrepareError::Nothing {
                path: path.to_path_buf(),
                reason: format!("{} rows, at most {} are supported", lines.len(), u32::MAX),
            });
        }
        let mut rows = Vec::with_capacity(lines.len());
        for start in (0..lines.len()).step_by(CHUNK_ROWS) {
            let chunk: Vec<Result<(u64, u32), DatasetError>> = (start
                ..lines.len().min(start + CHUNK_ROWS))
                .into_par_iter()
                .map(|row| Ok((hash(0, document(&lines, row)?.id.as_bytes()), row as u32)))
                .collect();
            for row in chunk {
                rows.push(row?);
            }
            lines.release();
        }
        rows.par_sort_unstable();
        let texts = Self {
            lines,
            rows,
            reads: 0,
        };
        texts.check_unique(path)?;
        Ok(texts)
    }

    fn check_unique(&self, path: &Path) -> Result<(), PrepareError> {
        let same_hash = self.rows.chunk_by(|a, b| a.0 == b.0);
        for rows in same_hash.filter(|rows| rows.len() > 1) {
            let mut ids = Vec::new();
            for &(_, row) in rows {
                let id = document(&self.lines, row as usize)?.id;
                if ids.contains(&id) {
                    return Err(PrepareError::Beir(BeirError::DuplicateId {
                        path: path.to_path_buf(),
                        line: self.lines.line_number(row as usize),
                        id,
                    }));
                }
                ids.push(id);
            }
        }
        Ok(())
    }

    /// The document with that id, where there is one.
    ///
    /// # Errors
    /// [`PrepareError`] when the row cannot be read any more.
    pub(super) fn get(&mut self, id: &str) -> Result<Option<Document>, PrepareError> {
        self.reads += 1;
        if self.reads.is_multiple_of(SCATTERED_ROWS) {
            self.lines.release();
        }
        let wanted = hash(0, id.as_bytes());
        let first = self.rows.partition_point(|&(hash, _)| hash < wanted);
        let same_hash = self.rows[first..].iter();
        for &(_, row) in same_hash.take_while(|&&(hash, _)| hash == wanted) {
            let document = document(&self.lines, row as usize)?;
            if document.id == id {
                return Ok(Some(document));
            }
        }
        Ok(None)
    }
}

/// A row of a file of documents.
fn document(lines: &JsonLines, row: usize) -> Result<Document, DatasetError> {
    Document::parse(lines.line(row)?).map_err(|reason| lines.error(row, reason))
}
