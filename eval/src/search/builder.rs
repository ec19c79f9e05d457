//! From document vectors to an index in memory.

use model::SparseVector;
use rayon::prelude::*;

use super::posting_list::ListWriter;
use super::rows::{Rows, byte_range, postings};
use super::section::{Section, StringTable, StringTableBuilder};
use super::segment::Segment;
use super::{IndexError, InvertedIndex};

/// Builds an [`InvertedIndex`] in memory, 16 bytes per non-zero weight at its peak.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    pub(super) documents: StringTableBuilder,
    pub(super) rows: Rows,
}

impl IndexBuilder {
    /// Appends a document.
    ///
    /// # Errors
    ///
    /// If a weight is negative or not finite, or there are 2^32 - 1 documents already.
    pub fn add(&mut self, id: &str, vector: &SparseVector) -> Result<(), IndexError> {
        if self.documents.len() >= u32::MAX as usize {
            return Err(IndexError::TooManyDocuments);
        }
        let is_weight = |weight: f32| weight >= 0.0 && weight.is_finite();
        if let Some((token, weight)) = vector.iter().find(|&(_, weight)| !is_weight(weight)) {
            let id = id.to_owned();
            return Err(IndexError::Weight { id, token, weight });
        }
        self.documents.push(id);
        self.rows.push(vector);
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

    /// Inverts and packs. The tokens of the index keep their numbers and have no names.
    ///
    /// # Errors
    ///
    /// If two documents have the same id.
    pub fn finish(self) -> Result<InvertedIndex, IndexError> {
        let documents = self.documents.finish();
        refuse_duplicates(&documents)?;
        let inverted = self.rows.invert(0);
        let mut packed = Vec::new();
        let mut lists = ListWriter::new(&mut packed);
        for bounds in inverted.offsets.windows(2) {
            let bytes = byte_range(bounds[0]..bounds[1]);
            for (doc, weight) in postings(&inverted.postings[bytes]) {
                lists.push(doc, weight)?;
            }
            lists.end_list()?;
        }
        let directory = lists.finish();
        Ok(InvertedIndex::of_segments(vec![Segment {
            documents,
            tokens: StringTableBuilder::default().finish(),
            postings: Section::Owned(packed),
            directory,
            checksum: 0,
        }]))
    }
}

/// The documents' numbers in ascending order of their ids.
fn sorted(documents: &StringTable) -> Vec<u32> {
    let mut order: Vec<u32> = (0..documents.len() as u32).collect();
    order.par_sort_unstable_by(|&a, &b| {
        documents
            .get(a as usize)
            .cmp(documents.get(b as usize))
            .then(a.cmp(&b))
    });
    order
}

/// Refuses an id that occurs twice.
pub fn refuse_duplicates(documents: &StringTable) -> Result<(), IndexError> {
    let id = |doc: u32| documents.get(doc as usize);
    let order = sorted(documents);
    match order.windows(2).find(|pair| id(pair[0]) == id(pair[1])) {
        None => Ok(()),
        Some(pair) => Err(IndexError::DuplicateId {
            id: id(pair[0]).to_owned(),
            first: pair[0] as usize + 1,
            second: pair[1] as usize + 1,
        }),
    }
}

/// Refuses an id that `index` has already.
pub fn refuse_indexed(documents: &StringTable, index: &InvertedIndex) -> Result<(), IndexError> {
    let order = sorted(documents);
    let position = |id: &str| {
        let found = order.binary_search_by(|&doc| documents.get(doc as usize).cmp(id));
        found.ok().map(|place| order[place] as usize)
    };
    let twice = (0..index.num_documents() as u32)
        .into_par_iter()
        .find_map_first(|doc| Some((doc, position(index.document_id(doc))?)));
    match twice {
        None => Ok(()),
        Some((doc, place)) => Err(IndexError::IndexedId {
            id: documents.get(place).to_owned(),
            indexed: doc as usize + 1,
            place: place + 1,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn weights_that_no_score_can_have_are_refused() {
        for weight in [-1.0, f32::NAN, f32::INFINITY] {
            let vector = [(2, 1.0), (7, weight)].into_iter().collect();
            let mut builder = IndexBuilder::default();
            let error = builder.add("d", &vector).expect_err("refused").to_string();
            assert!(error.contains("`d`") && error.contains('7'), "{error}");
            assert!(builder.is_empty());
        }
    }
}
