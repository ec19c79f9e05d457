//! Teachers in training: every batch is scored when it is made.

use std::sync::{Mutex, PoisonError};

use data::TrainGroup;

use super::cache::{CacheCounts, ScoreCache};
use super::{Ensemble, QueryDocuments, TeacherError, Text};

/// An ensemble that remembers the pairs of a run, since queries and documents come again in every epoch.
///
/// A score is a function of its pair and the batch it is in, so that a resumed run sees the same ones (a remote teacher
/// permitting).
pub struct OnlineTeachers {
    ensemble: Ensemble,
    cache: Mutex<ScoreCache>,
}

impl OnlineTeachers {
    /// Nothing is remembered yet.
    pub fn new(ensemble: Ensemble) -> Self {
        Self {
            ensemble,
            cache: Mutex::new(ScoreCache::in_memory()),
        }
    }

    /// The scores of a batch, one row after the other: of each query with its own documents `[B, n]`, or with all
    /// documents of the batch `[B, B * n]`, in group order.
    ///
    /// # Errors
    ///
    /// If a teacher gives none.
    pub fn scores(&self, groups: &[TrainGroup], in_batch: bool) -> Result<Vec<f32>, TeacherError> {
        let documents: Vec<Vec<Text>> = groups.iter().map(documents).collect();
        let rows = groups
            .iter()
            .zip(&documents)
            .map(|(group, own)| QueryDocuments {
                query: Text {
                    id: group.ids.as_ref().map(|ids| ids.query.as_str()),
                    text: &group.query,
                },
                documents: match in_batch {
                    true => documents.concat(),
                    false => own.clone(),
                },
            });
        let rows: Vec<QueryDocuments> = rows.collect();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.ensemble.score(&rows, &mut cache)?.concat())
    }

    /// The ensemble.
    pub fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// How often teachers were asked.
    pub fn counts(&self) -> CacheCounts {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.counts()
    }
}

fn documents<'a>(group: &'a TrainGroup) -> Vec<Text<'a>> {
    let texts = group.docs.iter().enumerate();
    let text = |(index, text): (usize, &'a String)| Text {
        id: group.ids.as_ref().map(|ids| ids.docs[index].as_str()),
        text,
    };
    texts.map(text).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::teacher::double::FirstByte;
    use crate::teacher::fingerprint::Fingerprint;
    use crate::teacher::{Member, min_max};

    fn group(query: &str, docs: [&str; 2]) -> TrainGroup {
        TrainGroup {
            query: query.to_owned(),
            docs: docs.map(str::to_owned).to_vec(),
            scores: None,
            ids: None,
        }
    }

    #[test]
    fn rows_are_normalised_over_what_they_are_compared_with() {
        let teacher = Arc::new(FirstByte {
            factor: 1.0,
            ..FirstByte::default()
        });
        let member = Member {
            teacher: Box::new(Arc::clone(&teacher)),
            weight: 1.0,
            fingerprint: Fingerprint([0; 32]),
        };
        let teachers = OnlineTeachers::new(Ensemble::new(vec![member], 1.0));
        let groups = [group("q", ["a", "c"]), group("r", ["b", "i"])];
        let own = teachers.scores(&groups, false).unwrap();
        assert_eq!(own, [min_max(&[0.0, 2.0]), min_max(&[0.0, 7.0])].concat());
        let row = min_max(&[0.0, 2.0, 1.0, 8.0]);
        let all = teachers.scores(&groups, true).unwrap();
        assert_eq!(all, [row.clone(), row].concat());
        // Another epoch, with the groups the other way round.
        let turned = [groups[1].clone(), groups[0].clone()];
        teachers.scores(&turned, true).unwrap();
        assert_eq!(teacher.asked(), 8);
        assert_eq!(teachers.counts().asked, 8);
    }
}
