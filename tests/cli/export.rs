//! `ellzero-model`: looking at model directories and writing them anew.

use std::fs;

use serde_json::Value;

use crate::compare::Checks;
use crate::weights::Weights;

use super::bad_input::{Bad, check_all};
use super::world::{World, listing};

const ROOT: [&str; 9] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "README.md",
    "idf.json",
    "query_token_weights.txt",
];

fn json(world: &World, name: &str) -> Value {
    serde_json::from_str(&world.read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn inspection() {
    let world = World::new();
    let text = world.command("model inspect model").run().success();
    let config = json(&world, "model/config.json");
    let vocab = config["vocab_size"].to_string();
    for part in [
        config["model_type"].as_str().expect("a family"),
        &vocab,
        "tied",
        "idf.json",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

/// Weights that were not trained come out bit by bit, and so does the export of an export.
#[test]
fn weights_are_the_same_bits() {
    let world = World::new();
    world
        .command("model export model --output once --activation l1_relu")
        .run()
        .success();
    world
        .command("model export once --output twice")
        .run()
        .success();
    let source = Weights::read(&world.path("model/model.safetensors"));
    for name in ["once", "twice"] {
        let found = Weights::read(&world.path(&format!("{name}/model.safetensors")));
        let mut checks = Checks::new();
        for (key, stored) in &source.0 {
            checks.require(found.0.get(key) == Some(stored), || {
                format!("{name}: {key} differs")
            });
        }
        checks.finish();
    }
    let files = |name: &str| {
        let dir = world.path(name);
        let mut files = listing(&dir);
        files.retain(|file| dir.join(file).is_file() && file != "README.md");
        files
            .into_iter()
            .map(|file| (fs::read(dir.join(&file)).expect("readable"), file))
            .collect::<Vec<_>>()
    };
    for ((once, name), (twice, _)) in files("once").iter().zip(&files("twice")) {
        assert!(once == twice, "{name} changes when exported again");
    }
}

#[test]
fn files_of_the_sentence_transformers_layout() {
    let world = World::new();
    let line =
        "model export model --output exported --activation l1_relu --layout sentence-transformers";
    world.command(line).run().success();
    let found = listing(&world.path("exported"));
    let mut checks = Checks::new();
    let folders = [
        "modules.json",
        "router_config.json",
        "config_sentence_transformers.json",
        "document_1_SpladePooling/config.json",
        "query_0_SparseStaticEmbedding/config.json",
        "query_0_SparseStaticEmbedding/model.safetensors",
        "query_0_SparseStaticEmbedding/tokenizer.json",
    ];
    for name in ROOT.iter().chain(&folders) {
        checks.require(found.iter().any(|file| file == name), || {
            format!("no {name} in {found:?}")
        });
    }
    checks.finish();

    let modules = json(&world, "exported/modules.json");
    assert_eq!(modules[0]["type"], "sentence_transformers.models.Router");
    let router = json(&world, "exported/router_config.json");
    assert_eq!(router["parameters"]["default_route"], "document");
    let pooling = json(&world, "exported/document_1_SpladePooling/config.json");
    assert_eq!(pooling["activation_function"], "log1p_relu");
    let vocab = json(&world, "exported/config.json")["vocab_size"]
        .as_u64()
        .expect("V") as usize;
    assert_eq!(
        json(&world, "exported/idf.json")
            .as_object()
            .expect("a table")
            .len(),
        vocab
    );
    let table =
        Weights::read(&world.path("exported/query_0_SparseStaticEmbedding/model.safetensors"));
    assert_eq!(table.0["weight"].shape, [vocab]);
    assert!(
        world.read("exported/README.md").starts_with("---\n"),
        "a model card has front matter"
    );
}

#[test]
fn siamese_layout() {
    let world = World::new();
    fs::remove_file(world.copy_model("siamese").join("idf.json")).expect("removed");
    let line =
        "model export siamese --output exported --activation relu --layout sentence-transformers";
    world.command(line).run().success();
    assert_eq!(
        json(&world, "exported/1_SpladePooling/config.json")["activation_function"],
        "relu"
    );
    assert!(!world.path("exported/router_config.json").exists());
    assert!(!world.path("exported/idf.json").exists());
}

#[test]
fn opensearch_layout() {
    let world = World::new();
    let line = "model export model --output exported --activation l1_relu --layout opensearch";
    world.command(line).run().success();
    let found = listing(&world.path("exported"));
    let zip = found.iter().find(|name| name.ends_with(".zip"));
    let zip = zip.unwrap_or_else(|| panic!("no zip in {found:?}"));
    let bytes = fs::read(world.path("exported").join(zip)).expect("readable");
    for name in ["idf.json", "tokenizer.json"] {
        let contains = bytes
            .windows(name.len())
            .any(|window| window == name.as_bytes());
        assert!(contains, "no {name} in {zip}");
    }
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&bytes);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let says = |name: &&String| {
        name.ends_with(".json")
            && fs::read_to_string(world.path("exported").join(name))
                .is_ok_and(|text| text.contains(&digest))
    };
    let config = found
        .iter()
        .find(says)
        .unwrap_or_else(|| panic!("no config file has the digest: {found:?}"));
    let config = json(&world, &format!("exported/{config}"));
    assert_eq!(config["function_name"], "SPARSE_TOKENIZE");
}

/// The float16 export of the float32 model loads, and is half as large.
#[test]
fn weight_types() {
    let world = World::new();
    let size = |name: &str| {
        fs::metadata(world.path(name).join("model.safetensors"))
            .expect("a file")
            .len()
    };
    for dtype in ["f16", "bf16", "f32"] {
        let line = format!("model export model --output {dtype} --dtype {dtype} --activation relu");
        world.command(&line).run().success();
        world
            .command(&format!("model inspect {dtype}"))
            .run()
            .success();
    }
    assert!(size("f16") < size("f32") * 6 / 10 && size("bf16") < size("f32") * 6 / 10);
}

#[test]
fn refusals() {
    let world = World::new();
    world.write("taken/file", "mine");
    check_all(
        &world,
        &[
            Bad::new(
                "model export model --output taken --activation relu",
                1,
                &["taken"],
            ),
            Bad::new(
                "model export model --output x --activation l3_relu --layout sentence-transformers",
                1,
                &["sentence-transformers"],
            ),
            Bad::new("model export model --output x --dtype f8", 2, &["f8"]),
            Bad::new("model export model --output x --layout onnx", 2, &["onnx"]),
            Bad::new("model export model", 2, &["--output"]),
            Bad::new("model", 2, &["Usage"]),
        ],
    );
    assert_eq!(world.read("taken/file"), "mine");
    assert!(!world.path("x").exists());
}
