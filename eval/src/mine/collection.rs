//! What is searched: the documents and their index.

use data::Passages;

use super::{InvertedIndex, SparseVector, Vocabulary};
use super::{MineError, MineJob, MineProgress};
use crate::search::{INDEX_FILE, IndexWriter};

/// Documents encoded at a time: enough to sort them into batches of equal length.
const CHUNK_DOCS: usize = 1024;

/// Memory of a posting while an index is built.
const BYTES_PER_WEIGHT: usize = 16;

/// A corpus and its index, documents having the same numbers in both.
pub struct Collection {
    pub passages: Passages,
    pub index: InvertedIndex,
    /// The encoder's token names, and the index's numbers for them.
    names: Vec<String>,
    vocabulary: Vocabulary,
}

impl Collection {
    /// Opens the index, or builds it first.
    pub fn open(job: &MineJob, progress: &mut dyn FnMut(MineProgress)) -> Result<Self, MineError> {
        let passages = job.dir.passages()?;
        if passages.is_empty() {
            return Err(MineError::NoDocuments(job.dir.name()));
        }
        if !job.index.join(INDEX_FILE).exists() {
            build(job, progress)?;
        }
        let index = InvertedIndex::open(job.index)?;
        refuse_another(job, &index, &passages)?;
        Ok(Self {
            passages,
            vocabulary: index.vocabulary(),
            names: job.encoder.token_names(),
            index,
        })
    }

    /// Vectors of the encoder as vectors over the index's tokens.
    pub fn queries(&self, vectors: &[SparseVector]) -> Vec<SparseVector> {
        let by_name = |vector: &SparseVector| {
            let entries = vector.iter();
            self.vocabulary
                .vector(entries.map(|(id, weight)| (&self.names[id as usize], weight)))
        };
        vectors.iter().map(by_name).collect()
    }
}

/// Encodes and indexes all documents, in memory bounded by blocks of postings and the ids.
fn build(job: &MineJob, progress: &mut dyn FnMut(MineProgress)) -> Result<(), MineError> {
    let block_postings = (job.memory_mib << 20) / BYTES_PER_WEIGHT;
    let mut writer = IndexWriter::create(job.index, block_postings)?;
    let mut documents = job.dir.documents()?;
    loop {
        progress(MineProgress::Indexed(writer.len()));
        let chunk: Vec<(String, String)> = documents
            .by_ref()
            .take(CHUNK_DOCS)
            .map(|document| document.map(|document| (document.contents(), document.id)))
            .collect::<Result<_, _>>()?;
        if chunk.is_empty() {
            break;
        }
        let (texts, ids): (Vec<String>, Vec<String>) = chunk.into_iter().unzip();
        for (id, vector) in ids.iter().zip(job.encoder.encode_documents(&texts)?) {
            writer.add(id, &vector)?;
        }
    }
    writer.finish(&job.encoder.token_names())?;
    Ok(())
}

/// Compares the number of documents, and the ids of some.
fn refuse_another(
    job: &MineJob,
    index: &InvertedIndex,
    passages: &Passages,
) -> Result<(), MineError> {
    /// Documents compared, spread over the corpus.
    const COMPARED: usize = 1000;
    let other = |place, found, expected| MineError::OtherCorpus {
        index: job.index.display().to_string(),
        corpus: job.dir.corpus_path().display().to_string(),
        place,
        found,
        expected,
    };
    let shared = index.num_documents().min(passages.len());
    for place in (0..shared).step_by(shared.div_ceil(COMPARED).max(1)) {
        let (found, expected) = (index.document_id(place as u32), passages.get(place)?.id);
        if found != expected {
            return Err(other(
                place + 1,
                format!("document {found:?}"),
                format!("document {expected:?}"),
            ));
        }
    }
    if index.num_documents() != passages.len() {
        let end = |count| match count {
            count if count == shared => "the end".to_owned(),
            _ => "another document".to_owned(),
        };
        return Err(other(
            shared + 1,
            end(index.num_documents()),
            end(passages.len()),
        ));
    }
    Ok(())
}
