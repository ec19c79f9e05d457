//! How a row becomes groups: strided for kd, consecutive runs of negatives for posnegs.

use std::borrow::Cow;

use configs::DataKind;

use super::TrainGroup;
use crate::dataset::{RowIds, TrainRow};
use crate::random::{Purpose, below, generator, shuffle};

/// How rows are cut into groups.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grouping {
    /// What the rows are.
    pub(super) kind: DataKind,
    /// Documents of a group, the positive included.
    pub(super) docs_per_query: usize,
    /// Random swaps in each kd row's ranking.
    pub(super) swap_times: usize,
}

impl Grouping {
    /// Number of groups of a row with `docs` documents, of which the first are its positives.
    pub(super) fn groups(&self, docs: usize, positives: usize) -> usize {
        match self.kind {
            DataKind::Kd | DataKind::KdIds => docs / self.docs_per_query,
            DataKind::PosNegs if positives == 0 => 0,
            DataKind::PosNegs => (docs - positives) / (self.docs_per_query - 1),
        }
    }

    /// Positions of the documents of group `slot`. kd: every step-th candidate from the `slot`-th on, step being the
    /// number of groups, so that a group spans the whole ranking. posnegs: a positive, each in
    /// its turn where there are several, and the `slot`-th run of negatives.
    fn positions(&self, docs: usize, positives: usize, row: usize, slot: usize) -> Vec<usize> {
        match self.kind {
            DataKind::Kd | DataKind::KdIds => {
                let ranking = self.ranking(docs, row);
                let step = self.groups(docs, positives);
                let positions = (0..self.docs_per_query).map(|i| ranking[slot + i * step]);
                positions.collect()
            }
            DataKind::PosNegs => {
                let negatives = self.docs_per_query - 1;
                let first = positives + slot * negatives;
                let positive = std::iter::once(slot % positives);
                positive.chain(first..first + negatives).collect()
            }
        }
    }

    /// The candidates' order: as stored, after `swap_times` random swaps (a full shuffle once there are as many
    /// swaps as pairs of candidates). It depends on the row only, so that every pass sees the same groups.
    fn ranking(&self, docs: usize, row: usize) -> Vec<usize> {
        let mut ranking: Vec<usize> = (0..docs).collect();
        if self.swap_times == 0 {
            return ranking;
        }
        let mut rng = generator(0, Purpose::RankingSwaps, row as u64, 0);
        if self.swap_times >= docs / 2 {
            shuffle(&mut ranking, &mut rng);
        } else {
            for _ in 0..self.swap_times {
                let (a, b) = (below(&mut rng, docs), below(&mut rng, docs));
                ranking.swap(a, b);
            }
        }
        ranking
    }

    /// Group `slot` of row `number`.
    pub(super) fn group(&self, row: TrainRow<'_>, number: usize, slot: usize) -> TrainGroup {
        let positions = self.positions(row.docs.len(), row.positives, number, slot);
        let pick = |docs: &[Cow<'_, str>]| positions.iter().map(|&i| docs[i].to_string()).collect();
        TrainGroup {
            docs: pick(&row.docs),
            scores: row
                .scores
                .map(|scores| positions.iter().map(|&i| scores[i]).collect()),
            ids: row.ids.map(|ids| RowIds {
                query: ids.query,
                docs: positions.iter().map(|&i| ids.docs[i].clone()).collect(),
            }),
            query: row.query.into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use configs::{DataConfig, TrainSource};

    use super::*;
    use crate::{GroupId, TrainData};

    #[test]
    fn swapped_rankings_are_permutations_that_stay_the_same() {
        let grouping = |swap_times| Grouping {
            kind: DataKind::Kd,
            docs_per_query: 2,
            swap_times,
        };
        for swap_times in [1, 3, 1000] {
            let ranking = grouping(swap_times).ranking(20, 7);
            assert_eq!(ranking, grouping(swap_times).ranking(20, 7));
            let moved = (0..20).filter(|&i| ranking[i] != i).count();
            assert!(moved <= 2 * swap_times, "{moved}");
            let mut sorted = ranking.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..20).collect::<Vec<_>>());
            assert_ne!(grouping(1000).ranking(20, 8), ranking);
        }
    }

    #[test]
    fn ids_go_with_their_documents_whatever_the_rows_are_stored_in() {
        let rows = concat!(
            r#"{"query": "q", "q_id": 9, "docs": ["a","b","c","d"], "d_ids": [1,2,3,4], "scores": [4,3,2,1]}"#,
            "\n",
            r#"{"query": "null", "q_id": 8, "docs": ["a","b"], "d_ids": [1,null], "scores": [4,3]}"#,
        );
        let dir = tempfile::tempdir().unwrap();
        let [lines, packed] = ["a.jsonl", "a.parquet"].map(|name| dir.path().join(name));
        std::fs::write(&lines, rows).unwrap();
        crate::convert::convert(&lines, &packed, &mut || ()).unwrap();
        for path in [lines, packed] {
            let config = DataConfig {
                source: TrainSource::File(path),
                kind: DataKind::KdIds,
                docs_per_query: 2,
                max_seq_len: 16,
                eval_max_seq_len: 16,
                first_rank_thresh: 5,
                swap_times: 0,
            };
            let data = TrainData::open(&config).unwrap();
            assert_eq!(data.len(), 2);
            let second = data.group(GroupId { set: 0, group: 1 }).unwrap();
            let ids = second.ids.unwrap();
            assert_eq!(
                (ids.query.as_str(), ids.docs.join(" ")),
                ("9", "2 4".to_owned())
            );
            assert_eq!(second.scores, Some(vec![3.0, 1.0]));
            assert_eq!(data.sets()[0].counts().null, 1);
        }
    }
}
