//! A folder with a small good example of every kind of input, made from the golden data.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::fixture;
use crate::golden::sparse::Expected;
use crate::weights::copy_files;

use super::binary::{Run, ellzero};

/// Everything lies in one temporary folder; commands run inside it, so that paths are short.
pub struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// `model/` (inference-free), `beir/`, `vectors.jsonl`, `run.trec`, `kd.jsonl`, `posnegs.jsonl`, `train.yaml`,
    /// `teachers.yaml`.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let world = Self { dir };
        let model = &Expected::all()[0].name;
        copy_files(
            &fixture::path(model),
            &world.path("model"),
            &["io.safetensors"],
        );
        fs::copy(
            fixture::path("sparse/idf.json"),
            world.path("model/idf.json"),
        )
        .expect("copied");
        world.write_texts();
        world.write_rankings();
        world.write_training();
        world
    }

    /// A file or folder inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, making its folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Writes JSON lines.
    pub fn write_lines(&self, name: &str, rows: &[Value]) {
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        self.write(name, lines);
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The rows of a JSON lines file.
    pub fn read_lines(&self, name: &str) -> Vec<Value> {
        let text = self.read(name);
        let row = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
        };
        text.lines().map(row).collect()
    }

    /// `ellzero-<line>`, run in the folder; words are separated by single spaces.
    pub fn command(&self, line: &str) -> Run {
        let mut words = line.split(' ');
        let tool = words.next().expect("a tool");
        ellzero(tool, &words.collect::<Vec<_>>()).within(self.dir.path())
    }

    /// A copy of `model/` under another name.
    pub fn copy_model(&self, name: &str) -> PathBuf {
        let to = self.path(name);
        copy_files(&self.path("model"), &to, &[]);
        to
    }

    /// A copy of `beir/` under another name.
    pub fn copy_beir(&self, name: &str) -> PathBuf {
        let to = self.path(name);
        copy_files(&self.path("beir"), &to, &[]);
        copy_files(&self.path("beir/qrels"), &to.join("qrels"), &[]);
        to
    }

    fn write_texts(&self) {
        let document = |(index, (title, text)): (usize, &(&str, &str))| json!({"_id": format!("d{index}"), "title": title, "text": text, "metadata": {}});
        let documents: Vec<Value> = DOCUMENTS.iter().enumerate().map(document).collect();
        self.write_lines("beir/corpus.jsonl", &documents);
        let query =
            |(index, text): (usize, &&str)| json!({"_id": format!("q{index}"), "text": text});
        let queries: Vec<Value> = QUERIES.iter().enumerate().map(query).collect();
        self.write_lines("beir/queries.jsonl", &queries);
        for split in ["test", "train"] {
            let rows = (0..QUERIES.len()).map(|index| format!("q{index}\td{index}\t1\r\n"));
            let rows: String = rows.collect();
            let name = format!("beir/qrels/{split}.tsv");
            self.write(&name, format!("query-id\tcorpus-id\tscore\r\n{rows}"));
        }
    }

    fn write_rankings(&self) {
        let row = |id: &str, tokens: &[(&str, f64)]| {
            let vector: serde_json::Map<String, Value> = tokens
                .iter()
                .map(|&(token, weight)| (token.to_owned(), json!(weight)))
                .collect();
            json!({"id": id, "vector": vector})
        };
        self.write_lines(
            "vectors.jsonl",
            &[
                row("d0", &[("school", 1.5), ("district", 0.5)]),
                row("d1", &[("water", 2.0), ("school", 0.25)]),
                row("d2", &[]),
            ],
        );
        self.write_lines(
            "query-vectors.jsonl",
            &[row("q0", &[("school", 2.0)]), row("q1", &[("water", 1.0)])],
        );
        self.write(
            "run.trec",
            "q0 Q0 d0 1 3.0 x\nq0 Q0 d1 2 0.5 x\nq1 Q0 d1 1 2.0 x\n",
        );
    }

    fn write_training(&self) {
        let docs = |index: usize| -> Vec<&str> {
            (0..4)
                .map(|step| DOCUMENTS[(index + step) % DOCUMENTS.len()].1)
                .collect()
        };
        let queries = || QUERIES.iter().enumerate();
        let kd = queries().map(|(index, query)| {
            json!({"query": query, "docs": docs(index), "scores": [9.5, 3.0, 1.25, -2.0]})
        });
        self.write_lines("kd.jsonl", &kd.collect::<Vec<_>>());
        let posnegs = queries().map(|(index, query)| {
            json!({"query": query, "pos": docs(index)[0], "negs": &docs(index)[1..]})
        });
        self.write_lines("posnegs.jsonl", &posnegs.collect::<Vec<_>>());
        self.write("train.yaml", TRAIN);
        self.write("teachers.yaml", TEACHERS);
    }
}

/// Six steps on `kd.jsonl`, with everything that draws random numbers.
const TRAIN: &str = "\
model_name_or_path: model
idf_path: model/idf.json
idf_requires_grad: true
idf_lr: 0.01
activation_type: l1_relu
dropout: 0.1
train_file: kd.jsonl
data_type: kd
sample_num_one_query: 2
swap_times: 1
max_seq_length: 32
eval_max_seq_length: 32
loss_types: [kldiv]
flops_d_lambda: 0.01
flops_d_T: 4
flops_threshold: 20
output_dir: out
max_steps: 6
per_device_train_batch_size: 2
learning_rate: 0.001
weight_decay: 0.01
max_grad_norm: 1.0
warmup_steps: 2
logging_steps: 1
save_steps: 2
seed: 7
";

/// The model as it is, and the corpus.
const TEACHERS: &str = "\
teachers:
- {type: sparse, model: model, activation_type: relu}
- {type: bm25, corpus: beir, weight: 2}
score_scale: 10
";

/// Title and text.
const DOCUMENTS: [(&str, &str); 8] = [
    (
        "School district",
        "A school district is a special purpose district that operates local public schools.",
    ),
    (
        "Light water reactor",
        "The light water reactor uses normal water to cool the core and produce power.",
    ),
    ("", "He said that it was not me, and then he said it again."),
    (
        "Long words",
        "Some words in english are long, and a few of them are very long.",
    ),
    (
        "Family",
        "Music and film were part of the early life of the family in the city.",
    ),
    (
        "Station road",
        "The line to the north opened in 1900 and was built at a cost of 3 million.",
    ),
    ("", "The capital of the country is a city on the river."),
    (
        "World war",
        "The war of the world was a war that many countries fought for years.",
    ),
];

/// Query i is answered by document i.
const QUERIES: [&str; 8] = [
    "how does a school district work",
    "light water reactor power plant design",
    "what did he say again",
    "very long english words",
    "early life music and film",
    "when did the station line open",
    "what is the capital of the country",
    "the war of the world",
];

/// Every file and folder below `dir`, relative to it, sorted.
pub fn listing(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.expect("an entry").path();
            let name = path
                .strip_prefix(dir)
                .expect("below it")
                .to_string_lossy()
                .into_owned();
            found.push(name);
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}
