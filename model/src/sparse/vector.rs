//! Sorted token ids with their weights.

/// A sparse vector over the vocabulary: strictly ascending token ids and their weights.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseVector {
    /// Token ids, strictly ascending.
    pub ids: Vec<u32>,
    /// One weight for each id, positive and finite.
    pub weights: Vec<f32>,
}

impl SparseVector {
    /// The positive entries of a dense row, without the tokens in `excluded` (sorted ascending).
    pub fn from_dense(row: &[f32], excluded: &[u32]) -> Self {
        row.iter()
            .enumerate()
            .filter(|&(id, &weight)| weight > 0.0 && excluded.binary_search(&(id as u32)).is_err())
            .map(|(id, &weight)| (id as u32, weight))
            .collect()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The entries in ascending order of id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, f32)> + '_ {
        self.ids.iter().copied().zip(self.weights.iter().copied())
    }

    /// Dot product, accumulated in float32 in ascending order of id.
    pub fn dot(&self, other: &Self) -> f32 {
        let (mut left, mut right, mut sum) = (0, 0, 0.0);
        while left < self.len() && right < other.len() {
            match self.ids[left].cmp(&other.ids[right]) {
                std::cmp::Ordering::Less => left += 1,
                std::cmp::Ordering::Greater => right += 1,
                std::cmp::Ordering::Equal => {
                    sum += self.weights[left] * other.weights[right];
                    left += 1;
                    right += 1;
                }
            }
        }
        sum
    }

    /// Keeps the weights above `ratio` times the largest.
    pub fn prune(self, ratio: f32) -> Self {
        let largest = self.weights.iter().copied().fold(0.0, f32::max);
        self.iter()
            .filter(|&(_, weight)| weight > ratio * largest)
            .collect()
    }

    /// Keeps the `count` largest weights; ties go to the lower id.
    pub fn top(self, count: usize) -> Self {
        if self.len() <= count {
            return self;
        }
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        entries.truncate(count);
        entries.sort_by_key(|&(id, _)| id);
        entries.into_iter().collect()
    }
}

/// Collects entries that are already in ascending order of id.
impl FromIterator<(u32, f32)> for SparseVector {
    fn from_iter<I: IntoIterator<Item = (u32, f32)>>(entries: I) -> Self {
        let (ids, weights): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        debug_assert!(ids.is_sorted_by(|a, b| a < b));
        Self { ids, weights }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_what_is_excluded_or_not_positive() {
        let vector = SparseVector::from_dense(&[1.0, 0.0, -2.0, 3.0, 4.0], &[0, 2]);
        assert_eq!(vector.iter().collect::<Vec<_>>(), [(3, 3.0), (4, 4.0)]);
    }

    #[test]
    fn dot_meets_only_shared_ids() {
        let left: SparseVector = [(1, 2.0), (4, 3.0), (9, 1.0)].into_iter().collect();
        let right: SparseVector = [(0, 5.0), (4, 0.5), (9, 2.0)].into_iter().collect();
        assert_eq!(left.dot(&right), 3.5);
        assert_eq!(left.dot(&SparseVector::default()), 0.0);
    }

    #[test]
    fn prune_and_top_keep_the_order_of_ids() {
        let vector: SparseVector = [(1, 2.0), (4, 3.0), (9, 2.0)].into_iter().collect();
        assert_eq!(vector.clone().top(2).ids, [1, 4]);
        assert_eq!(vector.prune(0.7).ids, [4]);
    }
}
