//! A file of texts to a file of sparse vectors, row by row, so that a killed run can continue.

use std::io::{self, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use data::Tokenizer;
use data::beir::{BeirError, Document, Documents};
use data::output::{AtomicFile, OutputError};
use data::partial::PartialFile;
use model::SparseVector;
use model::sparse::SparseError;
use serde::Deserialize;

use crate::text_encoder::TextEncoder;
use crate::vectors;

/// Rows encoded and written at a time. A run continues at a multiple of it, so that texts share their batches with
/// the same others and the file comes out the same, bit for bit.
const CHUNK_ROWS: usize = 256;

/// Which of a model's two encoders to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Route {
    /// Documents.
    #[default]
    Document,
    /// Queries.
    Query,
}

/// Rows `index`, `index + count`, `index + 2 count`, ... of the input; `index` is from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which shard.
    pub index: usize,
    /// Out of how many.
    pub count: usize,
}

/// What to encode, how, and where to.
pub struct EncodeJob<'a> {
    /// Turns texts into vectors.
    pub encoder: &'a dyn TextEncoder,
    /// Names the encoder's tokens.
    pub tokenizer: &'a Tokenizer,
    /// Rows `{"_id" or "id", "title"?, "text"}`; `-` is standard input.
    pub input: &'a Path,
    /// Receives the vectors; `-` is standard output.
    pub output: &'a Path,
    /// Document or query side.
    pub route: Route,
    /// The share of the rows to encode.
    pub shard: Shard,
    /// Keep this many of the largest weights.
    pub top_k: Option<usize>,
    /// Keep weights above this share of the row's largest.
    pub prune_ratio: Option<f32>,
    /// Stands for the model and every option that changes vectors: only a partial file of the same run is
    /// continued.
    pub fingerprint: u32,
}

/// Why encoding failed.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The rows cannot be read.
    #[error(transparent)]
    Input(#[from] BeirError),
    /// A text cannot be encoded.
    #[error(transparent)]
    Encode(#[from] SparseError),
    /// The output cannot be written.
    #[error("{0}")]
    Output(#[from] OutputError),
    /// The output cannot be written on.
    #[error("{0}")]
    Write(#[from] io::Error),
    /// The unfinished output of an earlier run is of other rows.
    #[error(
        "{path}: row {row} is `{found}` but the input has `{expected}` there: the input has changed since; remove \
         {path} to start anew",
        path = path.display()
    )]
    OtherInput {
        /// The partial file.
        path: PathBuf,
        /// Row number, from 1.
        row: usize,
        /// Id in the partial file.
        found: String,
        /// Id in the input.
        expected: String,
    },
    /// Nothing to encode.
    #[error("{input}: there is no row in it", input = .0.display())]
    Empty(PathBuf),
}

/// How far encoding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncodeProgress {
    /// Rows that an earlier run had done.
    pub resumed: usize,
    /// Rows done, those included.
    pub rows: usize,
    /// Non-zero weights written by this run.
    pub weights: usize,
}

