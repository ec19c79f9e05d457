//! Checkpoints in all the forms that occur give the same weights, bit for bit.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::Device;
use model::hf::{self, ImportOptions, ImportReport};
use model::{MaskedLm, TokenTensors};
use safetensors::tensor::Dtype;
use serde_json::json;

use super::tolerance::{EXACT, FLOAT16, LOGITS, Tolerance};
use crate::compare::Checks;
use crate::fixture;
use crate::weights::{Stored, Weights, copy_files};

type Parameters = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Model directories whose weights are float32 safetensors with today's names.
fn plain_models() -> Vec<String> {
    let mut names = fixture::models();
    names.retain(|name| {
        let path = fixture::path(name).join("model.safetensors");
        path.is_file() && {
            let weights = Weights::read(&path).0;
            let is_float32 = |stored: &Stored| stored.dtype == Dtype::F32;
            weights.values().all(is_float32) && !weights.keys().any(|key| key.ends_with(".gamma"))
        }
    });
    assert!(!names.is_empty(), "no float32 model");
    names
}

/// The plain model that a variant was made from: the one whose name it starts with.
fn origin(variant: &str) -> String {
    let mut plain = plain_models();
    plain.retain(|name| variant.starts_with(name.as_str()));
    plain
        .pop()
        .unwrap_or_else(|| panic!("{variant} is a variant of no model"))
}

fn stored(name: &str) -> Weights {
    Weights::read(&fixture::path(name).join("model.safetensors"))
}

fn load(dir: &Path) -> (MaskedLm, Parameters, ImportReport) {
    let (model, config, report) = hf::load(dir, &ImportOptions::default(), &Device::flex())
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let parameters = hf::named_parameters(&model, config.family)
        .into_iter()
        .map(|(key, shape, values)| (key, (shape, values)))
        .collect();
    (model, parameters, report)
}

/// A directory with the small files of `name` and these weights.
fn write(name: &str, weights: &Weights) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    copy_files(
        &fixture::path(name),
        dir.path(),
        &["model.safetensors", "io.safetensors"],
    );
    weights.write(&dir.path().join("model.safetensors"));
    dir
}

fn check(checks: &mut Checks, what: &str, found: &Parameters, expected: &Weights, by: &Tolerance) {
    let keys: Vec<&String> = expected.0.keys().collect();
    checks.same(
        &format!("{what}: keys"),
        &found.keys().collect::<Vec<_>>(),
        &keys,
    );
    for (key, stored) in &expected.0 {
        if let Some((shape, values)) = found.get(key) {
            let what = format!("{what}: {key}");
            checks.equal(&format!("{what}: shape"), shape, &stored.shape);
            checks.close_where(&what, shape, values, &stored.floats(), by, |_| true);
        }
    }
}

#[test]
fn safetensors() {
    let mut checks = Checks::new();
    for name in plain_models() {
        let (_, found, report) = load(&fixture::path(&name));
        check(&mut checks, &name, &found, &stored(&name), &EXACT);
        checks.equal(&format!("{name}: tied"), report.tied, true);
        checks.equal(
            &format!("{name}: initialised"),
            report.initialised,
            Vec::new(),
        );
        checks.equal(&format!("{name}: unused"), report.unused, Vec::new());
    }
    checks.finish();
}

/// Variants in the fixtures: legacy names, `pytorch_model.bin`, float16.
#[test]
fn variants() {
    let mut checks = Checks::new();
    let plain = plain_models();
    for name in fixture::models()
        .into_iter()
        .filter(|name| !plain.contains(name))
    {
        let dir = fixture::path(&name);
        let (_, found, report) = load(&dir);
        let half = dir.join("model.safetensors").is_file()
            && stored(&name)
                .0
                .values()
                .all(|stored| stored.dtype == Dtype::F16);
        let tolerance = if half { FLOAT16 } else { EXACT };
        check(
            &mut checks,
            &name,
            &found,
            &stored(&origin(&name)),
            &tolerance,
        );
        checks.equal(&format!("{name}: tied"), report.tied, true);
        checks.equal(
            &format!("{name}: initialised"),
            report.initialised,
            Vec::new(),
        );
    }
    checks.finish();
}

/// `torch.save` before release 1.6 wrote pickles that are not zip files.
#[test]
fn old_pickles() {
    const FILE: &str = "pytorch_model_old_zipfree.bin";
    let mut checks = Checks::new();
    let holders = fixture::folders(".", |path| path.join(FILE).is_file());
    for name in holders {
        let source = fixture::path(&name);
        let dir = tempfile::tempdir().expect("a temporary folder");
        copy_files(&source, dir.path(), &["model.safetensors", FILE]);
        fs::copy(source.join(FILE), dir.path().join("pytorch_model.bin")).expect("copied");
        let (_, found, _) = load(dir.path());
        check(&mut checks, &name, &found, &stored(&origin(&name)), &EXACT);
    }
    checks.finish();
}

