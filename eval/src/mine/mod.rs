//! Hard negatives: what a retriever ranks high for a query without being relevant.
//!
//! Nothing but the ids of an index under construction is held in memory per document: the index is built on disk and
//! mapped, and texts are read from the corpus again when a row needs them.

mod collection;
mod index;
mod need;
mod selection;

use std::io::{self, Write};
use std::path::Path;

use data::beir::{BeirDir, BeirError};
use data::output::{AtomicFile, OutputError};
use data::partial::PartialFile;
use model::sparse::SparseError;
use serde::Serialize;

use crate::search::{Engine, IndexError, SearchError};
use crate::text_encoder::TextEncoder;
use collection::Collection;
use need::{Need, Wanted};
pub use selection::Selection;

/// Queries searched at a time.
const CHUNK_QUERIES: usize = 512;

/// Where the (query, positive document) pairs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairSource {
    /// The judgements of a split: one pair for each document with a grade above 0.
    Judged {
        /// Name of the split.
        split: String,
    },
    /// The documents themselves: each title is a query whose positive is the document's text.
    ///
    /// Negatives are texts without titles too, so that a title gives no hint.
    Titles {
        /// How many documents to draw; all of them if `None`.
        sample: Option<usize>,
        /// Decides which.
        seed: u64,
    },
}

/// Why mining failed.
#[derive(Debug, thiserror::Error)]
pub enum MineError {
    /// The data set cannot be read.
    #[error(transparent)]
    Beir(#[from] BeirError),
    /// A text cannot be encoded.
    #[error(transparent)]
    Encode(#[from] SparseError),
    /// The documents cannot be indexed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The engine fails.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The output cannot be written.
    #[error("{0}")]
    Output(#[from] OutputError),
    /// The output cannot be written on.
    #[error("{0}")]
    Write(#[from] io::Error),
    /// Nothing to search in.
    #[error("data set {0}: there is no document in corpus.jsonl")]
    NoDocuments(String),
    /// There is no pair to mine for.
    #[error("data set {0} gives no (query, positive document) pair")]
    NoPairs(String),
    /// The index is not one of this corpus.
    #[error(
        "{index}: {found} at place {place}, but {corpus} has {expected} there: give the index of this corpus, in its \
         order, or a folder without one"
    )]
    OtherCorpus {
        /// The index folder.
        index: String,
        /// The corpus.
        corpus: String,
        /// Number of the document, from 1.
        place: usize,
        /// What the index has.
        found: String,
        /// What the corpus has.
        expected: String,
    },
}

/// How far mining is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MineProgress {
    /// Documents in the index.
    Indexed(usize),
    /// Rows written, of how many.
    Mined {
        /// So far.
        rows: usize,
        /// In all.
        total: usize,
    },
}

/// What mining wrote and left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MineSummary {
    /// Rows written, those of an earlier run included.
    pub rows: usize,
    /// Rows that an earlier run had written.
    pub resumed: usize,
    /// Pairs left out because the judgements name a query or a document that does not exist.
    pub unknown: usize,
}

/// Everything about one run.
pub struct MineJob<'a> {
    /// Ranks the documents.
    pub encoder: &'a dyn TextEncoder,
    /// Corpus, queries and judgements.
    pub dir: &'a BeirDir,
    /// The pairs.
    pub source: PairSource,
    /// Which of the documents found become negatives.
    pub selection: Selection,
    /// Searches in place of an index in a folder.
    pub engine: Option<&'a dyn Engine>,
    /// Folder of the index. One of this corpus that is there already is used; else it is built there and stays.
    pub index: &'a Path,
    /// Memory for weights that are not on disk yet, in MiB.
    pub memory_mib: usize,
    /// Rows go here: JSON lines, plain, `.gz`, `.zst`, or `-`.
    pub output: &'a Path,
    /// Stands for everything that decides what the rows are: only a partial file of the same run is continued.
    pub fingerprint: u32,
}

#[derive(Serialize)]
struct Row<'a> {
    query: &'a str,
    pos: &'a str,
    negs: &'a [String],
}

