//! What `beir` and `bm25` share: which data sets, what is finished already, and where results go.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use data::beir::BeirDir;
use data::hub::Address;
use data::{Hub, output, prepare};
use eval::beir::{EvalOptions, KnownDataset, StoredReport, evaluate, known_datasets};
use eval::report::{NamedReport, per_query_csv};
use eval::search::Engine;
use eval::text_encoder::TextEncoder;

use super::fingerprint;
use super::opensearch::EngineArguments;
use super::progress::{Progress, count_lines};
use super::{notice, positive};

/// The split that is judged where nothing else is said.
const SPLIT: &str = "test";

/// Which data sets, and where results go.
#[derive(Debug, Args)]
pub struct DatasetArguments {
    /// BEIR directories (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv), which may begin with hf://, or names: beir-13,
    /// nano-beir, or any of their data sets, such as scifact or NanoSciFact
    #[arg(
        long,
        value_name = "DIR[,DIR...]",
        value_delimiter = ',',
        required = true
    )]
    data: Vec<PathBuf>,
    /// Where data sets given by name are, and where those that are not are put after their download [default:
    /// ellzero/beir in the user's folder of caches]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Which judgements [default: test, or the ones that count for a data set given by name]
    #[arg(long)]
    split: Option<String>,
    /// Length of the rankings
    #[arg(long, value_name = "K", default_value_t = 100, value_parser = positive)]
    depth: usize,
    /// Directory for results.json, .csv and .md, report.html, and NAME.run.trec and NAME.details.json of each data set
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// CSV with all measures of every query
    #[arg(long, value_name = "FILE")]
    per_query: Option<PathBuf>,
    /// Evaluate anew what --output has from the same command, the same model and the same data
    #[arg(long, requires = "output")]
    recompute: bool,
    #[command(flatten)]
    pub engine: EngineArguments,
}

/// A data set to evaluate on.
pub struct Dataset {
    /// Its files.
    pub dir: BeirDir,
    /// Its judgements.
    pub split: String,
}

/// What is evaluated.
pub struct System<'a, E> {
    /// The encoder for a data set.
    pub encoder_for: &'a dyn Fn(&BeirDir) -> Result<E>,
    /// A checksum over everything that decides about its vectors.
    pub fingerprint: u32,
    /// What searches them; the embedded index where nothing else is said.
    pub engine: Option<&'a EngineArguments>,
    /// Where its results are kept.
    pub output: Option<&'a Path>,
}

impl DatasetArguments {
    /// Finds and checks all data sets before any work is done.
    pub fn open(&self, quiet: bool) -> Result<Vec<Dataset>> {
        let hub = Hub::for_command_line(quiet);
        let mut sets = Vec::new();
        for path in &self.data {
            sets.extend(self.find(path, &hub, quiet)?);
        }
        let mut names = HashSet::new();
        for Dataset { dir, split } in &sets {
            if !names.insert(dir.name()) {
                bail!(
                    "two data sets are called {}: results are filed by name, so rename one",
                    dir.name()
                );
            }
            dir.qrels(split)?;
        }
        if let Some(output) = &self.output {
            fs::create_dir_all(output)
                .with_context(|| format!("cannot make {}", output.display()))?;
        }
        Ok(sets)
    }

    fn find(&self, path: &Path, hub: &Hub, quiet: bool) -> Result<Vec<Dataset>> {
        let known = match path.exists() || Address::is_one(path) {
            true => Vec::new(),
            false => known_datasets(&path.to_string_lossy()),
        };
        if known.is_empty() {
            let dir = BeirDir::open(&hub.data(path)?).map_err(|error| match path.exists() {
                true => anyhow!(error),
                false => {
                    anyhow!("{error}; names are beir-13, nano-beir, and those of their data sets")
                }
            })?;
            let split = self.split.as_deref().unwrap_or(SPLIT).to_owned();
            return Ok(vec![Dataset { dir, split }]);
        }
        let named = |set: &KnownDataset| {
            let dir = self.find_known(set, hub, quiet)?;
            let there = dir.splits();
            let mut splits = set.splits.iter();
            let first = splits.find(|&&split| there.iter().any(|name| name == split));
            let split = self.split.as_deref().or(first.copied());
            Ok(Dataset {
                split: split.unwrap_or(SPLIT).to_owned(),
                dir,
            })
        };
        known.iter().map(named).collect()
    }

