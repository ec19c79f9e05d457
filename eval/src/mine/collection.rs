//! What is searched: the documents and their index.

use data::Passages;
use model::SparseVector;

use super::index::Index;
use super::{MineError, MineJob, MineProgress};
use crate::search::{INDEX_FILE, IndexWriter, InvertedIndex};

/// Documents encoded at a time: enough to sort them into batches of equal length.
const CHUNK_DOCS: usize = 1024;

/// Memory of a posting while an index is built.
const BYTES_PER_WEIGHT: usize = 16;

/// A corpus and its index, documents having the same numbers in both.
pub struct Collection<'a> {
    pub passages: Passages,
    pub index: Index<'a>,
}

impl<'a> Collection<'a> {
    /// Opens the index, or builds it first.
    pub fn open(
        job: &MineJob<'a>,
        progress: &mut dyn FnMut(MineProgress),
    ) -> Result<Self, MineError> {
        let passages = job.dir.passages()?;
        if passages.is_empty() {
            return Err(MineError::NoDocuments(job.dir.name()));
        }
        if let Some(engine) = job.engine {
            let mut ids = Vec::new();
            for_each_chunk(job, progress, |chunk_ids, vectors| {
                engine.add(&chunk_ids, vectors)?;
                ids.extend(chunk_ids);
                Ok(())
            })?;
            engine.finish()?;
            let index = Index::engine(engine, ids);
            return Ok(Self { passages, index });
        }
        if !job.index.join(INDEX_FILE).exists() {
            build(job, progress)?;
        }
        let index = InvertedIndex::open(job.index)?;
        refuse_another(job, &index, &passages)?;
        let index = Index::embedded(index, job.encoder.token_names());
        Ok(Self { passages, index })
    }
}

/// Encodes and indexes all documents, in memory bounded by blocks of postings and the ids.
fn build(job: &MineJob, progress: &mut dyn FnMut(MineProgress)) -> Result<(), MineError> {
    let block_postings = (job.memory_mib << 20) / BYTES_PER_WEIGHT;
    let mut writer = IndexWriter::create(job.index, block_postings)?;
    for_each_chunk(job, progress, |ids, vectors| {
        for (id, vector) in ids.iter().zip(vectors) {
            writer.add(id, vector)?;
        }
        Ok(())
    })?;
    writer.finish(&job.encoder.token_names())?;
    Ok(())
}

/// Encodes all documents, chunk by chunk.
fn for_each_chunk(
    job: &MineJob,
    progress: &mut dyn FnMut(MineProgress),
    mut take: impl FnMut(Vec<String>, &[SparseVector]) -> Result<(), MineError>,
) -> Result<(), MineError> {
    let mut documents = job.dir.documents()?;
    let mut done = 0;
    loop {
        progress(MineProgress::Indexed(done));
        let chunk: Vec<(String, String)> = documents
            .by_ref()
            .take(CHUNK_DOCS)
            .map(|document| document.map(|document| (document.contents(), document.id)))
            .collect::<Result<_, _>>()?;
        if chunk.is_empty() {
            return Ok(());
        }
        done += chunk.len();
        let (texts, ids): (Vec<String>, Vec<String>) = chunk.into_iter().unzip();
        let vectors = job.encoder.encode_documents(&texts)?;
        take(ids, &vectors)?;
    }
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
