//! Which tokens are to be guessed, and what is put in their place (Devlin et al. 2019, section 3.1).

use rand_chacha::ChaCha8Rng;

use super::MlmError;
use crate::batch::TokenBatch;
use crate::random::{Purpose, below, generator, unit};
use crate::sample::GroupId;
use crate::tokenize::Tokenizer;

/// Of the tokens to guess, the share that becomes the mask token.
const MASKED: f64 = 0.8;
/// The share that becomes another token; the rest stays.
const REPLACED: f64 = 0.1;
/// Begins a token that continues a word.
const CONTINUES: &str = "##";

/// When a masking is drawn: the same occasion and sequence always give the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// An epoch of training: every epoch has its own.
    Training {
        /// Seed of the data order.
        seed: u64,
        /// From 0.
        epoch: usize,
    },
    /// Any evaluation: runs of all seeds guess the same tokens.
    Evaluation,
}

impl Occasion {
    fn generator(self, id: GroupId) -> ChaCha8Rng {
        // A sampler numbers groups in 32 bits.
        let sequence = ((id.set as u64) << 32) | id.group as u64;
        match self {
            Self::Training { seed, epoch } => {
                generator(seed, Purpose::Masking, epoch as u64, sequence)
            }
            Self::Evaluation => generator(0, Purpose::EvaluationMasking, 0, sequence),
        }
    }
}

/// Sequences with some of their tokens hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedTexts {
    /// What the model sees.
    pub tokens: TokenBatch,
    /// Places in [`TokenBatch::ids`] of the tokens to guess, ascending.
    pub positions: Vec<usize>,
    /// What was there, one id per position.
    pub targets: Vec<u32>,
}

/// Hides tokens at random.
///
/// Every token that is not special (with `whole_word`: every word, all of its `##` pieces) is chosen with the same
/// probability; where none is, one is chosen all the same. A chosen token is replaced by the mask token (80 %), by a
/// random one that is not special (10 %), or not at all (10 %), each piece of a word for itself.
#[derive(Debug, Clone)]
pub struct Masking {
    probability: f64,
    mask_id: u32,
    /// Ascending.
    special_ids: Vec<u32>,
    /// Ids of all tokens that are not special.
    ordinary_ids: Vec<u32>,
    /// Whether the token of an id continues a word; `None` where every token is a word.
    continues: Option<Vec<bool>>,
}

impl Masking {
    /// Masking with the vocabulary of `tokenizer`.
    ///
    /// # Errors
    /// [`MlmError::NoMaskToken`], [`MlmError::NoPieces`].
    pub fn new(
        tokenizer: &Tokenizer,
        probability: f64,
        whole_word: bool,
    ) -> Result<Self, MlmError> {
        let dir = || tokenizer.dir().to_path_buf();
        let mask_id = tokenizer
            .mask_id()
            .ok_or_else(|| MlmError::NoMaskToken { dir: dir() })?;
        let ids = 0..tokenizer.vocab_size() as u32;
        let special_ids = tokenizer.special_ids().to_vec();
        let is_ordinary =
            |id: &u32| tokenizer.token(*id).is_some() && special_ids.binary_search(id).is_err();
        let continues: Vec<bool> = ids
            .clone()
            .map(|id| {
                is_ordinary(&id)
                    && tokenizer
                        .token(id)
                        .is_some_and(|token| token.starts_with(CONTINUES))
            })
            .collect();
        if whole_word && !continues.contains(&true) {
            return Err(MlmError::NoPieces { dir: dir() });
        }
        Ok(Self {
            probability,
            mask_id,
            ordinary_ids: ids.filter(is_ordinary).collect(),
            special_ids,
            continues: whole_word.then_some(continues),
        })
    }

