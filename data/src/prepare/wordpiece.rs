//! A WordPiece vocabulary of a corpus's own, in the files that transformers reads.

mod alphabet;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainer};
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, Model, NormalizedString, Normalizer, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, Trainer,
};

use super::{CHUNK_ROWS, PrepareError};
use crate::dataset::{Dataset, DatasetError};
use crate::output::{AtomicDir, write_file};
use alphabet::Alphabet;

/// Name in tokenizer_config.json and token, in the order of their ids.
const SPECIAL_TOKENS: [(&str, &str); 5] = [
    ("pad_token", "[PAD]"),
    ("unk_token", "[UNK]"),
    ("cls_token", "[CLS]"),
    ("sep_token", "[SEP]"),
    ("mask_token", "[MASK]"),
];
/// WordPiece takes longer words for unknown.
const MAX_WORD_CHARS: usize = 100;
/// Positions of BERT.
const MODEL_MAX_LENGTH: usize = 512;

/// What the vocabulary is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordPieceOptions {
    /// Tokens at most, special ones and single characters included.
    pub vocab_size: usize,
    /// Texts are lower-cased and lose their accents.
    pub lowercase: bool,
    /// Two tokens become one where they are neighbours at least this often.
    pub min_frequency: u64,
    /// Characters at most, the most frequent ones; others become unknown.
    pub limit_alphabet: usize,
}

/// What became of the corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordPieceCounts {
    /// Documents with a text.
    pub documents: usize,
    /// Different characters, of which the alphabet has as many as its limit allows.
    pub characters: usize,
    /// Tokens of the vocabulary.
    pub tokens: usize,
}

/// Learns a WordPiece vocabulary from the documents of `corpus` (rows `{title?, text}` of any data set) and writes the
/// directory `output`: tokenizer.json, vocab.txt, tokenizer_config.json and special_tokens_map.json. `on_document` is
/// called after every document.
///
/// The vocabulary begins with the special tokens, the characters, and the characters that continue a word (`##`), each
/// in the order of their code points; then come the merges, most frequent first. It depends on the corpus and the
/// options alone. Memory holds the different words of the corpus.
///
/// # Errors
/// [`PrepareError`], naming file and line; [`PrepareError::Nothing`] when there is no text, or the characters alone are
/// more than the vocabulary may have.
pub fn train_wordpiece(
    corpus: &Path,
    output: &Path,
    options: WordPieceOptions,
    on_document: &mut (dyn FnMut() + Send),
) -> Result<WordPieceCounts, PrepareError> {
    let folder = AtomicDir::create(output)?;
    let failed = |cause: tokenizers::Error| PrepareError::Nothing {
        path: corpus.to_path_buf(),
        reason: format!("no vocabulary can be made of it: {cause}"),
    };
    let mut trainer = WordPieceTrainer::builder()
        .vocab_size(options.vocab_size)
        .min_frequency(options.min_frequency)
        .show_progress(false)
        .build();
    let alphabet = Mutex::new(Alphabet::default());
    let words = |text: &str| {
        let words = words(text, options.lowercase)?;
        let mut alphabet = alphabet.lock().unwrap_or_else(PoisonError::into_inner);
        words.iter().for_each(|word| alphabet.add(word));
        Ok(words)
    };
    let mut texts = DocumentTexts::open(corpus, on_document)?;
    trainer.feed(&mut texts, words).map_err(failed)?;
    let documents = texts.finish()?;

    let alphabet = alphabet
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let characters = alphabet.most_frequent(options.limit_alphabet);
    let special = SPECIAL_TOKENS.map(|(_, token)| token.to_owned());
    let first_tokens: Vec<String> = special
        .into_iter()
        .chain(alphabet.tokens(&characters))
        .collect();
    check_size(
        corpus,
        options.vocab_size,
        characters.len(),
        first_tokens.len(),
    )?;
    // Named one by one, so that their ids do not depend on the order in which words are looked at, and merges not on
    // ids.
    trainer.set_special_tokens(first_tokens.into_iter().map(added_token).collect());
    trainer.set_limit_alphabet(Some(characters.len()));
    trainer.set_initial_alphabet(characters.into_iter().collect::<HashSet<char>>());
    let mut model = WordPiece::default();
    trainer.train(&mut model).map_err(failed)?;

    let tokens = in_order(&model);
    let counts = WordPieceCounts {
        documents,
        characters: alphabet.len(),
        tokens: tokens.len(),
    };
    let tokenizer = tokenizer(model, options.lowercase).map_err(failed)?;
    let json = tokenizer.to_string(true).map_err(failed)?;
    write_files(folder.path(), &json, &tokens, options.lowercase)?;
    folder.finish()?;
    Ok(counts)
}

