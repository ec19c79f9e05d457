//! Progress on standard error: a bar on a terminal, a line now and then elsewhere.

use std::cell::Cell;
use std::io::{self, BufRead, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant};

use data::{Dataset, input};
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use super::notice;

/// Time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Shows how many rows are done, how many a second, and how much time is left.
pub struct Progress {
    label: String,
    total: Option<usize>,
    start: Instant,
    /// Rows that were done before this run.
    first: Cell<Option<usize>>,
    last_line: Cell<Instant>,
    display: Display,
}

enum Display {
    Nothing,
    Bar(ProgressBar),
    Lines,
}

impl Progress {
    /// Progress towards `total` rows, if that is known.
    pub fn new(label: &str, total: Option<usize>, quiet: bool) -> Self {
        let display = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Display::Nothing,
            (false, true) => Display::Bar(bar(label, total)),
            (false, false) => Display::Lines,
        };
        Self {
            label: label.to_owned(),
            total,
            start: Instant::now(),
            first: Cell::new(None),
            last_line: Cell::new(Instant::now()),
            display,
        }
    }

    /// Tells that `rows` are done; the first call only sets the beginning.
    pub fn update(&self, rows: usize) {
        if self.first.get().is_none() {
            self.first.set(Some(rows));
            if let Display::Bar(bar) = &self.display {
                bar.set_position(rows as u64);
                bar.reset_eta();
            }
            return;
        }
        match &self.display {
            Display::Nothing => {}
            Display::Bar(bar) => bar.set_position(rows as u64),
            Display::Lines if self.last_line.get().elapsed() < LINE_INTERVAL => {}
            Display::Lines => {
                self.last_line.set(Instant::now());
                notice(false, &self.line(rows));
            }
        }
    }

    fn line(&self, rows: usize) -> String {
        let fresh = rows - self.first.get().unwrap_or(0).min(rows);
        let rate = fresh as f64 / self.start.elapsed().as_secs_f64();
        let label = &self.label;
        let done = HumanCount(rows as u64);
        match self.total {
            Some(total) if rate > 0.0 => {
                let left = Duration::from_secs_f64(total.saturating_sub(rows) as f64 / rate);
                let (total, left) = (HumanCount(total as u64), HumanDuration(left));
                format!("{label}: {done} of {total}, {rate:.1}/s, {left} left")
            }
            _ => format!("{label}: {done}, {rate:.1}/s"),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}

fn bar(label: &str, total: Option<usize>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total as u64),
            "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta} left",
        ),
        None => (ProgressBar::no_length(), "{msg} {human_pos} {per_sec}"),
    };
    let style = ProgressStyle::with_template(template).expect("a constant template");
    bar.with_style(style).with_message(label.to_owned())
}

/// Number of lines of a file, if it has any and can be read twice.
pub fn count_lines(path: &Path) -> Option<usize> {
    if Dataset::is_columnar(path) {
        return None;
    }
    let mut reader = match path.metadata() {
        Ok(meta) if meta.is_file() => input::open(path).ok()?,
        _ => return None,
    };
    let mut lines = 0;
    let mut line_is_open = false;
    loop {
        let bytes = reader.fill_buf().ok()?;
        let Some(last) = bytes.last() else {
            return Some(lines + usize::from(line_is_open));
        };
        line_is_open = *last != b'\n';
        lines += bytes.iter().filter(|&&byte| byte == b'\n').count();
        let length = bytes.len();
        reader.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_with_or_without_a_last_line_end() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("x");
        for (text, lines) in [("", 0), ("a", 1), ("a\n", 1), ("a\n\nb", 3)] {
            std::fs::write(&path, text).expect("writable");
            assert_eq!(count_lines(&path), Some(lines), "{text:?}");
        }
        assert_eq!(count_lines(Path::new("-")), None);
    }

    #[test]
    fn a_line_says_rate_and_time_left() {
        let progress = Progress::new("encoding", Some(100), true);
        progress.update(10);
        assert!(progress.line(10).starts_with("encoding: 10, 0.0/s"));
        std::thread::sleep(Duration::from_millis(5));
        assert!(progress.line(60).contains("60 of 100"));
    }
}
