//! The commands that make training data.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use data::Hub;
use data::beir::BeirDir;
use data::prepare::{self, JoinKind, Parts};

use crate::progress::Progress;

/// Put a BEIR directory together of documents, queries and judgements that are apart, as on the Hub
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  ellzero-data beir --data hf://datasets/BeIR/scifact \
                        --qrels hf://datasets/BeIR/scifact-qrels --output beir/scifact"
)]
pub struct BeirArgs {
    /// Folder with corpus and queries, each a JSON lines file (.gz, .zst) or a Parquet file, or a folder of them; may
    /// begin with hf://
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Folder with SPLIT.tsv, in itself or in its folder qrels; may begin with hf://
    #[arg(long, value_name = "PATH")]
    qrels: PathBuf,
    /// A new directory
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

impl BeirArgs {
    pub fn run(&self, hub: &Hub, quiet: bool) -> Result<()> {
        let (data, qrels) = (hub.data(&self.data)?, hub.data(&self.qrels)?);
        let mut progress = Progress::new("rows", quiet);
        let on_row = &mut || progress.advance();
        let counts = prepare::collection(&data, &qrels, &self.output, on_row)?;
        progress.finish(&counts.to_string());
        Ok(())
    }
}

/// Make training data of a corpus without queries: each document's title asks for its text
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ellzero-data queries-from-titles --corpus corpus.jsonl --output titles.jsonl\n  \
                        ellzero-data queries-from-titles --corpus corpus.jsonl --format beir --output titles/\n\n\
                        Documents without title or without text are left out, and counted. For harder negatives than \
                        random ones: ellzero-eval mine --model bm25 --data titles/ --split train"
)]
pub struct TitlesArgs {
    /// Rows {"_id" or "id", "title", "text"}: JSON lines (.gz, .zst, - for standard input), a Parquet file or a folder of
    /// them, or a save_to_disk directory; may begin with hf://
    #[arg(long, value_name = "PATH")]
    corpus: PathBuf,
    /// posnegs: a JSON lines file (.gz, .zst, - for standard output); beir: a new directory
    #[arg(long, value_name = "PATH")]
    output: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = TitleFormat::Posnegs)]
    format: TitleFormat,
    /// Negatives of each row, drawn at random [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    negatives: Option<u16>,
    /// Decides which negatives are drawn
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TitleFormat {
    /// Rows {"query", "pos", "negs"}
    Posnegs,
    /// corpus.jsonl, queries.jsonl and qrels/train.tsv
    Beir,
}

impl TitlesArgs {
    pub fn run(&self, hub: &Hub, quiet: bool) -> Result<()> {
        anyhow::ensure!(
            self.format == TitleFormat::Posnegs || self.negatives.is_none(),
            "--negatives is for --format posnegs; a BEIR directory has no negatives"
        );
        let (corpus, output) = (&hub.data(&self.corpus)?, &self.output);
        let mut progress = Progress::new("rows", quiet);
        let on_row = &mut || progress.advance();
        let counts = match self.format {
            TitleFormat::Posnegs => {
                let negatives = self.negatives.unwrap_or(1).into();
                prepare::title_pairs(corpus, output, negatives, self.seed, on_row)?
            }
            TitleFormat::Beir => prepare::title_collection(corpus, output, on_row)?,
        };
        progress.finish(&format!(
            "{} titles with a text in {} documents",
            counts.pairs, counts.documents
        ));
        Ok(())
    }
}

/// Draw rows at random, in their order
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  ellzero-data sample --input corpus.jsonl.zst --output some.jsonl --count 10000 --seed 1"
)]
pub struct SampleArgs {
    /// JSON lines (.gz, .zst, - for standard input), Parquet, or a save_to_disk directory; may begin with hf://
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// JSON lines (.gz, .zst, - for standard output)
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Rows to draw; all of them where there are fewer
    #[arg(long, value_name = "N")]
    count: usize,
    /// Decides which rows are drawn
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

impl SampleArgs {
    pub fn run(&self, hub: &Hub, quiet: bool) -> Result<()> {
        let input = hub.data(&self.input)?;
        let mut progress = Progress::new("rows", quiet);
        let on_row = &mut || progress.advance();
        let counts = prepare::sample(&input, &self.output, self.count, self.seed, on_row)?;
        progress.finish(&format!("drawn out of {}", counts.rows));
        Ok(())
    }
}

/// Divide rows into parts, such as train and dev
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  ellzero-data split --input posnegs.jsonl --output-dir parts --parts train=0.9,dev=0.1\n\n\
                        A row's part follows from a hash of its key alone: rows that are added later move no other, \
                        and the rows of a query stay together."
)]
pub struct SplitArgs {
    /// JSON lines (.gz, .zst, - for standard input), Parquet, or a save_to_disk directory; may begin with hf://
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// A new directory, for PART.jsonl of each part
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Names and shares of the parts; the shares add up to 1
    #[arg(long, value_name = "NAME=SHARE,...")]
    parts: Parts,
    /// Column that is hashed [default: the first there is of _id, id, query_id, qid and query, else the whole row]
    #[arg(long, value_name = "COLUMN")]
    key: Option<String>,
    /// Decides which keys go where
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

impl SplitArgs {
    pub fn run(&self, hub: &Hub, quiet: bool) -> Result<()> {
        let input = hub.data(&self.input)?;
        let mut progress = Progress::new("rows", quiet);
        let counts = prepare::split(
            &input,
            &self.output_dir,
            &self.parts,
            self.key.as_deref(),
            self.seed,
            &mut || progress.advance(),
        )?;
        let counts = counts.iter().map(|(name, rows)| format!("{name} {rows}"));
        progress.finish(&counts.collect::<Vec<_>>().join(", "));
        Ok(())
    }
}

/// Leave out rows whose text occurred before
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ellzero-data dedup --input corpus.jsonl --output unique.jsonl\n  \
                        ellzero-data dedup --input posnegs.jsonl --output unique.jsonl --columns pos --near\n\n\
                        Texts are the same if their words are, in lower case. --near also leaves out a row of whose \
                        word triples, and those of an earlier row, 80 % are common to both (Jaccard similarity of 0.8; \
                        found by MinHash with a probability of 99.8 % at the threshold, more above it)."
)]
pub struct DedupArgs {
    /// JSON lines (.gz, .zst, - for standard input), Parquet, or a save_to_disk directory; may begin with hf://
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// JSON lines (.gz, .zst, - for standard output)
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Columns whose texts are compared [default: title and text, or query with pos, docs or positive_passages]
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    columns: Vec<String>,
    /// Near duplicates too
    #[arg(long)]
    near: bool,
}

