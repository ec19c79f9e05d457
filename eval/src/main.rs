//! `ellzero-eval`: encodes, indexes, searches, and judges.

mod cli;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use data::output::OutputError;

fn main() -> ExitCode {
    data::hush_caught_panics();
    match cli::run(cli::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // A standard error that is closed as well leaves nobody to tell.
            let _ = writeln!(io::stderr(), "error: {}", describe(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and those of its causes that it does not repeat already.
fn describe(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Whether the reader of our output went away, as `head` does when it has enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io_error = cause.downcast_ref::<io::Error>();
        let output_error = cause.downcast_ref::<OutputError>();
        io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
            || output_error.is_some_and(OutputError::is_broken_pipe)
    })
}