impl EncodeJob<'_> {
    /// Encodes the file. Rows go to `OUTPUT.partial-FINGERPRINT`, which takes the output's name when complete; a
    /// run that finds such a file continues after its last complete chunk.
    ///
    /// # Errors
    ///
    /// If the input cannot be read or the output not written; what was done by then stays for the next run.
    pub fn run(
        &self,
        progress: &mut dyn FnMut(EncodeProgress),
    ) -> Result<EncodeProgress, EncodeError> {
        let Shard { index, count } = self.shard;
        // Errors pass whatever their row, so that no shard ends quietly at a bad line of another.
        let mut rows = Documents::open(self.input)?
            .enumerate()
            .filter(|(row, document)| document.is_err() || row % count == index)
            .map(|(_, document)| document);
        let mut state = EncodeProgress::default();
        if self.output == Path::new("-") || self.output.metadata().is_ok_and(|meta| !meta.is_file())
        {
            let mut out = AtomicFile::create(self.output)?;
            self.encode_rows(&mut rows, &mut out, &mut state, progress)?;
            out.finish()?;
            return self.refuse_empty(state);
        }
        let mut partial = PartialFile::open(self.output, self.fingerprint)?;
        state.resumed = skip_done(&mut partial, &mut rows)?;
        state.rows = state.resumed;
        self.encode_rows(&mut rows, &mut partial, &mut state, progress)?;
        match self.refuse_empty(state) {
            Ok(state) => {
                partial.finish(self.output)?;
                Ok(state)
            }
            Err(error) => {
                partial.remove()?;
                Err(error)
            }
        }
    }

    /// Nothing at all is a mistake, unless it is one share of little.
    fn refuse_empty(&self, state: EncodeProgress) -> Result<EncodeProgress, EncodeError> {
        if state.rows == 0 && self.shard.count == 1 {
            return Err(EncodeError::Empty(self.input.to_owned()));
        }
        Ok(state)
    }

    fn encode_rows(
        &self,
        rows: &mut impl Iterator<Item = Result<Document, BeirError>>,
        out: &mut (dyn Write + Send),
        state: &mut EncodeProgress,
        progress: &mut dyn FnMut(EncodeProgress),
    ) -> Result<(), EncodeError> {
        progress(*state);
        let tokenizer = self.tokenizer;
        thread::scope(|scope| {
            // A chunk is written while the next one is encoded.
            let (sender, chunks) = sync_channel(1);
            let writer = scope.spawn(move || write_chunks(&chunks, out, tokenizer));
            let encoded = self.encode_chunks(rows, &sender, state, progress);
            drop(sender);
            let written = writer.join().unwrap_or_else(|panic| resume_unwind(panic));
            encoded.and(written)
        })
    }

    fn encode_chunks(
        &self,
        rows: &mut impl Iterator<Item = Result<Document, BeirError>>,
        sender: &SyncSender<EncodedChunk>,
        state: &mut EncodeProgress,
        progress: &mut dyn FnMut(EncodeProgress),
    ) -> Result<(), EncodeError> {
        loop {
            let chunk: Vec<Document> = rows.by_ref().take(CHUNK_ROWS).collect::<Result<_, _>>()?;
            if chunk.is_empty() {
                return Ok(());
            }
            let texts: Vec<String> = chunk.iter().map(Document::contents).collect();
            let encoded = match self.route {
                Route::Document => self.encoder.encode_documents(&texts)?,
                Route::Query => self.encoder.encode_queries(&texts)?,
            };
            let ids = chunk.into_iter().map(|document| document.id);
            let vectors = encoded.into_iter().map(|vector| self.shorten(vector));
            let chunk: EncodedChunk = ids.zip(vectors).collect();
            state.weights += chunk.iter().map(|(_, vector)| vector.len()).sum::<usize>();
            state.rows += chunk.len();
            if sender.send(chunk).is_err() {
                return Ok(()); // the writer has stopped, and says why
            }
            progress(*state);
        }
    }

    fn shorten(&self, vector: SparseVector) -> SparseVector {
        let vector = match self.prune_ratio {
            Some(ratio) => vector.prune(ratio),
            None => vector,
        };
        match self.top_k {
            Some(count) => vector.top(count),
            None => vector,
        }
    }
}

#[derive(Deserialize)]
struct RowId {
    id: String,
}

/// Skips those of `rows` that the partial file has whole chunks of, and returns their number.
fn skip_done(
    partial: &mut PartialFile,
    rows: &mut impl Iterator<Item = Result<Document, BeirError>>,
) -> Result<usize, EncodeError> {
    let path = partial.path().to_owned();
    partial.keep_whole_chunks(CHUNK_ROWS, |row, line| {
        let found = serde_json::from_str::<RowId>(&line).map_or_else(|_| line, |row| row.id);
        let expected = rows
            .next()
            .transpose()?
            .map_or_else(|| "no row".to_owned(), |row| row.id);
        if found == expected {
            return Ok(());
        }
        Err(EncodeError::OtherInput {
            path: path.clone(),
            row,
            found,
            expected,
        })
    })
}

/// Ids and vectors.
type EncodedChunk = Vec<(String, SparseVector)>;

