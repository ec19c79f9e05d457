//! From document vectors to postings, in memory or on disk.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use model::SparseVector;
use rayon::prelude::*;

use super::block::Block;
use super::inverted_index::{InvertedIndex, POSTING_BYTES};
use super::section::{Section, StringTable, StringTableBuilder};
use super::{IndexError, index_file};

/// Builds an [`InvertedIndex`] in memory, 16 bytes per non-zero weight at its peak.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    documents: StringTableBuilder,
    block: Block,
}

impl IndexBuilder {
    /// Appends a document.
    ///
    /// # Errors
    ///
    /// If there are 2^32 documents already.
    pub fn add(&mut self, id: &str, vector: &SparseVector) -> Result<(), IndexError> {
        if self.documents.len() >= u32::MAX as usize {
            return Err(IndexError::TooManyDocuments);
        }
        self.documents.push(id);
        self.block.push(vector);
        Ok(())
    }

    /// Number of documents so far.
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inverts. The tokens of the index keep their numbers and have no names.
    ///
    /// # Errors
    ///
    /// If two documents have the same id.
    pub fn finish(self) -> Result<InvertedIndex, IndexError> {
        let documents = self.documents.finish();
        refuse_duplicates(&documents)?;
        let (offsets, postings) = self.block.invert(0);
        Ok(InvertedIndex {
            documents,
            tokens: StringTableBuilder::default().finish(),
            offsets: Section::of_offsets(&offsets),
            postings: Section::Owned(postings),
        })
    }
}

/// Builds an index on disk. Memory stays bounded by a block of postings, the document ids, and the vocabulary:
/// each full block is inverted and put aside, and in the end the blocks are joined token by token.
#[derive(Debug)]
pub struct IndexWriter {
    dir: PathBuf,
    builder: IndexBuilder,
    block_postings: usize,
    segments: Vec<Segment>,
}

impl IndexWriter {
    /// An empty index that will be written into the folder `dir`, made if need be. Blocks hold `block_postings`
    /// non-zero weights, at 16 bytes each.
    ///
    /// # Errors
    ///
    /// If `dir` cannot be made.
    pub fn create(dir: &Path, block_postings: usize) -> Result<Self, IndexError> {
        std::fs::create_dir_all(dir).map_err(|cause| IndexError::Write {
            path: dir.to_owned(),
            cause,
        })?;
        Ok(Self {
            dir: dir.to_owned(),
            builder: IndexBuilder::default(),
            block_postings,
            segments: Vec::new(),
        })
    }

    /// Appends a document.
    ///
    /// # Errors
    ///
    /// If a full block cannot be put aside.
    pub fn add(&mut self, id: &str, vector: &SparseVector) -> Result<(), IndexError> {
        self.builder.add(id, vector)?;
        if self.builder.block.num_postings() >= self.block_postings {
            self.put_block_aside()
                .map_err(|cause| self.write_error(cause))?;
        }
        Ok(())
    }

    /// Number of documents so far.
    pub fn len(&self) -> usize {
        self.builder.len()
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// Joins the blocks and puts the finished file in place; `tokens` are the tokens' names, each another. Returns the
    /// number of documents.
    ///
    /// # Errors
    ///
    /// If two documents have the same id, or writing fails; then an older index in the folder stays as it was.
    pub fn finish(mut self, tokens: &[String]) -> Result<usize, IndexError> {
        self.put_block_aside()
            .map_err(|cause| self.write_error(cause))?;
        let documents = std::mem::take(&mut self.builder.documents).finish();
        refuse_duplicates(&documents)?;
        let mut offsets = vec![0; tokens.len() + 1];
        for token in 0..tokens.len() {
            let count: u64 = self
                .segments
                .iter()
                .map(|segment| segment.count(token))
                .sum();
            offsets[token + 1] = offsets[token] + count;
        }
        let mut names = StringTableBuilder::default();
        tokens.iter().for_each(|token| names.push(token));
        let (dir, segments) = (self.dir, &mut self.segments);
        index_file::write(
            &dir,
            &documents,
            &names.finish(),
            &Section::of_offsets(&offsets),
            |out| {
                (0..tokens.len()).try_for_each(|token| {
                    segments
                        .iter_mut()
                        .try_for_each(|segment| segment.copy(token, out))
                })
            },
        )?;
        Ok(documents.len())
    }

    fn put_block_aside(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.builder.block);
        let first_doc = self.builder.len() - block.num_rows();
        let (offsets, postings) = block.invert(first_doc as u32);
        let mut file = BufWriter::new(tempfile::tempfile_in(&self.dir)?);
        file.write_all(&postings)?;
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.segments.push(Segment {
            offsets,
            file: BufReader::new(file),
        });
        Ok(())
    }

