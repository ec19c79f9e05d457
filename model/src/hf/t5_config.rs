//! T5's `config.json`.

use std::path::Path;

use serde_json::Value;

use super::ImportError;
use super::config::{MAX_LAYERS, MAX_SIZE};
use super::settings::Settings;
use crate::mono_t5::config::{FeedForwardKind, T5Config, Tying};

/// Releases of transformers from 5 on write this key, and `tie_word_embeddings` always as true.
const SCALE_KEY: &str = "scale_decoder_outputs";

/// Fewer leave no class for a distance of its own in either direction.
const LEAST_BUCKETS: usize = 4;

/// Reads the shape of a T5 model from `config.json` in `dir`.
///
/// Sizes must be there; what older files leave out defaults as in transformers: as many decoder layers as encoder
/// layers, 32 classes of distances up to 128, an epsilon of 1e-6, relu, 1 as the token that ends a text, and the
/// padding token, 0, as the decoder's first.
///
/// # Errors
///
/// When the file is missing or not JSON, and for every setting that this implementation would compute wrongly:
/// another model type, or a feed-forward layer other than T5's two.
pub(crate) fn load_t5_config(dir: &Path) -> Result<T5Config, ImportError> {
    let settings = Settings::read(dir)?;
    if settings.values.get("model_type").and_then(Value::as_str) != Some("t5") {
        return Err(settings.refuse("model_type", "\"t5\""));
    }
    let vocab_size = settings.size("vocab_size", MAX_SIZE)?;
    let encoder_layers = settings.size("num_layers", MAX_LAYERS)?;
    let size_or = |key: &str, default: usize, max: u64| match settings.values.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(_) => settings.size(key, max),
    };
    let distance_buckets = size_or("relative_attention_num_buckets", 32, MAX_SIZE)?;
    let max_distance = size_or("relative_attention_max_distance", 128, MAX_SIZE)?;
    if distance_buckets < LEAST_BUCKETS {
        let expected = format!("at least {LEAST_BUCKETS}");
        return Err(settings.refuse("relative_attention_num_buckets", expected));
    }
    if max_distance <= distance_buckets / 4 {
        let expected =
            format!("more than a quarter of relative_attention_num_buckets = {distance_buckets}");
        return Err(settings.refuse("relative_attention_max_distance", expected));
    }
    let (tying, scales_output) = tying(&settings)?;
    let pad = token(&settings, "pad_token_id", 0, vocab_size)?;
    Ok(T5Config {
        vocab_size,
        hidden_size: settings.size("d_model", MAX_SIZE)?,
        head_size: settings.size("d_kv", MAX_SIZE)?,
        num_heads: settings.size("num_heads", MAX_SIZE)?,
        intermediate_size: settings.size("d_ff", MAX_SIZE)?,
        encoder_layers,
        decoder_layers: size_or("num_decoder_layers", encoder_layers, MAX_LAYERS)?,
        feed_forward: feed_forward(&settings)?,
        distance_buckets,
        max_distance,
        norm_eps: settings.number("layer_norm_epsilon", 1e-6, f64::MIN_POSITIVE..1.0)?,
        tying,
        scales_output,
        start_token: token(&settings, "decoder_start_token_id", pad, vocab_size)?,
        end_token: token(&settings, "eos_token_id", 1, vocab_size)?,
    })
}

fn feed_forward(settings: &Settings) -> Result<FeedForwardKind, ImportError> {
    let key = "feed_forward_proj";
    match settings.values.get(key).map(Value::as_str) {
        None | Some(Some("relu")) => Ok(FeedForwardKind::Relu),
        Some(Some("gated-gelu")) => Ok(FeedForwardKind::GatedGelu),
        Some(_) => {
            let expected = "\"relu\" or \"gated-gelu\", the only ones implemented";
            Err(settings.refuse(key, expected))
        }
    }
}