impl MineJob<'_> {
    /// Searches the collection for every query and writes a row `{query, pos, negs}` for each of its positives; `negs`
    /// are the selected documents, best first. Rows are in the order of queries.jsonl (or of corpus.jsonl for titles),
    /// a query's positives in ascending order of their ids.
    ///
    /// Rows go to `OUTPUT.partial-FINGERPRINT`, which takes the output's name when complete; a run that finds such a
    /// file continues after its last row.
    ///
    /// # Errors
    ///
    /// If the data set cannot be read, a text not be encoded, or a row not be written.
    pub fn run(&self, progress: &mut dyn FnMut(MineProgress)) -> Result<MineSummary, MineError> {
        let in_place = self.output.metadata().is_ok_and(|meta| !meta.is_file());
        if self.output == Path::new("-") || in_place {
            let mut out = AtomicFile::create(self.output)?;
            let summary = self.mine(0, &mut out, progress)?;
            out.finish()?;
            return Ok(summary);
        }
        // Opened first, so that an output that cannot be written is known before hours of work.
        let mut partial = PartialFile::open(self.output, self.fingerprint)?;
        let resumed = partial.keep_whole_chunks(1, |_, _| Ok::<_, OutputError>(()))?;
        match self.mine(resumed, &mut partial, progress) {
            Ok(summary) => {
                partial.finish(self.output)?;
                Ok(summary)
            }
            Err(error) => {
                if partial.path().metadata().is_ok_and(|meta| meta.len() == 0) {
                    partial.remove()?;
                }
                Err(error)
            }
        }
    }

    fn mine(
        &self,
        resumed: usize,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(MineProgress),
    ) -> Result<MineSummary, MineError> {
        let collection = Collection::open(self, progress)?;
        let Wanted { needs, unknown } = need::find(&self.source, self.dir, &collection)?;
        if needs.is_empty() {
            return Err(MineError::NoPairs(self.dir.name()));
        }
        let mut summary = MineSummary {
            rows: 0,
            resumed,
            unknown,
        };
        self.write_rows(&collection, &needs, out, &mut summary, progress)?;
        Ok(summary)
    }

    fn write_rows(
        &self,
        collection: &Collection,
        needs: &[Need],
        out: &mut dyn Write,
        summary: &mut MineSummary,
        progress: &mut dyn FnMut(MineProgress),
    ) -> Result<(), MineError> {
        let total = needs.iter().map(|need| need.positives.len()).sum();
        for (number, chunk) in needs.chunks(CHUNK_QUERIES).enumerate() {
            let rows: usize = chunk.iter().map(|need| need.positives.len()).sum();
            if summary.rows + rows <= summary.resumed {
                summary.rows += rows;
                continue;
            }
            progress(MineProgress::Mined {
                rows: summary.rows,
                total,
            });
            let found = self.search(collection, chunk)?;
            for (place, (need, hits)) in chunk.iter().zip(found).enumerate() {
                let query = number * CHUNK_QUERIES + place;
                self.write_rows_of(collection, query, need, &hits, out, summary)?;
            }
            out.flush()?;
            collection.passages.release();
        }
        progress(MineProgress::Mined {
            rows: summary.rows,
            total,
        });
        Ok(())
    }

    /// The rows of one query that an earlier run has not written.
    fn write_rows_of(
        &self,
        collection: &Collection,
        number: usize,
        need: &Need,
        hits: &[(u32, f32)],
        out: &mut dyn Write,
        summary: &mut MineSummary,
    ) -> Result<(), MineError> {
        let first = summary.rows;
        summary.rows += need.positives.len();
        if summary.rows <= summary.resumed {
            return Ok(());
        }
        let positives = need.positive_texts(collection)?;
        let ranked = hits
            .iter()
            .map(|&(doc, _)| doc)
            .filter(|&doc| !need.is_positive_or_itself(doc, collection));
        let text = |doc| need.text_of(doc, collection);
        let negs = self.selection.choose(number, ranked, &positives, text)?;
        let query = need.query(collection)?;
        for pos in &positives[summary.resumed.saturating_sub(first)..] {
            let (query, negs) = (query.as_str(), negs.as_slice());
            serde_json::to_writer(&mut *out, &Row { query, pos, negs }).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Searches deep enough that the selection is filled.
    fn search(
        &self,
        collection: &Collection,
        needs: &[Need],
    ) -> Result<Vec<Vec<(u32, f32)>>, MineError> {
        let texts: Vec<String> = needs
            .iter()
            .map(|need| need.query(collection))
            .collect::<Result<_, _>>()?;
        let most = needs.iter().map(|need| need.positives.len()).max();
        let depth = self.selection.search_depth() + most.unwrap_or(0) + 1;
        let queries = self.encoder.encode_queries(&texts)?;
        Ok(collection.index.best(&queries, depth)?)
    }
}

#[cfg(test)]
mod tests;
