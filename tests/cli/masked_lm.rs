//! `ellzero-train` with `data_type: mlm`, and the tokenizer that a run from scratch begins with.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::bad_input::{Bad, check_all};
use super::world::{World, listing};

/// Six steps on the documents of `beir/`, with everything that draws random numbers.
const RECIPE: &str = "\
model_name_or_path: model
dropout: 0.1
train_file: beir/corpus.jsonl
data_type: mlm
mlm_eval_file: beir/queries.jsonl
max_seq_length: 32
eval_max_seq_length: 32
output_dir: out
max_steps: 6
per_device_train_batch_size: 3
learning_rate: 0.001
weight_decay: 0.01
warmup_steps: 2
logging_steps: 1
save_steps: 2
eval_steps: 3
seed: 7
";

/// Keys of every step's row of metrics.jsonl.
const FIGURES: [&str; 10] = [
    "step",
    "epoch",
    "loss",
    "mlm_loss",
    "mlm_accuracy",
    "masked_tokens",
    "lr",
    "grad_norm",
    "step_s",
    "tokens_per_s",
];

fn world() -> World {
    let world = World::new();
    world.write("mlm.yaml", RECIPE);
    world
}

fn finished(world: &World, options: &str) -> String {
    let line = format!("train mlm.yaml {options}");
    world.command(line.trim_end()).run().success()
}

fn weights(world: &World, dir: &str) -> Vec<u8> {
    fs::read(world.path(&format!("{dir}/final/model.safetensors"))).expect("weights")
}

fn number(row: &Value, key: &str) -> f64 {
    let value = row[key].as_f64();
    value.unwrap_or_else(|| panic!("no number {key} in {row}"))
}

#[test]
fn files_of_a_run() {
    let world = world();
    let report = finished(&world, "");
    assert!(report.contains("queries.jsonl, masked tokens"), "{report}");
    let rows = world.read_lines("out/metrics.jsonl");
    let (steps, evaluations): (Vec<&Value>, Vec<&Value>) =
        rows.iter().partition(|row| row.get("eval").is_none());
    assert_eq!(steps.len(), 6);
    for row in steps {
        for figure in FIGURES {
            assert!(row.get(figure).is_some(), "no {figure} in {row}");
        }
        assert!(row.get("ranking_loss").is_none(), "{row}");
        assert!(number(row, "loss") > 1.0 && number(row, "masked_tokens") >= 3.0);
        assert_eq!(row["loss"], row["mlm_loss"]);
    }
    let at: Vec<&Value> = evaluations.iter().map(|row| &row["step"]).collect();
    assert_eq!(at, [0, 3, 6]);
    let masked = |row: &Value| number(&row["eval"]["queries.jsonl"], "masked_tokens");
    for row in &evaluations {
        let score = &row["eval"]["queries.jsonl"];
        let (loss, perplexity) = (number(score, "mlm_loss"), number(score, "perplexity"));
        assert!((loss.exp() - perplexity).abs() < 1e-6 * perplexity, "{row}");
        assert_eq!(masked(row), masked(evaluations[0]), "the masking is fixed");
    }
    for name in ["checkpoint-4", "final"] {
        let found = listing(&world.path(&format!("out/{name}")));
        let has = |file: &str| found.iter().any(|found| found == file);
        assert!(has("model.safetensors") && has("tokenizer.json") && has("vocab.txt"));
        assert!(!has("idf.json") && !has("modules.json"), "{found:?}");
        assert_eq!(has("trainer/state.json"), name != "final");
    }
    let card = world.read("out/final/README.md");
    assert!(card.contains("pipeline_tag: fill-mask"), "{card}");
    // What was trained is where ranking begins.
    let ranking = "--set model_name_or_path=out/final --set output_dir=ranking";
    let line = format!("train train.yaml {ranking} --set max_steps=1");
    world.command(&line).run().success();
}

