//! Hugging Face key names: from module paths to keys, and from the keys found in real files to those.
//!
//! A module path is what walking [`crate::MaskedLm`] yields, such as `encoder.layers.0.attention.query.weight`.

use crate::config::Family;

/// Where a parameter is in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HfKey {
    /// Name of the tensor.
    pub name: String,
    /// Whether the file holds the transpose: Burn's `Linear` multiplies by `[in, out]`, torch's by `[out, in]`.
    pub transposed: bool,
}

/// What a tensor found in a file is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The parameter of this key, written today's way.
    Parameter(String),
    /// A buffer or a head that masked-LM inference does not use.
    Unused,
}

/// Names of a family: `(module path, key)`, without the leaf (`weight`, `bias`).
struct Names {
    prefix: &'static str,
    /// What comes before a layer's number.
    layers: &'static str,
    modules: &'static [(&'static str, &'static str)],
    layer_modules: &'static [(&'static str, &'static str)],
    /// Beginnings of the encoder's keys in files that leave the prefix out.
    roots: &'static [&'static str],
}

const BERT: Names = Names {
    prefix: "bert.",
    layers: "bert.encoder.layer",
    modules: &[
        ("encoder.embeddings.word", "bert.embeddings.word_embeddings"),
        (
            "encoder.embeddings.position",
            "bert.embeddings.position_embeddings",
        ),
        (
            "encoder.embeddings.token_type",
            "bert.embeddings.token_type_embeddings",
        ),
        ("encoder.embeddings.norm", "bert.embeddings.LayerNorm"),
        ("head.transform", "cls.predictions.transform.dense"),
        ("head.norm", "cls.predictions.transform.LayerNorm"),
        ("head.decoder", "cls.predictions.decoder"),
        ("head", "cls.predictions"),
    ],
    layer_modules: &[
        ("attention.query", "attention.self.query"),
        ("attention.key", "attention.self.key"),
        ("attention.value", "attention.self.value"),
        ("attention.output", "attention.output.dense"),
        ("attention_norm", "attention.output.LayerNorm"),
        ("intermediate", "intermediate.dense"),
        ("output", "output.dense"),
        ("output_norm", "output.LayerNorm"),
    ],
    roots: &["embeddings.", "encoder.layer.", "pooler."],
};

const DISTILBERT: Names = Names {
    prefix: "distilbert.",
    layers: "distilbert.transformer.layer",
    modules: &[
        (
            "encoder.embeddings.word",
            "distilbert.embeddings.word_embeddings",
        ),
        (
            "encoder.embeddings.position",
            "distilbert.embeddings.position_embeddings",
        ),
        ("encoder.embeddings.norm", "distilbert.embeddings.LayerNorm"),
        ("head.transform", "vocab_transform"),
        ("head.norm", "vocab_layer_norm"),
        ("head.decoder", "vocab_projector"),
        ("head", "vocab_projector"),
    ],
    layer_modules: &[
        ("attention.query", "attention.q_lin"),
        ("attention.key", "attention.k_lin"),
        ("attention.value", "attention.v_lin"),
        ("attention.output", "attention.out_lin"),
        ("attention_norm", "sa_layer_norm"),
        ("intermediate", "ffn.lin1"),
        ("output", "ffn.lin2"),
        ("output_norm", "output_layer_norm"),
    ],
    roots: &["embeddings.", "transformer.layer."],
};

/// Heads of other tasks that share a checkpoint with the encoder.
const OTHER_HEADS: [&str; 4] = [
    "cls.seq_relationship.",
    "classifier.",
    "pre_classifier.",
    "qa_outputs.",
];

/// Buffers that older releases stored; their contents follow from their shapes.
const BUFFERS: [&str; 2] = ["embeddings.position_ids", "embeddings.token_type_ids"];

fn names(family: Family) -> &'static Names {
    match family {
        Family::Bert => &BERT,
        Family::DistilBert => &DISTILBERT,
    }
}