    fn write_error(&self, cause: io::Error) -> IndexError {
        IndexError::Write {
            path: self.dir.clone(),
            cause,
        }
    }
}

/// An inverted block in a nameless temporary file, read once from its beginning to its end.
#[derive(Debug)]
struct Segment {
    offsets: Vec<u64>,
    file: BufReader<File>,
}

impl Segment {
    /// Number of postings of `token`.
    fn count(&self, token: usize) -> u64 {
        match self.offsets.get(token..token + 2) {
            Some(bounds) => bounds[1] - bounds[0],
            None => 0,
        }
    }

    /// Copies the postings of `token`, which must follow the one copied before.
    fn copy(&mut self, token: usize, out: &mut dyn Write) -> io::Result<()> {
        let bytes = self.count(token) * POSTING_BYTES as u64;
        let copied = io::copy(&mut self.file.by_ref().take(bytes), out)?;
        if copied < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn refuse_duplicates(documents: &StringTable) -> Result<(), IndexError> {
    let mut order: Vec<u32> = (0..documents.len() as u32).collect();
    order.par_sort_unstable_by(|&a, &b| {
        documents
            .get(a as usize)
            .cmp(documents.get(b as usize))
            .then(a.cmp(&b))
    });
    match order
        .windows(2)
        .find(|pair| documents.get(pair[0] as usize) == documents.get(pair[1] as usize))
    {
        None => Ok(()),
        Some(pair) => Err(IndexError::DuplicateId {
            id: documents.get(pair[0] as usize).to_owned(),
            first: pair[0] as usize + 1,
            second: pair[1] as usize + 1,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Searcher, Vocabulary};

    #[test]
    fn duplicate_ids_are_refused_with_their_places() {
        let mut builder = IndexBuilder::default();
        for id in ["a", "b", "a"] {
            builder.add(id, &SparseVector::default()).expect("room");
        }
        let error = builder
            .finish()
            .expect_err("two documents are `a`")
            .to_string();
        assert!(
            error.contains("`a` occurs twice: documents 1 and 3"),
            "{error}"
        );
    }

    #[test]
    fn blocks_put_aside_give_the_index_that_memory_gives() {
        let rows: Vec<(String, SparseVector)> = (0..50u32)
            .map(|doc| {
                let tokens = (0..8).filter(|token| (doc >> (token % 5)) % 3 == token % 3);
                let vector = tokens
                    .map(|token| (token, 1.0 + (doc * 7 % 13) as f32))
                    .collect();
                (format!("d{doc}"), vector)
            })
            .collect();
        let mut builder = IndexBuilder::default();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut writer = IndexWriter::create(dir.path(), 9).expect("writable");
        for (id, vector) in &rows {
            builder.add(id, vector).expect("new id");
            writer.add(id, vector).expect("new id");
        }
        let vocabulary = Vocabulary::from_iter((0..8).map(|token| format!("t{token}")));
        assert_eq!(writer.finish(vocabulary.tokens()).expect("written"), 50);
        let (memory, disk) = (
            builder.finish().expect("unique ids"),
            InvertedIndex::open(dir.path()).expect("just written"),
        );
        let queries: Vec<SparseVector> = (0..8)
            .map(|token| [(token, 0.5)].into_iter().collect())
            .collect();
        let found = |index: &InvertedIndex| index.search(&queries, 20).expect("embedded search");
        assert_eq!(found(&memory), found(&disk));
        assert_eq!(&*memory.postings, &*disk.postings);
        assert_eq!(disk.tokens.iter().collect::<Vec<_>>(), vocabulary.tokens());
    }
}