    /// Hides tokens of `sequences`, which are those of `ids`.
    pub fn mask(
        &self,
        ids: &[GroupId],
        sequences: Vec<Vec<u32>>,
        occasion: Occasion,
    ) -> MaskedTexts {
        let mut masked = MaskedTexts {
            tokens: TokenBatch::new(&sequences),
            positions: Vec::new(),
            targets: Vec::new(),
        };
        let mut first = 0;
        for (&id, sequence) in ids.iter().zip(&sequences) {
            let mut rng = occasion.generator(id);
            for position in self.choose(sequence, &mut rng) {
                let target = sequence[position];
                masked.tokens.ids[first + position] = self.replacement(target, &mut rng);
                masked.positions.push(first + position);
                masked.targets.push(target);
            }
            first += sequence.len();
        }
        masked
    }

    /// Positions of the tokens to guess, ascending.
    fn choose(&self, sequence: &[u32], rng: &mut ChaCha8Rng) -> Vec<usize> {
        let words = self.words(sequence);
        let mut chosen: Vec<_> = words
            .iter()
            .filter(|_| unit(rng) < self.probability)
            .collect();
        if chosen.is_empty() && !words.is_empty() {
            chosen.push(&words[below(rng, words.len())]);
        }
        chosen.into_iter().flat_map(Clone::clone).collect()
    }

    /// The places of each word; special tokens are none.
    fn words(&self, sequence: &[u32]) -> Vec<std::ops::Range<usize>> {
        let mut words: Vec<std::ops::Range<usize>> = Vec::new();
        for (position, id) in sequence.iter().enumerate() {
            if self.special_ids.binary_search(id).is_ok() {
                continue;
            }
            let continues = self
                .continues
                .as_ref()
                .is_some_and(|continues| continues[*id as usize]);
            match words.last_mut() {
                Some(word) if continues && word.end == position => word.end += 1,
                _ => words.push(position..position + 1),
            }
        }
        words
    }

