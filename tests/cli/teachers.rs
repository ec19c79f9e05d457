//! Teachers that score while a student trains: `kd_ensemble_teacher_kwargs`.

use std::fs;

use serde_json::json;

use super::bad_input::{Bad, check_all};
use super::world::World;

/// As the reference writes it, with the world's own model as the teacher.
const KWARGS: &str =
    "kd_ensemble_teacher_kwargs: {types: [sparse], model_ids: [model], score_scale: 20}\n";

/// `train.yaml` with other lines.
fn recipe(world: &World, name: &str, lines: &str) {
    let given: Vec<&str> = lines
        .lines()
        .filter_map(|line| line.split(':').next())
        .collect();
    let text = world.read("train.yaml");
    let kept = text
        .lines()
        .filter(|line| !given.contains(&line.split(':').next().expect("a key")));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    world.write(name, format!("{kept}{lines}"));
}

fn weights(world: &World, dir: &str) -> Vec<u8> {
    fs::read(world.path(&format!("{dir}/final/model.safetensors"))).expect("weights")
}

/// Where a group is a whole row, scoring ahead of time and scoring each batch are the same, to the last bit.
#[test]
fn scores_ahead_of_time_and_on_line_train_the_same_model() {
    let world = World::new();
    let teachers = "teachers: [{type: sparse, model: model, inf_free: false, max_length: 32}]\nscore_scale: 20\n";
    world.write("teachers.yaml", teachers);
    let line = "train score --teachers teachers.yaml --input posnegs.jsonl --output scored.jsonl";
    world.command(line).run().success();
    recipe(
        &world,
        "ahead.yaml",
        "train_file: scored.jsonl\nsample_num_one_query: 4\nswap_times: 0\noutput_dir: ahead\n",
    );
    let online = format!(
        "train_file: posnegs.jsonl\ndata_type: posnegs\nsample_num_one_query: 3\nswap_times: 0\noutput_dir: online\n{KWARGS}"
    );
    recipe(&world, "online.yaml", &online);
    for name in ["ahead", "online"] {
        world.command(&format!("train {name}.yaml")).run().success();
    }
    let losses = |dir: &str| -> Vec<String> {
        let rows = world.read_lines(&format!("{dir}/metrics.jsonl"));
        rows.iter().map(|row| row["loss"].to_string()).collect()
    };
    assert_eq!(losses("ahead"), losses("online"));
    assert!(weights(&world, "ahead") == weights(&world, "online"));
}

/// In-batch negatives are scored too; the resolved recipe gives the same run, and so does a resumed one.
#[test]
fn in_batch_negatives_are_scored_and_runs_resume() {
    let world = World::new();
    let lines = format!(
        "train_file: posnegs.jsonl\ndata_type: posnegs\nsample_num_one_query: 1\nuse_in_batch_negatives: true\n\
         swap_times: 0\nmax_steps: 6\n{KWARGS}"
    );
    recipe(&world, "kd.yaml", &lines);
    world
        .command("train kd.yaml --set output_dir=whole")
        .run()
        .success();
    let resolved = world.read("whole/config.resolved.yaml");
    assert!(
        resolved.contains("kd_ensemble_teacher_kwargs"),
        "{resolved}"
    );
    world
        .command("train whole/config.resolved.yaml --set output_dir=again")
        .run()
        .success();
    assert!(weights(&world, "again") == weights(&world, "whole"));

    // What a run without an interruption has at step 4 is what a resumed one begins with.
    fs::create_dir(world.path("resumed")).expect("a folder");
    crate::weights::copy_files(
        &world.path("whole/checkpoint-4"),
        &world.path("resumed/checkpoint-4"),
        &[],
    );
    crate::weights::copy_files(
        &world.path("whole/checkpoint-4/trainer"),
        &world.path("resumed/checkpoint-4/trainer"),
        &[],
    );
    world
        .command("train kd.yaml --set output_dir=resumed --resume")
        .run()
        .success();
    assert!(weights(&world, "resumed") == weights(&world, "whole"));

    let own = lines.replace(
        "use_in_batch_negatives: true",
        "use_in_batch_negatives: false",
    );
    recipe(&world, "own.yaml", &own);
    world
        .command("train own.yaml --set output_dir=own")
        .run()
        .success();
    assert!(weights(&world, "own") != weights(&world, "whole"));
}

