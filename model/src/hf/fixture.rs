//! Small model directories for the tests of this module.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::Device;
use configs::Activation;
use data::Tokenizer;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    ExportOptions, ImportOptions, Layout, WeightType, export, from_scratch, named_parameters,
};
use crate::config::{EncoderConfig, Family};
use crate::masked_lm::MaskedLm;

pub const VOCABULARY: [&str; 9] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "sun", "moon", "##light", "tide",
];

/// Shape and values by key.
pub type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

pub fn config_json(family: Family) -> Value {
    let vocab_size = VOCABULARY.len();
    match family {
        Family::Bert => json!({
            "model_type": "bert", "vocab_size": vocab_size, "hidden_size": 8, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 12, "max_position_embeddings": 16,
            "type_vocab_size": 2,
        }),
        Family::DistilBert => json!({
            "model_type": "distilbert", "vocab_size": vocab_size, "dim": 8, "n_layers": 2, "n_heads": 2,
            "hidden_dim": 12, "max_position_embeddings": 16,
        }),
        Family::Gte => json!({
            "model_type": "new", "vocab_size": vocab_size, "hidden_size": 8, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 12, "max_position_embeddings": 16,
            "type_vocab_size": 0, "position_embedding_type": "rope", "rope_theta": 500.0,
            "rope_scaling": {"type": "ntk", "factor": 2.0}, "layer_norm_type": "layer_norm", "pack_qkv": true,
        }),
    }
}

/// A directory with config.json and vocab.txt, and a model of random weights.
pub fn random_model(family: Family) -> (TempDir, MaskedLm, EncoderConfig) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("config.json"),
        config_json(family).to_string(),
    )
    .unwrap();
    fs::write(dir.path().join("vocab.txt"), VOCABULARY.join("\n")).unwrap();
    let (model, config) =
        from_scratch(dir.path(), &ImportOptions::default(), &Device::flex()).unwrap();
    (dir, model, config)
}

/// A complete model directory: `model` below a temporary directory.
pub fn model_dir(family: Family) -> (TempDir, std::path::PathBuf) {
    let (dir, model, config) = random_model(family);
    let target = dir.path().join("model");
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    let options = options(dir.path(), &tokenizer);
    export(&model, &config, &options, &target).unwrap();
    (dir, target)
}

/// Export options of a siamese model with one logarithm.
pub fn options<'a>(source: &'a Path, tokenizer: &'a Tokenizer) -> ExportOptions<'a> {
    ExportOptions {
        source,
        tokenizer,
        idf: None,
        activation: Some(Activation::Relu),
        max_seq_len: 512,
        weight_type: WeightType::F32,
        layouts: &[Layout::Hf],
    }
}

/// The weights of a masked-LM model with random values, under their keys.
pub fn random_weights(family: Family) -> Weights {
    let (_dir, model, _) = random_model(family);
    named_parameters(&model, family)
        .into_iter()
        .map(|(key, shape, values)| (key, (shape, values)))
        .collect()
}

pub fn read_weights(path: &Path) -> Weights {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(key, view)| {
            let mut values = Vec::new();
            let weight_type = WeightType::from_safetensors(view.dtype()).unwrap();
            weight_type.decode(view.data(), &mut values);
            (key.to_owned(), (view.shape().to_vec(), values))
        })
        .collect()
}

pub fn write_weights(path: &Path, weights: &Weights) {
    let tensors: Vec<(&String, &[usize], Vec<u8>)> = weights
        .iter()
        .map(|(key, (shape, values))| {
            let bytes = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            (key, shape.as_slice(), bytes)
        })
        .collect();
    let views = tensors.iter().map(|(key, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
        (key.as_str(), view)
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}