    fn replacement(&self, token: u32, rng: &mut ChaCha8Rng) -> u32 {
        match unit(rng) {
            share if share < MASKED => self.mask_id,
            share if share < MASKED + REPLACED => {
                self.ordinary_ids[below(rng, self.ordinary_ids.len())]
            }
            _ => token,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [PAD] to [MASK] are 0 to 4, then 40 words and 20 pieces.
    fn tokenizer() -> Tokenizer {
        let dir = tempfile::tempdir().unwrap();
        let words = (0..40).map(|word| format!("word{word}\n"));
        let pieces = (0..20).map(|piece| format!("##piece{piece}\n"));
        let vocabulary: String = words.chain(pieces).collect();
        let path = dir.path().join("vocab.txt");
        std::fs::write(
            &path,
            format!("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n{vocabulary}"),
        )
        .unwrap();
        Tokenizer::from_dir(dir.path()).unwrap()
    }

    const SPECIALS: std::ops::Range<u32> = 0..5;
    const PIECES: std::ops::Range<u32> = 45..65;

    fn id(group: usize) -> GroupId {
        GroupId { set: 0, group }
    }

    /// [CLS], then [UNK] and [MASK] among words of one to three tokens, [SEP].
    fn sequence() -> Vec<u32> {
        let mut ids = vec![2];
        for word in 0..30 {
            ids.push(5 + word);
            ids.extend((0..word % 3).map(|piece| 45 + (word + piece) % 20));
            if word % 10 == 0 {
                ids.extend([1, 4]);
            }
        }
        ids.push(3);
        ids
    }

    fn training(epoch: usize) -> Occasion {
        Occasion::Training { seed: 7, epoch }
    }

    #[test]
    fn shares_are_those_of_bert_and_specials_are_left_alone() {
        for whole_word in [false, true] {
            let masking = Masking::new(&tokenizer(), 0.15, whole_word).unwrap();
            let original = sequence();
            let candidates = original.iter().filter(|id| !SPECIALS.contains(id)).count();
            let draws = 3000;
            let (mut chosen, mut hidden, mut replaced, mut kept) = (0, 0, 0, 0);
            for draw in 0..draws {
                let masked = masking.mask(&[id(draw)], vec![original.clone()], training(0));
                assert_eq!(masked.tokens.lengths, [original.len()]);
                assert!(masked.positions.is_sorted() && !masked.positions.is_empty());
                chosen += masked.positions.len();
                for (&position, &target) in masked.positions.iter().zip(&masked.targets) {
                    assert_eq!(original[position], target);
                    assert!(!SPECIALS.contains(&target), "{target} is special");
                    match masked.tokens.ids[position] {
                        4 => hidden += 1,
                        seen if seen == target => kept += 1,
                        seen => {
                            assert!(!SPECIALS.contains(&seen));
                            replaced += 1;
                        }
                    }
                }
                let untouched = (0..original.len()).filter(|at| !masked.positions.contains(at));
                for position in untouched {
                    assert_eq!(masked.tokens.ids[position], original[position]);
                }
            }
            let share = |count: usize, of: usize| count as f64 / of as f64;
            // A random token is the same one again in 1 of 60 cases.
            for (what, found, expected) in [
                ("chosen", share(chosen, candidates * draws), 0.15),
                ("hidden", share(hidden, chosen), 0.8),
                ("replaced", share(replaced, chosen), 0.1 * 59.0 / 60.0),
                ("kept", share(kept, chosen), 0.1 + 0.1 / 60.0),
            ] {
                let bound = 0.06 * expected;
                assert!((found - expected).abs() < bound, "{what}: {found}");
            }
        }
    }

    #[test]
    fn words_are_masked_with_all_of_their_pieces() {
        let masking = Masking::new(&tokenizer(), 0.3, true).unwrap();
        let original = sequence();
        let is_piece = |position: usize| PIECES.contains(&original[position]);
        let mut words_of_several = 0;
        for draw in 0..200 {
            let masked = masking.mask(&[id(draw)], vec![original.clone()], training(1));
            let is_chosen = |position: usize| masked.positions.contains(&position);
            for position in (1..original.len()).filter(|&position| is_piece(position)) {
                let special_before = SPECIALS.contains(&original[position - 1]);
                let together = is_chosen(position) == is_chosen(position - 1);
                assert!(special_before || together, "{draw}: {position}");
                words_of_several += usize::from(is_chosen(position));
            }
        }
        assert!(words_of_several > 100, "{words_of_several}");
    }

    #[test]
    fn a_text_that_has_a_token_has_one_to_guess() {
        let masking = Masking::new(&tokenizer(), 1e-9, false).unwrap();
        let sequences = vec![vec![2, 1, 9, 3], vec![2, 3], vec![2, 1, 3]];
        let ids = [id(0), id(1), id(2)];
        let masked = masking.mask(&ids, sequences, training(0));
        assert_eq!((masked.positions, masked.targets), (vec![2], vec![9]));
        assert_eq!(masked.tokens.lengths, [4, 2, 3]);
    }

    #[test]
    fn a_masking_follows_from_seed_epoch_and_sequence_alone() {
        let masking = Masking::new(&tokenizer(), 0.15, false).unwrap();
        let draw = |number, occasion| masking.mask(&[number], vec![sequence()], occasion);
        let first = draw(id(3), training(2));
        assert_eq!(draw(id(3), training(2)), first);
        // What is masked with it makes no difference.
        let ids = [id(9), id(3)];
        let both = masking.mask(&ids, vec![sequence(), sequence()], training(2));
        let length = sequence().len();
        assert_eq!(both.tokens.ids[length..], first.tokens.ids);

        let set_1 = GroupId { set: 1, group: 3 };
        let other_seed = Occasion::Training { seed: 8, epoch: 2 };
        let others = [
            draw(id(4), training(2)),
            draw(set_1, training(2)),
            draw(id(3), training(3)),
            draw(id(3), other_seed),
            draw(id(3), Occasion::Evaluation),
        ];
        assert!(others.iter().all(|other| *other != first));
    }

    #[test]
    fn vocabularies_without_mask_or_pieces_are_refused() {
        let message = |vocabulary: &str, whole_word| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("vocab.txt"), vocabulary).unwrap();
            let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
            let error = Masking::new(&tokenizer, 0.15, whole_word).err().unwrap();
            error.to_string()
        };
        let found = message("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n", false);
        assert!(found.contains("has no mask token: add [MASK]"), "{found}");
        let found = message("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n", true);
        assert!(found.contains("mlm_whole_word: no token"), "{found}");
    }
}