fn write_chunks(
    chunks: &Receiver<EncodedChunk>,
    out: &mut dyn Write,
    tokenizer: &Tokenizer,
) -> Result<(), EncodeError> {
    for chunk in chunks {
        for (id, vector) in &chunk {
            vectors::write_row(out, id, vector, |id| tokenizer.token(id))?;
        }
        out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Gives every text the token `a`, weighed by the text's length, and fails after some chunks.
    struct Flaky {
        chunks_left: Cell<usize>,
    }

    impl TextEncoder for Flaky {
        fn encode_documents(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
            if self.chunks_left.get() == 0 {
                return Err(SparseError::Tokenize(data::TokenizeError::MaxLenTooShort {
                    max_len: 0,
                    specials: 2,
                }));
            }
            self.chunks_left.set(self.chunks_left.get() - 1);
            Ok(texts
                .iter()
                .map(|text| [(5, text.len() as f32)].into_iter().collect())
                .collect())
        }

        fn encode_queries(&self, texts: &[String]) -> Result<Vec<SparseVector>, SparseError> {
            self.encode_documents(texts)
        }
    }

    fn run(dir: &Path, chunks: usize, shard: Shard) -> Result<EncodeProgress, EncodeError> {
        std::fs::write(
            dir.join("vocab.txt"),
            "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n",
        )
        .expect("writable");
        EncodeJob {
            encoder: &Flaky {
                chunks_left: Cell::new(chunks),
            },
            tokenizer: &Tokenizer::from_dir(dir).expect("a vocabulary"),
            input: &dir.join("in.jsonl"),
            output: &dir.join("out.jsonl"),
            route: Route::Document,
            shard,
            top_k: None,
            prune_ratio: None,
            fingerprint: 7,
        }
        .run(&mut |_| {})
    }

    const ALL: Shard = Shard { index: 0, count: 1 };

    fn write_input(dir: &Path, rows: usize) {
        let row = |row: usize| {
            format!(
                "{{\"_id\":\"d{row}\",\"text\":\"{}\"}}\n",
                "x".repeat(row % 50)
            )
        };
        std::fs::write(dir.join("in.jsonl"), (0..rows).map(row).collect::<String>())
            .expect("writable");
    }

    #[test]
    fn a_broken_run_continues_and_ends_with_the_same_file() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_input(dir.path(), 3 * CHUNK_ROWS + 10);
        assert_eq!(
            run(dir.path(), 9, ALL).expect("encoded").rows,
            3 * CHUNK_ROWS + 10
        );
        let output = dir.path().join("out.jsonl");
        let whole = std::fs::read_to_string(&output).expect("readable");
        std::fs::remove_file(&output).expect("removable");

        run(dir.path(), 2, ALL).expect_err("stops in the third chunk");
        assert!(!output.exists());
        let partial = dir.path().join("out.jsonl.partial-00000007");
        // A kill while a chunk is being written leaves some of its rows, the last one torn.
        let mut torn = std::fs::read_to_string(&partial).expect("readable");
        torn.push_str(&whole[torn.len()..torn.len() + 300]);
        std::fs::write(&partial, &torn).expect("writable");
        assert_eq!(
            run(dir.path(), 9, ALL).expect("continued").resumed,
            2 * CHUNK_ROWS
        );
        assert_eq!(std::fs::read_to_string(&output).expect("readable"), whole);
        assert!(!partial.exists());
    }

    #[test]
    fn a_changed_input_is_not_continued() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_input(dir.path(), 2 * CHUNK_ROWS);
        run(dir.path(), 1, ALL).expect_err("stops in the second chunk");
        std::fs::write(
            dir.path().join("in.jsonl"),
            "{\"_id\":\"new\",\"text\":\"\"}\n",
        )
        .expect("writable");
        let message = run(dir.path(), 9, ALL).expect_err("other rows").to_string();
        assert!(
            message.contains("row 1 is `d0` but the input has `new`"),
            "{message}"
        );
    }

    #[test]
    fn shards_share_the_rows_and_every_shard_sees_a_bad_line() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_input(dir.path(), 5);
        let ids = |index| {
            run(dir.path(), 9, Shard { index, count: 2 }).expect("encoded");
            let rows = vectors::read(&dir.path().join("out.jsonl")).expect("readable");
            rows.map(|row| row.expect("valid").id).collect::<Vec<_>>()
        };
        assert_eq!(
            (ids(0), ids(1)),
            (
                vec!["d0".into(), "d2".into(), "d4".into()],
                vec!["d1".into(), "d3".into()]
            )
        );
        std::fs::write(
            dir.path().join("in.jsonl"),
            "{\"_id\":\"a\",\"text\":\"\"}\nnonsense\n",
        )
        .expect("writable");
        for index in 0..2 {
            assert!(run(dir.path(), 9, Shard { index, count: 2 }).is_err());
        }
    }

    #[test]
    fn nothing_to_encode_is_an_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_input(dir.path(), 0);
        assert!(matches!(
            run(dir.path(), 9, ALL),
            Err(EncodeError::Empty(_))
        ));
        let names = std::fs::read_dir(dir.path()).expect("readable").count();
        assert_eq!(names, 2, "the input and the vocabulary");
    }
}