/// What another teacher would say is another run; a model that was copied says the same.
#[test]
fn resuming_notices_another_teacher() {
    let world = World::new();
    let lines = format!(
        "train_file: posnegs.jsonl\ndata_type: posnegs\nsample_num_one_query: 1\nswap_times: 0\nmax_steps: 2\n{KWARGS}"
    );
    recipe(&world, "kd.yaml", &lines);
    world.command("train kd.yaml").run().success();
    world.copy_model("copied");
    world.copy_model("changed");
    let config = world.read("changed/config.json");
    world.write("changed/config.json", format!("{config}\n"));
    let with = |name: &str, kwargs: &str| {
        let kwargs = format!("kd_ensemble_teacher_kwargs: {kwargs}\n");
        recipe(&world, name, &lines.replace(KWARGS, &kwargs));
        format!("train {name} --resume --set max_steps=4")
    };
    let sparse = |model: &str, scale: usize| {
        format!("{{types: [sparse], model_ids: [{model}], score_scale: {scale}}}")
    };
    let bm25 = "{teachers: [{type: bm25, corpus: beir}], score_scale: 20}";
    let teachers = "kd_ensemble_teacher_kwargs.teachers sparse model (weight 1, fingerprint ";
    let table = [
        (
            with("scale.yaml", &sparse("model", 30)),
            vec!["kd_ensemble_teacher_kwargs.score_scale 20, now it is 30"],
        ),
        (
            with("changed.yaml", &sparse("changed", 20)),
            vec![teachers, "now it is sparse changed (weight 1, fingerprint "],
        ),
        (
            with("bm25.yaml", bm25),
            vec![teachers, "now it is bm25 beir (weight 1, fingerprint "],
        ),
    ];
    let bad = table.map(|(line, says)| {
        let says = [vec!["cannot resume out/checkpoint-2"], says].concat();
        Bad::new(line, 1, &says)
    });
    check_all(&world, &bad);
    let copied = with("copied.yaml", &sparse("copied", 20));
    world.command(&copied).run().success();
}

/// Vectors by id, of kd-ids data; a missing one is named, and other files for them are told of.
#[test]
fn vectors_are_looked_up_by_id() {
    let world = World::new();
    let ids = |index: usize| (0..4).map(|step| (index + step) % 8).collect::<Vec<_>>();
    let rows = world
        .read_lines("kd.jsonl")
        .into_iter()
        .enumerate()
        .map(|(index, mut row)| {
            let row_map = row.as_object_mut().expect("an object");
            row_map.remove("scores");
            row_map.insert("q_id".to_owned(), json!(format!("q{index}")));
            row_map.insert("d_ids".to_owned(), json!(ids(index)));
            row
        });
    world.write_lines("ids.jsonl", &rows.collect::<Vec<_>>());
    let vector = |id: serde_json::Value, index: usize| json!({"id": id, "vector": [index, 1, (index * index) % 5]});
    let queries: Vec<_> = (0..8)
        .map(|index| vector(json!(format!("q{index}")), index))
        .collect();
    let documents: Vec<_> = (0..8).map(|index| vector(json!(index), index)).collect();
    world.write_lines("q.jsonl", &queries);
    world.write_lines("d.jsonl", &documents);
    let teachers = "{teachers: [{type: vectors, queries: q.jsonl, documents: d.jsonl}]}";
    let lines = format!(
        "train_file: ids.jsonl\ndata_type: kd-ids\nkd_ensemble_teacher_kwargs: {teachers}\n"
    );
    recipe(&world, "ids.yaml", &lines);
    world.command("train ids.yaml").run().success();
    world.write_lines("d.jsonl", &[&documents[1..], &documents[..1]].concat());
    let resumed = world.command("train ids.yaml --resume --set max_steps=8");
    let resumed = resumed.run();
    assert!(
        resumed.stderr.contains("only if they say the same"),
        "{}",
        resumed.stderr
    );
    resumed.success();
    world.write_lines("d.jsonl", &documents[..1]);
    let line = "train ids.yaml --dry-run --set output_dir=out2";
    check_all(
        &world,
        &[
            Bad::new(line, 1, &["d.jsonl has no vector with the id"]),
            Bad::new(
                "train ids.yaml --set data_type=kd",
                1,
                &["kd_ensemble_teacher_kwargs", "kd-ids"],
            ),
            Bad::new(
                "train ids.yaml --set train_file=kd.jsonl --set output_dir=out3",
                1,
                &["kd.jsonl:1", "q_id", "data_type: kd"],
            ),
        ],
    );
}
