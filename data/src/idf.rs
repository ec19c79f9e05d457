//! The query side of inference-free retrieval: one weight per token.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use thiserror::Error;

use crate::output::{self, OutputError};
use crate::tokenize::{TokenizeError, Tokenizer};

/// Texts tokenized at a time: enough for all threads, little memory.
const CHUNK_TEXTS: usize = 4096;
const CHUNK_BYTES: usize = 32 << 20;

/// Why an IDF table could not be read or written.
#[derive(Debug, Error)]
pub enum IdfError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// File asked for.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is not a JSON object of token -> number.
    #[error("{}: expected a JSON object of token -> weight: {cause}", path.display())]
    Json {
        /// File at fault.
        path: PathBuf,
        /// What the parser said, with line and column.
        cause: serde_json::Error,
    },
    /// A weight is not a finite float32.
    #[error("{}: the weight of {token:?} is {weight}, which is no finite float32 number", path.display())]
    NotFinite {
        /// File at fault.
        path: PathBuf,
        /// Token with that weight.
        token: String,
        /// Weight found.
        weight: f64,
    },
    /// No token of the file is in the vocabulary.
    #[error("{}: none of its {tokens} tokens is in the tokenizer's vocabulary; it belongs to another tokenizer", path.display())]
    OtherVocabulary {
        /// File at fault.
        path: PathBuf,
        /// Tokens in the file.
        tokens: usize,
    },
    /// The table cannot be written.
    #[error(transparent)]
    Write(#[from] OutputError),
}

/// One weight per token id.
#[derive(Debug, Clone, PartialEq)]
pub struct Idf {
    /// Weight of each token id.
    pub weights: Vec<f32>,
}

/// How well a file and a vocabulary fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdfCoverage {
    /// Tokens of the file that the vocabulary does not have; they are ignored.
    pub unknown: usize,
    /// Tokens of the vocabulary that the file does not have; they weigh 1.
    pub missing: usize,
}

impl Idf {
    /// The same weight, 1, for every token.
    pub fn uniform(vocab_size: usize) -> Self {
        Self {
            weights: vec![1.0; vocab_size],
        }
    }

    /// Reads a JSON object of token -> weight. A token missing from it weighs 1.
    ///
    /// # Errors
    /// [`IdfError`], naming the file and the token.
    pub fn from_file(path: &Path, tokenizer: &Tokenizer) -> Result<Self, IdfError> {
        Ok(Self::from_file_with_coverage(path, tokenizer)?.0)
    }

    /// [`Idf::from_file`], and how many tokens were unknown or missing.
    ///
    /// # Errors
    /// [`IdfError`], naming the file and the token.
    pub fn from_file_with_coverage(
        path: &Path,
        tokenizer: &Tokenizer,
    ) -> Result<(Self, IdfCoverage), IdfError> {
        let bytes = std::fs::read(path).map_err(|cause| IdfError::Read {
            path: path.to_path_buf(),
            cause,
        })?;
        let table: HashMap<String, f64> =
            serde_json::from_slice(&bytes).map_err(|cause| IdfError::Json {
                path: path.to_path_buf(),
                cause,
            })?;
        let tokens = table.len();
        let mut idf = Self::uniform(tokenizer.vocab_size());
        let mut known = 0;
        for (token, weight) in table {
            if !(weight as f32).is_finite() {
                return Err(IdfError::NotFinite {
                    path: path.to_path_buf(),
                    token,
                    weight,
                });
            }
            if let Some(id) = tokenizer.id(&token) {
                idf.weights[id as usize] = weight as f32;
                known += 1;
            }
        }
        if known == 0 && tokens > 0 {
            return Err(IdfError::OtherVocabulary {
                path: path.to_path_buf(),
                tokens,
            });
        }
        let coverage = IdfCoverage {
            unknown: tokens - known,
            missing: tokenizer.vocab_size() - known,
        };
        Ok((idf, coverage))
    }

    /// `ln(1 + (N - df + 0.5) / (df + 0.5))`; 1 for a token that occurs nowhere.
    pub fn from_document_frequencies(frequencies: &DocumentFrequencies) -> Self {
        let documents = frequencies.documents as f64;
        let weight = |&count: &u64| match count {
            0 => 1.0,
            _ => (1.0 + (documents - count as f64 + 0.5) / (count as f64 + 0.5)).ln() as f32,
        };
        Self {
            weights: frequencies.counts.iter().map(weight).collect(),
        }
    }

    /// Writes all tokens, in vocabulary order, as a JSON object with one token per line.
    ///
    /// # Errors
    /// [`IdfError::Write`], naming the path.
    pub fn save(&self, path: &Path, tokenizer: &Tokenizer) -> Result<(), IdfError> {
        let mut json = String::from("{");
        let mut separator = "\n";
        for (id, weight) in (0..).zip(&self.weights) {
            let Some(token) = tokenizer.token(id) else {
                continue;
            };
            let token = serde_json::Value::from(token);
            // `{:?}` prints the shortest digits that read back to the same float32, always with a point.
            write!(json, "{separator}{token}: {weight:?}").expect("a String takes everything");
            separator = ",\n";
        }
        json.push_str("\n}\n");
        Ok(output::write_file(path, json.as_bytes())?)
    }
}

