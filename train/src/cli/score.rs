//! `ellzero-train score`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use configs::load_teachers;
use data::Hub;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::device::select;
use tracing::{info, warn};
use train::fetch_teachers;
use train::teacher::cache::CacheCounts;
use train::teacher::score_file::{ScoreProgress, is_stream};
use train::teacher::{ScoreCache, ScoreJob, ScoreOutcome, TeacherError, load};

use super::{CommonArguments, stop_on_signal};
use crate::logging::Logging;

/// Time between two lines of progress where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[command(
    after_help = "Rows in: {query, docs}, {query, pos, negs} or {query, positive_passages, negative_passages}, with \
                  q_id and d_ids or without. Rows out, in the same order: {query, docs, scores}, the positives first.\n\
                  Until it is complete, the output is called OUTPUT.partial-XXXXXXXX; the same command given again \
                  continues it. What teachers said stays in the cache, and is asked for again only of a teacher that \
                  has changed.\n\n\
                  TEACHERS.yaml:\n  \
                  teachers:\n  \
                  - {type: sparse, model: models/opensearch-neural-sparse-encoding-v1}\n  \
                  - {type: remote, url: 'http://localhost:8080', api: rerank}\n  \
                  score_scale: 30\n\n\
                  Example:\n  \
                  ellzero-train score --teachers teachers.yaml --input posnegs.jsonl --output kd.jsonl.zst"
)]
pub struct ScoreArguments {
    /// Who scores
    #[arg(long, value_name = "FILE")]
    teachers: PathBuf,
    /// JSON lines (.gz, .zst, - for standard input), Parquet, or a save_to_disk directory; may begin with hf://
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// A .jsonl file (.gz, .zst, - for standard output) or a .parquet file, or else a new directory
    #[arg(long, value_name = "PATH")]
    output: PathBuf,
    /// Folder for the teachers' scores [default: OUTPUT.cache; none for a stream]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArguments,
}

impl ScoreArguments {
    pub fn run(&self) -> Result<ExitCode> {
        self.common.start_threads()?;
        let mut progress = Progress::new(self.common.quiet);
        Logging::start("info", self.common.quiet, &progress.bar);
        let hub = Hub::for_command_line(self.common.quiet);
        let (config, taken) = fetch_teachers(&load_teachers(&self.teachers)?, &hub)
            .with_context(|| self.teachers.display().to_string())?;
        taken.iter().for_each(|note| info!("{note}"));
        let input = hub.data(&self.input)?;
        let device = select(self.common.device)?;
        let mut cache = self.open_cache().map_err(TeacherError::from)?;
        if cache.damaged() > 0 {
            warn!(
                "{} kept scores are damaged and will be asked for again",
                cache.damaged()
            );
        }
        let (ensemble, notes) = load(&config, &device)?;
        notes.iter().for_each(|note| warn!("{note}"));
        let stop = stop_on_signal("finishing the rows at hand; once more to abort without them")?;
        let job = ScoreJob {
            ensemble: &ensemble,
            input: &input,
            output: &self.output,
            stop: &stop,
        };
        let outcome = job.run(&mut cache, &mut |state| progress.update(state))?;
        progress.bar.finish_and_clear();
        Ok(self.report(outcome, cache.counts()))
    }

    fn open_cache(&self) -> Result<ScoreCache, train::teacher::cache::CacheError> {
        match &self.cache {
            Some(dir) => ScoreCache::open(dir),
            None if is_stream(&self.output) => Ok(ScoreCache::in_memory()),
            None => {
                let mut dir = self.output.as_os_str().to_owned();
                dir.push(".cache");
                ScoreCache::open(Path::new(&dir))
            }
        }
    }

    fn report(&self, outcome: ScoreOutcome, counts: CacheCounts) -> ExitCode {
        let CacheCounts { asked, known } = counts;
        match outcome {
            ScoreOutcome::Finished(state) => {
                if state.skipped > 0 {
                    warn!(
                        "{} rows left out: a null in them, or no document",
                        state.skipped
                    );
                }
                info!(
                    "{} rows in {}; teachers were asked for {asked} scores, {known} were known",
                    state.written,
                    self.output.display()
                );
                ExitCode::SUCCESS
            }
            ScoreOutcome::Stopped(state) => {
                warn!(
                    "stopped after {} of {} rows; the same command goes on from there",
                    state.done, state.total
                );
                ExitCode::FAILURE
            }
        }
    }
}

/// Rows done, how many a second, and the time left: a bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    /// When this process began to score, and the rows that were done by then.
    start: Option<(Instant, usize)>,
    last_line: Instant,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        let target = match quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let template = "scoring {wide_bar} {human_pos}/{human_len} {per_sec} {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is valid");
        Self {
            bar: ProgressBar::with_draw_target(Some(0), target).with_style(style),
            start: None,
            last_line: Instant::now(),
        }
    }

    fn update(&mut self, state: ScoreProgress) {
        self.bar.set_length(state.total as u64);
        self.bar.set_position(state.done as u64);
        let Some((began, first)) = self.start else {
            self.start = Some((Instant::now(), state.done));
            self.bar.reset_eta();
            if state.resumed > 0 {
                info!("continuing after {} rows of an earlier run", state.resumed);
            }
            return;
        };
        if self.bar.is_hidden() && self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            info!("{}", line(state, first, began.elapsed()));
        }
    }
}

fn line(state: ScoreProgress, first: usize, elapsed: Duration) -> String {
    let rate = (state.done - first) as f64 / elapsed.as_secs_f64();
    let (done, total) = (
        HumanCount(state.done as u64),
        HumanCount(state.total as u64),
    );
    let left = match rate > 0.0 {
        true => Duration::from_secs_f64((state.total - state.done) as f64 / rate),
        false => Duration::ZERO,
    };
    let left = crate::progress::duration(left);
    format!("scoring: {done} of {total} rows, {rate:.1}/s, {left} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rate_and_time_left_of_this_run() {
        let state = ScoreProgress {
            total: 1300,
            done: 700,
            ..ScoreProgress::default()
        };
        assert_eq!(
            line(state, 500, Duration::from_secs(20)),
            "scoring: 700 of 1,300 rows, 10.0/s, 1:00 left"
        );
    }
}
