//! From a [`MaskedLm`] to a model directory.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use configs::Activation;
use data::output::{AtomicDir, AtomicFile, OutputError, write_file};
use data::{Idf, Tokenizer};
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;

use super::parameters::{NamedTensor, named_tensors};
use super::stored_tensor::coordinates;
use super::{ExportError, Layout, WeightType, card, config, keys, layout, tokenizer_files};
use crate::config::EncoderConfig;
use crate::masked_lm::MaskedLm;

/// What goes into a model directory besides the weights.
#[derive(Clone, Copy)]
pub struct ExportOptions<'a> {
    /// The model directory that training started from; its `config.json` is kept but for what changed.
    pub source: &'a Path,
    /// Written in all the forms that readers expect.
    pub tokenizer: &'a Tokenizer,
    /// Query weights by token id; `None` for a siamese model.
    pub idf: Option<&'a Idf>,
    /// Activation of the documents; `None` for a masked-LM, which represents none.
    pub activation: Option<Activation>,
    /// Longest sequence that readers should encode, specials included.
    pub max_seq_len: usize,
    /// Type of the weights in the file.
    pub weight_type: WeightType,
    /// Layouts to write; [`Layout::Hf`] is the base of all and always written.
    pub layouts: &'a [Layout],
}

/// Writes a model directory; it appears under its name when complete, or not at all.
///
/// # Errors
///
/// [`ExportError`]: when `dir` exists and is not empty, the disk refuses, a weight does not fit the type, or a
/// layout has no way to say what the model does.
pub fn export(
    model: &MaskedLm,
    config: &EncoderConfig,
    options: &ExportOptions,
    dir: &Path,
) -> Result<(), ExportError> {
    let staging = AtomicDir::create(dir)?;
    let name = dir.file_name().unwrap_or(dir.as_os_str());
    write_files(
        model,
        config,
        options,
        &name.to_string_lossy(),
        staging.path(),
    )?;
    Ok(staging.finish()?)
}

/// Writes the files of a model called `name` into `dir`, which exists: for callers that add files of their own
/// before the directory gets its final name.
///
/// # Errors
///
/// As [`export`].
pub fn write_files(
    model: &MaskedLm,
    config: &EncoderConfig,
    options: &ExportOptions,
    name: &str,
    dir: &Path,
) -> Result<(), ExportError> {
    let tokens = options.tokenizer.vocab_size();
    if tokens > config.vocab_size {
        return Err(ExportError::Vocabulary {
            path: options.tokenizer.dir().to_path_buf(),
            tokens,
            vocab: config.vocab_size,
        });
    }
    for layout in options.layouts {
        layout.check(options)?;
    }
    let tied = model.head.decoder.is_none();
    let settings = config::exported(
        options.source,
        tied,
        options.weight_type,
        options.activation,
    )?;
    write_json(&dir.join("config.json"), &settings)?;
    tokenizer_files::write(options.tokenizer, config, dir)?;
    let idf = options.idf.map(|idf| query_weights(idf, options.tokenizer));
    if let Some(idf) = &idf {
        idf.save(&dir.join("idf.json"), options.tokenizer)?;
        let listing = weight_listing(idf, options.tokenizer);
        write_file(&dir.join("query_token_weights.txt"), listing.as_bytes())?;
    }
    for layout in options.layouts {
        layout::write(*layout, options, config, idf.as_ref(), name, dir)?;
    }
    write_file(
        &dir.join("README.md"),
        card::text(name, options, config).as_bytes(),
    )?;
    write_weights(
        model,
        config,
        options.weight_type,
        &dir.join("model.safetensors"),
    )
}

/// The weights that queries really get: negative ones and special tokens count as 0, which not every reader of
/// the table knows.
fn query_weights(idf: &Idf, tokenizer: &Tokenizer) -> Idf {
    let mut weights: Vec<f32> = idf.weights.iter().map(|weight| weight.max(0.0)).collect();
    for &special in tokenizer.special_ids() {
        if let Some(weight) = weights.get_mut(special as usize) {
            *weight = 0.0;
        }
    }
    Idf { weights }
}

/// `token<TAB>weight`, the weights that are 1 left out: its readers take 1 for what is missing.
fn weight_listing(idf: &Idf, tokenizer: &Tokenizer) -> String {
    (0..)
        .zip(&idf.weights)
        .filter(|&(_, &weight)| weight != 1.0)
        .filter_map(|(id, weight)| Some(format!("{}\t{weight}\n", tokenizer.token(id)?)))
        .collect()
}

/// Writes the weights as transformers names them, one tensor in memory at a time, sorted by key.
fn write_weights(
    model: &MaskedLm,
    config: &EncoderConfig,
    weight_type: WeightType,
    path: &Path,
) -> Result<(), ExportError> {
    let mut tensors = named_tensors(model, config.family);
    if model.head.decoder.is_some() {
        tensors.extend(decoder_bias_copy(&tensors, config));
    }
    tensors.sort_by(|left, right| left.key.cmp(&right.key));

    let mut file = AtomicFile::create(path)?;
    let write = |file: &mut AtomicFile, bytes: &[u8]| {
        let result = file.write_all(bytes);
        // The file's own errors name its path already.
        result.map_err(|error| match error.downcast() {
            Ok(named) => named,
            Err(cause) => OutputError::Write {
                path: path.to_path_buf(),
                cause,
            },
        })
    };
    write(&mut file, &header(&tensors, weight_type))?;
    let mut bytes = Vec::new();
    for tensor in &tensors {
        let weights = tensor.values();
        bytes.clear();
        weight_type
            .encode(&weights, &mut bytes)
            .map_err(|index| ExportError::Weight {
                key: tensor.key.clone(),
                index: coordinates(index, &tensor.shape),
                value: weights[index],
                weight_type,
            })?;
        write(&mut file, &bytes)?;
    }
    Ok(file.finish()?)
}

