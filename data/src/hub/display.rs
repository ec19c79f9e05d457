//! Downloads on standard error: a bar on a terminal, a line now and then elsewhere.
//!
//! Binaries make it and hand it to [`Hub`](super::Hub), which itself is silent; it is here because all of them need the
//! same.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, HumanDuration, ProgressBar, ProgressStyle};

use super::Report;

/// Time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Shows what is downloaded, how fast, and how much time is left.
pub struct Display {
    quiet: bool,
    transfer: RefCell<Option<Transfer>>,
}

/// The file that is being downloaded.
struct Transfer {
    name: String,
    total: Option<u64>,
    /// Bytes that were there before.
    first: u64,
    started: Instant,
    last_line: Instant,
    /// `None` where standard error is no terminal.
    bar: Option<ProgressBar>,
}

impl Display {
    /// A display that shows nothing when `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            transfer: RefCell::new(None),
        }
    }
}

impl Report for Display {
    fn notice(&self, text: &str) {
        if self.quiet {
            return;
        }
        let line = || {
            // A closed standard error is no reason to stop.
            let _ = writeln!(io::stderr(), "{text}");
        };
        let transfer = self.transfer.borrow();
        match transfer.as_ref().and_then(|transfer| transfer.bar.as_ref()) {
            Some(bar) => bar.suspend(line),
            None => line(),
        }
    }

    fn begin(&self, name: &str, done: u64, total: Option<u64>) {
        if !self.quiet {
            let bar = io::stderr().is_terminal().then(|| bar(name, done, total));
            *self.transfer.borrow_mut() = Some(Transfer {
                name: name.to_owned(),
                total,
                first: done,
                started: Instant::now(),
                last_line: Instant::now(),
                bar,
            });
        }
    }

    fn advance(&self, done: u64) {
        let mut transfer = self.transfer.borrow_mut();
        let Some(transfer) = transfer.as_mut() else {
            return;
        };
        match &transfer.bar {
            Some(bar) => bar.set_position(done),
            None if transfer.last_line.elapsed() < LINE_INTERVAL => {}
            None => {
                transfer.last_line = Instant::now();
                let _ = writeln!(io::stderr(), "{}", transfer.line(done));
            }
        }
    }

    fn end(&self) {
        let transfer = self.transfer.borrow_mut().take();
        if let Some(bar) = transfer.and_then(|transfer| transfer.bar) {
            bar.finish_and_clear();
        }
    }
}

impl Transfer {
    fn line(&self, done: u64) -> String {
        let fresh = done.saturating_sub(self.first);
        let rate = fresh as f64 / self.started.elapsed().as_secs_f64();
        let (name, bytes) = (&self.name, BinaryBytes(done));
        let per_second = BinaryBytes(rate as u64);
        match self.total {
            Some(total) if rate > 0.0 => {
                let left = Duration::from_secs_f64(total.saturating_sub(done) as f64 / rate);
                let (total, left) = (BinaryBytes(total), HumanDuration(left));
                format!("{name}: {bytes} of {total}, {per_second}/s, {left} left")
            }
            _ => format!("{name}: {bytes}, {per_second}/s"),
        }
    }
}

fn bar(name: &str, done: u64, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left",
        ),
        None => (
            ProgressBar::no_length(),
            "{msg} {binary_bytes} {binary_bytes_per_sec}",
        ),
    };
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = bar.with_style(style).with_message(name.to_owned());
    bar.set_position(done);
    bar.reset_eta();
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rate_and_time_left() {
        let mut transfer = Transfer {
            name: "model.safetensors".to_owned(),
            total: Some(4 << 20),
            first: 1 << 20,
            started: Instant::now() - Duration::from_secs(2),
            last_line: Instant::now(),
            bar: None,
        };
        let line = transfer.line(2 << 20);
        assert!(
            line.starts_with("model.safetensors: 2.00 MiB of 4.00 MiB, "),
            "{line}"
        );
        assert!(line.ends_with("left"), "{line}");
        transfer.total = None;
        let line = transfer.line(2 << 20);
        assert!(line.ends_with("KiB/s"), "{line}");
    }
}
