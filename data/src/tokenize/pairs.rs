//! Pairs of texts as one sequence of tokens, as cross-encoders read them.

use rayon::prelude::*;

use super::{TokenizeError, Tokenizer};

/// Two texts in one sequence: `[CLS] first [SEP] second [SEP]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairTokens {
    /// Token ids, specials included.
    pub ids: Vec<u32>,
    /// How many of them have token type 0; those that follow have type 1.
    pub first: usize,
}

/// What the post-processor puts around two texts.
pub(super) struct PairFrame {
    before: Vec<u32>,
    between: Vec<u32>,
    after: Vec<u32>,
    /// How many of the tokens between the texts have token type 0; `None` where the second text has it as well.
    of_first: Option<usize>,
}

impl PairFrame {
    /// Found by trying it.
    pub(super) fn new(tokenizer: &tokenizers::Tokenizer) -> Result<Self, String> {
        let content = tokenizer
            .encode_fast("a", false)
            .map_err(|error| error.to_string())?;
        let content = content.get_ids();
        let pair = tokenizer
            .encode_fast(("a", "a"), true)
            .map_err(|error| error.to_string())?;
        let ids = pair.get_ids();
        let find = |start: usize| {
            let mut windows = ids[start..].windows(content.len().max(1));
            let at = windows.position(|window| window == content)?;
            Some([start + at, start + at + content.len()])
        };
        let places = find(0).and_then(|first| Some([first, find(first[1])?]));
        let [first, second] = places.ok_or(
            "its post-processor does not put two texts one after the other, as pairs need",
        )?;
        Ok(Self {
            before: ids[..first[0]].to_vec(),
            between: ids[first[1]..second[0]].to_vec(),
            after: ids[second[1]..].to_vec(),
            of_first: of_first(pair.get_type_ids(), [first[1], second[0]])?,
        })
    }

    /// Special tokens around the two texts.
    fn specials(&self) -> usize {
        self.before.len() + self.between.len() + self.after.len()
    }

    fn join(&self, first: &[u32], second: &[u32]) -> PairTokens {
        let ids = [
            self.before.as_slice(),
            first,
            &self.between,
            second,
            &self.after,
        ]
        .concat();
        PairTokens {
            first: match self.of_first {
                Some(between) => self.before.len() + first.len() + between,
                None => ids.len(),
            },
            ids,
        }
    }
}

/// Where token type 1 begins among the tokens `between` the texts.
fn of_first(types: &[u32], between: [usize; 2]) -> Result<Option<usize>, String> {
    let zeros = types.iter().take_while(|&&id| id == 0).count();
    if zeros == types.len() {
        return Ok(None);
    }
    let known = types[zeros..].iter().all(|&id| id == 1);
    if !known || !(between[0]..=between[1]).contains(&zeros) {
        return Err(format!(
            "its post-processor gives the tokens of a pair the types {types:?}, expected 0 for the first text and 1 \
             for the second"
        ));
    }
    Ok(Some(zeros - between[0]))
}

impl Tokenizer {
    /// Token ids of two texts between their special tokens, `max_len` ids at most. What is too long is cut as
    /// transformers' `longest_first` does: at the end of the longer text until both are equally long, then at the
    /// ends of both. (Releases of `tokenizers` that stop reading a text early may take the other one for the longer, and
    /// give it the odd token, where both are longer than `max_len`.)
    ///
    /// The cost of a huge second text is bounded by what is kept of it and by the length of the first.
    ///
    /// # Errors
    /// [`TokenizeError::Invalid`] when the tokenizer has no form for pairs, [`TokenizeError::MaxLenTooShort`], and
    /// [`TokenizeError::Encode`] when the tokenizer itself fails.
    pub fn encode_pair(
        &self,
        first: &str,
        second: &str,
        max_len: usize,
    ) -> Result<PairTokens, TokenizeError> {
        let frame = self
            .pairs
            .as_ref()
            .map_err(|reason| TokenizeError::Invalid {
                path: self.dir.clone(),
                reason: reason.clone(),
            })?;
        let specials = frame.specials();
        let room = max_len
            .checked_sub(specials)
            .ok_or(TokenizeError::MaxLenTooShort { max_len, specials })?;
        let (mut left, mut right) = (Vec::new(), Vec::new());
        self.extend_with_content(&mut left, first, usize::MAX)?;
        // One more than could be kept tells whether it is too long, and longer than the first.
        self.extend_with_content(&mut right, second, left.len().max(room) + 1)?;
        let kept = longest_first([left.len(), right.len()], room);
        Ok(frame.join(&left[..kept[0]], &right[..kept[1]]))
    }

