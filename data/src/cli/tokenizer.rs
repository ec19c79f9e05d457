//! The command that makes a vocabulary.

use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgAction, Args};

use data::Hub;
use data::prepare::{self, WordPieceOptions};

use crate::progress::Progress;

/// Make a WordPiece tokenizer of a corpus's own, for training from scratch
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  ellzero-data tokenizer --corpus corpus.jsonl --vocab-size 30000 --output tokenizer/\n\n\
                        The directory holds tokenizer.json, vocab.txt, tokenizer_config.json and \
                        special_tokens_map.json. With a config.json of the same vocab_size beside them it is a model to \
                        train with init_from_scratch: true."
)]
pub struct TokenizerArgs {
    /// Rows {"title"?, "text"}: JSON lines (.gz, .zst, - for standard input), a Parquet file or a folder of them, or a
    /// save_to_disk directory; may begin with hf://
    #[arg(long, value_name = "PATH")]
    corpus: PathBuf,
    /// Tokens at most, special ones and single characters included
    #[arg(long, value_name = "N")]
    vocab_size: usize,
    /// A new directory
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Lower-case texts and take accents off
    #[arg(long, value_name = "true|false", default_value_t = true, action = ArgAction::Set)]
    lowercase: bool,
    /// Two tokens become one where they are neighbours at least this often
    #[arg(long, value_name = "N", default_value_t = 2)]
    min_frequency: u64,
    /// Characters at most, the most frequent ones; others are unknown
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit_alphabet: usize,
}

impl TokenizerArgs {
    pub fn run(&self, hub: &Hub, quiet: bool) -> Result<()> {
        let options = WordPieceOptions {
            vocab_size: self.vocab_size,
            lowercase: self.lowercase,
            min_frequency: self.min_frequency,
            limit_alphabet: self.limit_alphabet,
        };
        let corpus = hub.data(&self.corpus)?;
        let mut progress = Progress::new("documents", quiet);
        let on_document = &mut || progress.advance();
        let counts = prepare::train_wordpiece(&corpus, &self.output, options, on_document)?;
        progress.finish(&format!(
            "{} tokens of {} characters written to {}",
            counts.tokens,
            counts.characters.min(self.limit_alphabet),
            self.output.display()
        ));
        Ok(())
    }
}
