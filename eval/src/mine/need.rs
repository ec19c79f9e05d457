//! Queries that want negatives.

use std::collections::HashMap;

use data::beir::{BeirDir, BeirError, Qrels, Query};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::collection::Collection;
use super::{MineError, PairSource};

/// Documents read one after the other, after which memory is given back to the system.
const CHUNK_DOCS: usize = 4096;

/// A query and its positives, by number.
pub struct Need {
    origin: Origin,
    /// Ascending by id.
    pub positives: Vec<u32>,
}

enum Origin {
    /// A query of queries.jsonl.
    Judged(Query),
    /// The title of the positive.
    Title,
}

/// What to mine for.
pub struct Wanted {
    pub needs: Vec<Need>,
    /// Judgements of unknown queries or documents.
    pub unknown: usize,
}

impl Need {
    /// The query's text.
    pub fn query(&self, collection: &Collection) -> Result<String, BeirError> {
        match &self.origin {
            Origin::Judged(query) => Ok(query.text.clone()),
            Origin::Title => {
                let document = collection.passages.get(self.positives[0] as usize)?;
                Ok(document.title.trim().to_owned())
            }
        }
    }

    /// What a document says to this query: beside a title, only its text.
    pub fn text_of(&self, doc: u32, collection: &Collection) -> Result<String, BeirError> {
        let document = collection.passages.get(doc as usize)?;
        Ok(match &self.origin {
            Origin::Judged(_) => document.contents(),
            Origin::Title => document.text.trim().to_owned(),
        })
    }

    pub fn positive_texts(&self, collection: &Collection) -> Result<Vec<String>, BeirError> {
        let positives = self.positives.iter();
        positives
            .map(|&doc| self.text_of(doc, collection))
            .collect()
    }

    /// A document with the query's id is the query itself.
    pub fn is_positive_or_itself(&self, doc: u32, collection: &Collection) -> bool {
        let itself = match &self.origin {
            Origin::Judged(query) => collection.index.document_id(doc) == query.id,
            Origin::Title => false,
        };
        itself || self.positives.contains(&doc)
    }
}

/// The queries in the order of their file.
pub fn find(
    source: &PairSource,
    dir: &BeirDir,
    collection: &Collection,
) -> Result<Wanted, MineError> {
    match source {
        PairSource::Judged { split } => judged(dir, split, collection),
        PairSource::Titles { sample, seed } => Ok(Wanted {
            needs: titles(collection, *sample, *seed)?,
            unknown: 0,
        }),
    }
}

fn judged(dir: &BeirDir, split: &str, collection: &Collection) -> Result<Wanted, MineError> {
    let mut qrels = dir.qrels(split)?;
    for judged in qrels.values_mut() {
        judged.retain(|_, grade| *grade > 0);
    }
    let mut unknown = 0;
    let mut needs = Vec::new();
    let queries = dir.queries()?.into_iter();
    let pairs: Vec<(Query, Vec<String>)> = queries
        .filter_map(|query| Some((qrels.remove(&query.id)?, query)))
        .map(|(judged, query)| (query, judged.into_keys().collect()))
        .collect();
    unknown += judgements(&qrels);
    let numbers = numbers_of(&pairs, collection);
    let positives: Vec<Vec<u32>> = pairs
        .iter()
        .map(|(_, relevant)| {
            let found = relevant.iter().filter_map(|id| numbers.get(id.as_str()));
            found.copied().collect()
        })
        .collect();
    for ((query, relevant), positives) in pairs.into_iter().zip(positives) {
        unknown += relevant.len() - positives.len();
        if !positives.is_empty() {
            needs.push(Need {
                origin: Origin::Judged(query),
                positives,
            });
        }
    }
    Ok(Wanted { needs, unknown })
}

fn judgements(qrels: &Qrels) -> usize {
    qrels.values().map(|judged| judged.len()).sum()
}

/// The numbers of the documents that are named.
fn numbers_of<'a>(
    pairs: &'a [(Query, Vec<String>)],
    collection: &Collection,
) -> HashMap<&'a str, u32> {
    let named = pairs.iter().flat_map(|(_, ids)| ids);
    let mut numbers: HashMap<&str, Option<u32>> = named.map(|id| (id.as_str(), None)).collect();
    for doc in 0..collection.index.num_documents() as u32 {
        if let Some(number) = numbers.get_mut(collection.index.document_id(doc)) {
            *number = Some(doc);
        }
    }
    let found = numbers.into_iter();
    found
        .filter_map(|(id, number)| Some((id, number?)))
        .collect()
}

fn titles(
    collection: &Collection,
    sample: Option<usize>,
    seed: u64,
) -> Result<Vec<Need>, MineError> {
    let mut usable: Vec<u32> = Vec::new();
    for doc in 0..collection.passages.len() {
        let document = collection.passages.get(doc)?;
        if !document.title.trim().is_empty() && !document.text.trim().is_empty() {
            usable.push(doc as u32);
        }
        if doc % CHUNK_DOCS == 0 {
            collection.passages.release();
        }
    }
    if let Some(count) = sample.filter(|&count| count < usable.len()) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut drawn = rand::seq::index::sample(&mut random, usable.len(), count).into_vec();
        drawn.sort_unstable();
        usable = drawn.into_iter().map(|index| usable[index]).collect();
    }
    let need = |doc| Need {
        origin: Origin::Title,
        positives: vec![doc],
    };
    Ok(usable.into_iter().map(need).collect())
}
