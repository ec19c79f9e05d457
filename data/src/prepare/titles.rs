//! Queries for corpora without any: a document's title asks for its text.

use std::collections::BTreeSet;
use std::path::Path;

use rayon::prelude::*;
use serde_json::json;

use super::{CHUNK_ROWS, PosNegsRow, PrepareError, SCATTERED_ROWS};
use crate::beir::{Document, Documents};
use crate::dataset::{Dataset, DatasetError};
use crate::output::{AtomicDir, AtomicFile, OutputError};
use crate::random::{Purpose, below, generator};

/// What became of the documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TitleCounts {
    /// All documents.
    pub documents: usize,
    /// Documents that gave a pair.
    pub pairs: usize,
}

/// Writes a row `{query, pos, negs}` for every document with a title and a text: the title, the text, and the texts of
/// `negatives` other such documents, drawn at random. Titles are no part of any text, so that they give no hint.
/// `on_row` is called after every row.
///
/// # Errors
/// [`PrepareError`], naming file and line, or [`PrepareError::Nothing`] when there are too few documents.
pub fn title_pairs(
    corpus: &Path,
    output: &Path,
    negatives: usize,
    seed: u64,
    on_row: &mut dyn FnMut(),
) -> Result<TitleCounts, PrepareError> {
    let rows = Dataset::open(corpus)?;
    let usable = rows_with_title_and_text(&rows)?;
    if usable.len() <= negatives {
        return Err(nothing(corpus, rows.len(), usable.len(), negatives + 1));
    }
    let mut file = AtomicFile::create(output)?;
    for (index, &row) in usable.iter().enumerate() {
        let Document { title, text, .. } = Document::of_row(&rows, row)?;
        let others = draw_others(index, usable.len(), negatives, seed);
        let negs = others.into_iter().map(|other| {
            let document = Document::of_row(&rows, usable[other])?;
            Ok(document.text.trim().to_owned())
        });
        let negs: Vec<String> = negs.collect::<Result<_, DatasetError>>()?;
        let row = PosNegsRow {
            query: title.trim(),
            pos: text.trim(),
            negs: &negs,
        };
        file.write_line(&row.line())?;
        on_row();
        if index % SCATTERED_ROWS == SCATTERED_ROWS - 1 {
            rows.release();
        }
    }
    file.finish()?;
    Ok(TitleCounts {
        documents: rows.len(),
        pairs: usable.len(),
    })
}

fn is_usable(document: &Document) -> bool {
    !document.title.trim().is_empty() && !document.text.trim().is_empty()
}

fn rows_with_title_and_text(rows: &Dataset) -> Result<Vec<usize>, DatasetError> {
    let mut usable = Vec::new();
    for start in (0..rows.len()).step_by(CHUNK_ROWS) {
        let end = rows.len().min(start + CHUNK_ROWS);
        let chunk: Vec<Result<bool, DatasetError>> = (start..end)
            .into_par_iter()
            .map(|row| Ok(is_usable(&Document::of_row(rows, row)?)))
            .collect();
        for (row, is_usable) in (start..).zip(chunk) {
            if is_usable? {
                usable.push(row);
            }
        }
        rows.release();
    }
    Ok(usable)
}

/// `count` distinct numbers below `bound`, none of them `index`; there must be that many.
fn draw_others(index: usize, bound: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut rng = generator(seed, Purpose::TitleNegatives, index as u64, 0);
    let mut seen = BTreeSet::from([index]);
    let mut others = Vec::with_capacity(count);
    while others.len() < count {
        let other = below(&mut rng, bound);
        if seen.insert(other) {
            others.push(other);
        }
    }
    others
}

fn nothing(corpus: &Path, documents: usize, usable: usize, needed: usize) -> PrepareError {
    PrepareError::Nothing {
        path: corpus.to_path_buf(),
        reason: format!(
            "{usable} of {documents} documents have a title and a text; {needed} or more are needed"
        ),
    }
}

