//! transformers and sentence-transformers read what we export, and compute the same vectors.
//!
//! The work is in `parity/transformers_parity.py`; `ELLZERO_PYTHON` names the interpreter, by default `python3`.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::cli::binary;
use crate::cli::world::World;
use crate::needs;

/// An interpreter that has the packages.
fn python() -> Option<OsString> {
    let python = std::env::var_os("ELLZERO_PYTHON").unwrap_or_else(|| "python3".into());
    let packages = Command::new(&python)
        .args(["-c", "import torch, transformers"])
        .output();
    if packages.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let reason = format!("{} has no torch or no transformers", python.display());
    needs::skip(&reason);
    None
}

fn check(python: &OsString, arguments: &[&Path]) {
    let binaries = binary::path("ellzero-eval");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/transformers_parity.py");
    let mut command = Command::new(python);
    command
        .arg(script)
        .arg("--binaries")
        .arg(binaries.parent().expect("a folder"))
        .args(arguments);
    let output = command.output().expect("python runs");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    print!("{stdout}");
    assert!(output.status.success(), "{stdout}{stderr}");
}

#[test]
fn golden_models() {
    if let Some(python) = python() {
        check(&python, &[]);
    }
}

#[test]
fn minilm() {
    let Some(python) = python() else {
        return;
    };
    if let (Some(model), Some(idf)) = (
        needs::real_data("minilm-l6-fp16"),
        needs::real_data("idf.json"),
    ) {
        check(
            &python,
            &["--model".as_ref(), &model, "--idf".as_ref(), &idf],
        );
    }
}

/// What training leaves in `final/` needs no export.
#[test]
fn trained_model() {
    let Some(python) = python() else {
        return;
    };
    let world = World::new();
    // Long enough for every text: sentence-transformers counts a query's tokens without the special ones.
    let line = "train train.yaml --set save_strategy=no --set max_seq_length=64 --set eval_max_seq_length=64";
    world.command(line).run().success();
    let model = world.path("out/final");
    check(&python, &["--as-is".as_ref(), "--model".as_ref(), &model]);
}
