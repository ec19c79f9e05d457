//! `ellzero-train`: trains an inference-free sparse retriever.

mod cli;
mod logging;
mod progress;
mod table;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    train::memory::keep_freed_memory();
    match cli::run(&cli::Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