/// Writes a BEIR directory: the texts without their titles, the titles as queries `title-ID`, and the judgements
/// `qrels/train.tsv` that say which title belongs to which text. Documents without text are left out; those without
/// title have no query. `on_row` is called after every document.
///
/// # Errors
/// [`PrepareError`], naming file and line, or [`PrepareError::Nothing`] when there is no title with a text.
pub fn title_collection(
    corpus: &Path,
    output_dir: &Path,
    on_row: &mut dyn FnMut(),
) -> Result<TitleCounts, PrepareError> {
    let folder = AtomicDir::create(output_dir)?;
    let path = |name: &str| folder.path().join(name);
    let mut texts = AtomicFile::create(&path("corpus.jsonl"))?;
    let mut queries = AtomicFile::create(&path("queries.jsonl"))?;
    std::fs::create_dir(path("qrels")).map_err(|cause| OutputError::Write {
        path: output_dir.to_path_buf(),
        cause,
    })?;
    let mut qrels = AtomicFile::create(&path("qrels/train.tsv"))?;
    qrels.write_line("query-id\tcorpus-id\tscore")?;
    let mut counts = TitleCounts::default();
    for document in Documents::open(corpus)? {
        let document = document?;
        counts.documents += 1;
        let Document { id, title, text } = &document;
        if !text.trim().is_empty() {
            texts.write_line(&json!({"_id": id, "text": text.trim()}).to_string())?;
        }
        if is_usable(&document) {
            // A hit whose id equals the query's is dropped when searching: the ids must differ.
            let query = format!("title-{id}");
            queries.write_line(&json!({"_id": query, "text": title.trim()}).to_string())?;
            qrels.write_line(&format!("{query}\t{id}\t1"))?;
            counts.pairs += 1;
        }
        on_row();
    }
    if counts.pairs == 0 {
        return Err(nothing(corpus, counts.documents, 0, 1));
    }
    for file in [texts, queries, qrels] {
        file.finish()?;
    }
    folder.finish()?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use configs::{DataConfig, DataKind, TrainSource};

    use super::*;
    use crate::TrainData;
    use crate::beir::BeirDir;

    const CORPUS: &str = concat!(
        r#"{"_id": "1", "title": " red fox ", "text": "runs"}"#,
        "\n",
        r#"{"_id": "2", "title": "", "text": "no title"}"#,
        "\n",
        r#"{"_id": "3", "title": "no text", "text": " "}"#,
        "\n",
        r#"{"_id": 4, "title": "red hen", "text": "sits"}"#,
        "\n",
        r#"{"_id": "5", "title": "red cow", "text": "stands"}"#,
        "\n",
    );

    #[test]
    fn pairs_are_training_data() {
        let dir = tempfile::tempdir().unwrap();
        let [corpus, output] = ["c.jsonl", "pairs.jsonl"].map(|name| dir.path().join(name));
        std::fs::write(&corpus, CORPUS).unwrap();
        let run = |negatives, seed| title_pairs(&corpus, &output, negatives, seed, &mut || ());
        let counts = run(2, 7).unwrap();
        assert_eq!((counts.documents, counts.pairs), (5, 3));
        let first = std::fs::read_to_string(&output).unwrap();
        run(2, 7).unwrap();
        assert_eq!(std::fs::read_to_string(&output).unwrap(), first);
        let config = DataConfig {
            source: TrainSource::File(output.clone()),
            kind: DataKind::PosNegs,
            docs_per_query: 3,
            max_seq_len: 16,
            eval_max_seq_len: 16,
            first_rank_thresh: 1,
            swap_times: 0,
        };
        let data = TrainData::open(&config).unwrap();
        let group = data.group(crate::GroupId { set: 0, group: 0 }).unwrap();
        assert_eq!((&*group.query, &*group.docs[0]), ("red fox", "runs"));
        let mut negatives = group.docs[1..].to_vec();
        negatives.sort();
        assert_eq!(negatives, ["sits", "stands"]);
        let message = run(3, 7).unwrap_err().to_string();
        assert!(
            message.contains("c.jsonl: 3 of 5 documents have a title and a text; 4 or more"),
            "{message}"
        );
    }

    #[test]
    fn a_collection_is_a_beir_directory() {
        let dir = tempfile::tempdir().unwrap();
        let [corpus, output] = ["c.jsonl", "titles"].map(|name| dir.path().join(name));
        std::fs::write(&corpus, CORPUS).unwrap();
        let counts = title_collection(&corpus, &output, &mut || ()).unwrap();
        assert_eq!((counts.documents, counts.pairs), (5, 3));
        let beir = BeirDir::open(&output).unwrap();
        assert_eq!(beir.documents().unwrap().count(), 4);
        let queries = beir.queries().unwrap();
        assert_eq!((&*queries[1].id, &*queries[1].text), ("title-4", "red hen"));
        assert_eq!(beir.qrels("train").unwrap()["title-4"]["4"], 1);
        std::fs::write(&corpus, r#"{"_id": 1, "text": "x"}"#).unwrap();
        let other = dir.path().join("other");
        let error = title_collection(&corpus, &other, &mut || ()).unwrap_err();
        assert!(error.to_string().contains("0 of 1 documents"), "{error}");
        assert!(!other.exists());
    }
}
