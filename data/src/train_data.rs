//! Training data: rows cut into groups of one query and a few documents, read when asked for.

mod grouping;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use configs::{DataConfig, TrainSource};
use rayon::prelude::*;
use thiserror::Error;

use crate::dataset::{Dataset, DatasetError, RowForm, RowIds, TrainRow};
use crate::sample::GroupId;
use grouping::Grouping;

/// Rows looked at together while groups are counted.
const SCAN_ROWS: usize = 4096;
/// Groups read before their memory is given back to the system.
const RELEASE_READS: usize = 256;

/// Why training data could not be opened or read.
#[derive(Debug, Error)]
pub enum TrainDataError {
    /// A data set is missing, damaged, or has other rows than the recipe says.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The folder of data sets cannot be listed.
    #[error("cannot list {}: {cause}", path.display())]
    List {
        /// `train_file_dir`.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The folder has no data set in it.
    #[error(
        "{}: no data sets in it; expected .jsonl files (also .jsonl.gz, .jsonl.zst), .parquet files or directories \
         written by `save_to_disk`",
        path.display()
    )]
    NoDatasets {
        /// `train_file_dir`.
        path: PathBuf,
    },
    /// A data set gives no group at all.
    #[error(
        "{}: no training group can be made from it: {counts}; a group takes {docs_per_query} documents",
        path.display()
    )]
    NoGroups {
        /// Data set at fault.
        path: PathBuf,
        /// Documents per query of a group, the positive included.
        docs_per_query: usize,
        /// What became of its rows.
        counts: RowCounts,
    },
    /// Some rows have teacher scores and others have none.
    #[error("{place}: no `scores`, but rows before it have them; give all rows scores, or none")]
    MixedScores {
        /// Where the first row without scores is.
        place: String,
    },
}

/// What one query of a training batch is scored against.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainGroup {
    /// The query's text.
    pub query: String,
    /// Its documents; of `posnegs` data the positive comes first.
    pub docs: Vec<String>,
    /// The teacher's scores of the documents, unscaled, where the data has any.
    pub scores: Option<Vec<f32>>,
    /// What the texts are called, where the data is kd-ids.
    pub ids: Option<RowIds>,
}

/// What became of the rows of a data set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// All rows.
    pub rows: usize,
    /// Rows skipped because a text or a score is null.
    pub null: usize,
    /// kd rows skipped because of `first_rank_thresh`.
    pub beyond_first_rank: usize,
    /// Rows with too few documents for one group, or without a positive.
    pub too_short: usize,
}

