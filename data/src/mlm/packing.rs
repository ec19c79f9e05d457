//! Documents joined and cut into sequences of equal length, so that no short text wastes a place in a batch.

use rayon::prelude::*;

use super::MlmError;
use super::sequences::Sequences;
use crate::sample::GroupId;
use crate::tokenize::TokenizeError;

/// Texts tokenized together.
const CHUNK_TEXTS: usize = 1024;

/// Where the sequences of each data set begin and end.
///
/// The tokens of all documents of a data set, in stored order and a separator after each, are one stream. Sequence `i`
/// is the `i`-th run of `room` tokens of it, between the special tokens of a text; what is left at the end is dropped.
/// Memory holds one number per document. A document is tokenized once when counted, and again for each sequence that it
/// reaches into.
pub struct Packing {
    /// Tokens of a sequence, specials not counted.
    room: usize,
    /// Of each data set: tokens before each document, and of all.
    starts: Vec<Vec<u64>>,
}

impl Packing {
    /// Counts the tokens of every document. `sequences` says what the documents are; its packing is not looked at.
    ///
    /// # Errors
    /// [`MlmError`], naming a data set that does not fill a sequence; whatever keeps a text from being tokenized.
    pub fn new(sequences: &Sequences<'_>) -> Result<Self, MlmError> {
        let (max_len, specials) = (
            sequences.max_seq_len,
            sequences.tokenizer.specials_per_text(),
        );
        let room = max_len.saturating_sub(specials);
        if room == 0 {
            return Err(TokenizeError::MaxLenTooShort { max_len, specials }.into());
        }
        let sets = sequences.texts.sets().iter().enumerate();
        let starts = sets.map(|(set, texts)| {
            let starts = count(sequences, set, texts.len())?;
            match starts.last() {
                Some(&tokens) if tokens < room as u64 => Err(MlmError::TooShort {
                    path: texts.path().to_path_buf(),
                    tokens,
                    max_seq_len: max_len,
                }),
                _ => Ok(starts),
            }
        });
        Ok(Self {
            room,
            starts: starts.collect::<Result<_, _>>()?,
        })
    }

    /// Number of sequences of each data set.
    pub fn sizes(&self) -> Vec<usize> {
        let tokens = self
            .starts
            .iter()
            .map(|starts| starts.last().copied().unwrap_or(0));
        tokens
            .map(|tokens| (tokens / self.room as u64) as usize)
            .collect()
    }

    /// The tokens of a sequence, given those of each document.
    pub(super) fn content(
        &self,
        id: GroupId,
        tokens: impl Fn(GroupId) -> Result<Vec<u32>, MlmError>,
    ) -> Result<Vec<u32>, MlmError> {
        let starts = &self.starts[id.set];
        let first = (id.group * self.room) as u64;
        let mut document = starts.partition_point(|&start| start <= first) - 1;
        let mut skipped = (first - starts[document]) as usize;
        let mut content = Vec::with_capacity(self.room);
        while content.len() < self.room {
            let ids = tokens(GroupId {
                set: id.set,
                group: document,
            })?;
            let wanted = self.room - content.len();
            content.extend(ids.into_iter().skip(skipped).take(wanted));
            (document, skipped) = (document + 1, 0);
        }
        Ok(content)
    }
}

/// Tokens before each document of a data set, and of all.
fn count(sequences: &Sequences<'_>, set: usize, texts: usize) -> Result<Vec<u64>, MlmError> {
    let mut starts = vec![0];
    let mut total = 0;
    for start in (0..texts).step_by(CHUNK_TEXTS) {
        let lengths: Vec<Result<usize, MlmError>> = (start..texts.min(start + CHUNK_TEXTS))
            .into_par_iter()
            .map(|group| Ok(sequences.content(GroupId { set, group })?.len()))
            .collect();
        for length in lengths {
            total += length? as u64;
            starts.push(total);
        }
    }
    Ok(starts)
}

#[cfg(test)]
mod tests {
    use configs::TrainSource;

    use super::*;
    use crate::mlm::Texts;
    use crate::tokenize::Tokenizer;

    /// `a` is 5, `b` 6, `c` 7; [CLS] is 2 and [SEP] 3.
    const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n";

    fn world(texts: &[&str]) -> (tempfile::TempDir, Texts, Tokenizer) {
        let dir = tempfile::tempdir().unwrap();
        let rows = texts.iter().map(|text| format!("{{\"text\": {text:?}}}\n"));
        let path = dir.path().join("texts.jsonl");
        std::fs::write(&path, rows.collect::<String>()).unwrap();
        std::fs::write(dir.path().join("vocab.txt"), VOCABULARY).unwrap();
        let texts = Texts::open(&TrainSource::File(path)).unwrap();
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        (dir, texts, tokenizer)
    }

    fn read(texts: &[&str], max_seq_len: usize) -> Result<Vec<Vec<u32>>, MlmError> {
        let (_dir, texts, tokenizer) = world(texts);
        let mut sequences = Sequences {
            texts: &texts,
            tokenizer: &tokenizer,
            preprocess: None,
            max_seq_len,
            packing: None,
        };
        let packing = Packing::new(&sequences)?;
        sequences.packing = Some(&packing);
        let ids: Vec<GroupId> = (0..sequences.sizes()[0])
            .map(|group| GroupId { set: 0, group })
            .collect();
        sequences.read(&ids)
    }

    #[test]
    fn sequences_are_runs_of_the_joined_documents() {
        // a a SEP | b SEP c | c c c | SEP a SEP | (b SEP)
        let texts = ["a a", "b", "c c c c", "a", "b"];
        let expected = [
            [2, 5, 5, 3, 3],
            [2, 6, 3, 7, 3],
            [2, 7, 7, 7, 3],
            [2, 3, 5, 3, 3],
        ];
        assert_eq!(read(&texts, 5).unwrap(), expected);
        // One token each, and exactly as long as all of them.
        assert_eq!(
            read(&["a b"], 3).unwrap(),
            [[2, 5, 3], [2, 6, 3], [2, 3, 3]]
        );
        assert_eq!(read(&["a b", "c"], 7).unwrap(), [[2, 5, 6, 3, 7, 3, 3]]);
    }

    #[test]
    fn documents_that_fill_no_sequence_are_refused() {
        let message = read(&["a b"], 9).unwrap_err().to_string();
        assert!(
            message.contains("texts.jsonl: 3 tokens in all, which do not fill one sequence of 9"),
            "{message}"
        );
        let message = read(&["a b"], 2).unwrap_err().to_string();
        assert!(
            message.contains("the special tokens alone take 2"),
            "{message}"
        );
    }
}