/// Packed, by whole words, without evaluation, in micro-batches, and with all but the head frozen.
#[test]
fn every_setting_trains() {
    let world = world();
    world.write_lines("plain.jsonl", &[json!({"text": "the war of the world"})]);
    let documents = world.read_lines("beir/corpus.jsonl");
    let documents = documents
        .iter()
        .map(|row| json!({"title": row["title"], "text": row["text"]}));
    world.write_lines("documents.jsonl", &documents.collect::<Vec<_>>());
    let converted = "data convert --input documents.jsonl --output documents.parquet";
    world.command(converted).run().success();
    for (name, options) in [
        ("packed", "--set mlm_packed=true --set max_seq_length=16"),
        (
            "words",
            "--set mlm_whole_word=true --set mlm_probability=0.4",
        ),
        (
            "parts",
            "--set gradient_accumulation_steps=3 --set mlm_eval_file=",
        ),
        ("plain", "--set train_file=plain.jsonl"),
        ("parquet", "--set train_file=documents.parquet"),
        ("frozen", "--set freeze=[encoder]"),
    ] {
        finished(&world, &format!("{options} --set output_dir={name}"));
        let rows = world.read_lines(&format!("{name}/metrics.jsonl"));
        let steps = rows.iter().filter(|row| row.get("loss").is_some());
        assert_eq!(steps.count(), 6, "{name}");
    }
    let tokens = |dir: &str| -> u64 {
        let rows = world.read_lines(&format!("{dir}/metrics.jsonl"));
        rows.iter()
            .filter_map(|row| row["masked_tokens"].as_u64())
            .sum()
    };
    assert!(
        tokens("words") > tokens("parquet"),
        "0.4 masks more than 0.15"
    );
    let frozen = world.read("frozen/config.resolved.yaml");
    assert!(frozen.contains("data_type: mlm") && !frozen.contains("loss_types"));
}

