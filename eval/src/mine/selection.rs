//! Which documents of a ranking become negatives.

use data::beir::BeirError;
use data::prepare::NearDuplicates;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// From a ranking without its positives: the best `skip` are passed over, of the next `depth` all are taken, or
/// `count` drawn at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// Documents passed over: the best are often relevant ones that nobody judged.
    pub skip: usize,
    /// Documents considered.
    pub depth: usize,
    /// How many of them to draw; all if `None`.
    pub count: Option<usize>,
    /// Decides which.
    pub seed: u64,
    /// Leave out near duplicates of a positive.
    pub drop_near_positives: bool,
}

impl Selection {
    /// How deep to search, positives aside. Near duplicates are given half of the depth again; where there are more,
    /// fewer documents are selected.
    pub fn search_depth(&self) -> usize {
        let duplicates = if self.drop_near_positives {
            self.depth / 2 + 1
        } else {
            0
        };
        self.skip + self.depth + duplicates
    }

    /// The texts of the negatives, best first. What is drawn depends on the seed and the query's number alone.
    pub fn choose(
        &self,
        query: usize,
        ranked: impl Iterator<Item = u32>,
        positives: &[String],
        text: impl Fn(u32) -> Result<String, BeirError>,
    ) -> Result<Vec<String>, BeirError> {
        let near: Vec<NearDuplicates> = match self.drop_near_positives {
            true => positives
                .iter()
                .map(|text| NearDuplicates::of(text))
                .collect(),
            false => Vec::new(),
        };
        let mut chosen = Vec::new();
        let mut passed_over = 0;
        for doc in ranked {
            if chosen.len() == self.depth {
                break;
            }
            let text = text(doc)?;
            if near.iter().any(|near| near.contain(&text)) {
                continue;
            }
            if passed_over < self.skip {
                passed_over += 1;
            } else {
                chosen.push(text);
            }
        }
        if let Some(count) = self.count.filter(|&count| count < chosen.len()) {
            let mut random = ChaCha8Rng::seed_from_u64(self.seed ^ ((query as u64) << 32));
            let mut drawn = rand::seq::index::sample(&mut random, chosen.len(), count).into_vec();
            drawn.sort_unstable();
            let mut chosen = chosen.into_iter().enumerate();
            return Ok(drawn
                .into_iter()
                .filter_map(|place| Some(chosen.find(|(index, _)| *index == place)?.1))
                .collect());
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Selection = Selection {
        skip: 0,
        depth: 4,
        count: None,
        seed: 0,
        drop_near_positives: false,
    };

    fn chosen(selection: Selection, query: usize) -> Vec<String> {
        let words = |doc: u32| Ok(format!("{doc} b c d e f g h i j k l m n o {}", doc % 2));
        let positive = "0 b c d e f g h i j k l m n o 0".to_owned();
        let texts = selection
            .choose(query, 1..10, &[positive], words)
            .expect("texts are there");
        let first = |text: String| text.split(' ').next().map(str::to_owned);
        texts.into_iter().filter_map(first).collect()
    }

    #[test]
    fn best_first_after_those_passed_over() {
        assert_eq!(chosen(ALL, 0), ["1", "2", "3", "4"]);
        assert_eq!(chosen(Selection { skip: 7, ..ALL }, 0), ["8", "9"]);
        assert_eq!(Selection { skip: 7, ..ALL }.search_depth(), 11);
    }

    /// An even document differs from the positive in one triple of 14, an odd one in two.
    #[test]
    fn near_duplicates_of_a_positive_are_left_out() {
        let selection = Selection {
            drop_near_positives: true,
            ..ALL
        };
        assert_eq!(chosen(selection, 0), ["1", "3", "5", "7"]);
    }

    #[test]
    fn a_draw_is_a_function_of_seed_and_query() {
        let drawn = |seed, query| {
            let count = Some(2);
            chosen(Selection { seed, count, ..ALL }, query)
        };
        assert!((0..50).all(|query| drawn(1, query).len() == 2 && drawn(1, query).is_sorted()));
        assert_eq!(drawn(1, 5), drawn(1, 5));
        assert!((0..50).any(|query| drawn(1, query) != drawn(2, query)));
        assert!((0..50).any(|query| drawn(1, query) != drawn(1, 0)));
        let count = Some(9);
        assert_eq!(chosen(Selection { count, ..ALL }, 0).len(), 4);
    }
}
