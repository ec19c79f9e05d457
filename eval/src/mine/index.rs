//! Whatever finds documents by number.

use std::collections::HashMap;

use model::SparseVector;

use crate::search::{Engine, InvertedIndex, SearchError, Vocabulary};

/// An index of the corpus, documents having the numbers of its order.
pub struct Index<'a>(Kind<'a>);

enum Kind<'a> {
    Embedded {
        index: InvertedIndex,
        /// The encoder's token names, and the index's numbers for them.
        names: Vec<String>,
        vocabulary: Vocabulary,
    },
    Engine {
        engine: &'a dyn Engine,
        ids: Vec<String>,
        numbers: HashMap<String, u32>,
    },
}

impl<'a> Index<'a> {
    /// `names` are the encoder's tokens.
    pub fn embedded(index: InvertedIndex, names: Vec<String>) -> Self {
        Self(Kind::Embedded {
            vocabulary: index.vocabulary(),
            names,
            index,
        })
    }

    /// An engine that has the documents with these ids.
    pub fn engine(engine: &'a dyn Engine, ids: Vec<String>) -> Self {
        let numbers = (0..).zip(&ids).map(|(number, id)| (id.clone(), number));
        Self(Kind::Engine {
            numbers: numbers.collect(),
            engine,
            ids,
        })
    }

    /// Number of documents.
    pub fn num_documents(&self) -> usize {
        match &self.0 {
            Kind::Embedded { index, .. } => index.num_documents(),
            Kind::Engine { ids, .. } => ids.len(),
        }
    }

    /// The id of document number `doc`.
    pub fn document_id(&self, doc: u32) -> &str {
        match &self.0 {
            Kind::Embedded { index, .. } => index.document_id(doc),
            Kind::Engine { ids, .. } => &ids[doc as usize],
        }
    }

    /// The `k` best documents for each query of the encoder, best first.
    pub fn best(
        &self,
        queries: &[SparseVector],
        k: usize,
    ) -> Result<Vec<Vec<(u32, f32)>>, SearchError> {
        match &self.0 {
            Kind::Embedded {
                index,
                names,
                vocabulary,
            } => {
                let by_name = |query: &SparseVector| {
                    let entries = query.iter();
                    vocabulary.vector(entries.map(|(id, weight)| (&names[id as usize], weight)))
                };
                let queries: Vec<SparseVector> = queries.iter().map(by_name).collect();
                Ok(index.best(&queries, k))
            }
            Kind::Engine {
                engine, numbers, ..
            } => {
                let found = engine.search(queries, k)?.into_iter();
                let numbered = found.map(|hits| {
                    let hits = hits.into_iter();
                    hits.filter_map(|hit| Some((*numbers.get(&hit.id)?, hit.score)))
                        .collect()
                });
                Ok(numbered.collect())
            }
        }
    }
}