    /// [`Tokenizer::encode_pair`] of many pairs on all threads, in input order.
    ///
    /// # Errors
    /// The first pair's error.
    pub fn encode_pairs<S: AsRef<str> + Sync, T: AsRef<str> + Sync>(
        &self,
        pairs: &[(S, T)],
        max_len: usize,
    ) -> Result<Vec<PairTokens>, TokenizeError> {
        pairs
            .par_iter()
            .map(|(first, second)| self.encode_pair(first.as_ref(), second.as_ref(), max_len))
            .collect()
    }
}

/// How many tokens of texts of these lengths fit into `room`.
fn longest_first(lengths: [usize; 2], room: usize) -> [usize; 2] {
    if lengths[0] + lengths[1] <= room {
        return lengths;
    }
    let shorter = usize::from(lengths[0] > lengths[1]);
    let mut kept = [0; 2];
    kept[shorter] = lengths[shorter].min(room / 2);
    kept[1 - shorter] = room - kept[shorter];
    kept
}

#[cfg(test)]
mod tests {
    use tokenizers::{TruncationParams, truncate_encodings};

    use super::super::tests::tokenizer;
    use super::*;

    #[test]
    fn a_pair_has_its_special_tokens_and_types() {
        let tokenizer = tokenizer("");
        let pair = tokenizer.encode_pair("hello", "worlds", 512).unwrap();
        assert_eq!(pair.ids, [2, 5, 3, 6, 7, 3]);
        assert_eq!(pair.first, 3);
        let pair = tokenizer.encode_pair("hello", "", 512).unwrap();
        assert_eq!((pair.ids, pair.first), (vec![2, 5, 3, 3], 3));
        assert!(matches!(
            tokenizer.encode_pair("hello", "world", 2),
            Err(TokenizeError::MaxLenTooShort {
                max_len: 2,
                specials: 3
            })
        ));
    }

    /// Ids and types are those that the library's truncation and post-processing make of whole texts, for texts of all
    /// lengths around the bounds.
    #[test]
    fn what_is_too_long_is_cut_as_the_library_cuts_it() {
        let tokenizer = tokenizer("");
        let text = |length: usize| {
            let words = ["hello", "world", "a"].into_iter().cycle();
            words.take(length).collect::<Vec<_>>().join(" ")
        };
        let whole = |text: &str| tokenizer.inner.encode(text, false).unwrap();
        for max_len in 3..14 {
            let truncation = TruncationParams {
                max_length: max_len - 3,
                ..TruncationParams::default()
            };
            for (first, second) in (0..14 * 14).map(|index| (text(index / 14), text(index % 14))) {
                let found = tokenizer.encode_pair(&first, &second, max_len).unwrap();
                let (left, right) =
                    truncate_encodings(whole(&first), Some(whole(&second)), &truncation).unwrap();
                let expected = tokenizer.inner.post_process(left, right, true).unwrap();
                assert_eq!(found.ids, expected.get_ids(), "{max_len}");
                let types = expected.get_type_ids();
                let zeros = types.iter().filter(|&&id| id == 0).count();
                assert_eq!(found.first, zeros, "{max_len}");
            }
        }
    }
}
