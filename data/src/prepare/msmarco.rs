//! Training data out of lists of ids: MS MARCO's hard negatives, as `opensearch-project/msmarco-hard-negatives` has
//! them, joined with the texts of a BEIR directory.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};

use super::texts::TextsById;
use super::{CHUNK_ROWS, PosNegsRow, PrepareError, id_text};
use crate::beir::{BeirDir, Qrels};
use crate::convert::ordered_json;
use crate::dataset::Dataset;
use crate::output::AtomicFile;

/// What the lists become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinKind {
    /// kd: the lists as they are, scores and all, with texts in place of ids.
    Kd,
    /// posnegs: a row for each document that the judgements of a split say is relevant, the rest of the list as its
    /// negatives.
    PosNegs {
        /// Name of the split.
        split: String,
    },
}

/// What became of the lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JoinCounts {
    /// Lists read.
    pub lists: usize,
    /// Rows written.
    pub rows: usize,
    /// Lists left out because there is no such query.
    pub unknown_queries: usize,
    /// Documents left out because there are no such documents.
    pub unknown_documents: usize,
    /// Lists left out for too few known documents: none at all (kd), no relevant one or no other (posnegs).
    pub too_short: usize,
}

impl fmt::Display for JoinCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows of {} lists", self.rows, self.lists)?;
        for (count, what) in [
            (self.unknown_queries, "lists of unknown queries"),
            (self.too_short, "lists with too few known documents"),
            (self.unknown_documents, "unknown documents left out"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// A text that was taken for latin-1 when it was UTF-8, as some passages of MS MARCO were, as it should be; any other
/// text as it is.
pub fn repair(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let latin1: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    match latin1.map(String::from_utf8) {
        Some(Ok(repaired)) => Cow::Owned(repaired),
        _ => Cow::Borrowed(text),
    }
}

/// Joins lists `{query, docs}` of ids (any data set; further columns, such as `scores`, are kept) with the texts of a
/// BEIR directory and writes JSON lines. Passages are repaired (see [`repair`]); titles, where there are any, precede
/// them. Ids that the directory lacks are left out, with their scores, and counted. Memory holds a hash and two numbers
/// a document, no text. `on_row` is called after every list.
///
/// # Errors
/// [`PrepareError`], naming file and row, or [`PrepareError::Nothing`] when not a single row could be made.
pub fn join_id_lists(
    data: &BeirDir,
    lists: &Path,
    output: &Path,
    kind: &JoinKind,
    on_row: &mut dyn FnMut(),
) -> Result<JoinCounts, PrepareError> {
    let qrels = match kind {
        JoinKind::Kd => Qrels::new(),
        JoinKind::PosNegs { split } => data.qrels(split)?,
    };
    let dataset = Dataset::open(lists)?;
    let mut join = Join {
        columns: dataset.columns()?,
        dataset,
        queries: TextsById::open(data.queries_path())?,
        documents: TextsById::open(data.corpus_path())?,
        counts: JoinCounts::default(),
    };
    let mut file = AtomicFile::create(output)?;
    for row in 0..join.dataset.len() {
        let rows = match kind {
            JoinKind::Kd => join.kd_row(row)?,
            JoinKind::PosNegs { .. } => join.pos_negs_rows(row, &qrels)?,
        };
        for row in rows {
            file.write_line(&row)?;
            join.counts.rows += 1;
        }
        on_row();
        if row % CHUNK_ROWS == CHUNK_ROWS - 1 {
            join.dataset.release();
        }
    }
    if join.counts.rows == 0 {
        return Err(PrepareError::Nothing {
            path: lists.to_path_buf(),
            reason: format!(
                "{}; expected rows {{\"query\": id, \"docs\": [ids]}} with ids of {}",
                join.counts,
                data.name()
            ),
        });
    }
    file.finish()?;
    Ok(join.counts)
}

struct Join {
    dataset: Dataset,
    columns: Vec<String>,
    queries: TextsById,
    documents: TextsById,
    counts: JoinCounts,
}

/// A list whose query is known.
struct IdList {
    row: Map<String, Value>,
    query_id: String,
    query: String,
    /// Ids and texts of the documents that are known; `None` for the others.
    docs: Vec<Option<(String, String)>>,
}

impl Join {
    fn read(&mut self, number: usize) -> Result<Option<IdList>, PrepareError> {
        self.counts.lists += 1;
        let row = self.dataset.row(number)?;
        let (query_id, ids) = ids(&row).map_err(|reason| self.dataset.row_error(number, reason))?;
        let Some(query) = self.queries.get(&query_id)? else {
            self.counts.unknown_queries += 1;
            return Ok(None);
        };
        let mut docs = Vec::with_capacity(ids.len());
        for id in ids {
            docs.push(self.passage(&id)?.map(|text| (id, text)));
        }
        Ok(Some(IdList {
            row,
            query_id,
            query: query.text,
            docs,
        }))
    }

    /// The text of a document; one that is not there is counted.
    fn passage(&mut self, id: &str) -> Result<Option<String>, PrepareError> {
        let Some(mut document) = self.documents.get(id)? else {
            self.counts.unknown_documents += 1;
            return Ok(None);
        };
        document.text = repair(&document.text).into_owned();
        Ok(Some(document.contents()))
    }

    fn kd_row(&mut self, number: usize) -> Result<Vec<String>, PrepareError> {
        let Some(IdList {
            mut row,
            query,
            docs,
            ..
        }) = self.read(number)?
        else {
            return Ok(Vec::new());
        };
        if let Some(Value::Array(scores)) = row.get_mut("scores") {
            if scores.len() != docs.len() {
                let reason = format!("{} docs but {} scores", docs.len(), scores.len());
                return Err(self.dataset.row_error(number, reason).into());
            }
            let mut known = docs.iter().map(Option::is_some);
            scores.retain(|_| known.next().unwrap_or(false));
        }
        let texts: Vec<Value> = docs
            .into_iter()
            .flatten()
            .map(|(_, text)| text.into())
            .collect();
        if texts.is_empty() {
            self.counts.too_short += 1;
            return Ok(Vec::new());
        }
        row.insert("query".to_owned(), query.into());
        row.insert("docs".to_owned(), texts.into());
        Ok(vec![ordered_json(&self.columns, row)])
    }

    fn pos_negs_rows(&mut self, number: usize, qrels: &Qrels) -> Result<Vec<String>, PrepareError> {
        let Some(list) = self.read(number)? else {
            return Ok(Vec::new());
        };
        let judged = qrels.get(&list.query_id).into_iter().flatten();
        let relevant: Vec<&String> = judged
            .filter(|&(_, &grade)| grade > 0)
            .map(|(id, _)| id)
            .collect();
        let docs = list.docs.iter().flatten();
        let negs: Vec<String> = docs
            .filter(|(id, _)| !relevant.contains(&id))
            .map(|(_, text)| text.clone())
            .collect();
        let mut rows = Vec::new();
        for id in relevant.into_iter().filter(|_| !negs.is_empty()) {
            if let Some(pos) = self.passage(id)? {
                let row = PosNegsRow {
                    query: &list.query,
                    pos: &pos,
                    negs: &negs,
                };
                rows.push(row.line());
            }
        }
        self.counts.too_short += usize::from(rows.is_empty());
        Ok(rows)
    }
}

/// The ids of a list's query and documents.
fn ids(row: &Map<String, Value>) -> Result<(String, Vec<String>), String> {
    let query = row.get("query").and_then(id_text);
    let query = query.ok_or("`query`: expected the id of a query, a text or a number")?;
    let docs = row.get("docs").and_then(Value::as_array);
    let docs = docs.and_then(|docs| docs.iter().map(id_text).collect());
    let docs = docs.ok_or("`docs`: expected a list of ids, texts or numbers")?;
    Ok((query, docs))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// corpus.jsonl, queries.jsonl and qrels/train.tsv.
    fn data(dir: &Path) -> BeirDir {
        let corpus = concat!(
            r#"{"_id": "1", "title": "", "text": "one cafÃ©"}"#,
            "\n",
            r#"{"_id": "2", "text": "two"}"#,
            "\n",
            r#"{"_id": 3, "title": "T", "text": "three"}"#,
            "\n",
        );
        let queries =
            "{\"_id\": \"7\", \"text\": \"seven\"}\n{\"_id\": \"8\", \"text\": \"eight\"}";
        std::fs::create_dir(dir.join("qrels")).unwrap();
        for (name, text) in [
            ("corpus.jsonl", corpus),
            ("queries.jsonl", queries),
            (
                "qrels/train.tsv",
                "q\td\tscore\n7\t1\t1\n7\t2\t0\n7\t99\t1\n8\t2\t1\n",
            ),
        ] {
            std::fs::write(dir.join(name), text).unwrap();
        }
        BeirDir::open(dir).unwrap()
    }

    const LISTS: &str = concat!(
        r#"{"query": "7", "docs": ["2", "1", "5", 3], "scores": [4, 3.5, 2, 1], "first_rank": 2}"#,
        "\n",
        r#"{"query": 8, "docs": ["2", "6"], "scores": [1, 0], "first_rank": 1}"#,
        "\n",
        r#"{"query": "9", "docs": ["2"], "scores": [1], "first_rank": 1}"#,
        "\n",
    );

    fn run(lists: &str, kind: &JoinKind) -> Result<(JoinCounts, String), String> {
        let dir = tempfile::tempdir().unwrap();
        let beir = data(dir.path());
        let [input, output] = ["lists.jsonl", "out.jsonl"].map(|name| dir.path().join(name));
        std::fs::write(&input, lists).unwrap();
        let counts = join_id_lists(&beir, &input, &output, kind, &mut || ());
        let written = std::fs::read_to_string(&output).unwrap_or_default();
        Ok((counts.map_err(|error| error.to_string())?, written))
    }

    #[test]
    fn text_repair_is_latin1_back_to_utf8() {
        // "na\u{c3}\u{af}ve" is the UTF-8 of "naïve" read as latin-1.
        for (text, expected) in [
            ("plain", "plain"),
            ("na\u{c3}\u{af}ve", "naïve"),
            ("naïve", "naïve"),
            ("\u{c3}\u{af} €", "\u{c3}\u{af} €"),
            ("\u{c3}", "\u{c3}"),
        ] {
            assert_eq!(repair(text), expected);
        }
    }

    #[test]
    fn lists_become_kd_rows() {
        let expected = concat!(
            r#"{"query": "seven", "docs": ["two","one café","T three"], "scores": [4,3.5,1], "first_rank": 2}"#,
            "\n",
            r#"{"query": "eight", "docs": ["two"], "scores": [1], "first_rank": 1}"#,
            "\n",
        );
        let (counts, written) = run(LISTS, &JoinKind::Kd).unwrap();
        assert_eq!(written, expected);
        assert_eq!(
            counts.to_string(),
            "2 rows of 3 lists, 1 lists of unknown queries, 2 unknown documents left out"
        );
    }

    #[test]
    fn lists_become_posnegs_rows() {
        let split = "train".to_owned();
        let (counts, written) = run(LISTS, &JoinKind::PosNegs { split }).unwrap();
        let expected =
            "{\"query\":\"seven\",\"pos\":\"one café\",\"negs\":[\"two\",\"T three\"]}\n";
        assert_eq!(written, expected);
        assert_eq!((counts.rows, counts.too_short), (1, 1));
        assert_eq!((counts.unknown_queries, counts.unknown_documents), (1, 3));
    }

    #[test]
    fn errors_name_file_row_and_key() {
        for (lists, expected) in [
            ("", "lists.jsonl: 0 rows of 0 lists; expected rows"),
            (
                r#"{"query": "x", "docs": []}"#,
                "lists.jsonl: 0 rows of 1 lists, 1 lists of unknown queries; expected rows",
            ),
            (r#"{"docs": []}"#, "lists.jsonl:1: `query`: expected the id"),
            (
                r#"{"query": "7"}"#,
                "lists.jsonl:1: `docs`: expected a list",
            ),
            (
                r#"{"query": "7", "docs": [[]]}"#,
                "lists.jsonl:1: `docs`: expected a list",
            ),
            (
                r#"{"query": "7", "docs": ["1"], "scores": [1, 2]}"#,
                "lists.jsonl:1: 1 docs but 2 scores",
            ),
        ] {
            let message = run(lists, &JoinKind::Kd).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        let split = "dev".to_owned();
        let message = run(LISTS, &JoinKind::PosNegs { split }).unwrap_err();
        assert!(message.ends_with("its splits are: train"), "{message}");
    }

    #[test]
    fn ids_are_unique_and_found_exactly() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("corpus.jsonl");
        let rows = |count: usize| -> String {
            let rows = (0..count).map(|row| format!("{{\"id\": {row}, \"text\": \"t{row}\"}}\n"));
            rows.collect()
        };
        std::fs::write(&path, rows(5000)).unwrap();
        let mut texts = TextsById::open(&path).unwrap();
        for row in [0, 4095, 4096, 4999] {
            let found = texts.get(&row.to_string()).unwrap().unwrap();
            assert_eq!(found.text, format!("t{row}"));
        }
        assert_eq!(texts.get("5000").unwrap(), None);
        std::fs::write(&path, rows(5) + "\n{\"_id\": \"3\", \"text\": \"\"}").unwrap();
        let error = TextsById::open(&path).err().unwrap().to_string();
        assert!(
            error.contains("corpus.jsonl:7: the id \"3\" occurs a second time"),
            "{error}"
        );
    }
}
