//! Texts to an index, without a file between: the next texts are encoded while the last ones are on their way.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use data::beir::{BeirError, Document, Documents};
use model::SparseVector;
use model::sparse::SparseError;

use super::{LoadSummary, Loader, OpenSearchError};
use crate::text_encoder::TextEncoder;

/// Rows encoded at a time: enough to sort them into batches of equal length.
const CHUNK_ROWS: usize = 1024;

/// Why ingest failed.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The rows cannot be read.
    #[error(transparent)]
    Input(#[from] BeirError),
    /// A text cannot be encoded.
    #[error(transparent)]
    Encode(#[from] SparseError),
    /// The server does not take them.
    #[error(transparent)]
    OpenSearch(#[from] OpenSearchError),
    /// Nothing to encode.
    #[error("{0}: there is no row in it")]
    Empty(String),
}

/// What to encode, and how.
pub struct IngestJob<'a> {
    /// Turns texts into vectors.
    pub encoder: &'a dyn TextEncoder,
    /// Names of the encoder's tokens in the index, by number.
    pub names: &'a [String],
    /// Rows `{"_id" or "id", "title"?, "text"}`; `-` is standard input.
    pub input: &'a Path,
    /// Keep this many of the largest weights.
    pub top_k: Option<usize>,
    /// Keep weights above this share of the row's largest.
    pub prune_ratio: Option<f32>,
    /// Whether titles and texts go along, to be shown with what is found.
    pub with_texts: bool,
}

type EncodedChunk = Vec<(Document, SparseVector)>;

impl IngestJob<'_> {
    /// Encodes the rows that the index lacks and loads them. `progress` is told the number of rows encoded, those of an
    /// earlier run included.
    ///
    /// # Errors
    ///
    /// If the rows cannot be read or encoded, or the server does not take them; what it has by then is not sent again by
    /// the next run.
    pub fn run(
        &self,
        loader: Loader,
        progress: &mut dyn FnMut(usize),
    ) -> Result<LoadSummary, IngestError> {
        let mut rows = Documents::open(self.input)?;
        let resumed = loader.resumed();
        for row in rows.by_ref().take(resumed) {
            row?;
        }
        thread::scope(|scope| {
            // A chunk is written into requests while the next one is encoded.
            let (sender, chunks) = sync_channel(1);
            let mut writer = DocumentWriter {
                loader,
                names: self.names,
                with_texts: self.with_texts,
            };
            let writer = scope.spawn(move || writer.load(&chunks).map(|()| writer.loader));
            let mut done = resumed;
            let encoded = loop {
                progress(done);
                let chunk = match self.encode(&mut rows) {
                    Ok(chunk) if chunk.is_empty() => break Ok(()),
                    Ok(chunk) => chunk,
                    Err(error) => break Err(error),
                };
                done += chunk.len();
                if sender.send(chunk).is_err() {
                    break Ok(()); // the writer has stopped, and says why
                }
            };
            drop(sender);
            let loaded = writer.join().unwrap_or_else(|panic| resume_unwind(panic));
            match (encoded, loaded) {
                (Ok(()), Ok(loader)) => self.finish(loader),
                (Err(error), Ok(loader)) => {
                    loader.pause()?;
                    Err(error)
                }
                (_, Err(error)) => Err(error.into()),
            }
        })
    }

    fn finish(&self, loader: Loader) -> Result<LoadSummary, IngestError> {
        if loader.added() == 0 {
            loader.discard()?;
            return Err(IngestError::Empty(self.input.display().to_string()));
        }
        Ok(loader.finish()?)
    }

    fn encode(&self, rows: &mut Documents) -> Result<EncodedChunk, IngestError> {
        let chunk: Vec<Document> = rows.take(CHUNK_ROWS).collect::<Result<_, _>>()?;
        let texts: Vec<String> = chunk.iter().map(Document::contents).collect();
        let vectors = match texts.is_empty() {
            true => Vec::new(),
            false => self.encoder.encode_documents(&texts)?,
        };
        let short = vectors.into_iter().map(|vector| self.shorten(vector));
        Ok(chunk.into_iter().zip(short).collect())
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

/// The side of the loader.
struct DocumentWriter<'a> {
    loader: Loader,
    names: &'a [String],
    with_texts: bool,
}

impl DocumentWriter<'_> {
    /// Adds documents until nobody sends more.
    fn load(&mut self, chunks: &Receiver<EncodedChunk>) -> Result<(), OpenSearchError> {
        for chunk in chunks {
            for (document, vector) in &chunk {
                self.add(document, vector)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, document: &Document, vector: &SparseVector) -> Result<(), OpenSearchError> {
        let texts = [
            ("title", document.title.as_str()),
            ("text", document.text.as_str()),
        ];
        let kept = if self.with_texts { &texts[..] } else { &[] };
        let named = vector
            .iter()
            .filter_map(|(token, weight)| Some((self.names.get(token as usize)?.as_str(), weight)));
        self.loader.add(&document.id, kept, named)
    }
}