fn check_size(
    corpus: &Path,
    vocab_size: usize,
    characters: usize,
    first_tokens: usize,
) -> Result<(), PrepareError> {
    let reason = match characters {
        0 => "no document with text in it".to_owned(),
        _ if vocab_size < first_tokens => format!(
            "a vocabulary of {vocab_size} has no room for the {first_tokens} special tokens and single characters: \
             make it larger, or the alphabet smaller"
        ),
        _ => return Ok(()),
    };
    Err(PrepareError::Nothing {
        path: corpus.to_path_buf(),
        reason,
    })
}

/// The texts of a corpus one after the other, until one cannot be read.
struct DocumentTexts<'a> {
    dataset: Dataset,
    row: usize,
    documents: usize,
    failed: Option<DatasetError>,
    on_document: &'a mut (dyn FnMut() + Send),
}

impl<'a> DocumentTexts<'a> {
    fn open(
        corpus: &Path,
        on_document: &'a mut (dyn FnMut() + Send),
    ) -> Result<Self, DatasetError> {
        Ok(Self {
            dataset: Dataset::open(corpus)?,
            row: 0,
            documents: 0,
            failed: None,
            on_document,
        })
    }

    /// Number of documents with a text.
    fn finish(self) -> Result<usize, DatasetError> {
        self.failed.map_or(Ok(self.documents), Err)
    }
}

impl Iterator for DocumentTexts<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        while self.failed.is_none() && self.row < self.dataset.len() {
            let document = self.dataset.document(self.row);
            self.row += 1;
            if self.row.is_multiple_of(CHUNK_ROWS) {
                self.dataset.release();
            }
            match document {
                Ok(Some(text)) if !text.is_empty() => {
                    self.documents += 1;
                    (self.on_document)();
                    return Some(text);
                }
                Ok(_) => {}
                Err(error) => self.failed = Some(error),
            }
        }
        None
    }
}

fn normalizer(lowercase: bool) -> BertNormalizer {
    BertNormalizer::new(true, true, None, lowercase)
}

/// The words that WordPiece would split.
fn words(text: &str, lowercase: bool) -> tokenizers::Result<Vec<String>> {
    let mut text = NormalizedString::from(text);
    normalizer(lowercase).normalize(&mut text)?;
    let mut text = PreTokenizedString::from(text);
    BertPreTokenizer.pre_tokenize(&mut text)?;
    let words = text.get_splits(OffsetReferential::Normalized, OffsetType::None);
    let words = words.into_iter().map(|(word, ..)| word);
    Ok(words
        .filter(|word| word.chars().count() <= MAX_WORD_CHARS)
        .map(str::to_owned)
        .collect())
}

fn added_token(token: String) -> AddedToken {
    AddedToken::from(token, true)
}

/// The tokens in the order of their ids, which have no holes.
fn in_order(model: &WordPiece) -> Vec<String> {
    let mut tokens: Vec<(u32, String)> = model
        .get_vocab()
        .into_iter()
        .map(|(token, id)| (id, token))
        .collect();
    tokens.sort_unstable();
    tokens.into_iter().map(|(_, token)| token).collect()
}

/// BERT's pipeline around a vocabulary.
fn tokenizer(model: WordPiece, lowercase: bool) -> tokenizers::Result<tokenizers::Tokenizer> {
    let id = |token: &str| model.token_to_id(token).unwrap_or_default();
    let frame = TemplateProcessing::builder()
        .try_single("[CLS] $A [SEP]")?
        .try_pair("[CLS] $A [SEP] $B:1 [SEP]:1")?
        .special_tokens(vec![("[CLS]", id("[CLS]")), ("[SEP]", id("[SEP]"))])
        .build()?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_normalizer(Some(normalizer(lowercase)))?;
    tokenizer
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(frame))
        .with_decoder(Some(WordPieceDecoder::default()));
    let special = SPECIAL_TOKENS.map(|(_, token)| added_token(token.to_owned()));
    tokenizer.add_special_tokens(special)?;
    Ok(tokenizer)
}