/// The decoder's bias under its second key, which transformers needs to find when nothing is tied.
fn decoder_bias_copy(tensors: &[NamedTensor], config: &EncoderConfig) -> Option<NamedTensor> {
    let alias = keys::decoder_bias_alias(config.family)?;
    let bias = keys::hf_key("head.bias", config.family).name;
    let mut copy = tensors.iter().find(|tensor| tensor.key == bias)?.clone();
    copy.key = alias.to_owned();
    Some(copy)
}

/// Length and JSON of a safetensors header, padded so that the data is aligned.
fn header(tensors: &[NamedTensor], weight_type: WeightType) -> Vec<u8> {
    let mut end = 0;
    let infos = tensors
        .iter()
        .map(|tensor| {
            let start = end;
            end += tensor.shape.iter().product::<usize>() * weight_type.bytes();
            let info = TensorInfo {
                dtype: weight_type.safetensors(),
                shape: tensor.shape.clone(),
                data_offsets: (start, end),
            };
            (tensor.key.clone(), info)
        })
        .collect();
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut json = Metadata::new(Some(format), infos)
        .and_then(|metadata| Ok(serde_json::to_vec(&metadata)?))
        .expect("the offsets follow from the shapes, without gaps");
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    header
}

/// Creates a directory of the layout.
pub(super) fn create_dir(dir: &Path) -> Result<(), ExportError> {
    fs::create_dir(dir).map_err(|cause| {
        ExportError::Output(OutputError::Write {
            path: dir.to_path_buf(),
            cause,
        })
    })
}

/// Writes indented JSON with a line end.
pub(super) fn write_json(path: &Path, value: &Value) -> Result<(), ExportError> {
    write_file(path, format!("{value:#}\n").as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::tensor::{Device, Tensor};

    use super::super::fixture::{model_dir, options, random_model};
    use super::super::{ImportOptions, load};
    use super::*;
    use crate::config::Family;

    fn file(dir: &Path) -> Vec<u8> {
        fs::read(dir.join("model.safetensors")).unwrap()
    }

    #[test]
    fn untrained_weights_are_written_bit_for_bit() {
        for family in [Family::Bert, Family::DistilBert, Family::Gte] {
            let (_guard, source) = model_dir(family);
            let tokenizer = Tokenizer::from_dir(&source).unwrap();
            let device = Device::flex();
            let mut previous = source.clone();
            for (step, weight_type) in [WeightType::F32, WeightType::F16, WeightType::F16]
                .into_iter()
                .enumerate()
            {
                let (model, config, _) =
                    load(&previous, &ImportOptions::default(), &device).unwrap();
                let next = source.join(format!("step-{step}"));
                let options = ExportOptions {
                    weight_type,
                    ..options(&source, &tokenizer)
                };
                export(&model, &config, &options, &next).unwrap();
                if step != 1 {
                    assert!(file(&previous) == file(&next), "{family:?} step {step}");
                }
                previous = next;
            }
        }
    }

    #[test]
    fn a_separate_decoder_survives_and_unties_the_config() {
        let (dir, mut model, config) = random_model(Family::Bert);
        let decoder = model.decoder() * 2.0;
        model.head.decoder = Some(Param::from_tensor(decoder.clone()));
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        let target = dir.path().join("out");
        export(&model, &config, &options(dir.path(), &tokenizer), &target).unwrap();
        let (again, _, report) = load(&target, &ImportOptions::default(), &Device::flex()).unwrap();
        assert!(!report.tied);
        again
            .decoder()
            .into_data()
            .assert_eq(&decoder.into_data(), true);
        let settings = fs::read_to_string(target.join("config.json")).unwrap();
        assert!(
            settings.contains("\"tie_word_embeddings\": false"),
            "{settings}"
        );
    }

    #[test]
    fn query_weights_are_those_that_queries_get() {
        let (dir, model, config) = random_model(Family::DistilBert);
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        let idf = Idf {
            weights: vec![1.0, 2.0, 3.0, 4.0, 5.0, 1.0, 0.5, -2.0, 7.25],
        };
        let options = ExportOptions {
            idf: Some(&idf),
            ..options(dir.path(), &tokenizer)
        };
        let target = dir.path().join("out");
        export(&model, &config, &options, &target).unwrap();
        let written = Idf::from_file(&target.join("idf.json"), &tokenizer).unwrap();
        assert_eq!(
            written.weights,
            [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.5, 0.0, 7.25]
        );
        let listing = fs::read_to_string(target.join("query_token_weights.txt")).unwrap();
        assert!(
            listing.ends_with("moon\t0.5\n##light\t0\ntide\t7.25\n"),
            "{listing}"
        );
        assert!(!listing.contains("sun"), "{listing}");
    }

    #[test]
    fn weights_beyond_the_type_and_taken_names_are_refused() {
        let (dir, mut model, config) = random_model(Family::Bert);
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        let wide = Tensor::<1>::ones([config.vocab_size], &Device::flex()) * 1e5;
        model.head.bias = Param::from_tensor(wide);
        let options = ExportOptions {
            weight_type: WeightType::F16,
            ..options(dir.path(), &tokenizer)
        };
        let target = dir.path().join("out");
        let error = export(&model, &config, &options, &target)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`cls.predictions.bias` holds 100000 at index [0]"),
            "{error}"
        );
        assert!(!target.exists());

        let error = export(&model, &config, &options, dir.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("already exists"), "{error}");
    }
}
