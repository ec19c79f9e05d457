//! Token ids, against the reference tokenizer's.

use std::path::Path;

use data::Tokenizer;
use serde_json::{Value, json};

use crate::compare::Checks;
use crate::fixture::{self, count, ids, list, text};

/// Longer than any text: nothing is cut.
const WHOLE: usize = 1 << 30;

fn open(path: &Path) -> Tokenizer {
    Tokenizer::from_file(path).unwrap_or_else(|error| panic!("{error}"))
}

/// The vocabulary, and the tokenizer.json with truncation settings where it is there.
fn tokenizers() -> Vec<(&'static str, Tokenizer)> {
    let mut found = vec![("vocab.txt", open(&fixture::path("tokenizer/vocab.txt")))];
    if let Some(path) = fixture::optional("tokenizer/tokenizer_minilm.json") {
        found.push(("tokenizer_minilm.json", open(&path)));
    }
    found
}

#[test]
fn ids_of_every_text() {
    let cases = fixture::json("tokenizer/ids.json");
    let mut checks = Checks::new();
    for (name, tokenizer) in tokenizers() {
        for (row, case) in list(&cases).iter().enumerate() {
            let encode = |max_len| {
                tokenizer
                    .encode(text(&case["text"]), max_len)
                    .expect("token ids")
            };
            let what = format!("{name} text {row} ({:.40})", case["text"].to_string());
            checks.equal(
                &format!("{what} n_full"),
                encode(WHOLE).len(),
                count(&case["n_full"]),
            );
            for (key, expected) in case.as_object().expect("a case") {
                if let Some(max_len) = key.strip_prefix("ids_") {
                    let max_len = max_len.parse().expect("a length after `ids_`");
                    checks.same(&format!("{what} {key}"), &encode(max_len), &ids(expected));
                }
            }
        }
    }
    checks.finish();
}

/// `batch_pad_<length>.json`
#[test]
fn padded_batches() {
    let mut checks = Checks::new();
    let folder = std::fs::read_dir(fixture::path("tokenizer")).expect("a folder");
    for entry in folder {
        let name = entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned();
        let Some(max_len) = name.strip_prefix("batch_pad_") else {
            continue;
        };
        let max_len = max_len
            .trim_end_matches(".json")
            .parse()
            .expect("a length in the name");
        let batch = fixture::json(&format!("tokenizer/{name}"));
        for (tokenizer_name, tokenizer) in tokenizers() {
            let texts = fixture::texts(&batch["texts"]);
            let rows = tokenizer.encode_all(&texts, max_len).expect("token ids");
            let (golden_ids, golden_mask) =
                (list(&batch["input_ids"]), list(&batch["attention_mask"]));
            for (row, found) in rows.iter().enumerate() {
                let what = format!("{tokenizer_name} {name} row {row}");
                let tokens = ids(&golden_mask[row])
                    .iter()
                    .filter(|&&bit| bit == 1)
                    .count();
                checks.same(&what, found, &ids(&golden_ids[row])[..tokens]);
            }
            checks.equal(&name, rows.len(), golden_ids.len());
        }
    }
    checks.finish();
}

/// `tokenizer_samples.json` of a model, with its tokenizer.json, with its vocab.txt, and with a tokenizer.json that
/// carries truncation and padding settings of its own, which do not count.
#[test]
fn samples_of_every_model() {
    let mut checks = Checks::new();
    let holders = fixture::folders(".", |path| path.join("tokenizer_samples.json").is_file());
    for name in holders {
        let samples = fixture::json(&format!("{name}/tokenizer_samples.json"));
        let dir = fixture::path(&name);
        let settings = with_settings(fixture::json(&format!("{name}/tokenizer.json")));
        let scratch = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(scratch.path().join("tokenizer.json"), settings.to_string())
            .expect("written");
        for (kind, tokenizer) in [
            ("tokenizer.json", open(&dir.join("tokenizer.json"))),
            ("vocab.txt", open(&dir.join("vocab.txt"))),
            ("directory", Tokenizer::from_dir(&dir).expect("a tokenizer")),
            (
                "its own settings",
                Tokenizer::from_dir(scratch.path()).expect("a tokenizer"),
            ),
        ] {
            for (row, sample) in list(&samples).iter().enumerate() {
                let found = tokenizer
                    .encode(text(&sample["text"]), WHOLE)
                    .expect("token ids");
                checks.same(
                    &format!("{name} {kind} sample {row}"),
                    &found,
                    &ids(&sample["ids"]),
                );
            }
        }
    }
    checks.finish();
}

fn with_settings(mut tokenizer: Value) -> Value {
    tokenizer["truncation"] = json!({
        "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0
    });
    tokenizer["padding"] = json!({
        "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"
    });
    tokenizer
}
