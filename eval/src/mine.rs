//! Hard negatives: what a retriever ranks high for a query without being relevant.

use std::collections::HashMap;
use std::io::{self, Write};

use data::beir::{BeirDir, BeirError, Document};
use model::sparse::SparseError;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::beir::{EvalError, index_documents};
use crate::ranking::Hit;
use crate::search::{InvertedIndex, SearchError, Searcher};
use crate::text_encoder::TextEncoder;

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
    /// The documents cannot be indexed.
    #[error(transparent)]
    Index(#[from] EvalError),
    /// The data set cannot be read.
    #[error(transparent)]
    Beir(#[from] BeirError),
    /// A query cannot be encoded.
    #[error(transparent)]
    Encode(#[from] SparseError),
    /// The queries cannot be searched.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The rows cannot be written.
    #[error("{0}")]
    Write(#[from] io::Error),
    /// There is no pair to mine for.
    #[error("data set {0} gives no (query, positive document) pair")]
    NoPairs(String),
}

/// What mining wrote and left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MineSummary {
    /// Rows written.
    pub rows: usize,
    /// Pairs left out because the judgements name a query or a document that does not exist.
    pub unknown: usize,
}

/// A query with the ids of its positive documents.
struct Need {
    /// Never returned as a negative: the query's own id.
    id: String,
    text: String,
    positives: Vec<String>,
}

#[derive(Serialize)]
struct Row<'a> {
    query: &'a str,
    pos: &'a str,
    negs: Vec<&'a str>,
}

/// Searches the collection for every query and writes a row `{query, pos, negs}` for each of its positives: the best
/// `depth` documents that are not positives of that query, best first. Rows are in the order of queries.jsonl (or of
/// corpus.jsonl for titles), a query's positives in ascending order of their ids.
///
/// # Errors
///
/// If the data set cannot be read, a text not be encoded, or a row not be written.
pub fn mine(
    encoder: &dyn TextEncoder,
    dir: &BeirDir,
    source: &PairSource,
    depth: usize,
    out: &mut dyn Write,
    progress: Option<&dyn Fn(usize)>,
) -> Result<MineSummary, MineError> {
    let index = index_documents(encoder, dir, progress)?;
    let documents: Vec<Document> = dir.documents()?.collect::<Result<_, _>>()?;
    let (needs, texts, unknown) = match source {
        PairSource::Judged { split } => judged_pairs(dir, split, documents)?,
        PairSource::Titles { sample, seed } => title_pairs(documents, *sample, *seed),
    };
    if needs.is_empty() {
        return Err(MineError::NoPairs(dir.name()));
    }
    let mut rows = 0;
    for chunk in needs.chunks(CHUNK_QUERIES) {
        for (need, hits) in chunk.iter().zip(search(encoder, &index, chunk, depth)?) {
            for positive in &need.positives {
                let row = Row {
                    query: &need.text,
                    pos: &texts[positive],
                    negs: negatives(need, &hits, depth)
                        .map(|id| texts[id].as_str())
                        .collect(),
                };
                serde_json::to_writer(&mut *out, &row).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
                rows += 1;
            }
        }
    }
    Ok(MineSummary { rows, unknown })
}

type Pairs = (Vec<Need>, HashMap<String, String>, usize);

fn judged_pairs(dir: &BeirDir, split: &str, documents: Vec<Document>) -> Result<Pairs, MineError> {
    let texts: HashMap<String, String> = documents
        .into_iter()
        .map(|document| (document.contents(), document.id))
        .map(|(text, id)| (id, text))
        .collect();
    let mut qrels = dir.qrels(split)?;
    let mut unknown = 0;
    let mut needs = Vec::new();
    for query in dir.queries()? {
        let judgements = qrels.remove(&query.id).unwrap_or_default();
        let relevant = judgements.into_iter().filter(|&(_, grade)| grade > 0);
        let (positives, missing): (Vec<String>, Vec<String>) = relevant
            .map(|(id, _)| id)
            .partition(|id| texts.contains_key(id));
        unknown += missing.len();
        if !positives.is_empty() {
            needs.push(Need {
                id: query.id,
                text: query.text,
                positives,
            });
        }
    }
    unknown += qrels
        .values()
        .flat_map(|judged| judged.values())
        .filter(|&&grade| grade > 0)
        .count();
    Ok((needs, texts, unknown))
}

fn title_pairs(documents: Vec<Document>, sample: Option<usize>, seed: u64) -> Pairs {
    let usable: Vec<&Document> = documents
        .iter()
        .filter(|document| !document.title.trim().is_empty() && !document.text.trim().is_empty())
        .collect();
    let count = sample.unwrap_or(usable.len()).min(usable.len());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn = rand::seq::index::sample(&mut random, usable.len(), count).into_vec();
    drawn.sort_unstable();
    let needs = drawn
        .into_iter()
        .map(|index| Need {
            id: usable[index].id.clone(),
            text: usable[index].title.trim().to_owned(),
            positives: vec![usable[index].id.clone()],
        })
        .collect();
    let texts = documents
        .into_iter()
        .map(|document| (document.id, document.text.trim().to_owned()))
        .collect();
    (needs, texts, 0)
}

/// Searches deep enough that `depth` negatives remain.
fn search(
    encoder: &dyn TextEncoder,
    index: &InvertedIndex,
    needs: &[Need],
    depth: usize,
) -> Result<Vec<Vec<Hit>>, MineError> {
    let texts: Vec<String> = needs.iter().map(|need| need.text.clone()).collect();
    let most = needs
        .iter()
        .map(|need| need.positives.len())
        .max()
        .unwrap_or(0);
    Ok(index.search(&encoder.encode_queries(&texts)?, depth + most + 1)?)
}

fn negatives<'a>(need: &'a Need, hits: &'a [Hit], depth: usize) -> impl Iterator<Item = &'a str> {
    hits.iter()
        .filter(|hit| hit.id != need.id && !need.positives.contains(&hit.id))
        .take(depth)
        .map(|hit| hit.id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bm25::{Bm25Encoder, Bm25Params};

    fn mined(source: &PairSource, depth: usize) -> (MineSummary, Vec<serde_json::Value>) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let corpus = [
            ("a", "red fox", "red fox runs"),
            ("b", "red hen", "red hen sits"),
            ("c", "red cow", "red cow red"),
            ("d", "", "nothing here"),
        ]
        .map(|(id, title, text)| {
            format!("{{\"_id\":\"{id}\",\"title\":\"{title}\",\"text\":\"{text}\"}}\n")
        });
        std::fs::create_dir(dir.path().join("qrels")).expect("writable");
        let queries = "{\"_id\":\"2\",\"text\":\"red\"}\n{\"_id\":\"1\",\"text\":\"fox\"}\n";
        let qrels = "q\td\tscore\n1\ta\t1\n2\tb\t1\n2\ta\t2\n2\tc\t0\n2\tz\t1\n9\ta\t1\n";
        for (name, text) in [
            ("corpus.jsonl", corpus.concat().as_str()),
            ("queries.jsonl", queries),
            ("qrels/train.tsv", qrels),
        ] {
            std::fs::write(dir.path().join(name), text).expect("writable");
        }
        let collection = BeirDir::open(dir.path()).expect("a collection");
        let bm25 = Bm25Encoder::fit(&collection, Bm25Params::default()).expect("readable");
        let mut out = Vec::new();
        let summary = mine(&bm25, &collection, source, depth, &mut out, None).expect("mined");
        let rows = String::from_utf8(out).expect("JSON");
        (
            summary,
            rows.lines()
                .map(|row| serde_json::from_str(row).expect("JSON"))
                .collect(),
        )
    }

    #[test]
    fn judged_positives_are_no_negatives() {
        let split = "train".to_owned();
        let (summary, rows) = mined(&PairSource::Judged { split }, 5);
        assert_eq!(
            summary,
            MineSummary {
                rows: 3,
                unknown: 2
            }
        );
        assert_eq!(
            rows,
            [
                serde_json::json!({"query": "red", "pos": "red fox red fox runs", "negs": ["red cow red cow red"]}),
                serde_json::json!({"query": "red", "pos": "red hen red hen sits", "negs": ["red cow red cow red"]}),
                serde_json::json!({"query": "fox", "pos": "red fox red fox runs", "negs": []}),
            ]
        );
    }

    #[test]
    fn titles_find_other_texts() {
        let titles = |sample, seed| mined(&PairSource::Titles { sample, seed }, 1).1;
        let all = titles(None, 0);
        assert_eq!(all.len(), 3, "a document without a title gives no query");
        assert_eq!(
            all[0],
            serde_json::json!({"query": "red fox", "pos": "red fox runs", "negs": ["red cow red"]})
        );
        assert_eq!(titles(Some(2), 3), titles(Some(2), 3));
        assert_eq!(titles(Some(2), 3).len(), 2);
        assert_eq!(titles(Some(9), 3), all);
    }
}
