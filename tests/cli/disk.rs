//! A full disk, and one that cannot be written to.
//!
//! Both are made with a small tmpfs, which takes root; where it cannot be mounted the tests say so and pass.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::needs;

use super::bad_input::{Bad, check};
use super::world::{World, listing};
use crate::compare::Checks;

/// A mounted tmpfs; unmounted when dropped.
struct Disk {
    path: PathBuf,
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

impl Disk {
    /// `options` as mount takes them, such as `size=16k`.
    fn mount(path: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(path).expect("a folder");
        let target = path.to_str().expect("UTF-8");
        if run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", target]) {
            return Some(Self {
                path: path.to_owned(),
            });
        }
        needs::skip("a tmpfs cannot be mounted here (it takes root)");
        None
    }

    /// Leaves no room.
    fn fill(&self) {
        let mut file = fs::File::create(self.path.join(FILLER)).expect("a file");
        while file.write(&[0; 512]).is_ok_and(|written| written > 0) {}
    }

    fn remount_read_only(&self) {
        let target = self.path.to_str().expect("UTF-8");
        assert!(run("mount", &["-o", "remount,ro", target]));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &[self.path.to_str().expect("UTF-8")]);
    }
}

/// Takes up the room on a full disk.
const FILLER: &str = "filler";

/// Names that only complete files may have.
const RESULTS: &[&str] = &[
    "out.jsonl",
    "out.jsonl.zst",
    "index/index.bin",
    "out.trec",
    "results.json",
    "mined.jsonl",
    "model.safetensors",
    "config.resolved.yaml",
];

/// Every command that writes files, with DISK for the folder it writes into.
const COMMANDS: &[&str] = &[
    "eval encode --model model --input beir/corpus.jsonl --output DISK/out.jsonl",
    "eval encode --model model --input beir/corpus.jsonl --output DISK/out.jsonl.zst",
    "eval index --input many-vectors.jsonl --output DISK/index",
    "eval search --index index --query-vectors many-queries.jsonl --run DISK/out.trec",
    "eval beir --model model --data beir --output DISK/results",
    "eval bm25 --data beir --output DISK/results",
    "eval mine --model model --data beir --output DISK/mined.jsonl",
    "model export model --output DISK/exported --activation relu",
    "train train.yaml --set output_dir=DISK/run",
];

/// Inputs whose results do not fit on the disk.
fn world() -> World {
    let world = World::new();
    let vector = |index: usize| {
        format!("{{\"id\":\"document-{index}\",\"vector\":{{\"school\":1.5,\"t{index}\":2.5}}}}\n")
    };
    let rows: String = (0..4000).map(vector).collect();
    world.write("many-vectors.jsonl", &rows);
    world.write("many-queries.jsonl", &rows);
    world
        .command("eval index --input many-vectors.jsonl --output index")
        .run()
        .success();
    world
}

#[test]
fn full_disk() {
    let world = world();
    let Some(disk) = Disk::mount(&world.path("disk"), "size=64k") else {
        return;
    };
    disk.fill();
    let mut checks = Checks::new();
    for command in COMMANDS {
        let line = command.replace("DISK", "disk");
        let bad = Bad::new(line, 1, &["disk/", "No space left"]);
        check(&mut checks, &bad, &world.command(&bad.line).run());
        for left in listing(&disk.path) {
            let path = disk.path.join(&left);
            let is_result = path.is_file() && RESULTS.iter().any(|name| left.ends_with(name));
            checks.require(!is_result, || format!("{}: incomplete {left}", bad.line));
        }
        for entry in fs::read_dir(&disk.path).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                fs::remove_dir_all(&path).expect("removed");
            } else if !path.ends_with(FILLER) {
                fs::remove_file(&path).expect("removed");
            }
        }
    }
    checks.finish();
}

#[test]
fn read_only_folder() {
    let world = world();
    let Some(disk) = Disk::mount(&world.path("disk"), "size=64k") else {
        return;
    };
    disk.remount_read_only();
    let mut checks = Checks::new();
    for command in COMMANDS {
        let bad = Bad::new(command.replace("DISK", "disk"), 1, &["disk/", "Read-only"]);
        check(&mut checks, &bad, &world.command(&bad.line).run());
    }
    checks.finish();
}

/// Results on standard output that cannot be written are a failure too.
#[test]
#[cfg(target_os = "linux")]
fn full_standard_output() {
    let world = World::new();
    let mut checks = Checks::new();
    for line in [
        "eval metrics --qrels beir/qrels/test.tsv --run run.trec --json",
        "eval encode --model model --input beir/corpus.jsonl --output -",
        "eval bm25 --data beir",
        "model inspect model",
    ] {
        let outcome = world.command(line).run_into(Path::new("/dev/full"));
        let bad = Bad::new(line, 1, &["No space left"]);
        check(&mut checks, &bad, &outcome);
    }
    checks.finish();
}
