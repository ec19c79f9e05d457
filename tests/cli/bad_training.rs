//! Broken recipes and training data.

use std::fs;

use crate::fixture;
use crate::weights::copy_files;

use super::bad_input::{Bad, check_all};
use super::world::World;

#[test]
fn recipes() {
    let world = World::new();
    let good = world.read("train.yaml");
    let mut table = vec![
        Bad::new("train missing.yaml", 1, &["missing.yaml"]),
        Bad::new("train beir", 1, &["beir"]),
        Bad::new("train train.yaml --set", 2, &["--set"]),
        Bad::new(
            "train train.yaml --set max_steps",
            1,
            &["--set max_steps", "="],
        ),
        Bad::new(
            "train train.yaml --set learning_rat=1",
            1,
            &["learning_rat", "learning_rate"],
        ),
        Bad::new("train train.yaml --unknown", 2, &["--unknown"]),
        Bad::new("train train.yaml --device warp", 2, &["warp"]),
        Bad::new("train", 1, &["configs/quickstart.yaml"]),
        Bad::new("train train.yaml --resume", 1, &["out", "checkpoint"]),
    ];
    for (name, content, says) in [
        ("empty.yaml", String::new(), vec!["empty.yaml"]),
        ("list.yaml", "- a\n- b\n".to_owned(), vec!["list.yaml"]),
        (
            "bad.yaml",
            format!("{good}loss_types: [kldiv\n"),
            vec!["bad.yaml:"],
        ),
        (
            "twice.yaml",
            format!("{good}seed: 8\n"),
            vec!["twice.yaml:", "seed"],
        ),
        (
            "unknown.yaml",
            format!("{good}flops_lambda: 1\n"),
            vec!["unknown.yaml:", "flops_lambda"],
        ),
        (
            "misspelt.yaml",
            format!("{good}weight_decya: 1\n"),
            vec!["misspelt.yaml:", "weight_decya", "weight_decay"],
        ),
        (
            "type.yaml",
            format!("{good}adam_beta1: high\n"),
            vec!["type.yaml:", "adam_beta1", "high"],
        ),
        (
            "negative.yaml",
            format!("{good}adam_beta2: -3\n"),
            vec!["negative.yaml:", "adam_beta2"],
        ),
        (
            "choice.yaml",
            format!("{good}lr_scheduler_type: wavy\n"),
            vec!["choice.yaml:", "wavy", "linear"],
        ),
        (
            "kwargs.yaml",
            format!("{good}kd_ensemble_teacher_kwargs: {{types: [dense]}}\n"),
            vec!["kwargs.yaml:", "kd_ensemble_teacher_kwargs.model_ids"],
        ),
        (
            "no-model.yaml",
            good.replace("model_name_or_path: model\n", ""),
            vec!["no-model.yaml", "model_name_or_path"],
        ),
        (
            "no-data.yaml",
            good.replace("train_file: kd.jsonl\n", ""),
            vec!["no-data.yaml", "train_file"],
        ),
        (
            "no-output.yaml",
            good.replace("output_dir: out\n", ""),
            vec!["no-output.yaml", "output_dir"],
        ),
    ] {
        world.write(name, content);
        table.push(Bad::new(format!("train {name}"), 1, &says));
    }
    let mut latin1 = good.into_bytes();
    latin1.extend_from_slice(b"# caf\xe9\n");
    world.write("latin1.yaml", latin1);
    table.push(Bad::new("train latin1.yaml", 1, &["latin1.yaml"]));
    check_all(&world, &table);
    assert!(!world.path("out").exists());
}