#[test]
fn the_resolved_recipe_and_a_dry_run() {
    let world = world();
    finished(&world, "");
    let again = "train out/config.resolved.yaml --set output_dir=again";
    world.command(again).run().success();
    assert!(weights(&world, "out") == weights(&world, "again"));
    let before = listing(&world.path(""));
    let text = finished(
        &world,
        "--dry-run --set output_dir=none --set mlm_packed=true",
    );
    for part in ["sequences of 8 texts", "queries.jsonl", "MiB"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert_eq!(listing(&world.path("")), before);
}

/// Ctrl-C writes a checkpoint; `--resume` ends with the weights of a run without interruption: order, masking and dropout
/// are those of the step.
#[test]
#[cfg(unix)]
fn interrupted_runs_end_the_same() {
    let world = world();
    let text = "the war of the world was a war that many countries fought ".repeat(8);
    let row = |index: usize| json!({"text": format!("{index} and {text}")});
    world.write_lines("long.jsonl", &(0..70).map(row).collect::<Vec<_>>());
    let recipe = "--set train_file=long.jsonl --set max_seq_length=100 --set max_steps=60 --set save_steps=25 \
                  --set eval_steps=10";
    for packed in [false, true] {
        let (whole, stopped) = (format!("whole-{packed}"), format!("stopped-{packed}"));
        let recipe = format!("{recipe} --set mlm_packed={packed}");
        finished(&world, &format!("{recipe} --set output_dir={whole}"));
        let line = format!("train mlm.yaml {recipe} --set output_dir={stopped}");
        let mut running = world.command(&line).start();
        let metrics = world.path(&format!("{stopped}/metrics.jsonl"));
        let rows = || fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
        assert!(running.wait_until(|| rows() >= 30), "it ended too soon");
        let id = running.id().to_string();
        let killed = Command::new("kill").args(["-INT", &id]).status();
        assert!(killed.expect("kill runs").success());
        let outcome = running.wait();
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        world.command(&format!("{line} --resume")).run().success();
        assert!(weights(&world, &stopped) == weights(&world, &whole));
        let losses = |dir: &str| -> Vec<String> {
            let rows = world.read_lines(&format!("{dir}/metrics.jsonl"));
            let figures = rows.iter();
            figures
                .map(|row| format!("{} {} {}", row["step"], row["loss"], row["eval"]))
                .collect()
        };
        assert_eq!(losses(&stopped), losses(&whole));
    }
}

/// What is hidden is part of what is learnt.
#[test]
fn resuming_notices_another_masking() {
    let world = world();
    finished(&world, "--set max_steps=2");
    let bad = [
        ("mlm_probability", "0.15", "0.3"),
        ("mlm_whole_word", "false", "true"),
        ("mlm_packed", "false", "true"),
    ]
    .map(|(key, stored, current)| {
        let line = format!("train mlm.yaml --resume --set max_steps=4 --set {key}={current}");
        let says =
            format!("out/checkpoint-2: it was made with {key} {stored}, now it is {current}");
        Bad::new(line, 1, &[says.as_str()])
    });
    check_all(&world, &bad);
    finished(&world, "--resume --set max_steps=4");
}

/// A vocabulary of the quickstart's corpus, random weights, and a loss that falls far below that of a uniform guess.
#[test]
fn from_a_corpus_alone() {
    let world = world();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/quickstart/corpus.jsonl");
    fs::copy(corpus, world.path("corpus.jsonl")).expect("copied");
    let vocabulary = "data tokenizer --corpus corpus.jsonl --vocab-size 400 --output scratch";
    world.command(vocabulary).run().success();
    let config = json!({
        "model_type": "bert",
        "vocab_size": 400,
        "hidden_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 128,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
    });
    world.write("scratch/config.json", config.to_string());
    finished(
        &world,
        "--set model_name_or_path=scratch --set init_from_scratch=true --set train_file=corpus.jsonl \
         --set mlm_eval_file=corpus.jsonl --set max_seq_length=48 --set eval_max_seq_length=48 --set dropout=0 \
         --set max_steps=300 --set per_device_train_batch_size=32 --set learning_rate=0.005 --set save_strategy=no \
         --set eval_steps=300 --set per_device_eval_batch_size=64",
    );
    let rows = world.read_lines("out/metrics.jsonl");
    let scores: Vec<f64> = rows
        .iter()
        .filter_map(|row| row["eval"]["corpus.jsonl"]["mlm_loss"].as_f64())
        .collect();
    let [before, after] = scores[..] else {
        panic!("two evaluations: {scores:?}");
    };
    assert!((before - 400f64.ln()).abs() < 0.5, "{before}");
    assert!(after < before - 1.1, "{before} to {after}");
}

#[test]
fn refusals() {
    let world = world();
    world.write("empty.jsonl", "");
    world.write("one.jsonl", "{\"text\": \"one\"}\n");
    world.write("blank.jsonl", "{\"text\": \" \"}\n{\"text\": null}\n");
    let corpus = world.read("beir/corpus.jsonl");
    world.write("body.jsonl", format!("{corpus}{{\"body\": \"x\"}}\n"));
    world.copy_model("no-mask");
    fs::remove_file(world.path("no-mask/tokenizer.json")).expect("removed");
    let vocabulary = world.read("no-mask/vocab.txt").replace("[MASK]", "[GONE]");
    world.write("no-mask/vocab.txt", vocabulary);
    let bad = |settings: &str, says: &[&str]| {
        let settings: String = settings
            .split(' ')
            .map(|setting| format!(" --set {setting}"))
            .collect();
        Bad::new(format!("train mlm.yaml{settings}"), 1, says)
    };
    check_all(
        &world,
        &[
            bad("train_file=nowhere.jsonl", &["nowhere.jsonl"]),
            bad("train_file=empty.jsonl", &["empty.jsonl", "no text in it"]),
            bad(
                "train_file=blank.jsonl",
                &[
                    "blank.jsonl",
                    "1 skipped for a null text, 1 skipped for an empty text",
                ],
            ),
            bad(
                "train_file=body.jsonl",
                &["body.jsonl:9", "no `text`", "body"],
            ),
            bad("train_file=kd.jsonl", &["kd.jsonl:1", "no `text`", "docs"]),
            bad("mlm_eval_file=kd.jsonl", &["kd.jsonl:1", "no `text`"]),
            bad("model_name_or_path=no-mask", &["no-mask", "[MASK]"]),
            bad(
                "mlm_packed=true max_seq_length=128 train_file=one.jsonl",
                &["one.jsonl", "tokens in all", "mlm_packed: false"],
            ),
            bad("loss_types=[infonce]", &["loss_types", "mlm has one loss"]),
            bad("eval_data=beir", &["eval_data", "mlm_eval_file"]),
            bad("mlm_probability=1.5", &["mlm_probability"]),
            bad("max_seq_length=4000", &["max_seq_length", "4000"]),
            bad("data_type=kd", &["beir/corpus.jsonl:1", "no `query`"]),
        ],
    );
    assert!(!world.path("out").exists());
}
