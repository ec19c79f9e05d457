//! `ellzero-data`: see `ellzero-data --help`.

mod cli;
mod progress;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use data::IdfError;
use data::convert::ConvertError;
use data::output::OutputError;
use data::prepare::PrepareError;

fn main() -> ExitCode {
    data::hush_caught_panics();
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed too, which must not end in a panic.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the reader of our output went away (`ellzero-data inspect x | head -1`), which is its right.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let idf = error.downcast_ref().and_then(|error| match error {
        IdfError::Write(error) => Some(error),
        _ => None,
    });
    let convert = error.downcast_ref().and_then(|error| match error {
        ConvertError::Output(error) => Some(error),
        _ => None,
    });
    let prepare = error.downcast_ref().and_then(|error| match error {
        PrepareError::Output(error) => Some(error),
        _ => None,
    });
    let nested = idf.or(convert).or(prepare).or(error.downcast_ref());
    let direct = error.downcast_ref::<io::Error>();
    nested.is_some_and(OutputError::is_broken_pipe)
        || direct.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
