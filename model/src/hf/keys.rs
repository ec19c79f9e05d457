//! Hugging Face key names: from module paths to keys, and from the keys found in real files to those.
//!
//! A module path is what walking [`crate::MaskedLm`] or [`crate::SequenceClassifier`] yields, such as
//! `encoder.layers.0.attention.query.weight`.

use crate::config::Family;

/// Where a parameter is in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HfKey {
    /// Name of the tensor.
    pub name: String,
    /// Whether the file holds the transpose: Burn's `Linear` multiplies by `[in, out]`, torch's by `[out, in]`.
    pub transposed: bool,
    /// Which share of the tensor it is.
    pub share: Share,
}

/// One of several equal shares of a tensor's rows: queries, keys and values that a file holds as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Place among them.
    pub index: usize,
    /// Number of them.
    pub count: usize,
}

impl Share {
    /// All of the tensor.
    pub const WHOLE: Self = Self { index: 0, count: 1 };
}

/// What a model has on top of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// [`crate::masked_lm::MlmHead`]
    MaskedLm,
    /// [`crate::classifier::ClassifierHead`]
    Classifier,
    /// Nothing: hidden states are what it gives.
    Nothing,
}

/// What a tensor found in a file is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The parameter of this key, written today's way.
    Parameter(String),
    /// A buffer, or part of a head that the model does not have.
    Unused,
}

/// Names of a family: `(module path, key)`, without the leaf (`weight`, `bias`). Modules of a layer that have the same
/// key are equal shares of its tensor, in this order.
struct Names {
    prefix: &'static str,
    /// What comes before a layer's number.
    layers: &'static str,
    modules: &'static [(&'static str, &'static str)],
    layer_modules: &'static [(&'static str, &'static str)],
    /// Beginnings of the encoder's keys in files that leave the prefix out.
    roots: &'static [&'static str],
    /// Beginnings of the keys of the masked-LM head.
    masked_lm: &'static [&'static str],
    /// Beginnings of the keys of a classification head.
    classifier: &'static [&'static str],
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
        ("classifier.dense", "bert.pooler.dense"),
        ("classifier.output", "classifier"),
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
    masked_lm: &["cls.predictions."],
    classifier: &["bert.pooler.", "classifier."],
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
        ("classifier.dense", "pre_classifier"),
        ("classifier.output", "classifier"),
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
    masked_lm: &["vocab_transform.", "vocab_layer_norm.", "vocab_projector."],
    classifier: &["pre_classifier.", "classifier."],
};

const GTE: Names = Names {
    prefix: "new.",
    layers: "new.encoder.layer",
    modules: &[
        ("encoder.embeddings.word", "new.embeddings.word_embeddings"),
        (
            "encoder.embeddings.token_type",
            "new.embeddings.token_type_embeddings",
        ),
        ("encoder.embeddings.norm", "new.embeddings.LayerNorm"),
        ("head.transform", "lm_head.dense"),
        ("head.norm", "lm_head.norm"),
        ("head.decoder", "lm_head.decoder"),
        ("head", "lm_head.decoder"),
    ],
    layer_modules: &[
        ("attention.query", "attention.qkv_proj"),
        ("attention.key", "attention.qkv_proj"),
        ("attention.value", "attention.qkv_proj"),
        ("attention.output", "attention.o_proj"),
        ("attention_norm", "attn_ln"),
        ("intermediate", "mlp.up_gate_proj"),
        ("output", "mlp.down_proj"),
        ("output_norm", "mlp_ln"),
    ],
    roots: &["embeddings.", "encoder.layer.", "pooler."],
    masked_lm: &["lm_head."],
    classifier: &[],
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
        Family::Gte => &GTE,
    }
}

/// The key of the parameter at a module path.
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
    let found = match module.strip_prefix("encoder.layers.") {
        Some(layer) => layer.split_once('.').and_then(|(index, module)| {
            let name = look_up(names.layer_modules, module)?;
            let share = share(names.layer_modules, module, name);
            Some((format!("{}.{index}.{name}", names.layers), share))
        }),
        None => look_up(names.modules, module).map(|name| (name.to_owned(), Share::WHOLE)),
    };
    let leaf = match leaf {
        "gamma" | "weight" => "weight",
        _ => "bias",
    };
    let (name, share) =
        found.unwrap_or_else(|| panic!("module path {path} has no Hugging Face name"));
    HfKey {
        name: format!("{name}.{leaf}"),
        transposed: path.ends_with(".weight") && !path.starts_with("encoder.embeddings."),
        share,
    }
}