#[test]
fn settings_at_odds_with_the_data() {
    let world = World::new();
    fs::copy(world.path("beir/corpus.jsonl"), world.path("texts.jsonl")).expect("copied");
    world.write("taken/file", "mine");
    let set = |settings: &str| {
        let settings: String = settings
            .split(' ')
            .map(|setting| format!(" --set {setting}"))
            .collect();
        format!("train train.yaml{settings}")
    };
    check_all(
        &world,
        &[
            Bad::new(set("train_file=missing.jsonl"), 1, &["missing.jsonl"]),
            Bad::new(set("idf_path=missing.json"), 1, &["missing.json"]),
            Bad::new(set("tokenizer_name=missing"), 1, &["missing"]),
            Bad::new(set("eval_data=missing"), 1, &["missing"]),
            Bad::new(set("train_file=texts.jsonl"), 1, &["texts.jsonl"]),
            Bad::new(set("train_file=posnegs.jsonl"), 1, &["posnegs.jsonl"]),
            Bad::new(
                set("data_type=posnegs loss_types=[infonce]"),
                1,
                &["kd.jsonl"],
            ),
            Bad::new(
                set("max_seq_length=100000"),
                1,
                &["max_seq_length", "100000"],
            ),
            Bad::new(set("sample_num_one_query=50"), 1, &["kd.jsonl"]),
            Bad::new(
                set("per_device_train_batch_size=999 dataloader_drop_last=true"),
                1,
                &["999"],
            ),
            Bad::new(set("output_dir=taken"), 1, &["taken"]),
            Bad::new(
                set("freeze=[head.transfrom]"),
                1,
                &["freeze", "head.transfrom", "head.transform"],
            ),
            Bad::new(set("grad_cache_docs=0"), 1, &["grad_cache_docs"]),
            Bad::new(set("train_file=train.yaml"), 1, &["train.yaml"]),
        ],
    );
    assert_eq!(world.read("taken/file"), "mine");
    assert!(!world.path("out").exists());
}

#[test]
fn json_lines() {
    let world = World::new();
    let good = world.read("kd.jsonl");
    let mut latin1 = good.clone().into_bytes();
    latin1.extend_from_slice(
        b"{\"query\": \"caf\xe9\", \"docs\": [\"a\", \"b\"], \"scores\": [1, 2]}\n",
    );
    let line = good.lines().count() + 1;
    let mut table = Vec::new();
    for (name, content, says) in [
        ("empty.jsonl", Vec::new(), vec![]),
        (
            "no-json.jsonl",
            format!("{good}{{\"query\": \n").into_bytes(),
            vec![format!(":{line}")],
        ),
        (
            "no-docs.jsonl",
            format!("{good}{{\"query\": \"a\", \"scores\": [1]}}\n").into_bytes(),
            vec![format!(":{line}")],
        ),
        (
            "lengths.jsonl",
            format!("{good}{{\"query\": \"a\", \"docs\": [\"b\", \"c\"], \"scores\": [1]}}\n")
                .into_bytes(),
            vec![format!(":{line}")],
        ),
        (
            "text-scores.jsonl",
            format!(
                "{good}{{\"query\": \"a\", \"docs\": [\"b\", \"c\"], \"scores\": [1, \"x\"]}}\n"
            )
            .into_bytes(),
            vec![format!(":{line}")],
        ),
        (
            "latin1.jsonl",
            latin1,
            vec![format!(":{line}"), "UTF-8".to_owned()],
        ),
        (
            "no-scores.jsonl",
            b"{\"query\": \"a\", \"docs\": [\"b\", \"c\"]}\n".to_vec(),
            vec!["scores".to_owned()],
        ),
    ] {
        world.write(name, content);
        let mut bad = Bad::new(
            format!("train train.yaml --set train_file={name} --set output_dir=out-{name}"),
            1,
            &[name],
        );
        bad.says.extend(says);
        table.push(bad);
    }
    check_all(&world, &table);
}

/// The broken `save_to_disk` directories of the golden data: those that its own reader cannot load, and that have no
/// rows to expect.
#[test]
fn arrow_data_sets() {
    let world = World::new();
    let rows = fixture::object("hf_dataset/expected_rows.json");
    let mut table = Vec::new();
    for (name, behaviour) in fixture::object("hf_dataset/reader_behaviour.json") {
        if behaviour.get("error").is_none() || rows.contains_key(&name) {
            continue;
        }
        copy_files(
            &fixture::path(&format!("hf_dataset/{name}")),
            &world.path(&name),
            &[],
        );
        for flag in ["", " --dry-run"] {
            let line = format!(
                "train train.yaml{flag} --set train_file={name} --set output_dir=out-{name}"
            );
            table.push(Bad::new(line, 1, &[&format!("{name}/data-"), ".arrow"]));
        }
    }
    for name in ["empty", "empty_zero_row_file"] {
        copy_files(
            &fixture::path(&format!("hf_dataset/{name}")),
            &world.path(name),
            &[],
        );
        table.push(Bad::new(
            format!("train train.yaml --set train_file={name}"),
            1,
            &[name],
        ));
    }
    copy_files(
        &fixture::path("hf_dataset/kd"),
        &world.path("no-state"),
        &["state.json"],
    );
    table.push(Bad::new(
        "train train.yaml --set train_file=no-state",
        1,
        &["no-state", "state.json"],
    ));
    assert!(table.len() > 3, "no broken data set in the golden data");
    check_all(&world, &table);
}