/// Whether the head is the embeddings, and whether the decoder's output is scaled. Scaling belongs to T5 v1.0, whose
/// head is tied; before there was a key for it, a head of its own was the sign of v1.1.
fn tying(settings: &Settings) -> Result<(Tying, bool), ImportError> {
    let tied = flag(settings, "tie_word_embeddings", true)?;
    if settings.values.contains_key(SCALE_KEY) {
        return Ok((Tying::ByFile, flag(settings, SCALE_KEY, tied)?));
    }
    Ok(match tied {
        true => (Tying::Tied, true),
        false => (Tying::Untied, false),
    })
}

fn flag(settings: &Settings, key: &str, default: bool) -> Result<bool, ImportError> {
    match settings.values.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(settings.refuse(key, "true or false")),
    }
}

fn token(
    settings: &Settings,
    key: &str,
    default: u32,
    vocab_size: usize,
) -> Result<u32, ImportError> {
    let id = match settings.values.get(key) {
        None | Some(Value::Null) => Some(u64::from(default)),
        Some(id) => id.as_u64(),
    };
    id.filter(|&id| id < vocab_size as u64)
        .map(|id| id as u32)
        .ok_or_else(|| settings.refuse(key, format!("a token id below vocab_size = {vocab_size}")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn read(config: &Value) -> Result<T5Config, ImportError> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        load_t5_config(dir.path())
    }

    /// As the first releases of T5 v1.0 have it.
    fn v1_0() -> Value {
        json!({
            "model_type": "t5", "vocab_size": 40, "d_model": 8, "d_kv": 3, "d_ff": 12, "num_layers": 2,
            "num_heads": 2, "relative_attention_num_buckets": 16, "layer_norm_epsilon": 1e-5,
            "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
        })
    }

    #[test]
    fn old_and_new_files_are_read() {
        let config = read(&v1_0()).unwrap();
        assert_eq!((config.encoder_layers, config.decoder_layers), (2, 2));
        assert_eq!((config.distance_buckets, config.max_distance), (16, 128));
        assert_eq!(config.feed_forward, FeedForwardKind::Relu);
        assert_eq!((config.tying, config.scales_output), (Tying::Tied, true));
        assert_eq!((config.start_token, config.end_token), (0, 1));
        assert_eq!((config.heads_size(), config.norm_eps), (6, 1e-5));

        let mut v1_1 = v1_0();
        v1_1["tie_word_embeddings"] = json!(false);
        v1_1["feed_forward_proj"] = json!("gated-gelu");
        v1_1["num_decoder_layers"] = json!(5);
        v1_1["relative_attention_max_distance"] = json!(20);
        let config = read(&v1_1).unwrap();
        assert_eq!((config.decoder_layers, config.max_distance), (5, 20));
        assert_eq!(config.feed_forward, FeedForwardKind::GatedGelu);
        assert_eq!((config.tying, config.scales_output), (Tying::Untied, false));

        v1_1["tie_word_embeddings"] = json!(true);
        v1_1["scale_decoder_outputs"] = json!(false);
        let config = read(&v1_1).unwrap();
        assert_eq!((config.tying, config.scales_output), (Tying::ByFile, false));
    }

    #[test]
    fn what_cannot_be_computed_is_refused_by_key() {
        let cases = [
            ("model_type", json!("mt5")),
            ("d_model", json!(0)),
            ("d_kv", json!("3")),
            ("num_decoder_layers", json!(1_000_000)),
            ("feed_forward_proj", json!("gated-silu")),
            ("relative_attention_num_buckets", json!(2)),
            ("relative_attention_max_distance", json!(4)),
            ("tie_word_embeddings", json!("no")),
            ("decoder_start_token_id", json!(40)),
            ("eos_token_id", json!([1, 2])),
            ("layer_norm_epsilon", json!(0)),
        ];
        for (key, value) in cases {
            let mut config = v1_0();
            config[key] = value.clone();
            let error = read(&config).unwrap_err().to_string();
            let expected = format!("key `{key}`: found {value}");
            assert!(error.contains(&expected), "{key}: {error}");
        }
        let mut config = v1_0();
        config.as_object_mut().unwrap().remove("d_ff");
        let error = read(&config).unwrap_err().to_string();
        assert!(error.contains("`d_ff`: found no such key"), "{error}");
    }
}