/// Legacy LayerNorm names, a `position_ids` buffer and unused heads in a safetensors file.
#[test]
fn legacy_names() {
    let mut checks = Checks::new();
    for name in plain_models() {
        let expected = stored(&name);
        let is_norm = |key: &str| key.to_lowercase().contains("layernorm");
        let mut legacy = expected.clone().renamed(|key| match key.rsplit_once('.') {
            Some((module, "weight")) if is_norm(module) => format!("{module}.gamma"),
            Some((module, "bias")) if is_norm(module) => format!("{module}.beta"),
            _ => key.to_owned(),
        });
        let word = expected.key("word_embeddings.weight");
        let prefix = word.split('.').next().expect("a prefix");
        let width = expected.0[&word].shape[1];
        let mut extra = vec![format!("{prefix}.embeddings.position_ids")];
        legacy = legacy.with(&extra[0], Stored::i64(&[1, 8], &[0, 1, 2, 3, 4, 5, 6, 7]));
        if prefix == "bert" {
            for (key, shape) in [
                ("bert.pooler.dense.weight", vec![width, width]),
                ("bert.pooler.dense.bias", vec![width]),
                ("cls.seq_relationship.weight", vec![2, width]),
                ("cls.seq_relationship.bias", vec![2]),
            ] {
                legacy = legacy.with(key, Stored::zeros(&shape));
                extra.push(key.to_owned());
            }
        }
        let (_, found, report) = load(write(&name, &legacy).path());
        check(&mut checks, &name, &found, &expected, &EXACT);
        let mut unused = report.unused;
        unused.sort();
        extra.sort();
        checks.same(&format!("{name}: unused"), &unused, &extra);
    }
    checks.finish();
}

/// An encoder saved on its own has keys without the model's prefix.
#[test]
fn without_prefix() {
    let mut checks = Checks::new();
    for name in plain_models() {
        let expected = stored(&name);
        let bare = expected.clone().renamed(|key| {
            let stripped = key
                .strip_prefix("bert.")
                .or_else(|| key.strip_prefix("distilbert."));
            stripped.unwrap_or(key).to_owned()
        });
        let (_, found, _) = load(write(&name, &bare).path());
        check(&mut checks, &name, &found, &expected, &EXACT);
    }
    checks.finish();
}

#[test]
fn bfloat16() {
    let mut checks = Checks::new();
    for name in plain_models() {
        let mut weights = stored(&name);
        let mut expected = weights.clone();
        for (key, stored) in &mut weights.0 {
            let values: Vec<f32> = stored
                .floats()
                .iter()
                .map(|value| f32::from_bits(value.to_bits() & 0xffff_0000))
                .collect();
            expected
                .0
                .insert(key.clone(), Stored::f32(&stored.shape, &values));
            *stored = stored.to_bf16();
        }
        let (_, found, _) = load(write(&name, &weights).path());
        check(&mut checks, &name, &found, &expected, &EXACT);
    }
    checks.finish();
}

#[test]
fn sharded() {
    let mut checks = Checks::new();
    for name in plain_models() {
        let expected = stored(&name);
        let dir = write(&name, &expected);
        fs::remove_file(dir.path().join("model.safetensors")).expect("removed");
        let mut parts = [Weights(BTreeMap::new()), Weights(BTreeMap::new())];
        let mut map = BTreeMap::new();
        for (index, (key, stored)) in expected.0.clone().into_iter().enumerate() {
            map.insert(
                key.clone(),
                format!("model-{:05}-of-00002.safetensors", index % 2 + 1),
            );
            parts[index % 2].0.insert(key, stored);
        }
        for (index, part) in parts.iter().enumerate() {
            let file = format!("model-{:05}-of-00002.safetensors", index + 1);
            part.write(&dir.path().join(file));
        }
        let index = json!({"metadata": {"total_size": 0}, "weight_map": map});
        let path = dir.path().join("model.safetensors.index.json");
        fs::write(path, index.to_string()).expect("written");
        let (_, found, _) = load(dir.path());
        check(&mut checks, &name, &found, &expected, &EXACT);
    }
    checks.finish();
}

/// A stored decoder that equals the embeddings is tied; one that differs is used.
#[test]
fn stored_decoders() {
    let device = Device::flex();
    let mut checks = Checks::new();
    for name in plain_models() {
        let plain = stored(&name);
        let word = plain.0[&plain.key("word_embeddings.weight")].clone();
        let decoder_key = match plain.0.contains_key("vocab_projector.bias") {
            true => "vocab_projector.weight",
            false => "cls.predictions.decoder.weight",
        };
        let (_, _, report) =
            load(write(&name, &plain.clone().with(decoder_key, word.clone())).path());
        checks.equal(
            &format!("{name}: an equal decoder is tied"),
            report.tied,
            true,
        );

        let doubled: Vec<f32> = word.floats().iter().map(|value| 2.0 * value).collect();
        let doubled = plain
            .clone()
            .with(decoder_key, Stored::f32(&word.shape, &doubled));
        let (untied, found, report) = load(write(&name, &doubled).path());
        checks.equal(
            &format!("{name}: another decoder is not"),
            report.tied,
            false,
        );
        check(
            &mut checks,
            &format!("{name} untied"),
            &found,
            &doubled,
            &EXACT,
        );

        let (tied, ..) = load(&fixture::path(&name));
        let batch = data::TokenBatch::new(&[[1_u32, 2, 3, 4]]);
        let tokens = TokenTensors::new(&batch, &device);
        let bias = tied.head.bias.val().unsqueeze::<2>();
        let expected = tied.logits(&tokens) * 2.0 - bias; // 2 (x - bias) + bias
        let floats = |tensor: burn::tensor::Tensor<2>| -> Vec<f32> {
            tensor.into_data().iter::<f32>().collect()
        };
        let (found, expected) = (floats(untied.logits(&tokens)), floats(expected));
        checks.close(
            &format!("{name}: logits of the doubled decoder"),
            &found,
            &expected,
            &LOGITS,
        );
    }
    checks.finish();
}
