//! Relevance judgements, in BEIR's and in TREC's form.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::input::{self, InputError, Line};

/// Judgements: query id -> document id -> grade.
pub type Qrels = BTreeMap<String, BTreeMap<String, i32>>;

/// Why judgements could not be read.
#[derive(Debug, Error)]
pub enum QrelsError {
    /// The file cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A line is not a judgement.
    #[error(
        "{}:{line}: expected `query<TAB>document<TAB>grade` (BEIR) or `query 0 document grade` (TREC), found \
         {found:?}",
        path.display()
    )]
    Line {
        /// File at fault.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// The line's beginning.
        found: String,
    },
    /// A pair is judged twice, differently.
    #[error(
        "{}:{line}: query {query:?} and document {document:?} have grade {grade} here and {earlier} further up",
        path.display()
    )]
    Conflict {
        /// File at fault.
        path: PathBuf,
        /// Line number of the second judgement, from 1.
        line: usize,
        /// Query id.
        query: String,
        /// Document id.
        document: String,
        /// Grade on that line.
        grade: i32,
        /// Grade read before.
        earlier: i32,
    },
    /// There is not a single judgement.
    #[error("{}: no judgements in it", path.display())]
    Empty {
        /// File at fault.
        path: PathBuf,
    },
}

/// Judgements that cannot be used, because they name what is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnknownIds {
    /// Query ids without a query.
    pub queries: BTreeSet<String>,
    /// Document ids without a document.
    pub documents: BTreeSet<String>,
}

impl UnknownIds {
    /// Compares judgements with the queries and documents that exist.
    pub fn find(
        qrels: &Qrels,
        is_query: impl Fn(&str) -> bool,
        is_document: impl Fn(&str) -> bool,
    ) -> Self {
        let mut unknown = Self::default();
        for (query, judgements) in qrels {
            if !is_query(query) {
                unknown.queries.insert(query.clone());
            }
            let documents = judgements.keys().filter(|document| !is_document(document));
            unknown.documents.extend(documents.cloned());
        }
        unknown
    }

    /// Whether every id is known.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty() && self.documents.is_empty()
    }
}

impl std::fmt::Display for UnknownIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = |f: &mut std::fmt::Formatter<'_>, ids: &BTreeSet<String>, kind: &str| {
            write!(f, "{} unknown {kind} in the judgements", ids.len())?;
            match ids.first() {
                Some(first) => write!(f, " (such as {first:?})"),
                None => Ok(()),
            }
        };
        part(f, &self.queries, "queries")?;
        f.write_str(", ")?;
        part(f, &self.documents, "documents")
    }
}

/// Reads judgements: three tab-separated columns with or without a header line (BEIR), or four columns (TREC).
/// Both kinds of line ends, blank lines, `.gz` and `.zst` are understood; a repeated judgement counts once.
///
/// # Errors
/// [`QrelsError`], naming file and line.
pub fn read_qrels(path: &Path) -> Result<Qrels, QrelsError> {
    let mut qrels = Qrels::new();
    let mut is_first = true;
    for line in input::open_lines(path)? {
        let line = line?;
        if line.text.trim().is_empty() {
            continue;
        }
        let judgement = parse(&line.text);
        // Only BEIR's three columns have a header.
        let is_header =
            is_first && judgement.is_none() && line.text.split_whitespace().count() == 3;
        is_first = false;
        if is_header {
            continue;
        }
        let (query, document, grade) = judgement.ok_or_else(|| QrelsError::Line {
            path: path.to_path_buf(),
            line: line.number,
            found: line.text.chars().take(80).collect(),
        })?;
        insert(&mut qrels, path, &line, (query, document, grade))?;
    }
    if qrels.is_empty() {
        return Err(QrelsError::Empty {
            path: path.to_path_buf(),
        });
    }
    Ok(qrels)
}

/// Query, document and grade columns of a line.
fn columns(line: &str) -> Option<[&str; 3]> {
    let tabbed: Vec<&str> = line.split('\t').map(str::trim).collect();
    if let [query, document, grade] = tabbed[..] {
        return Some([query, document, grade]);
    }
    let spaced: Vec<&str> = line.split_whitespace().collect();
    match spaced[..] {
        [query, _, document, grade] | [query, document, grade] => Some([query, document, grade]),
        _ => None,
    }
}

fn parse(line: &str) -> Option<(&str, &str, i32)> {
    let [query, document, grade] = columns(line)?;
    let grade = grade.parse().ok()?;
    (!query.is_empty() && !document.is_empty()).then_some((query, document, grade))
}

fn insert(
    qrels: &mut Qrels,
    path: &Path,
    line: &Line,
    (query, document, grade): (&str, &str, i32),
) -> Result<(), QrelsError> {
    let judgements = qrels.entry(query.to_owned()).or_default();
    match judgements.insert(document.to_owned(), grade) {
        Some(earlier) if earlier != grade => Err(QrelsError::Conflict {
            path: path.to_path_buf(),
            line: line.number,
            query: query.to_owned(),
            document: document.to_owned(),
            grade,
            earlier,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<Qrels, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.tsv");
        std::fs::write(&path, content).unwrap();
        read_qrels(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms() {
        let expected = Qrels::from([
            (
                "1".into(),
                BTreeMap::from([("d 1".into(), 2), ("d2".into(), 0)]),
            ),
            ("2".into(), BTreeMap::from([("d3".into(), -1)])),
        ]);
        let rows = "1\td 1\t2\r\n1\td2\t0\r\n\r\n2\td3\t-1\r\n2\td3\t-1\r\n";
        assert_eq!(read(rows).unwrap(), expected);
        let header = "query-id\tcorpus-id\tscore\r\n";
        assert_eq!(read(&format!("{header}{rows}")).unwrap(), expected);
        let trec = read("1 0 d1 2\n2\t0\td3\t-1\n").unwrap();
        assert_eq!((trec["1"]["d1"], trec["2"]["d3"]), (2, -1));
    }

    #[test]
    fn errors_name_file_and_line() {
        for (content, expected) in [
            ("q\td\t1\nq\td\n", "test.tsv:2: expected"),
            ("q\td\t1\nq\te\tgood\n", "test.tsv:2: expected"),
            (
                "q\td\t1\nq\td\t2\n",
                "test.tsv:2: query \"q\" and document \"d\" have grade 2 here and 1",
            ),
            (
                "one line of prose without any tab at all\n",
                "test.tsv:1: expected",
            ),
            ("query-id\tcorpus-id\tscore\n", "no judgements"),
        ] {
            let message = read(content).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn unknown_ids_are_counted() {
        let qrels = read("1\ta\t1\n1\tb\t1\n2\tb\t1\n").unwrap();
        let unknown = UnknownIds::find(&qrels, |id| id == "1", |id| id == "a");
        assert_eq!((unknown.queries.len(), unknown.documents.len()), (1, 1));
        let text = unknown.to_string();
        assert!(
            text.starts_with("1 unknown queries in the judgements (such as \"2\")"),
            "{text}"
        );
        assert!(UnknownIds::find(&qrels, |_| true, |_| true).is_empty());
    }
}