    /// The folder of a data set given by name, which is made where it is not there.
    fn find_known(&self, set: &KnownDataset, hub: &Hub, quiet: bool) -> Result<BeirDir> {
        let root = match &self.root {
            Some(root) => root.clone(),
            None => caches()
                .context("neither HOME nor XDG_CACHE_HOME is set: name a folder with --root")?
                .join("ellzero/beir"),
        };
        let dir = root.join(set.name);
        if !BeirDir::is_at(&dir) {
            let download = |address: &Path| {
                let place = dir.display();
                hub.data(address)
                    .with_context(|| format!("no data set in {place}, and not to be had"))
            };
            let (data, qrels) = (download(&set.data)?, download(&set.qrels)?);
            fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
            let counts = prepare::collection(&data, &qrels, &dir, &mut || ())?;
            notice(quiet, &format!("{}: {counts}", dir.display()));
        }
        Ok(BeirDir::open(&dir)?)
    }

    /// Evaluates each data set, or takes what an earlier run of the same left, and files its results as soon as they
    /// are there.
    pub fn evaluate<E: TextEncoder>(
        &self,
        sets: &[Dataset],
        system: &System<E>,
        quiet: bool,
    ) -> Result<Vec<NamedReport>> {
        if let Some(output) = system.output {
            fs::create_dir_all(output)
                .with_context(|| format!("cannot make {}", output.display()))?;
        }
        let mut reports: Vec<NamedReport> = Vec::new();
        for set in sets {
            let name = set.dir.name();
            let Some(output) = system.output else {
                reports.push((name, self.compute(set, system, quiet)?.report));
                continue;
            };
            let fingerprint = self.fingerprint(set, system)?;
            let finished = StoredReport::read(output, &name)
                .ok()
                .filter(|stored| stored.fingerprint == fingerprint && !self.recompute);
            let stored = match finished {
                Some(stored) => {
                    let place = output.display();
                    notice(
                        quiet,
                        &format!("{name}: finished in {place}; --recompute evaluates it anew"),
                    );
                    stored
                }
                None => {
                    let computed = self.compute(set, system, quiet)?;
                    let stored = StoredReport {
                        fingerprint,
                        ..computed
                    };
                    stored.write(output, &name)?;
                    stored
                }
            };
            reports.push((name, stored.report));
        }
        Ok(reports)
    }

    fn compute<E: TextEncoder>(
        &self,
        set: &Dataset,
        system: &System<E>,
        quiet: bool,
    ) -> Result<StoredReport> {
        let Dataset { dir, split } = set;
        let encoder = (system.encoder_for)(dir)?;
        let progress = Progress::new(&dir.name(), count_lines(dir.corpus_path()), quiet);
        progress.update(0);
        let names = || encoder.token_names();
        let engine = match system.engine {
            Some(engine) => engine.open(&dir.name(), names, self.depth + 1)?,
            None => None,
        };
        let options = EvalOptions {
            depth: self.depth,
            progress: Some(&|documents| progress.update(documents)),
            engine: engine.as_ref().map(|engine| engine as &dyn Engine),
            ..EvalOptions::default()
        };
        let report = evaluate(&encoder, dir, split, &options)?;
        progress.finish();
        for note in &report.details.notes {
            notice(quiet, &format!("{}: {note}", dir.name()));
        }
        Ok(StoredReport {
            fingerprint: String::new(),
            report,
        })
    }

    /// A checksum over what decides about the results on a data set, and the version that computed them.
    fn fingerprint<E>(&self, set: &Dataset, system: &System<E>) -> Result<String> {
        let Dataset { dir, split } = set;
        let engine = system.engine.and_then(EngineArguments::fingerprint);
        let corpus = fingerprint::stamp(dir.corpus_path())?;
        let version = env!("CARGO_PKG_VERSION");
        let options = format!(
            "{version} {:08x} {corpus} {split} {} {engine:?}",
            system.fingerprint, self.depth
        );
        let files = [dir.queries_path().to_owned(), dir.qrels_path(split)?];
        Ok(format!("{:08x}", fingerprint::of(&options, &files)?))
    }

    /// Writes the values of every query, where they are asked for.
    pub fn write_per_query(&self, reports: &[NamedReport]) -> Result<()> {
        if let Some(path) = &self.per_query {
            output::write_file(path, per_query_csv(reports).as_bytes())?;
        }
        Ok(())
    }
}

/// The user's folder for what can be made again.
fn caches() -> Option<PathBuf> {
    let folder = |name: &str| {
        let value = env::var_os(name).filter(|value| !value.is_empty())?;
        Some(PathBuf::from(value))
    };
    let home = || folder("HOME").or_else(|| folder("USERPROFILE"));
    folder("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")))
}