impl DedupArgs {
    pub fn run(&self, hub: &Hub, quiet: bool) -> Result<()> {
        let input = hub.data(&self.input)?;
        let mut progress = Progress::new("rows", quiet);
        let on_row = &mut || progress.advance();
        let counts = prepare::dedup(&input, &self.output, &self.columns, self.near, on_row)?;
        let near = if self.near {
            format!(", {} near duplicates", counts.near)
        } else {
            String::new()
        };
        let kept = counts.rows - counts.exact - counts.near;
        progress.finish(&format!(
            "{} duplicates{near} left out, {kept} kept",
            counts.exact
        ));
        Ok(())
    }
}

/// Make training data of MS MARCO: of lists of ids and a BEIR directory, or of question answering rows
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ellzero-data msmarco --data beir/msmarco --lists msmarco-hard-negatives.parquet \
                        --output kd.jsonl.zst\n  \
                        ellzero-data msmarco --data beir/msmarco --lists lists.jsonl --kind posnegs --split train \
                        --output posnegs.jsonl\n  \
                        ellzero-data msmarco --questions train-0.parquet train-1.parquet --output posnegs.jsonl\n\n\
                        Passages that were taken for latin-1 are repaired. Ids that the directory lacks are left out, \
                        and counted."
)]
pub struct MsmarcoArgs {
    /// BEIR directory with the texts: corpus.jsonl, queries.jsonl, and qrels/SPLIT.tsv for posnegs
    #[arg(
        long,
        value_name = "DIR",
        requires = "lists",
        required_unless_present = "questions"
    )]
    data: Option<PathBuf>,
    /// Rows {"query": id, "docs": [id, ...], "scores"?}, as opensearch-project/msmarco-hard-negatives has them: JSON
    /// lines, Parquet, or a save_to_disk directory; may begin with hf://
    #[arg(long, value_name = "PATH", requires = "data")]
    lists: Option<PathBuf>,
    /// What the lists become
    #[arg(long, value_enum, default_value_t = Kind::Kd, conflicts_with = "questions")]
    kind: Kind,
    /// With posnegs: the judgements that say which documents are relevant
    #[arg(
        long,
        value_name = "SPLIT",
        default_value = "train",
        conflicts_with = "questions"
    )]
    split: String,
    /// Question answering rows (v2.1) {"query", "passages"}, which become posnegs: JSON lines or Parquet
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with_all = ["data", "lists"])]
    questions: Vec<PathBuf>,
    /// JSON lines (.gz, .zst, - for standard output)
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Rows {"query", "docs"} and the lists' further columns
    Kd,
    /// A row {"query", "pos", "negs"} for each relevant document
    Posnegs,
}

impl MsmarcoArgs {
    pub fn run(&self, hub: &Hub, quiet: bool) -> Result<()> {
        let (Some(data), Some(lists)) = (&self.data, &self.lists) else {
            return self.pairs_from_questions(hub, quiet);
        };
        let kind = match self.kind {
            Kind::Kd => JoinKind::Kd,
            Kind::Posnegs => JoinKind::PosNegs {
                split: self.split.clone(),
            },
        };
        let (data, lists) = (BeirDir::open(&hub.data(data)?)?, hub.data(lists)?);
        let mut progress = Progress::new("lists", quiet);
        let on_list = &mut || progress.advance();
        let counts = prepare::join_id_lists(&data, &lists, &self.output, &kind, on_list)?;
        progress.finish(&counts.to_string());
        Ok(())
    }

    fn pairs_from_questions(&self, hub: &Hub, quiet: bool) -> Result<()> {
        let questions = self.questions.iter().map(|path| hub.data(path));
        let questions: Vec<PathBuf> = questions.collect::<Result<_, _>>()?;
        let mut progress = Progress::new("questions", quiet);
        let on_question = &mut || progress.advance();
        let counts = prepare::pairs_from_questions(&questions, &self.output, on_question)?;
        progress.finish(&format!(
            "{} rows, {} questions without a selected passage or without another",
            counts.rows, counts.without_pair
        ));
        Ok(())
    }
}
