//! `kill -9` at any time, for every stage that makes data: the same command, given again, ends with the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;

use serde_json::{Value, json};

use crate::compare::Checks;

use super::world::{World, listing};

/// Kills of each stage, at times spread over the stage's own duration.
const KILLS: u32 = 10;

/// Passages: enough that every stage takes some time.
const PASSAGES: usize = 2000;

/// Every stage; OUT is what it writes.
const STAGES: &[&str] = &[
    "data idf --corpus large/corpus.jsonl --tokenizer model --output OUT.json",
    "data queries-from-titles --corpus large/corpus.jsonl --negatives 3 --output OUT.jsonl",
    "data queries-from-titles --corpus large/corpus.jsonl --format beir --output OUT",
    "data dedup --near --input large/corpus.jsonl --output OUT.jsonl",
    "data sample --input large/corpus.jsonl --count 900 --output OUT.jsonl.zst",
    "data convert --input large/corpus.jsonl --output OUT.parquet",
    "data convert --input large/corpus.jsonl --output OUT",
    "eval encode --model model --input large/corpus.jsonl --batch-tokens 512 --top-k 20 --output OUT.jsonl",
    "eval index --input large/vectors.jsonl --output OUT",
    "eval mine --model bm25 --data large --split train --depth 20 --output OUT.jsonl",
    "eval mine --model bm25 --data large --queries titles --depth 9 --negatives 3 --output OUT.jsonl.gz",
];

fn world() -> World {
    let world = World::new();
    let words = |place: usize, count: usize| -> String {
        let word = |step: usize| format!("w{}", (place * 31 + step * step * 7) % 997);
        (0..count).map(word).collect::<Vec<_>>().join(" ")
    };
    let documents: Vec<Value> = (0..PASSAGES)
        .map(|place| json!({"_id": format!("d{place}"), "title": words(place, 3), "text": words(place + 1, 30)}))
        .collect();
    world.write_lines("large/corpus.jsonl", &documents);
    let queries: Vec<Value> = (0..PASSAGES / 2)
        .map(|place| json!({"_id": format!("q{place}"), "text": words(place, 5)}))
        .collect();
    world.write_lines("large/queries.jsonl", &queries);
    let judged: String = (0..PASSAGES / 2)
        .map(|place| format!("q{place}\td{place}\t1\n"))
        .collect();
    let header = "query-id\tcorpus-id\tscore\n";
    world.write("large/qrels/train.tsv", format!("{header}{judged}"));
    let vectors: Vec<Value> = (0..PASSAGES)
        .map(|place| {
            let word = |step: usize| (format!("w{}", (place + step * 37) % 997), json!(1.5));
            let vector: serde_json::Map<String, Value> = (0..20).map(word).collect();
            json!({"id": format!("d{place}"), "vector": vector})
        })
        .collect();
    world.write_lines("large/vectors.jsonl", &vectors);
    world
}

/// Every file that begins with `name`, by the rest of its name.
fn outputs(world: &World, name: &str) -> BTreeMap<String, Vec<u8>> {
    let files = listing(&world.path("")).into_iter().filter_map(|file| {
        let rest = file.strip_prefix(name)?.to_owned();
        let path = world.path(&file);
        path.is_file().then(|| (rest, read(&path)))
    });
    files.collect()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_stage_ends_the_same() {
    let world = world();
    let mut checks = Checks::new();
    let mut state = 1u32;
    for (number, stage) in STAGES.iter().enumerate() {
        let whole = format!("whole{number}");
        let outcome = world.command(&stage.replace("OUT", &whole)).run();
        let took = outcome.took;
        outcome.success();
        let expected = outputs(&world, &whole);
        checks.require(!expected.is_empty(), || format!("{stage}: no output"));

        let cut = format!("cut{number}");
        for _ in 0..KILLS {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let running = world.command(&stage.replace("OUT", &cut)).start();
            sleep(took.mul_f64(f64::from(state >> 8) / f64::from(1 << 24)));
            running.kill();
            // What has its final name is complete.
            let named = outputs(&world, &cut);
            let torn = expected.iter().find(|(rest, bytes)| {
                let found = named.get(*rest);
                found.is_some_and(|found| found != *bytes)
            });
            checks.require(torn.is_none(), || {
                format!(
                    "{stage}: killed, and {:?} is not whole",
                    torn.map(|(rest, _)| rest)
                )
            });
            if named.keys().eq(expected.keys()) {
                remove(&world, &cut); // done before it was killed
            }
        }
        world.command(&stage.replace("OUT", &cut)).run().success();
        let found = outputs(&world, &cut);
        let differs = |rest: &&String| found.get(*rest) != expected.get(*rest);
        let different: Vec<&String> = expected.keys().filter(differs).collect();
        checks.require(different.is_empty(), || {
            format!("{stage}: another result than without kills: {different:?}")
        });
    }
    checks.finish();
}

/// Removes the files and folders that begin with `name`.
fn remove(world: &World, name: &str) {
    for entry in fs::read_dir(world.path("")).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.file_name().to_string_lossy().starts_with(name) {
            let path = entry.path();
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
