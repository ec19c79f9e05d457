//! The embedded index on disk, at the size of a real collection. `benches/index.sh` runs all of it, Lucene beside.
//!
//! ```text
//! cargo bench -p eval --bench large_index -- generate --vectors DIR [--documents N] [--idf FILE]
//! cargo bench -p eval --bench large_index -- build --vectors DIR --index DIR
//! cargo bench -p eval --bench large_index -- search --vectors DIR --index DIR
//! ```
//!
//! Vectors lie in `documents.bin` and `queries.bin`: a count, and for each vector its length, its tokens, ascending, and
//! its weights; all 32 bits, little-endian. Each step prints JSON lines.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Parser, Subcommand};
use eval::search::{IndexWriter, InvertedIndex, Pruning};
use model::SparseVector;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

/// Documents' share of a token is its share of a text to this power: trained encoders leave out what is everywhere. With
/// real IDF values, FLOPS is about that of published models (1.7).
const DAMPING: f64 = 0.9;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    step: Step,
    /// What `cargo bench` adds
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Draw vectors
    Generate {
        #[arg(long)]
        vectors: PathBuf,
        #[arg(long, default_value_t = 1_000_000)]
        documents: usize,
        #[arg(long, default_value_t = 1000)]
        queries: usize,
        /// IDF by token, as models have it; a token of IDF x is in a share of e^-x of all texts [default: Zipf's law]
        #[arg(long)]
        idf: Option<PathBuf>,
    },
    /// Write the index
    Build {
        #[arg(long)]
        vectors: PathBuf,
        #[arg(long)]
        index: PathBuf,
        #[arg(long, default_value_t = 1024)]
        memory_mib: usize,
    },
    /// Time queries one by one, each once after a pass to warm up, and write the best documents into the vectors' folder
    Search {
        #[arg(long)]
        vectors: PathBuf,
        #[arg(long)]
        index: PathBuf,
        #[arg(long, value_delimiter = ',', default_values_t = [10, 1000])]
        k: Vec<usize>,
        /// Heap factors to try
        #[arg(long, value_delimiter = ',', default_values_t = [0.95, 0.9, 0.8])]
        approximate: Vec<f32>,
    },
}

fn main() -> io::Result<()> {
    match Arguments::parse().step {
        Step::Generate {
            vectors,
            documents,
            queries,
            idf,
        } => generate(&vectors, documents, queries, &idf_values(idf.as_deref())?),
        Step::Build {
            vectors,
            index,
            memory_mib,
        } => build(&vectors, &index, memory_mib),
        Step::Search {
            vectors,
            index,
            k,
            approximate,
        } => search(&vectors, &index, &k, &approximate),
    }
}

/// Inverse document frequencies of all tokens. In files, those that occur nowhere have exactly 1.
fn idf_values(path: Option<&Path>) -> io::Result<Vec<f64>> {
    let Some(path) = path else {
        return Ok((0..30_522).map(|rank| f64::from(rank + 1).ln()).collect());
    };
    let values: serde_json::Map<String, serde_json::Value> =
        serde_json::from_reader(BufReader::new(File::open(path)?))?;
    let values = values.values().filter_map(serde_json::Value::as_f64);
    Ok(values
        .map(|idf| if idf == 1.0 { f64::INFINITY } else { idf })
        .collect())
}

/// Draws tokens with frequencies in proportion to `weights`.
struct Tokens(Vec<f64>);

impl Tokens {
    fn new(weights: impl Iterator<Item = f64>) -> Self {
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self(sums.collect())
    }

    /// Distinct ones, ascending.
    fn draw(&self, count: usize, random: &mut ChaCha8Rng) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(count);
        while tokens.len() < count {
            for _ in tokens.len()..count {
                let place = random.random::<f64>() * self.0[self.0.len() - 1];
                tokens.push(self.0.partition_point(|&sum| sum <= place) as u32);
            }
            tokens.sort_unstable();
            tokens.dedup();
        }
        tokens
    }
}

fn generate(dir: &Path, documents: usize, queries: usize, idf: &[f64]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let in_documents = Tokens::new(idf.iter().map(|idf| (-idf * DAMPING).exp()));
    let in_queries = Tokens::new(idf.iter().map(|idf| (-idf).exp()));
    let mut out = BufWriter::new(File::create(dir.join("documents.bin"))?);
    out.write_all(&(documents as u32).to_le_bytes())?;
    for _ in 0..documents {
        let count = random.random_range(120..=190);
        let tokens = in_documents.draw(count, &mut random);
        let weight = |random: &mut ChaCha8Rng| -> f32 {
            let logit = 0.1 - 1.5 * (1.0 - random.random::<f32>()).ln();
            logit.ln_1p().min(2.5)
        };
        let weights = tokens.iter().map(|_| weight(&mut random)).collect();
        write_vector(&mut out, &tokens, weights)?;
    }
    out.flush()?;
    let mut out = BufWriter::new(File::create(dir.join("queries.bin"))?);
    out.write_all(&(queries as u32).to_le_bytes())?;
    for _ in 0..queries {
        let count = random.random_range(3..=12);
        let tokens = in_queries.draw(count, &mut random);
        let weights = tokens
            .iter()
            .map(|&token| idf[token as usize].max(1e-3) as f32);
        write_vector(&mut out, &tokens, weights.collect())?;
    }
    out.flush()
}

fn write_vector(out: &mut impl Write, tokens: &[u32], weights: Vec<f32>) -> io::Result<()> {
    out.write_all(&(tokens.len() as u32).to_le_bytes())?;
    for token in tokens {
        out.write_all(&token.to_le_bytes())?;
    }
    weights
        .iter()
        .try_for_each(|weight| out.write_all(&weight.to_le_bytes()))
}