/// What the tensor `key` of a file is for in a model with this head: legacy names and missing prefixes are understood.
pub fn role(key: &str, family: Family, head: Head) -> Role {
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
    let within = |heads: &[&str]| heads.iter().any(|head| name.starts_with(head));
    let own = match head {
        Head::MaskedLm => within(names.masked_lm),
        Head::Classifier => within(names.classifier),
        Head::Nothing => false,
    };
    let encoder_key = name.strip_prefix(names.prefix);
    let unused = within(&OTHER_HEADS)
        || within(names.masked_lm)
        || encoder_key.is_some_and(|key| BUFFERS.contains(&key) || key.starts_with("pooler."));
    if unused && !own {
        Role::Unused
    } else {
        Role::Parameter(name)
    }
}

/// A second key under which some files hold the decoder's bias.
pub fn decoder_bias_alias(family: Family) -> Option<&'static str> {
    match family {
        Family::Bert => Some("cls.predictions.decoder.bias"),
        Family::DistilBert | Family::Gte => None,
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

/// Which of the modules called `name` the given one is.
fn share(table: &[(&str, &str)], module: &str, name: &str) -> Share {
    let mut share = Share { index: 0, count: 0 };
    for (path, _) in table.iter().filter(|(_, other)| *other == name) {
        if *path == module {
            share.index = share.count;
        }
        share.count += 1;
    }
    share
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
            (
                Family::Gte,
                "encoder.layers.2.intermediate.weight",
                "new.encoder.layer.2.mlp.up_gate_proj.weight",
                true,
            ),
            (Family::Gte, "head.decoder", "lm_head.decoder.weight", false),
            (Family::Gte, "head.bias", "lm_head.decoder.bias", false),
            (
                Family::Bert,
                "classifier.dense.weight",
                "bert.pooler.dense.weight",
                true,
            ),
            (
                Family::DistilBert,
                "classifier.output.bias",
                "classifier.bias",
                false,
            ),
        ];
        for (family, path, name, transposed) in table {
            let expected = HfKey {
                name: name.to_owned(),
                transposed,
                share: Share::WHOLE,
            };
            assert_eq!(hf_key(path, family), expected, "{path}");
        }
    }

    #[test]
    fn queries_keys_and_values_are_shares_of_one_tensor() {
        let modules = ["query", "key", "value"];
        for (index, module) in modules.into_iter().enumerate() {
            for leaf in ["weight", "bias"] {
                let path = format!("encoder.layers.7.attention.{module}.{leaf}");
                let expected = HfKey {
                    name: format!("new.encoder.layer.7.attention.qkv_proj.{leaf}"),
                    transposed: leaf == "weight",
                    share: Share { index, count: 3 },
                };
                assert_eq!(hf_key(&path, Family::Gte), expected);
                assert_eq!(hf_key(&path, Family::Bert).share, Share::WHOLE);
            }
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
            assert_eq!(role(key, Family::Bert, Head::MaskedLm), expected, "{key}");
        }
    }

    #[test]
    fn a_head_is_used_by_the_models_that_have_it() {
        use Family::{Bert, DistilBert};
        // Of each key: whether masked-LM, classifier and bare encoder use it.
        let table = [
            (Bert, "cls.predictions.bias", [true, false, false]),
            (Bert, "classifier.weight", [false, true, false]),
            (Bert, "pooler.dense.weight", [false, true, false]),
            (Bert, "bert.pooler.dense.bias", [false, true, false]),
            (Bert, "qa_outputs.bias", [false; 3]),
            (Bert, "bert.embeddings.position_ids", [false; 3]),
            (Bert, "bert.embeddings.LayerNorm.gamma", [true; 3]),
            (DistilBert, "vocab_transform.bias", [true, false, false]),
            (DistilBert, "pre_classifier.bias", [false, true, false]),
            (DistilBert, "classifier.bias", [false, true, false]),
            (DistilBert, "transformer.layer.0.ffn.lin1.bias", [true; 3]),
        ];
        for (family, key, expected) in table {
            let found = [Head::MaskedLm, Head::Classifier, Head::Nothing]
                .map(|head| role(key, family, head) != Role::Unused);
            assert_eq!(found, expected, "{key}");
        }
        let parameter = |name: &str| Role::Parameter(name.to_owned());
        let table = [
            (
                "encoder.layer.0.attn_ln.bias",
                parameter("new.encoder.layer.0.attn_ln.bias"),
            ),
            ("lm_head.norm.weight", parameter("lm_head.norm.weight")),
            ("pooler.dense.weight", Role::Unused),
            ("classifier.bias", Role::Unused),
        ];
        for (key, expected) in table {
            assert_eq!(role(key, Family::Gte, Head::MaskedLm), expected, "{key}");
        }
    }
}
