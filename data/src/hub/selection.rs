//! Which files of a repository are needed.

use std::collections::BTreeSet;

/// What a model is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// To run it: settings, tokenizer and weights.
    Model,
    /// To start one of its shape from random weights: settings and tokenizer.
    Untrained,
    /// To split texts as it does.
    Tokenizer,
}

const TOKENIZERS: [&str; 2] = ["tokenizer.json", "vocab.txt"];
const TOKENIZER_SETTINGS: [&str; 3] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];
const CONFIG: &str = "config.json";
/// What further files say about an encoder: its modules, and the weights of query tokens.
const SETTINGS: [&str; 6] = [
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "router_config.json",
    "idf.json",
    "query_token_weights.txt",
];
/// In the order in which they are looked for; an index names further files.
pub(super) const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// The files to have, out of all that there are, or what is missing among those.
///
/// Of the forms of weights one is taken, safetensors first; those for other libraries (ONNX, TensorFlow, Flax) never.
/// The files that an index names are not known before it is read: see [`index_in`].
pub(super) fn model_files(all: &BTreeSet<String>, files: Files) -> Result<Vec<String>, String> {
    let has = |name: &str| all.contains(name);
    // A model may be used with the tokenizer of another.
    if files == Files::Tokenizer && !TOKENIZERS.into_iter().any(has) {
        return Err(format!("no {}", TOKENIZERS.join(" and no ")));
    }
    let mut names: Vec<&str> = Vec::new();
    names.extend(TOKENIZERS);
    names.extend(TOKENIZER_SETTINGS);
    if files != Files::Tokenizer {
        if !has(CONFIG) {
            return Err(format!("no {CONFIG}"));
        }
        names.push(CONFIG);
        names.extend(SETTINGS);
    }
    if files == Files::Model {
        let weights = WEIGHTS.into_iter().find(|name| has(name));
        names.push(weights.ok_or_else(|| format!("no weights ({})", WEIGHTS.join(", ")))?);
    }
    names.retain(|name| has(name));
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    if files != Files::Tokenizer && has("modules.json") {
        names.extend(module_files(all, files).map(str::to_owned));
    }
    Ok(names)
}

/// The index among the chosen files, where the weights come in parts.
pub(super) fn index_in(files: &[String]) -> Option<&str> {
    let is_index =
        |name: &&String| WEIGHTS.contains(&name.as_str()) && name.ends_with(".index.json");
    files.iter().find(is_index).map(String::as_str)
}

/// What lies in the folders of sentence-transformers' modules, such as `1_SpladePooling` and
/// `query_0_SparseStaticEmbedding`.
fn module_files(all: &BTreeSet<String>, files: Files) -> impl Iterator<Item = &str> {
    all.iter().map(String::as_str).filter(move |path| {
        let Some((folder, name)) = path.split_once('/') else {
            return false;
        };
        let has_safetensors = || all.contains(&format!("{folder}/model.safetensors"));
        let is_wanted = match name.rsplit_once('.') {
            Some((_, "json" | "txt")) => true,
            Some((_, "safetensors")) => files == Files::Model,
            Some((_, "bin")) => files == Files::Model && !has_safetensors(),
            _ => false,
        };
        is_module(folder) && !name.contains('/') && is_wanted
    })
}

/// A module's folder has its number in its name.
fn is_module(folder: &str) -> bool {
    let mut words = folder.split('_');
    words.any(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The files at or below `path`, which is empty for all of them; of folders what documents them and hidden files are
/// left out.
pub(super) fn files_below(all: &BTreeSet<String>, path: &str) -> Vec<String> {
    if all.contains(path) {
        return vec![path.to_owned()];
    }
    let is_data = |file: &&String| {
        let rest = match path {
            "" => Some(file.as_str()),
            path => file
                .strip_prefix(path)
                .and_then(|rest| rest.strip_prefix('/')),
        };
        rest.is_some_and(|rest| {
            !rest.ends_with(".md") && !rest.split('/').any(|part| part.starts_with('.'))
        })
    };
    all.iter().filter(is_data).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    const BERT: [&str; 9] = [
        ".gitattributes",
        "README.md",
        "config.json",
        "model.safetensors",
        "onnx/model.onnx",
        "pytorch_model.bin",
        "tf_model.h5",
        "tokenizer.json",
        "vocab.txt",
    ];

    #[test]
    fn one_form_of_the_weights_is_taken() {
        let chosen = |files| {
            let mut chosen = model_files(&set(&BERT), files).unwrap();
            chosen.sort();
            chosen
        };
        assert_eq!(
            chosen(Files::Model),
            [
                "config.json",
                "model.safetensors",
                "tokenizer.json",
                "vocab.txt"
            ]
        );
        assert_eq!(
            chosen(Files::Untrained),
            ["config.json", "tokenizer.json", "vocab.txt"]
        );
        assert_eq!(chosen(Files::Tokenizer), ["tokenizer.json", "vocab.txt"]);
        let mut legacy = set(&BERT);
        legacy.remove("model.safetensors");
        let chosen = model_files(&legacy, Files::Model).unwrap();
        assert!(chosen.contains(&"pytorch_model.bin".to_owned()));
        assert_eq!(index_in(&chosen), None);
    }

    #[test]
    fn modules_come_with_their_folders() {
        let mut all = set(&BERT);
        all.extend(set(&[
            "modules.json",
            "idf.json",
            "1_SpladePooling/config.json",
            "query_0_SparseStaticEmbedding/model.safetensors",
            "query_0_SparseStaticEmbedding/pytorch_model.bin",
            "openvino/openvino_model.bin",
            "checkpoint/1_x/config.json",
            "model-00001-of-00002.safetensors",
        ]));
        let chosen = model_files(&all, Files::Model).unwrap();
        for name in [
            "modules.json",
            "idf.json",
            "1_SpladePooling/config.json",
            "query_0_SparseStaticEmbedding/model.safetensors",
        ] {
            assert!(chosen.contains(&name.to_owned()), "{name}");
        }
        assert_eq!(chosen.len(), 8, "{chosen:?}");
        let untrained = model_files(&all, Files::Untrained).unwrap();
        assert!(!untrained.iter().any(|name| name.ends_with(".safetensors")));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (names, files, expected) in [
            (&["config.json"][..], Files::Tokenizer, "vocab.txt"),
            (&["vocab.txt"][..], Files::Untrained, "config.json"),
            (
                &["vocab.txt", "config.json"][..],
                Files::Model,
                "pytorch_model.bin",
            ),
        ] {
            let reason = model_files(&set(names), files).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
        let index = set(&["vocab.txt", "config.json", "model.safetensors.index.json"]);
        let chosen = model_files(&index, Files::Model).unwrap();
        assert_eq!(index_in(&chosen), Some("model.safetensors.index.json"));
    }

    #[test]
    fn folders_of_data() {
        let all = set(&[
            ".gitattributes",
            "README.md",
            "corpus.jsonl.gz",
            "qrels/test.tsv",
            "qrels/.cache/x",
            "qrels2/test.tsv",
        ]);
        assert_eq!(files_below(&all, "qrels"), ["qrels/test.tsv"]);
        assert_eq!(files_below(&all, "README.md"), ["README.md"]);
        assert_eq!(
            files_below(&all, ""),
            ["corpus.jsonl.gz", "qrels/test.tsv", "qrels2/test.tsv"]
        );
        assert_eq!(files_below(&all, "qrel"), [] as [String; 0]);
    }
}
