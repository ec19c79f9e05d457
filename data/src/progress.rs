//! Progress on standard error: a bar on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const LINE_EVERY: Duration = Duration::from_secs(10);

/// Counts items of one task.
pub struct Progress {
    task: &'static str,
    items: u64,
    started: Instant,
    last_line: Instant,
    /// `None` where standard error is no terminal.
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Progress {
    /// Starts a task; nothing is shown when `quiet`.
    pub fn new(task: &'static str, quiet: bool) -> Self {
        let bar = (!quiet && io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}: {human_pos} ({per_sec})");
            let bar = ProgressBar::new_spinner().with_message(task);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        Self {
            task,
            items: 0,
            started: Instant::now(),
            last_line: Instant::now(),
            bar,
            quiet,
        }
    }

    /// One more item is done.
    pub fn advance(&mut self) {
        self.items += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                self.line("");
            }
            None => {}
        }
    }

    /// Says what was done.
    pub fn finish(self, outcome: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.line(&format!("; {outcome}"));
    }

    fn line(&self, rest: &str) {
        if !self.quiet {
            let seconds = self.started.elapsed().as_secs_f64();
            // A closed standard error is no reason to stop.
            let _ = writeln!(
                io::stderr(),
                "{}: {} in {seconds:.1} s{rest}",
                self.task,
                self.items
            );
        }
    }
}
