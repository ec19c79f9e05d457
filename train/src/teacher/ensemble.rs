//! One score out of those of several teachers.

use std::collections::HashMap;

use super::cache::{PairKey, QueryKey, ScoreCache};
use super::error::excerpt;
use super::fingerprint::{Fingerprint, FingerprintBuilder};
use super::{QueryDocuments, Teacher, TeacherError};

/// Added to the width of the scores, as in the reference: where all candidates score the same, all are 0.
const GUARD: f32 = 1e-6;

/// A teacher of an ensemble.
pub struct Member {
    /// Who scores.
    pub teacher: Box<dyn Teacher>,
    /// Its weight in the mean.
    pub weight: f32,
    /// What its scores are kept by.
    pub fingerprint: Fingerprint,
}

/// Teachers whose scores are averaged.
///
/// For each query and teacher the scores of the candidates are mapped to `0..1`, averaged over the teachers by weight,
/// and scaled: `score[d] = score_scale · Σ_t w_t (s_t[d] - min s_t) / (max s_t - min s_t + 1e-6) / Σ_t w_t`, in float32
/// (`BiEncoderWrapper.get_scores_batch` of the reference, with all weights 1).
pub struct Ensemble {
    members: Vec<Member>,
    score_scale: f32,
}

impl Ensemble {
    /// An ensemble of at least one teacher.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn new(members: Vec<Member>, score_scale: f32) -> Self {
        assert!(!members.is_empty(), "an ensemble has a teacher");
        Self {
            members,
            score_scale,
        }
    }

    /// The teachers.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The names of the teachers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.teacher.name())
    }

    /// Stands for the teachers, their weights and the scale.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut builder = FingerprintBuilder::new("ensemble");
        builder.bytes(&self.score_scale.to_le_bytes());
        for member in &self.members {
            builder.bytes(&member.fingerprint.0);
            builder.bytes(&member.weight.to_le_bytes());
        }
        builder.finish()
    }

    /// A score for each document of each query, in their order. Teachers are asked for what `cache` does not know.
    ///
    /// # Errors
    ///
    /// If a teacher gives no scores, or one that is not a number, or the cache cannot be written.
    pub fn score(
        &self,
        queries: &[QueryDocuments],
        cache: &mut ScoreCache,
    ) -> Result<Vec<Vec<f32>>, TeacherError> {
        let total: f32 = self.members.iter().map(|member| member.weight).sum();
        let zeros = queries.iter().map(|row| vec![0.0; row.documents.len()]);
        let mut sums: Vec<Vec<f32>> = zeros.collect();
        for member in &self.members {
            let scores = member.score(queries, cache)?;
            for (sums, scores) in sums.iter_mut().zip(&scores) {
                for (sum, score) in sums.iter_mut().zip(min_max(scores)) {
                    *sum += member.weight * score;
                }
            }
        }
        for sum in sums.iter_mut().flatten() {
            *sum = *sum / total * self.score_scale;
        }
        Ok(sums)
    }
}

impl Member {
    /// The teacher's own scores.
    fn score(
        &self,
        queries: &[QueryDocuments],
        cache: &mut ScoreCache,
    ) -> Result<Vec<Vec<f32>>, TeacherError> {
        let by_id = self.teacher.by_id();
        let mut known: HashMap<PairKey, f32> = HashMap::new();
        let mut keys: Vec<Vec<PairKey>> = Vec::with_capacity(queries.len());
        let (mut asked, mut asked_keys) = (Vec::new(), Vec::new());
        for row in queries {
            self.check_ids(row)?;
            let query = QueryKey::new(&self.fingerprint, by_id, row);
            let row_keys = row.documents.iter().map(|text| query.pair(by_id, text));
            let row_keys: Vec<PairKey> = row_keys.collect();
            let mut missing = Vec::new();
            for (key, text) in row_keys.iter().zip(&row.documents) {
                if known.contains_key(key) {
                    continue;
                }
                // A pair that occurs twice is asked for once: NaN holds its place.
                let score = cache.get(*key).unwrap_or_else(|| {
                    missing.push(*text);
                    asked_keys.push(*key);
                    f32::NAN
                });
                known.insert(*key, score);
            }
            if !missing.is_empty() {
                asked.push(QueryDocuments {
                    query: row.query,
                    documents: missing,
                });
            }
            keys.push(row_keys);
        }
        if !asked.is_empty() {
            let scores = self.teacher.score(&asked)?;
            self.check(&asked, &scores)?;
            for (key, score) in asked_keys.into_iter().zip(scores.into_iter().flatten()) {
                known.insert(key, score);
                cache.insert(key, score)?;
            }
            cache.flush()?;
        }
        let row = |keys: Vec<PairKey>| keys.iter().map(|key| known[key]).collect();
        Ok(keys.into_iter().map(row).collect())
    }

    fn check_ids(&self, row: &QueryDocuments) -> Result<(), TeacherError> {
        let mut texts = std::iter::once(&row.query).chain(&row.documents);
        if self.teacher.by_id() && texts.any(|text| text.id.is_none()) {
            return Err(TeacherError::NoIds {
                teacher: self.teacher.name().to_owned(),
                query: excerpt(row.query.text),
            });
        }
        Ok(())
    }