fn write_files(
    dir: &Path,
    tokenizer: &str,
    tokens: &[String],
    lowercase: bool,
) -> Result<(), PrepareError> {
    let mut special = serde_json::Map::new();
    for (name, token) in SPECIAL_TOKENS {
        special.insert(name.to_owned(), token.into());
    }
    let mut config = special.clone();
    for (key, value) in [
        ("tokenizer_class", json!("BertTokenizer")),
        ("model_max_length", json!(MODEL_MAX_LENGTH)),
        ("do_lower_case", json!(lowercase)),
        ("strip_accents", Value::Null),
        ("tokenize_chinese_chars", json!(true)),
    ] {
        config.insert(key.to_owned(), value);
    }
    let vocabulary: String = tokens.iter().map(|token| format!("{token}\n")).collect();
    for (name, content) in [
        ("tokenizer.json", format!("{tokenizer}\n")),
        ("vocab.txt", vocabulary),
        (
            "tokenizer_config.json",
            format!("{:#}\n", Value::Object(config)),
        ),
        (
            "special_tokens_map.json",
            format!("{:#}\n", Value::Object(special)),
        ),
    ] {
        write_file(&dir.join(name), content.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenize::Tokenizer;

    const OPTIONS: WordPieceOptions = WordPieceOptions {
        vocab_size: 60,
        lowercase: true,
        min_frequency: 2,
        limit_alphabet: 1000,
    };

    fn corpus(dir: &Path, texts: &[&str]) -> std::path::PathBuf {
        let rows = texts.iter().map(|text| format!("{{\"text\": {text:?}}}\n"));
        let path = dir.join("corpus.jsonl");
        std::fs::write(&path, rows.collect::<String>()).unwrap();
        path
    }

    const TEXTS: [&str; 5] = [
        "The lower, the slower: low water.",
        "Lower waters are slow; the towers are low",
        "A tower of water, a sower, a mower",
        "",
        "the flowers grow lower, slower, lower",
    ];

    fn train(
        texts: &[&str],
        options: WordPieceOptions,
    ) -> Result<(WordPieceCounts, String), PrepareError> {
        let dir = tempfile::tempdir().unwrap();
        let corpus = corpus(dir.path(), texts);
        let out = dir.path().join("tokenizer");
        let counts = train_wordpiece(&corpus, &out, options, &mut || ())?;
        Ok((
            counts,
            std::fs::read_to_string(out.join("vocab.txt")).unwrap(),
        ))
    }

    #[test]
    fn frequent_words_are_tokens_and_rare_ones_have_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let corpus = corpus(dir.path(), &TEXTS);
        let out = dir.path().join("tokenizer");
        let mut seen = 0;
        let counts = train_wordpiece(&corpus, &out, OPTIONS, &mut || seen += 1).unwrap();
        assert_eq!((counts.documents, seen), (4, 4));
        assert!(counts.tokens <= 60, "{counts:?}");
        let found = Tokenizer::from_dir(&out).unwrap();
        assert_eq!(found.special_ids(), [0, 1, 2, 3, 4]);
        assert_eq!(found.vocab_size(), counts.tokens);
        assert_eq!(found.mask_id(), Some(4));
        let tokens = |text: &str| -> Vec<String> {
            let ids = found.encode(text, 99).unwrap();
            ids.iter()
                .map(|&id| found.token(id).unwrap().to_owned())
                .collect()
        };
        assert_eq!(tokens("The LOWER"), ["[CLS]", "the", "lower", "[SEP]"]);
        let rare = tokens("mower");
        assert!(rare.len() > 3 && rare[2].starts_with("##"), "{rare:?}");
        assert_eq!(tokens("z"), ["[CLS]", "[UNK]", "[SEP]"]);

        // vocab.txt alone is the same tokenizer.
        std::fs::remove_file(out.join("tokenizer.json")).unwrap();
        let plain = Tokenizer::from_dir(&out).unwrap();
        for text in TEXTS {
            assert_eq!(
                plain.encode(text, 99).unwrap(),
                found.encode(text, 99).unwrap()
            );
        }
    }

    #[test]
    fn the_vocabulary_depends_on_corpus_and_options_alone() {
        let (_, first) = train(&TEXTS, OPTIONS).unwrap();
        assert!(
            first.starts_with("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n,\n.\n:\n;\na\n"),
            "{first}"
        );
        for _ in 0..4 {
            assert_eq!(train(&TEXTS, OPTIONS).unwrap().1, first);
        }
        let mut reversed = TEXTS;
        reversed.reverse();
        assert_eq!(train(&reversed, OPTIONS).unwrap().1, first);
        let cased = WordPieceOptions {
            lowercase: false,
            ..OPTIONS
        };
        assert!(train(&TEXTS, cased).unwrap().1.contains("\nT\n"));
    }

    #[test]
    fn rare_characters_are_left_out_of_a_limited_alphabet() {
        let limited = WordPieceOptions {
            limit_alphabet: 5,
            ..OPTIONS
        };
        let (counts, vocabulary) = train(&TEXTS, limited).unwrap();
        let single = vocabulary
            .lines()
            .filter(|token| token.chars().count() == 1);
        assert_eq!(single.collect::<Vec<_>>(), ["e", "l", "o", "r", "w"]);
        assert!(counts.characters > 5);
    }

    #[test]
    fn what_cannot_be_is_refused_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("tokenizer");
        let message = |rows: &str, vocab_size| {
            let path = dir.path().join("corpus.jsonl");
            std::fs::write(&path, rows).unwrap();
            let options = WordPieceOptions {
                vocab_size,
                ..OPTIONS
            };
            let error = train_wordpiece(&path, &out, options, &mut || ()).unwrap_err();
            error.to_string()
        };
        let found = message("", 60);
        assert!(
            found.contains("corpus.jsonl: no document with text"),
            "{found}"
        );
        let found = message(r#"{"text": "abc"}"#, 9);
        assert!(
            found.contains("a vocabulary of 9 has no room for the 10"),
            "{found}"
        );
        let found = message("{\"text\": \"a\"}\n{\"body\": 1}", 60);
        assert!(found.contains("corpus.jsonl:2: no `text`"), "{found}");
        assert!(!out.exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