impl std::fmt::Display for RowCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rows", self.rows)?;
        for (count, what) in [
            (self.null, "skipped for a null text or score"),
            (self.beyond_first_rank, "skipped by first_rank_thresh"),
            (self.too_short, "too short for a group"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// One data set, cut into groups.
pub struct TrainSet {
    path: PathBuf,
    dataset: Dataset,
    form: RowForm,
    grouping: Grouping,
    /// Number of groups before each row, and at the end of all.
    starts: Vec<u64>,
    counts: RowCounts,
    /// Groups read so far.
    reads: AtomicUsize,
}

/// Training data, cut into groups and read on demand: memory holds one number per row, no text.
pub struct TrainData {
    sets: Vec<TrainSet>,
}

impl TrainData {
    /// Opens `train_file`, or every data set of `train_file_dir` in the order of their names, and looks at every
    /// row once, so that whatever is wrong with the data is told before training starts.
    ///
    /// # Errors
    /// [`TrainDataError`], naming file and line, or shard, row and column.
    pub fn open(config: &DataConfig) -> Result<Self, TrainDataError> {
        let paths = match &config.source {
            TrainSource::File(path) => vec![path.clone()],
            TrainSource::Dir(path) => dataset_paths(path)?,
        };
        let sets = paths.into_iter().map(|path| TrainSet::open(path, config));
        Ok(Self {
            sets: sets.collect::<Result<_, _>>()?,
        })
    }

    /// The data sets.
    pub fn sets(&self) -> &[TrainSet] {
        &self.sets
    }

    /// Number of groups of each data set, as [`BatchSampler::new`](crate::BatchSampler::new) wants them.
    pub fn sizes(&self) -> Vec<usize> {
        self.sets.iter().map(TrainSet::len).collect()
    }

    /// Number of groups of all data sets.
    pub fn len(&self) -> usize {
        self.sizes().iter().sum()
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads one group.
    ///
    /// # Errors
    /// [`TrainDataError::Dataset`] when the row cannot be read any more.
    ///
    /// # Panics
    /// When there is no such group.
    pub fn group(&self, id: GroupId) -> Result<TrainGroup, TrainDataError> {
        self.sets[id.set].group(id.group)
    }
}

/// The data sets of a folder: JSON lines files, Parquet files and `save_to_disk` directories, sorted by name. Hidden
/// entries and documentation are passed over.
pub(crate) fn dataset_paths(dir: &Path) -> Result<Vec<PathBuf>, TrainDataError> {
    let list_error = |cause| TrainDataError::List {
        path: dir.to_path_buf(),
        cause,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(list_error)? {
        let path = entry.map_err(list_error)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with('.') && !name.ends_with(".md") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(TrainDataError::NoDatasets {
            path: dir.to_path_buf(),
        });
    }
    paths.sort();
    Ok(paths)
}

impl TrainSet {
    fn open(path: PathBuf, config: &DataConfig) -> Result<Self, TrainDataError> {
        let dataset = Dataset::open(&path)?;
        let mut set = Self {
            form: RowForm::of(config.kind, &dataset.columns()?),
            dataset,
            grouping: Grouping {
                kind: config.kind,
                docs_per_query: config.docs_per_query,
                swap_times: config.swap_times,
            },
            starts: vec![0],
            counts: RowCounts::default(),
            reads: AtomicUsize::new(0),
            path,
        };
        set.count_groups(config.first_rank_thresh)?;
        if set.is_empty() {
            return Err(TrainDataError::NoGroups {
                path: set.path,
                docs_per_query: config.docs_per_query,
                counts: set.counts,
            });
        }
        Ok(set)
    }

    /// Reads every row once; the first faulty one ends it, whatever the number of threads.
    fn count_groups(&mut self, first_rank_thresh: usize) -> Result<(), TrainDataError> {
        let rows = self.dataset.len();
        self.counts.rows = rows;
        let mut has_scores = None;
        let mut groups = 0;
        for start in (0..rows).step_by(SCAN_ROWS) {
            let shapes: Vec<Result<Option<RowShape>, DatasetError>> = (start
                ..rows.min(start + SCAN_ROWS))
                .into_par_iter()
                .map(|row| Ok(self.dataset.train_row(row, self.form)?.map(RowShape::of)))
                .collect();
            for (row, shape) in (start..).zip(shapes) {
                if let Some(shape) = shape? {
                    if *has_scores.get_or_insert(shape.has_scores) != shape.has_scores {
                        return Err(self.mixed_scores(row));
                    }
                    groups += self.groups_of(&shape, first_rank_thresh) as u64;
                } else {
                    self.counts.null += 1;
                }
                self.starts.push(groups);
            }
            self.dataset.release();
        }
        Ok(())
    }

    /// Number of groups a row gives; a row that gives none is counted with its reason.
    fn groups_of(&mut self, shape: &RowShape, first_rank_thresh: usize) -> usize {
        let range = 0..=i64::try_from(first_rank_thresh).unwrap_or(i64::MAX);
        if shape.first_rank.is_some_and(|rank| !range.contains(&rank)) {
            self.counts.beyond_first_rank += 1;
            return 0;
        }
        let groups = self.grouping.groups(shape.docs, shape.positives);
        self.counts.too_short += usize::from(groups == 0);
        groups
    }

    fn mixed_scores(&self, row: usize) -> TrainDataError {
        TrainDataError::MixedScores {
            place: self.dataset.place(row),
        }
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What became of its rows.
    pub fn counts(&self) -> RowCounts {
        self.counts
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.starts.last().map_or(0, |&groups| groups as usize)
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads group number `index`, counted over all rows in stored order.
    ///
    /// # Errors
    /// [`TrainDataError::Dataset`] when the row cannot be read any more.
    ///
    /// # Panics
    /// When there is no such group.
    pub fn group(&self, index: usize) -> Result<TrainGroup, TrainDataError> {
        assert!(index < self.len(), "group {index} of {}", self.len());
        let row = self.starts.partition_point(|&start| start <= index as u64) - 1;
        let slot = index - self.starts[row] as usize;
        let stored = self.dataset.train_row(row, self.form)?;
        let stored = stored.expect("rows with nulls have no groups");
        let group = self.grouping.group(stored, row, slot);
        if self.reads.fetch_add(1, Ordering::Relaxed) % RELEASE_READS == RELEASE_READS - 1 {
            self.dataset.release();
        }
        Ok(group)
    }
}

/// What counting needs to know of a row.
struct RowShape {
    docs: usize,
    positives: usize,
    has_scores: bool,
    first_rank: Option<i64>,
}

impl RowShape {
    fn of(row: TrainRow<'_>) -> Self {
        Self {
            docs: row.docs.len(),
            positives: row.positives,
            has_scores: row.scores.is_some(),
            first_rank: row.first_rank,
        }
    }
}

#[cfg(test)]
mod tests {
    use configs::DataKind;

    use super::*;

    fn config(source: TrainSource, kind: DataKind, docs_per_query: usize) -> DataConfig {
        DataConfig {
            source,
            kind,
            docs_per_query,
            max_seq_len: 16,
            eval_max_seq_len: 16,
            first_rank_thresh: 5,
            swap_times: 0,
        }
    }

    fn open(rows: &str, kind: DataKind, docs_per_query: usize) -> Result<TrainData, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train.jsonl");
        std::fs::write(&path, rows).unwrap();
        TrainData::open(&config(TrainSource::File(path), kind, docs_per_query))
            .map_err(|error| error.to_string())
    }

    fn groups(data: &TrainData) -> Vec<(String, String)> {
        (0..data.len())
            .map(|group| data.group(GroupId { set: 0, group }).unwrap())
            .map(|group| (group.query, group.docs.concat()))
            .collect()
    }

    #[test]
    fn kd_groups_stride_over_the_ranking_and_keep_their_scores() {
        let rows = concat!(
            r#"{"query": "q", "docs": ["a","b","c","d","e"], "scores": [5,4,3,2,1], "first_rank": 5}"#,
            "\n",
            r#"{"query": "short", "docs": ["a"], "scores": [1]}"#,
            "\n",
            r#"{"query": "far", "docs": ["a","b"], "scores": [1,2], "first_rank": 6}"#,
            "\n",
            r#"{"query": "null", "docs": ["a",null], "scores": [1,2]}"#,
            "\n",
            r#"{"query": "r", "docs": ["x","y"], "scores": [1,2]}"#,
        );
        let data = open(rows, DataKind::Kd, 2).unwrap();
        let expected = [("q", "ac"), ("q", "bd"), ("r", "xy")];
        assert_eq!(
            groups(&data),
            expected.map(|(q, d)| (q.to_owned(), d.to_owned()))
        );
        let second = data.group(GroupId { set: 0, group: 1 }).unwrap();
        assert_eq!(second.scores, Some(vec![4.0, 2.0]));
        let counts = data.sets()[0].counts();
        assert_eq!(
            (
                counts.rows,
                counts.null,
                counts.beyond_first_rank,
                counts.too_short
            ),
            (5, 1, 1, 1)
        );
    }

    #[test]
    fn posnegs_groups_are_runs_of_negatives() {
        let rows = r#"{"query": "q", "pos": "P", "negs": ["a","b","c","d","e"]}"#;
        let data = open(rows, DataKind::PosNegs, 3).unwrap();
        let docs: Vec<String> = groups(&data).into_iter().map(|(_, docs)| docs).collect();
        assert_eq!(docs, ["Pab", "Pcd"]);
    }

    #[test]
    fn passages_are_posnegs_and_their_positives_take_turns() {
        let rows = concat!(
            r#"{"query_id": "1", "query": "q", "positive_passages": [{"docid": "a", "title": "T", "text": "P"}, "#,
            r#"{"docid": "b", "text": "Q"}], "negative_passages": [{"docid": "c", "title": null, "text": "1"}, "#,
            r#"{"docid": "d", "text": "2"}, {"docid": "e", "text": "3"}]}"#,
            "\n",
            r#"{"query": "none", "positive_passages": [], "negative_passages": [{"text": "1"}]}"#,
            "\n",
            r#"{"query": "null", "positive_passages": [{"text": null}], "negative_passages": []}"#,
        );
        let dir = tempfile::tempdir().unwrap();
        let [lines, packed] = ["a.jsonl", "a.parquet"].map(|name| dir.path().join(name));
        std::fs::write(&lines, rows).unwrap();
        crate::convert::convert(&lines, &packed, &mut || ()).unwrap();
        for path in [lines, packed] {
            let source = TrainSource::File(path);
            let data = TrainData::open(&config(source, DataKind::PosNegs, 2)).unwrap();
            let expected = ["T P1", "Q2", "T P3"].map(|docs| ("q".to_owned(), docs.to_owned()));
            assert_eq!(groups(&data), expected);
            let counts = data.sets()[0].counts();
            assert_eq!((counts.null, counts.too_short), (1, 1));
        }
        for (row, expected) in [
            (
                r#"{"query": "q", "positive_passages": []}"#,
                "train.jsonl:1: no `negative_passages`, which data_type: posnegs needs",
            ),
            (
                r#"{"query": "q", "positive_passages": [{"title": "T"}], "negative_passages": []}"#,
                "train.jsonl:1: missing field `text`",
            ),
        ] {
            let message = open(row, DataKind::PosNegs, 2).err().unwrap();
            assert!(message.contains(expected), "{message}");
        }
        let kd = open(rows, DataKind::Kd, 2).err().unwrap();
        assert!(kd.contains("this is data_type: posnegs"), "{kd}");
    }

    #[test]
    fn a_folder_holds_several_sets_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for (name, negs) in [("b.jsonl", r#"["1","2"]"#), ("a.jsonl", r#"["1"]"#)] {
            let row = format!(r#"{{"query": "{name}", "pos": "p", "negs": {negs}}}"#);
            std::fs::write(dir.path().join(name), row).unwrap();
        }
        std::fs::write(dir.path().join("README.md"), "words").unwrap();
        let source = TrainSource::Dir(dir.path().to_path_buf());
        let data = TrainData::open(&config(source, DataKind::PosNegs, 2)).unwrap();
        assert_eq!(data.sizes(), [1, 2]);
        assert_eq!(
            data.group(GroupId { set: 1, group: 1 }).unwrap().query,
            "b.jsonl"
        );

        std::fs::write(dir.path().join("x.bin"), b"\xff\xfe").unwrap();
        let source = TrainSource::Dir(dir.path().to_path_buf());
        let error = TrainData::open(&config(source, DataKind::PosNegs, 2))
            .err()
            .unwrap();
        assert!(error.to_string().contains("x.bin:1"), "{error}");
    }

    #[test]
    fn what_cannot_be_used_is_said_when_opening() {
        let kd = |rows: &str| open(rows, DataKind::Kd, 2).err().unwrap();
        let message = kd(r#"{"query": "q", "docs": ["a"]}"#);
        assert!(
            message.contains("1 rows, 1 too short for a group; a group takes 2"),
            "{message}"
        );
        assert!(kd("").contains("0 rows"));
        let mixed = concat!(
            r#"{"query": "q", "docs": ["a", "b"], "scores": [1, 2]}"#,
            "\n",
            r#"{"query": "q", "docs": ["a", "b"]}"#
        );
        assert!(kd(mixed).contains("train.jsonl:2: no `scores`"));
    }
}