    /// # Panics
    ///
    /// If there are more or fewer scores than documents, which is a mistake in the teacher.
    fn check(&self, queries: &[QueryDocuments], scores: &[Vec<f32>]) -> Result<(), TeacherError> {
        assert_eq!(queries.len(), scores.len(), "one row for each query");
        for (row, scores) in queries.iter().zip(scores) {
            assert_eq!(
                row.documents.len(),
                scores.len(),
                "one score for each document"
            );
            if let Some(&score) = scores.iter().find(|score| !score.is_finite()) {
                return Err(TeacherError::NotFinite {
                    teacher: self.teacher.name().to_owned(),
                    query: excerpt(row.query.text),
                    score,
                });
            }
        }
        Ok(())
    }
}

/// `(s - min s) / (max s - min s + 1e-6)`: the best candidate is nearly 1 and the worst 0.
pub fn min_max(scores: &[f32]) -> Vec<f32> {
    let least = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let width = most - least + GUARD;
    scores.iter().map(|score| (score - least) / width).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::teacher::double::{FirstByte, candidates};

    fn member(factor: f32, weight: f32) -> (Arc<FirstByte>, Member) {
        let teacher = Arc::new(FirstByte {
            factor,
            ..FirstByte::default()
        });
        let member = Member {
            teacher: Box::new(Arc::clone(&teacher)),
            weight,
            fingerprint: Fingerprint([factor.to_bits() as u8 ^ (factor.to_bits() >> 24) as u8; 32]),
        };
        (teacher, member)
    }

    /// numpy, in float32: `x = [2, 8, 5]; (x - x.min()) / (x.max() - x.min() + 1e-6)` is `[0, 0.9999998, 0.4999999]`.
    #[test]
    fn candidates_are_mapped_to_0_and_1() {
        assert_eq!(min_max(&[2.0, 8.0, 5.0]), [0.0, 0.999_999_8, 0.499_999_9]);
        assert_eq!(min_max(&[-3.5, -3.5]), [0.0, 0.0]);
        assert_eq!(min_max(&[7.0]), [0.0]);
        assert_eq!(min_max(&[]), [0.0; 0]);
        // A narrow teacher feels the guard: 1e-5 / (1e-5 + 1e-6).
        assert!((min_max(&[0.0, 1e-5])[1] - 0.909_090_9).abs() < 1e-6);
    }

    /// Two teachers that rank in opposite ways, weights 3 and 1, scale 30. Bytes of a, c, e are 97, 99, 101, so the
    /// first gives 0, 1/2, 1 and the second 1, 1/2, 0 (but for the guard): 30 (3·0 + 1)/4 = 7.5, 15, 22.5.
    #[test]
    fn the_mean_is_weighted_and_scaled() {
        let ((_, first), (_, second)) = (member(2.0, 3.0), member(-1.0, 1.0));
        let ensemble = Ensemble::new(vec![first, second], 30.0);
        let queries = [candidates("q", &["a", "c", "e"]), candidates("r", &["b"])];
        let scores = ensemble
            .score(&queries, &mut ScoreCache::in_memory())
            .unwrap();
        for (found, expected) in scores[0].iter().zip([7.5, 15.0, 22.5]) {
            assert!((found - expected).abs() < 3e-5, "{scores:?}");
        }
        assert_eq!(scores[1], [0.0], "alone, a candidate is the worst");
    }

    #[test]
    fn a_pair_is_asked_for_once_and_a_changed_teacher_again() {
        let mut cache = ScoreCache::in_memory();
        let queries = [candidates("q", &["a", "c", "a"]), candidates("r", &["a"])];
        let (teacher, first) = member(1.0, 1.0);
        let ensemble = Ensemble::new(vec![first], 1.0);
        let scores = ensemble.score(&queries, &mut cache).unwrap();
        assert_eq!(teacher.asked(), 3);
        assert_eq!(ensemble.score(&queries, &mut cache).unwrap(), scores);
        assert_eq!(teacher.asked(), 3, "everything is known by now");
        let more = [candidates("q", &["c", "d", "a"])];
        ensemble.score(&more, &mut cache).unwrap();
        assert_eq!(teacher.asked(), 4, "one document is new");
        let (other, second) = member(5.0, 1.0);
        Ensemble::new(vec![second], 1.0)
            .score(&queries, &mut cache)
            .unwrap();
        assert_eq!(other.asked(), 3);
    }

    #[test]
    fn a_score_that_is_no_number_is_an_error_and_not_kept() {
        let (_, nan) = member(f32::NAN, 1.0);
        let ensemble = Ensemble::new(vec![nan], 1.0);
        let mut cache = ScoreCache::in_memory();
        let error = ensemble
            .score(&[candidates("why", &["a"])], &mut cache)
            .unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("first byte") && message.contains("\"why\" is NaN"),
            "{message}"
        );
        assert_eq!(cache.counts().asked, 0);
    }

    #[test]
    fn the_fingerprint_follows_weights_and_scale() {
        let of = |weight, scale| Ensemble::new(vec![member(1.0, weight).1], scale).fingerprint();
        assert_eq!(of(1.0, 30.0), of(1.0, 30.0));
        assert_ne!(of(1.0, 30.0), of(2.0, 30.0));
        assert_ne!(of(1.0, 30.0), of(1.0, 10.0));
    }
}
