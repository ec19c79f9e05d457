//! The weights of a T5 model, one parameter at a time.

use std::collections::BTreeSet;
use std::path::Path;

use super::ImportError;
use super::checkpoint::Checkpoint;
use super::keys::Share;
use super::t5_keys::{EMBEDDINGS, UNUSED, t5_key};
use crate::mono_t5::config::{T5Config, Tying};
use crate::mono_t5::parameter::Parameter;

/// A checkpoint in which every parameter of the model is there in the right shape, and nothing else is.
pub(crate) struct T5Weights {
    checkpoint: Checkpoint,
    config: T5Config,
    /// The key under which the file has the embeddings.
    embeddings: &'static str,
    tied: bool,
}

impl T5Weights {
    /// Lists the weights in `dir` and compares them with what `config` needs.
    ///
    /// # Errors
    ///
    /// Everything in [`ImportError`] but values that are not finite, which only reading finds.
    pub(crate) fn open(dir: &Path, config: &T5Config) -> Result<Self, ImportError> {
        let checkpoint = Checkpoint::open(dir)?;
        let embeddings = embeddings_key(&checkpoint)?;
        let mut weights = Self {
            checkpoint,
            config: config.clone(),
            embeddings,
            tied: false,
        };
        weights.tied = weights.is_tied()?;
        weights.check()?;
        Ok(weights)
    }

    /// Whether the head is the embeddings.
    pub(crate) fn tied(&self) -> bool {
        self.tied
    }

    /// The shape of the model.
    pub(crate) fn config(&self) -> &T5Config {
        &self.config
    }

    /// The values of a parameter, in the shape that [`T5Config::shape`] says.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a value is not finite.
    ///
    /// # Panics
    ///
    /// If it is the head's and there is none.
    pub(crate) fn read(&self, parameter: Parameter) -> Result<Vec<f32>, ImportError> {
        let key = self.key(parameter);
        self.checkpoint.tensors[&key].read(&key, false, Share::WHOLE)
    }

    fn key(&self, parameter: Parameter) -> String {
        match parameter {
            Parameter::Embeddings => self.embeddings.to_owned(),
            _ => t5_key(parameter, self.config.feed_forward),
        }
    }

    /// Compares a head in the file with the embeddings.
    fn is_tied(&self) -> Result<bool, ImportError> {
        let head = self.key(Parameter::Head);
        let tensors = &self.checkpoint.tensors;
        if !tensors.contains_key(&head) {
            return Ok(self.config.tying != Tying::Untied);
        }
        let same = tensors.contains_key(self.embeddings)
            && self.checkpoint.same(&head, self.embeddings)?;
        match self.config.tying {
            Tying::Tied if !same => Err(ImportError::Conflict {
                path: self.checkpoint.path.clone(),
                key: head,
                other: self.embeddings.to_owned(),
            }),
            _ => Ok(same),
        }
    }

    fn check(&self) -> Result<(), ImportError> {
        let mut parameters = self.config.parameters();
        if !self.tied {
            parameters.push(Parameter::Head);
        }
        let tensors = &self.checkpoint.tensors;
        let keys: Vec<String> = parameters.iter().map(|&p| self.key(p)).collect();
        let is_missing = |key: &&String| !tensors.contains_key(*key);
        if let Some(first) = keys.iter().find(is_missing) {
            return Err(ImportError::MissingKey {
                path: self.checkpoint.path.clone(),
                key: first.clone(),
                missing: keys.iter().filter(is_missing).count(),
                expected: keys.len(),
            });
        }
        let head = self.key(Parameter::Head);
        let copies = EMBEDDINGS.into_iter().chain([UNUSED, head.as_str()]);
        let known: BTreeSet<&str> = keys.iter().map(String::as_str).chain(copies).collect();
        let is_unknown = |key: &&String| !known.contains(key.as_str());
        if let Some(first) = tensors.keys().find(is_unknown) {
            return Err(ImportError::UnexpectedKey {
                path: tensors[first].file.to_path_buf(),
                key: first.clone(),
                unexpected: tensors.keys().filter(is_unknown).count(),
            });
        }
        for (&parameter, key) in parameters.iter().zip(&keys) {
            let (stored, expected) = (&tensors[key], self.config.shape(parameter));
            stored.weight_type(key)?;
            if stored.shape != expected {
                return Err(ImportError::Shape {
                    path: stored.file.to_path_buf(),
                    key: key.clone(),
                    found: stored.shape.clone(),
                    expected,
                });
            }
        }
        Ok(())
    }
}