/// In how many documents each token occurs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentFrequencies {
    /// Documents with each token id.
    pub counts: Vec<u64>,
    /// Documents with at least one token that is not special.
    pub documents: u64,
}

impl DocumentFrequencies {
    /// Counts over a stream of texts, on all threads, a bounded number of texts in memory. Texts are counted
    /// whole, special tokens not at all.
    ///
    /// # Errors
    /// The first error of `texts` or of the tokenizer.
    pub fn count<E: From<TokenizeError> + Send>(
        texts: impl IntoIterator<Item = Result<String, E>>,
        tokenizer: &Tokenizer,
    ) -> Result<Self, E> {
        let mut frequencies = Self {
            counts: vec![0; tokenizer.vocab_size()],
            documents: 0,
        };
        let mut chunk = Vec::new();
        let mut bytes = 0;
        for text in texts {
            let text = text?;
            bytes += text.len();
            chunk.push(text);
            if chunk.len() == CHUNK_TEXTS || bytes > CHUNK_BYTES {
                frequencies.add(&chunk, tokenizer)?;
                chunk.clear();
                bytes = 0;
            }
        }
        frequencies.add(&chunk, tokenizer)?;
        Ok(frequencies)
    }

    fn add(&mut self, texts: &[String], tokenizer: &Tokenizer) -> Result<(), TokenizeError> {
        let distinct: Vec<Vec<u32>> = texts
            .par_iter()
            .map(|text| {
                let mut ids = tokenizer.encode_content(text)?;
                ids.sort_unstable();
                ids.dedup();
                ids.retain(|id| tokenizer.special_ids().binary_search(id).is_err());
                Ok(ids)
            })
            .collect::<Result<_, TokenizeError>>()?;
        for ids in distinct {
            self.documents += u64::from(!ids.is_empty());
            for id in ids {
                self.counts[id as usize] += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer(dir: &Path) -> Tokenizer {
        let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n\"\n";
        std::fs::write(dir.join("vocab.txt"), vocabulary).unwrap();
        Tokenizer::from_dir(dir).unwrap()
    }

    #[test]
    fn counts_documents_and_follows_the_formula() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = tokenizer(dir.path());
        let texts = ["a a", "b a [SEP]", "", "?"].map(|text| Ok::<_, TokenizeError>(text.into()));
        let frequencies = DocumentFrequencies::count(texts, &tokenizer).unwrap();
        assert_eq!(frequencies.counts, [0, 0, 0, 0, 0, 2, 1, 0]);
        assert_eq!(frequencies.documents, 2);
        let idf = Idf::from_document_frequencies(&frequencies);
        let expected = [
            1.0,
            (1.0 + 0.5 / 2.5_f64).ln() as f32,
            (2.0_f64).ln() as f32,
        ];
        assert_eq!(idf.weights[4..7], expected);
    }

    /// Over several chunks and whatever the number of threads.
    #[test]
    fn frequencies_are_exact() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = tokenizer(dir.path());
        let count = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let texts = (0..3 * CHUNK_TEXTS + 1).map(|number| {
                let text = ["a a", "a b", "\"", ""][number % 4];
                Ok::<_, TokenizeError>(text.to_owned())
            });
            let pool = pool.build().unwrap();
            pool.install(|| DocumentFrequencies::count(texts, &tokenizer).unwrap())
        };
        let quarter = 3 * CHUNK_TEXTS as u64 / 4;
        let found = count(1);
        assert_eq!(found.counts[5..], [2 * quarter + 1, quarter, quarter]);
        assert_eq!(found.documents, 3 * quarter + 1);
        assert_eq!(count(3), found);
    }

    #[test]
    fn a_saved_table_reads_back_exactly() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = tokenizer(dir.path());
        let weights = vec![1.0, 0.1, -2.5e-9, 3.0, 1e20, 0.0, 7.25, 0.333_333_34];
        let idf = Idf { weights };
        let path = dir.path().join("idf.json");
        idf.save(&path, &tokenizer).unwrap();
        assert_eq!(Idf::from_file(&path, &tokenizer).unwrap(), idf);
    }

    #[test]
    fn unknown_missing_and_not_finite() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = tokenizer(dir.path());
        let path = dir.path().join("idf.json");
        std::fs::write(&path, r#"{"a": 2, "zebra": 3.5}"#).unwrap();
        let (idf, coverage) = Idf::from_file_with_coverage(&path, &tokenizer).unwrap();
        assert_eq!(idf.weights[5..7], [2.0, 1.0]);
        assert_eq!((coverage.unknown, coverage.missing), (1, 7));

        let message = |json: &str| {
            std::fs::write(&path, json).unwrap();
            Idf::from_file(&path, &tokenizer).unwrap_err().to_string()
        };
        assert!(message(r#"{"a": 1e300}"#).contains("\"a\" is"));
        assert!(message(r#"{"zebra": 1}"#).contains("another tokenizer"));
        assert!(message("[1]").contains("idf.json: expected a JSON object"));
        assert!(message(r#"{"a": NaN}"#).contains("line 1 column"));
    }
}
