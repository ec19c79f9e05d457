//! Ways to break a model directory.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::weights::Weights;

/// The file with the weights.
pub const WEIGHTS: &str = "model.safetensors";

pub fn write(dir: &Path, name: &str, content: &[u8]) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    fs::write(path, content).expect("written");
}

pub fn remove(dir: &Path, name: &str) {
    fs::remove_file(dir.join(name)).expect("removed");
}

pub fn truncate(path: &Path, share: f64) {
    let bytes = fs::read(path).expect("readable");
    let kept = (bytes.len() as f64 * share) as usize;
    fs::write(path, &bytes[..kept]).expect("written");
}

pub fn edit_config(dir: &Path, edit: impl Fn(&mut Value)) {
    edit_json(dir, "config.json", edit);
}

pub fn edit_json(dir: &Path, name: &str, edit: impl Fn(&mut Value)) {
    let path = dir.join(name);
    let mut content = serde_json::from_slice(&fs::read(&path).expect("readable")).expect("JSON");
    edit(&mut content);
    fs::write(path, content.to_string()).expect("written");
}

pub fn edit_weights(dir: &Path, edit: impl Fn(&mut Weights)) {
    let path = dir.join(WEIGHTS);
    let mut weights = Weights::read(&path);
    edit(&mut weights);
    weights.write(&path);
}