/// The first of the embeddings' names that the file has; under the others it may have copies.
fn embeddings_key(checkpoint: &Checkpoint) -> Result<&'static str, ImportError> {
    let mut found = EMBEDDINGS
        .into_iter()
        .filter(|key| checkpoint.tensors.contains_key(*key));
    let first = found.next().unwrap_or(EMBEDDINGS[0]);
    for copy in found {
        if !checkpoint.same(first, copy)? {
            return Err(ImportError::Conflict {
                path: checkpoint.path.clone(),
                key: copy.to_owned(),
                other: first.to_owned(),
            });
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Weights, write_weights};
    use super::*;
    use crate::mono_t5::config::FeedForwardKind;

    fn config(tying: Tying) -> T5Config {
        T5Config {
            vocab_size: 5,
            hidden_size: 4,
            head_size: 3,
            num_heads: 2,
            intermediate_size: 7,
            encoder_layers: 1,
            decoder_layers: 2,
            feed_forward: FeedForwardKind::GatedGelu,
            distance_buckets: 8,
            max_distance: 20,
            norm_eps: 1e-6,
            tying,
            scales_output: true,
            start_token: 0,
            end_token: 1,
        }
    }

    /// Opens a checkpoint of every parameter but the head, altered; the folder has to outlive it.
    fn open(
        tying: Tying,
        alter: impl FnOnce(&mut Weights),
    ) -> Result<(tempfile::TempDir, T5Weights), ImportError> {
        let config = config(tying);
        let mut weights = Weights::new();
        for parameter in config.parameters() {
            let shape = config.shape(parameter);
            let values = (0..shape.iter().product()).map(|i: usize| i as f32);
            let values = values.collect();
            weights.insert(t5_key(parameter, config.feed_forward), (shape, values));
        }
        alter(&mut weights);
        let dir = tempfile::tempdir().unwrap();
        write_weights(&dir.path().join("model.safetensors"), &weights);
        let opened = T5Weights::open(dir.path(), &config)?;
        let table = opened.read(Parameter::Embeddings).unwrap();
        assert_eq!(table, (0..20).map(|i| i as f32).collect::<Vec<_>>());
        Ok((dir, opened))
    }

    fn copy(weights: &mut Weights, to: &str, change: f32) {
        let mut copy = weights[EMBEDDINGS[0]].clone();
        copy.1[3] += change;
        weights.insert(to.to_owned(), copy);
    }

    #[test]
    fn embeddings_may_be_repeated_or_renamed() {
        let opened = open(Tying::Tied, |weights| {
            for name in [EMBEDDINGS[1], EMBEDDINGS[2], "lm_head.weight", UNUSED] {
                copy(weights, name, 0.0);
            }
        });
        assert!(opened.unwrap().1.tied());
        let opened = open(Tying::Tied, |weights| {
            copy(weights, EMBEDDINGS[2], 0.0);
            weights.remove(EMBEDDINGS[0]);
        });
        assert!(opened.unwrap().1.tied());
    }

    #[test]
    fn a_head_is_what_config_and_file_say() {
        let with_head = |weights: &mut Weights| copy(weights, "lm_head.weight", 1.0);
        for (tying, has_head, tied) in [
            (Tying::Tied, false, true),
            (Tying::Untied, true, false),
            (Tying::ByFile, false, true),
            (Tying::ByFile, true, false),
        ] {
            let opened = match has_head {
                true => open(tying, with_head),
                false => open(tying, |_| ()),
            };
            let (_dir, opened) = opened.unwrap();
            assert_eq!(opened.tied(), tied, "{tying:?} {has_head}");
            if !tied {
                assert_eq!(opened.read(Parameter::Head).unwrap()[3], 4.0);
            }
        }
        let error = open(Tying::Tied, with_head).err().unwrap().to_string();
        assert!(
            error.contains("`lm_head.weight` and `shared.weight`"),
            "{error}"
        );
        let error = open(Tying::Untied, |_| ()).err().unwrap().to_string();
        assert!(error.contains("key `lm_head.weight` is missing"), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let inner = "decoder.block.1.layer.2.DenseReluDense.wi_1.weight";
        type Alter = Box<dyn FnOnce(&mut Weights)>;
        let table: [(Alter, &[&str]); 4] = [
            (
                Box::new(move |weights| drop(weights.remove(inner))),
                &[inner, "is missing (1 of the"],
            ),
            (
                Box::new(|weights| copy(weights, "encoder.block.1.layer.0.layer_norm.weight", 0.0)),
                &["encoder.block.1.layer.0.layer_norm.weight", "unexpected"],
            ),
            (
                Box::new(move |weights| weights.get_mut(inner).unwrap().0 = vec![4, 7]),
                &[inner, "shape [4, 7], expected [7, 4]"],
            ),
            (
                Box::new(|weights| copy(weights, EMBEDDINGS[1], 1.0)),
                &[EMBEDDINGS[0], EMBEDDINGS[1], "are the same parameter"],
            ),
        ];
        for (alter, expected) in table {
            let error = open(Tying::Tied, alter).err().unwrap().to_string();
            for part in expected.iter().chain(&["model.safetensors"]) {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }
}