/// The vectors of a file, one after the other.
struct Vectors {
    file: BufReader<File>,
    left: u32,
}

impl Vectors {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
        let left = read_u32(&mut file)?;
        Ok(Self { file, left })
    }

    fn read(&mut self) -> io::Result<SparseVector> {
        let len = read_u32(&mut self.file)?;
        let ids = (0..len).map(|_| read_u32(&mut self.file));
        let ids = ids.collect::<io::Result<_>>()?;
        let weights = (0..len).map(|_| read_u32(&mut self.file).map(f32::from_bits));
        let weights = weights.collect::<io::Result<_>>()?;
        Ok(SparseVector { ids, weights })
    }
}

impl Iterator for Vectors {
    type Item = io::Result<SparseVector>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.read())
    }
}

fn read_u32(file: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn build(vectors: &Path, dir: &Path, memory_mib: usize) -> io::Result<()> {
    let start = Instant::now();
    let mut writer = IndexWriter::create(dir, (memory_mib << 20) / 16).map_err(io::Error::other)?;
    let mut tokens = 0;
    for (number, vector) in Vectors::open(&vectors.join("documents.bin"))?.enumerate() {
        let vector = vector?;
        tokens = tokens.max(vector.ids.last().map_or(0, |&last| last + 1));
        let added = writer.add(&number.to_string(), &vector);
        added.map_err(io::Error::other)?;
    }
    let names: Vec<String> = (0..tokens).map(|token| format!("t{token}")).collect();
    let documents = writer.finish(&names).map_err(io::Error::other)?;
    let bytes = fs::metadata(dir.join(eval::search::INDEX_FILE))?.len();
    let line = json!({
        "engine": "ellzero", "step": "build", "documents": documents, "seconds": start.elapsed().as_secs_f64(),
        "index_bytes": bytes, "bytes_per_document": bytes as f64 / documents as f64,
        "peak_rss_mib": peak_rss_mib(),
    });
    writeln!(io::stdout(), "{line}")
}

fn search(vectors: &Path, dir: &Path, ks: &[usize], approximate: &[f32]) -> io::Result<()> {
    let start = Instant::now();
    let mut index = InvertedIndex::open(dir).map_err(io::Error::other)?;
    let queries: Vec<SparseVector> =
        Vectors::open(&vectors.join("queries.bin"))?.collect::<io::Result<_>>()?;
    let line = json!({
        "engine": "ellzero", "step": "open", "documents": index.num_documents(), "postings": index.num_postings(),
        "queries": queries.len(), "flops": eval::metric::flops(&queries.iter().collect(), &index.token_counts()),
        "seconds": start.elapsed().as_secs_f64(),
    });
    writeln!(io::stdout(), "{line}")?;
    for &k in ks {
        index.set_pruning(Pruning::Exhaustive);
        let expected = timed(&index, &queries, k, "exhaustive", None)?;
        index.set_pruning(Pruning::Exact);
        let exact = timed(&index, &queries, k, "exact", Some(&expected))?;
        assert!(exact == expected, "pruning changed a result");
        for &factor in approximate {
            index.set_pruning(Pruning::Approximate(factor));
            let name = format!("approximate {factor}");
            timed(&index, &queries, k, &name, Some(&expected))?;
        }
        write_best(&vectors.join(format!("best-{k}.txt")), &index, &expected)?;
    }
    Ok(())
}

/// Document numbers and scores of a query.
type Best = Vec<(u32, f32)>;

fn timed(
    index: &InvertedIndex,
    queries: &[SparseVector],
    k: usize,
    mode: &str,
    expected: Option<&[Best]>,
) -> io::Result<Vec<Best>> {
    let (mut best, mut latencies_ms) = (Vec::new(), Vec::new());
    for measured in [false, true] {
        for query in queries {
            let start = Instant::now();
            let found = index.best(std::slice::from_ref(query), k);
            if measured {
                latencies_ms.push(start.elapsed().as_secs_f64() * 1e3);
                best.extend(found);
            }
        }
    }
    let mean = latencies_ms.iter().sum::<f64>() / latencies_ms.len() as f64;
    latencies_ms.sort_by(f64::total_cmp);
    let percentile = |share: f64| latencies_ms[(latencies_ms.len() as f64 * share) as usize];
    let recall = expected.map(|expected| {
        let pairs = || best.iter().zip(expected);
        let found = |(best, expected): (&Best, &Best)| {
            let best: std::collections::HashSet<u32> = best.iter().map(|hit| hit.0).collect();
            expected.iter().filter(|hit| best.contains(&hit.0)).count()
        };
        let all: usize = pairs().map(|(_, expected)| expected.len()).sum();
        pairs().map(found).sum::<usize>() as f64 / all as f64
    });
    let line = json!({
        "engine": "ellzero", "step": "search", "mode": mode, "k": k, "p50_ms": percentile(0.5),
        "p99_ms": percentile(0.99), "mean_ms": mean, "recall": recall,
    });
    writeln!(io::stdout(), "{line}")?;
    Ok(best)
}

/// One line a query.
fn write_best(path: &Path, index: &InvertedIndex, best: &[Best]) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for hits in best {
        let ids: Vec<&str> = hits.iter().map(|hit| index.document_id(hit.0)).collect();
        writeln!(out, "{}", ids.join(" "))?;
    }
    out.flush()
}

/// Where the system says it.
fn peak_rss_mib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}
