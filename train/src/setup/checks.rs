//! What has to fit together before a run starts or goes on.

use std::path::Path;

use configs::{Task, TrainConfig};
use data::Tokenizer;
use model::EncoderConfig;

use crate::checkpoint::TrainerState;
use crate::error::TrainError;
use crate::targets::{Difference, Targets};

/// Refuses a tokenizer of another model, and sequences longer than the model has positions for.
pub(super) fn check_sizes(
    config: &TrainConfig,
    tokenizer: &Tokenizer,
    encoder: &EncoderConfig,
) -> Result<(), TrainError> {
    let model = &config.model.name_or_path;
    if tokenizer.vocab_size() > encoder.vocab_size {
        return Err(TrainError::Vocabulary {
            tokenizer: config.model.tokenizer.clone(),
            tokens: tokenizer.vocab_size(),
            model: model.clone(),
            vocab: encoder.vocab_size,
        });
    }
    let data = &config.data;
    let mut lengths = vec![("max_seq_length", data.max_seq_len)];
    let evaluates = match &config.task {
        Task::Ranking => !config.run.eval_data.is_empty(),
        Task::MaskedLm(task) => task.eval_file.is_some(),
    };
    if evaluates {
        lengths.push(("eval_max_seq_length", data.eval_max_seq_len));
    }
    match lengths
        .into_iter()
        .find(|(_, length)| *length > encoder.max_positions)
    {
        None => Ok(()),
        Some((key, length)) => Err(TrainError::TooLong {
            key,
            length,
            positions: encoder.max_positions,
            model: model.clone(),
        }),
    }
}

/// Refuses to go on under settings that would make the rest of the run another one; a warning of what may do so.
pub(super) fn check_unchanged(
    path: &Path,
    state: &TrainerState,
    config: &TrainConfig,
    targets: &Targets,
) -> Result<Option<String>, TrainError> {
    let changed = |name, stored, current| TrainError::Changed {
        path: path.to_path_buf(),
        name,
        stored,
        current,
    };
    let pairs = [
        ("seed", state.seed, config.run.seed),
        (
            "gradient_accumulation_steps",
            state.accumulation_steps as u64,
            config.optimizer.accumulation_steps as u64,
        ),
    ];
    let mut pairs = pairs.into_iter();
    if let Some((name, stored, current)) = pairs.find(|(_, stored, current)| stored != current) {
        return Err(changed(name, stored.to_string(), current.to_string()));
    }
    let stored = state.targets.as_ref();
    let Some(difference) = stored.and_then(|stored| stored.difference(targets)) else {
        return Ok(None);
    };
    let Difference {
        name,
        stored,
        current,
        is_certain,
    } = difference;
    match is_certain {
        true => Err(changed(name, stored, current)),
        false => Ok(Some(format!(
            "{} was made with {name} {stored}, now it is {current}: the run goes on as before only if they say the same",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn recipe() -> TrainConfig {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../configs/quickstart.yaml");
        configs::load(&path, &[]).unwrap().config
    }

    #[test]
    fn a_checkpoint_of_another_seed_is_refused_by_name() {
        let config = recipe();
        let sampler = data::BatchSampler::new(&[8], 2, false, 1).unwrap();
        let accumulation = config.optimizer.accumulation_steps;
        let targets = Targets::default();
        let state = TrainerState::new(
            5,
            9,
            config.run.seed,
            accumulation,
            sampler.state().clone(),
            targets.clone(),
        );
        let path = Path::new("run/checkpoint-5");
        assert_eq!(
            check_unchanged(path, &state, &config, &targets).unwrap(),
            None
        );
        let other = TrainerState {
            seed: config.run.seed + 1,
            ..state
        };
        let error = check_unchanged(path, &other, &config, &targets)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("run/checkpoint-5") && error.contains("seed 43, now it is 42"),
            "{error}"
        );
    }

    #[test]
    fn sequences_beyond_the_positions_are_refused_by_key() {
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../configs/quickstart");
        let tokenizer = Tokenizer::from_dir(&source).unwrap();
        let encoder = model::hf::load_config(&source).unwrap();
        let mut config = recipe();
        assert!(check_sizes(&config, &tokenizer, &encoder).is_ok());
        config.data.eval_max_seq_len = encoder.max_positions + 1;
        let error = check_sizes(&config, &tokenizer, &encoder)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("eval_max_seq_length 129 exceeds the 128 positions"),
            "{error}"
        );
        config.run.eval_data.clear();
        assert!(check_sizes(&config, &tokenizer, &encoder).is_ok());
    }
}