/// The key of the parameter at a module path of [`crate::MaskedLm`].
///
/// # Panics
///
/// If the path is none of the model's: its modules and the tables here have to change together.
pub fn hf_key(path: &str, family: Family) -> HfKey {
    let names = names(family);
    // The decoder is a bare parameter of the head, not a module with a weight.
    let (module, leaf) = match path {
        "head.decoder" => ("head.decoder", "weight"),
        _ => path.rsplit_once('.').unwrap_or((path, "")),
    };
    let name = match module.strip_prefix("encoder.layers.") {
        Some(layer) => layer.split_once('.').and_then(|(index, module)| {
            let module = look_up(names.layer_modules, module)?;
            Some(format!("{}.{index}.{module}", names.layers))
        }),
        None => look_up(names.modules, module).map(str::to_owned),
    };
    let leaf = match leaf {
        "gamma" | "weight" => "weight",
        _ => "bias",
    };
    let name = name.unwrap_or_else(|| panic!("module path {path} has no Hugging Face name"));
    HfKey {
        name: format!("{name}.{leaf}"),
        transposed: path.ends_with(".weight") && !path.starts_with("encoder.embeddings."),
    }
}

/// What the tensor `key` of a file is for: legacy names and missing prefixes are understood.
pub fn role(key: &str, family: Family) -> Role {
    let names = names(family);
    let mut name = key.to_owned();
    if names.roots.iter().any(|root| key.starts_with(root)) {
        name.insert_str(0, names.prefix);
    }
    for (legacy, leaf) in [(".gamma", ".weight"), (".beta", ".bias")] {
        if let Some(module) = name.strip_suffix(legacy) {
            name = format!("{module}{leaf}");
        }
    }
    let encoder_key = name.strip_prefix(names.prefix);
    let unused = OTHER_HEADS.iter().any(|head| name.starts_with(head))
        || encoder_key.is_some_and(|key| BUFFERS.contains(&key) || key.starts_with("pooler."));
    if unused {
        Role::Unused
    } else {
        Role::Parameter(name)
    }
}

/// A second key under which some files hold the decoder's bias.
pub fn decoder_bias_alias(family: Family) -> Option<&'static str> {
    match family {
        Family::Bert => Some("cls.predictions.decoder.bias"),
        Family::DistilBert => None,
    }
}

/// Whether a module path belongs to the masked-LM head.
pub fn is_head(path: &str) -> bool {
    path.starts_with("head.")
}

fn look_up(table: &[(&str, &'static str)], module: &str) -> Option<&'static str> {
    let &(_, name) = table.iter().find(|(path, _)| *path == module)?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_keys() {
        let table = [
            (
                Family::Bert,
                "encoder.layers.11.attention_norm.gamma",
                "bert.encoder.layer.11.attention.output.LayerNorm.weight",
                false,
            ),
            (
                Family::Bert,
                "encoder.layers.0.output.weight",
                "bert.encoder.layer.0.output.dense.weight",
                true,
            ),
            (
                Family::Bert,
                "head.decoder",
                "cls.predictions.decoder.weight",
                false,
            ),
            (Family::Bert, "head.bias", "cls.predictions.bias", false),
            (
                Family::DistilBert,
                "encoder.embeddings.word.weight",
                "distilbert.embeddings.word_embeddings.weight",
                false,
            ),
            (
                Family::DistilBert,
                "encoder.layers.3.attention.query.bias",
                "distilbert.transformer.layer.3.attention.q_lin.bias",
                false,
            ),
            (
                Family::DistilBert,
                "head.decoder",
                "vocab_projector.weight",
                false,
            ),
            (
                Family::DistilBert,
                "head.bias",
                "vocab_projector.bias",
                false,
            ),
        ];
        for (family, path, name, transposed) in table {
            let name = name.to_owned();
            assert_eq!(hf_key(path, family), HfKey { name, transposed }, "{path}");
        }
    }

    #[test]
    fn keys_of_real_files_are_understood() {
        let parameter = |name: &str| Role::Parameter(name.to_owned());
        let table = [
            (
                "bert.embeddings.LayerNorm.gamma",
                parameter("bert.embeddings.LayerNorm.weight"),
            ),
            (
                "encoder.layer.0.output.LayerNorm.beta",
                parameter("bert.encoder.layer.0.output.LayerNorm.bias"),
            ),
            (
                "embeddings.word_embeddings.weight",
                parameter("bert.embeddings.word_embeddings.weight"),
            ),
            ("cls.predictions.bias", parameter("cls.predictions.bias")),
            ("embeddings.position_ids", Role::Unused),
            ("bert.embeddings.position_ids", Role::Unused),
            ("pooler.dense.weight", Role::Unused),
            ("bert.pooler.dense.bias", Role::Unused),
            ("cls.seq_relationship.weight", Role::Unused),
            ("roberta.pooler", parameter("roberta.pooler")),
        ];
        for (key, expected) in table {
            assert_eq!(role(key, Family::Bert), expected, "{key}");
        }
    }
}
