//! The layouts of a model directory, and what they say about the activation.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use configs::Activation;
use data::Idf;

use super::export::ExportOptions;
use super::sentence_transformers::{POOLING_DIRS, pooling_name};
use super::settings::read_object;
use super::{ExportError, ImportError, config, opensearch, sentence_transformers};
use crate::config::EncoderConfig;

/// A set of files for one reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// transformers: the base of the others.
    Hf,
    /// sentence-transformers' `SparseEncoder`.
    SentenceTransformers,
    /// OpenSearch ml-commons: the query side as a `SPARSE_TOKENIZE` archive.
    OpenSearch,
}

/// The text is not a layout.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("layout `{0}` is not known: expected hf, sentence-transformers or opensearch")]
pub struct UnknownLayout(String);

impl Layout {
    /// The layouts that a model can have without losing anything: sentence-transformers has no name for more
    /// than two logarithms.
    pub fn usual(activation: Activation) -> &'static [Self] {
        match pooling_name(activation) {
            Some(_) => &[Self::Hf, Self::SentenceTransformers],
            None => &[Self::Hf],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hf => "hf",
            Self::SentenceTransformers => "sentence-transformers",
            Self::OpenSearch => "opensearch",
        }
    }

    /// Whether the layout can say what the model does.
    pub(super) fn check(self, options: &ExportOptions) -> Result<(), ExportError> {
        let reason = match (self, options.activation) {
            (Self::SentenceTransformers | Self::OpenSearch, None) => {
                "it is one of a sparse retriever, and this model is a plain masked-LM".into()
            }
            (Self::SentenceTransformers, Some(activation))
                if pooling_name(activation).is_none() =>
            {
                format!(
                    "activation {} applies {} logarithms, and it has names for one and two only",
                    activation.name(),
                    activation.logarithms()
                )
            }
            (Self::OpenSearch, _) if options.idf.is_none() => {
                "it holds a query weight table, and this model has none; give one with --idf".into()
            }
            _ => return Ok(()),
        };
        Err(ExportError::Layout {
            layout: self.name(),
            reason,
        })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layout {
    type Err = UnknownLayout;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Hf, Self::SentenceTransformers, Self::OpenSearch]
            .into_iter()
            .find(|layout| layout.name() == name)
            .ok_or_else(|| UnknownLayout(name.to_owned()))
    }
}

/// The activation that the files of a model directory state: sentence-transformers' pooling settings, or else
/// a key that [`super::export`] leaves in `config.json`. A plain masked-LM directory states none.
///
/// # Errors
///
/// When a file is there but cannot be read, or names an activation that is not known.
pub fn stored_activation(dir: &Path) -> Result<Option<Activation>, ImportError> {
    for pooling in POOLING_DIRS {
        let path = dir.join(pooling).join("config.json");
        if !path.exists() {
            continue;
        }
        let key = "activation_function";
        let found = read_object(&path)?.remove(key).unwrap_or_default();
        return [Activation::Relu, Activation::L1Relu]
            .into_iter()
            .find(|&activation| pooling_name(activation).is_some_and(|name| found == name))
            .map(Some)
            .ok_or_else(|| ImportError::Setting {
                path,
                key: key.to_owned(),
                found: found.to_string(),
                expected: "\"relu\" or \"log1p_relu\"".to_owned(),
            });
    }
    config::stored_activation(dir)
}

/// Writes the files of one layout into `dir`; `idf` holds the weights that queries get.
pub(super) fn write(
    layout: Layout,
    options: &ExportOptions,
    config: &EncoderConfig,
    idf: Option<&Idf>,
    name: &str,
    dir: &Path,
) -> Result<(), ExportError> {
    match layout {
        Layout::Hf => Ok(()),
        Layout::SentenceTransformers => sentence_transformers::write(options, config, idf, dir),
        Layout::OpenSearch => opensearch::write(name, dir),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use data::Tokenizer;

    use super::super::export::write_files;
    use super::super::fixture::{options, random_model};
    use super::*;
    use crate::config::Family;

    #[test]
    fn what_a_layout_cannot_say_is_refused() {
        assert_eq!(Layout::usual(Activation::L3Relu), [Layout::Hf]);
        let (dir, model, config) = random_model(Family::Bert);
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        let l2 = Some(Activation::L2Relu);
        for (layout, activation, reason) in [
            (Layout::SentenceTransformers, l2, "applies 3 logarithms"),
            (Layout::SentenceTransformers, None, "a plain masked-LM"),
            (Layout::OpenSearch, l2, "query weight table"),
        ] {
            let options = ExportOptions {
                activation,
                layouts: &[layout],
                ..options(dir.path(), &tokenizer)
            };
            let error = write_files(&model, &config, &options, "m", dir.path()).unwrap_err();
            let expected = format!("layout `{layout}` cannot hold this model");
            assert!(error.to_string().contains(&expected), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn an_unknown_pooling_activation_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let pooling = dir.path().join("1_SpladePooling");
        fs::create_dir(&pooling).unwrap();
        let settings = r#"{"activation_function": "tanh"}"#;
        fs::write(pooling.join("config.json"), settings).unwrap();
        let error = stored_activation(dir.path()).unwrap_err().to_string();
        let expected = "`activation_function`: found \"tanh\"";
        assert!(error.contains(expected), "{error}");
    }
}
