//! `ellzero-train`: trains an inference-free sparse retriever.

mod cli;
mod logging;
mod progress;
mod table;

use std::process::ExitCode;

use clap::Parser;
use train::teacher::ScoreError;

fn main() -> ExitCode {
    train::memory::keep_freed_memory();
    data::hush_caught_panics();
    match cli::run(&cli::Arguments::parse()) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the reader of our output went away, as `head` does when it has enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(ScoreError::is_broken_pipe)
}
