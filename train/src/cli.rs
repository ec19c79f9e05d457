//! The command line of `ellzero-train`.

mod score;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};
use configs::LoadedConfig;
use data::Hub;
use model::device::{DeviceChoice, select};
use tracing::{info, warn};
use train::masked_lm::MaskedLmScore;
use train::memory::available_memory_mib;
use train::metrics::{EvalFigures, stored_evaluation};
use train::{Outcome, RunDir, Setup, Start, TrainState, fetch, train};

use crate::logging::Logging;
use crate::progress::Progress;
use crate::table;

const QUICKSTART: &str = "configs/quickstart.yaml";

const EXAMPLES: &str = "Examples:
  ellzero-train
  ellzero-train configs/scifact.yaml --set max_steps=100 --set output_dir=outputs/short
  ellzero-train configs/scifact.yaml --resume
  ellzero-train score --help";

/// Train an inference-free sparse retriever.
#[derive(Debug, Parser)]
#[command(
    name = "ellzero-train",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Recipe [default: configs/quickstart.yaml, which needs nothing but this repository]
    config: Option<PathBuf>,
    /// Change one key of the recipe; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Continue from the newest checkpoint in output_dir
    #[arg(long)]
    resume: bool,
    /// Check config, data, model and memory; run nothing, write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: CommonArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add the scores of teachers to training data; a killed run continues where it stopped
    Score(score::ScoreArguments),
}

/// What every command understands.
#[derive(Debug, Args)]
struct CommonArguments {
    /// Device that computes
    #[arg(
        long,
        value_name = "auto|cpu|wgpu[:N]|cuda[:N]",
        default_value = "auto"
    )]
    device: DeviceChoice,
    /// Threads to use [default: all cores]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    threads: Option<usize>,
    /// Print results, warnings and errors only
    #[arg(long)]
    quiet: bool,
}

impl CommonArguments {
    fn start_threads(&self) -> Result<()> {
        if let Some(threads) = self.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build_global().context("cannot start the threads")?;
        }
        Ok(())
    }
}

/// Carries out the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Some(Command::Score(arguments)) => arguments.run(),
        None => run_recipe(arguments),
    }
}

fn run_recipe(arguments: &Arguments) -> Result<ExitCode> {
    let common = &arguments.common;
    common.start_threads()?;
    let (path, loaded) = load_config(arguments)?;
    let LoadedConfig { config, warnings } = loaded;
    let progress = Progress::new(common.quiet);
    let logging = Logging::start(&config.run.log_level, common.quiet, progress.bar());
    warnings.iter().for_each(|warning| warn!("{warning}"));

    let dir = RunDir::new(&config.run.output_dir);
    let start = Start::of(&config);
    let checkpoint = dir.check(start)?;
    let device = select(common.device)?;
    let fetched = fetch(&config, &Hub::for_command_line(common.quiet))?;
    fetched.notes.iter().for_each(|note| info!("{note}"));
    let (setup, state) = Setup::load(&fetched.local, &device, checkpoint.as_deref())?;
    setup.notes.iter().for_each(|note| info!("{note}"));
    setup.warnings.iter().for_each(|warning| warn!("{warning}"));
    check_memory(&setup);
    if arguments.dry_run {
        println!(
            "{}Nothing is wrong. Nothing was run or written.",
            table::summary(&setup)?
        );
        return Ok(ExitCode::SUCCESS);
    }
    dir.create(start, &fs::read(&path)?, &fetched.pinned)?;
    logging.open_file(&dir.log())?;
    if let Some(checkpoint) = &checkpoint {
        info!(
            "going on from {} at step {}",
            checkpoint.display(),
            state.step
        );
    }
    train_and_report(&path, setup, state, &dir, progress)
}

fn load_config(arguments: &Arguments) -> Result<(PathBuf, LoadedConfig)> {
    let path = arguments
        .config
        .clone()
        .unwrap_or_else(|| QUICKSTART.into());
    if arguments.config.is_none() && !path.is_file() {
        bail!(
            "no recipe was named, and there is no {QUICKSTART} here: name one, or run from the repository's root"
        );
    }
    let mut loaded = configs::load(&path, &arguments.set)?;
    loaded.config.run.resume |= arguments.resume;
    Ok((path, loaded))
}

fn check_memory(setup: &Setup) {
    let needed = setup.memory().total_mib();
    if let Some(available) = available_memory_mib()
        && needed > available
    {
        warn!(
            "a batch of full length takes about {needed:.0} MiB and this machine has {available:.0} MiB left: lower \
             per_device_train_batch_size (and raise gradient_accumulation_steps) or max_seq_length"
        );
    }
}

fn train_and_report(
    config: &Path,
    setup: Setup,
    state: TrainState,
    dir: &RunDir,
    mut progress: Progress,
) -> Result<ExitCode> {
    let stop = stop_on_signal(
        "finishing this step and writing a checkpoint; once more to abort without one",
    )?;
    progress.begin(state.step, setup.total_steps);
    let outcome = train(&setup, state, dir, &stop, &mut progress);
    progress.end();
    match outcome? {
        Outcome::Stopped { step, checkpoint } => {
            warn!(
                "stopped after step {step}; {} holds everything. Go on with:\n  ellzero-train {} --resume",
                checkpoint.display(),
                dir.path().join("config.resolved.yaml").display()
            );
            Ok(ExitCode::FAILURE)
        }
        Outcome::Finished {
            evaluations,
            guesses,
        } => {
            let after = evaluations
                .iter()
                .map(|(name, report)| (name.clone(), EvalFigures::from(report)));
            print!("{}", report(&setup, dir, &after.collect())?);
            print!("{}", report_guesses(&setup, dir, guesses)?);
            println!("final model: {}", dir.final_model().display());
            if config == Path::new(QUICKSTART) {
                println!("{}", table::NEXT_COMMANDS);
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The table of evaluations: baseline, before, after.
fn report(setup: &Setup, dir: &RunDir, after: &BTreeMap<String, EvalFigures>) -> Result<String> {
    let before = stored_evaluation::<EvalFigures>(&dir.metrics(), 0)?.unwrap_or_default();
    let mut text = String::new();
    for set in &setup.eval_sets {
        let name = set.dir.name();
        let baseline = match &setup.initial_idf {
            Some(idf) => Some(EvalFigures::from(
                &setup.evaluator().evaluate_lexical(idf, set)?,
            )),
            None => None,
        };
        let rows = [
            ("untrained IDF baseline", baseline),
            ("model before training", before.get(&name).copied()),
            ("model after training", after.get(&name).copied()),
        ];
        text += &table::render(&format!("{name}, {}", set.split), &rows);
    }
    Ok(text)
}

/// The table of guesses: before, after.
fn report_guesses(setup: &Setup, dir: &RunDir, after: Option<MaskedLmScore>) -> Result<String> {
    let Some(texts) = &setup.eval_texts else {
        return Ok(String::new());
    };
    let before = stored_evaluation::<MaskedLmScore>(&dir.metrics(), 0)?.unwrap_or_default();
    let rows = [
        ("model before training", before.get(texts.name()).copied()),
        ("model after training", after),
    ];
    let title = format!("{}, masked tokens", texts.name());
    Ok(table::render_guesses(&title, &rows))
}

/// Becomes true with the first Ctrl-C (or SIGTERM), which is answered with `message`; the second ends the process.
fn stop_on_signal(message: &'static str) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        warn!("{message}");
    })
    .context("cannot watch for Ctrl-C")?;
    Ok(stop)
}
