//! From document vectors to an index on disk, in bounded memory.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use model::SparseVector;

use super::builder::{IndexBuilder, refuse_duplicates, refuse_indexed};
use super::posting_list::ListWriter;
use super::rows::{POSTING_BYTES, postings};
use super::section::StringTableBuilder;
use super::{IndexError, InvertedIndex, Vocabulary, chain, segment_file};

/// What a sorted run is read in.
const RUN_BUFFER_BYTES: usize = 1 << 16;

/// Builds an index on disk, or another segment of one. Memory stays bounded by a block of postings, one token's postings,
/// the document ids, the vocabulary, and a directory of 16 bytes for 128 postings: each full block is inverted and put
/// aside as a sorted run, and in the end the runs are joined token by token.
#[derive(Debug)]
pub struct IndexWriter {
    dir: PathBuf,
    /// Held, not used.
    _lock: Option<File>,
    /// What is appended to.
    indexed: Option<InvertedIndex>,
    builder: IndexBuilder,
    block_postings: usize,
    runs: Vec<SortedRun>,
}

impl IndexWriter {
    /// An empty index that will be written into the folder `dir`, made if need be, in the place of one that is there.
    /// Blocks hold `block_postings` non-zero weights, at 16 bytes each.
    ///
    /// # Errors
    ///
    /// If `dir` cannot be made, or somebody else is writing into it.
    pub fn create(dir: &Path, block_postings: usize) -> Result<Self, IndexError> {
        std::fs::create_dir_all(dir).map_err(|cause| IndexError::Write {
            path: dir.to_owned(),
            cause,
        })?;
        Ok(Self {
            dir: dir.to_owned(),
            _lock: chain::lock(dir)?,
            indexed: None,
            builder: IndexBuilder::default(),
            block_postings,
            runs: Vec::new(),
        })
    }

    /// A segment that will be added to the index in the folder `dir`. Searching it afterwards gives what an index of all
    /// documents, built at once, gives.
    ///
    /// # Errors
    ///
    /// If there is no index, it cannot be read, or somebody else is writing into the folder.
    pub fn append(dir: &Path, block_postings: usize) -> Result<Self, IndexError> {
        let lock = match dir.exists() {
            true => chain::lock(dir)?,
            false => None,
        };
        Ok(Self {
            dir: dir.to_owned(),
            _lock: lock,
            indexed: Some(InvertedIndex::open(dir)?),
            builder: IndexBuilder::default(),
            block_postings,
            runs: Vec::new(),
        })
    }

    /// The tokens of the index that is appended to, which must keep their numbers; none for a new one.
    pub fn vocabulary(&self) -> Vocabulary {
        let indexed = self.indexed.as_ref();
        indexed.map_or_else(Vocabulary::default, InvertedIndex::vocabulary)
    }

    /// Appends a document.
    ///
    /// # Errors
    ///
    /// If a weight is negative or not finite, there are too many documents, or a full block cannot be put aside.
    pub fn add(&mut self, id: &str, vector: &SparseVector) -> Result<(), IndexError> {
        let indexed = self.indexed.as_ref();
        let indexed = indexed.map_or(0, InvertedIndex::num_documents);
        if indexed + self.len() >= u32::MAX as usize {
            return Err(IndexError::TooManyDocuments);
        }
        self.builder.add(id, vector)?;
        if self.builder.rows.num_postings() >= self.block_postings {
            self.put_block_aside()
                .map_err(|cause| self.write_error(cause))?;
        }
        Ok(())
    }

    /// Number of documents so far, without those of the index that is appended to.
    pub fn len(&self) -> usize {
        self.builder.len()
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// Joins the runs and puts the finished file in place; `tokens` are the tokens' names, each another. Returns the
    /// number of documents added.
    ///
    /// # Errors
    ///
    /// If two documents have the same id, `tokens` are not a continuation of the index's, or writing fails; then an older
    /// index in the folder stays as it was.
    pub fn finish(mut self, tokens: &[String]) -> Result<usize, IndexError> {
        self.put_block_aside()
            .map_err(|cause| self.write_error(cause))?;
        let documents = std::mem::take(&mut self.builder.documents).finish();
        refuse_duplicates(&documents)?;
        let (mut segments, mut predecessor) = (0, 0);
        if let Some(index) = &self.indexed {
            refuse_indexed(&documents, index)?;
            self.refuse_other_tokens(index, tokens)?;
            segments = index.num_segments();
            predecessor = index.checksum();
        }
        let mut names = StringTableBuilder::default();
        tokens.iter().for_each(|token| names.push(token));
        let (path, runs) = (chain::path(&self.dir, segments + 1), &mut self.runs);
        let write = |lists: &mut ListWriter| join(runs, tokens.len(), lists);
        let file = segment_file::write(&path, predecessor, &documents, &names.finish(), write)?;
        if segments > 0 {
            // Left over from an index that was here before; it does not follow on this one.
            chain::remove_after(&self.dir, segments).map_err(|cause| self.write_error(cause))?;
        }
        file.finish().map_err(io::Error::from)?;
        chain::remove_after(&self.dir, segments + 1).map_err(|cause| self.write_error(cause))?;
        Ok(documents.len())
    }

    fn put_block_aside(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.builder.rows);
        let first_doc = self.builder.len() - rows.num_rows();
        let inverted = rows.invert(first_doc as u32);
        let mut file = BufWriter::new(tempfile::tempfile_in(&self.dir)?);
        file.write_all(&inverted.postings)?;
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.runs.push(SortedRun {
            offsets: inverted.offsets,
            file: BufReader::with_capacity(RUN_BUFFER_BYTES, file),
        });
        Ok(())
    }

    fn refuse_other_tokens(
        &self,
        index: &InvertedIndex,
        tokens: &[String],
    ) -> Result<(), IndexError> {
        let vocabulary = index.vocabulary();
        let mut known = vocabulary.tokens().iter().enumerate();
        match known.find(|&(number, token)| tokens.get(number) != Some(token)) {
            None => Ok(()),
            Some((number, expected)) => Err(IndexError::OtherTokens {
                path: self.dir.clone(),
                number,
                expected: expected.clone(),
                found: tokens.get(number).cloned().unwrap_or_default(),
            }),
        }
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
struct SortedRun {
    offsets: Vec<u64>,
    file: BufReader<File>,
}

impl SortedRun {
    /// Reads the postings of `token`, which must follow the one read before, into `bytes`.
    fn read(&mut self, token: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        let count = match self.offsets.get(token..token + 2) {
            Some(bounds) => bounds[1] - bounds[0],
            None => 0,
        };
        bytes.resize(count as usize * POSTING_BYTES, 0);
        self.file.read_exact(bytes)
    }
}

/// Writes the lists of `tokens` tokens; the runs' documents ascend from run to run.
fn join(runs: &mut [SortedRun], tokens: usize, lists: &mut ListWriter) -> io::Result<()> {
    let mut bytes = Vec::new();
    for token in 0..tokens {
        for run in &mut *runs {
            run.read(token, &mut bytes)?;
            for (doc, weight) in postings(&bytes) {
                lists.push(doc, weight)?;
            }
        }
        lists.end_list()?;
    }
    Ok(())
}
