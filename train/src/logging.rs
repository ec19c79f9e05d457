//! Log lines, on stderr and in train.log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Target of the lines that repeat what a progress bar shows.
pub const STEPS: &str = "steps";

/// The log of this process.
pub struct Logging {
    file: Arc<Mutex<LogFile>>,
}

impl Logging {
    /// Starts logging: to stderr, past `bar`, and to memory until there is a file.
    pub fn start(level: &str, quiet: bool, bar: &ProgressBar) -> Self {
        let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
        let file = Arc::new(Mutex::new(LogFile::default()));
        let shared = Arc::clone(&file);
        let to_file = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_target(false)
            .with_writer(move || Shared(Arc::clone(&shared)))
            .with_filter(level);
        let has_bar = !bar.is_hidden();
        let bar = bar.clone();
        let to_stderr = tracing_subscriber::fmt::layer()
            .with_target(false)
            .without_time()
            .with_ansi(has_bar)
            .with_writer(move || AroundBar(bar.clone()))
            .with_filter(if quiet {
                level.min(LevelFilter::WARN)
            } else {
                level
            })
            .with_filter(filter_fn(move |line| !(has_bar && line.target() == STEPS)));
        tracing_subscriber::registry()
            .with(to_file)
            .with(to_stderr)
            .init();
        Self { file }
    }

    /// Writes what was logged so far, and everything from now on, to a file.
    pub fn open_file(&self, path: &Path) -> Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let mut log = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let LogFile {
            pending,
            file: sink,
        } = &mut *log;
        sink.insert(file)
            .write_all(pending)
            .with_context(|| format!("cannot write {}", path.display()))?;
        pending.clear();
        Ok(())
    }
}

#[derive(Default)]
struct LogFile {
    pending: Vec<u8>,
    file: Option<File>,
}

struct Shared(Arc<Mutex<LogFile>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut log.file {
            Some(file) => file.write(bytes),
            None => log.pending.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Stderr, the progress bar moved out of the way for each line.
struct AroundBar(ProgressBar);

impl Write for AroundBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
