//! From what is written to what it means, one file per section, each with its way back.

mod data;
mod loss;
mod model;
mod optimizer;
mod run;
mod task;
mod teachers;

use crate::LoadedConfig;
use crate::choice::Choice;
use crate::error::ConfigError;
use crate::foreign;
use crate::raw::RawConfig;
use crate::resolved::{Task, TrainConfig};
use task::DataType;

impl RawConfig {
    /// Fills in defaults and checks every value, alone and beside the others.
    ///
    /// # Errors
    /// The first key that is refused, missing, out of range or at odds with another.
    pub fn resolve(&self) -> Result<LoadedConfig, ConfigError> {
        let mut warnings = foreign::check(self)?;
        let default = DataType::Kd;
        let data_type = choice(self, "data_type", self.data_type.as_ref(), default)?;
        let task = task::read(self, data_type, &mut warnings)?;
        let raw = &task::used_keys(self, data_type);
        let model = model::read(raw, data_type, &mut warnings)?;
        let data = data::read(raw, data_type, &mut warnings)?;
        let loss = loss::read(raw, &mut warnings)?;
        let config = TrainConfig {
            task,
            model,
            teachers: teachers::read(raw, &data, &loss, &mut warnings)?,
            data,
            loss,
            optimizer: optimizer::read(raw, &mut warnings)?,
            run: run::read(raw, data_type, &mut warnings)?,
        };
        if config.task == Task::Ranking {
            self.check_scores(&config)?;
        }
        Ok(LoadedConfig { config, warnings })
    }

    /// Losses that learn from teacher scores need teachers, or data that has scores for every document they compare.
    fn check_scores(&self, config: &TrainConfig) -> Result<(), ConfigError> {
        let Some(loss) = config.loss.needs_scores() else {
            return Ok(());
        };
        if config.teachers.is_some() {
            return Ok(());
        }
        let loss = loss.label();
        if !config.data.kind.is_kd() {
            return Err(self.refused(
                "loss_types",
                format!(
                    "{loss} learns from teacher scores, which data_type {} has none of; use data_type: kd with a \
                     scores column (`ellzero-train score` adds one), name teachers in kd_ensemble_teacher_kwargs, or \
                     use loss_types: [infonce]",
                    config.data.kind.label()
                ),
            ));
        }
        if config.loss.in_batch_negatives {
            return Err(self.refused(
                "use_in_batch_negatives",
                format!(
                    "{loss} would need teacher scores for the documents of other queries, and a kd file has only \
                     those of a query's own; set it to false, name teachers in kd_ensemble_teacher_kwargs, or use \
                     loss_types: [infonce]"
                ),
            ));
        }
        Ok(())
    }
}

impl From<&TrainConfig> for RawConfig {
    /// Every key written out, so that resolving gives the same configuration again.
    fn from(config: &TrainConfig) -> Self {
        let mut raw = Self::default();
        model::write(&config.model, &mut raw);
        data::write(&config.data, &mut raw);
        loss::write(&config.loss, &mut raw);
        teachers::write(config.teachers.as_ref(), &mut raw);
        optimizer::write(&config.optimizer, &mut raw);
        run::write(&config.run, &mut raw);
        task::write(&config.task, &mut raw);
        raw
    }
}

/// The variant that `key` names, or the default where the key is not given.
fn choice<T: Choice>(
    raw: &RawConfig,
    key: &str,
    value: Option<&String>,
    default: T,
) -> Result<T, ConfigError> {
    let Some(name) = value else {
        return Ok(default);
    };
    T::parse(name).ok_or_else(|| {
        let reason = match unsupported_value(key, name) {
            Some(reason) => format!("`{name}` is not supported: {reason}"),
            None => format!("`{name}` is none of {}", T::names()),
        };
        raw.refused(key, reason)
    })
}

/// Values that the reference or Hugging Face knows and this trainer does not, with what to do instead.
fn unsupported_value(key: &str, name: &str) -> Option<&'static str> {
    const EPOCHS: &str = "checkpoints and evaluations are counted in steps; use steps";
    const VALUES: &[(&str, &str, &str)] = &[
        (
            "loss_types",
            "mlm",
            "guessing masked tokens is a task of its own; use data_type: mlm and no loss_types",
        ),
        ("save_strategy", "epoch", EPOCHS),
        ("save_strategy", "best", EPOCHS),
        ("eval_strategy", "epoch", EPOCHS),
    ];
    let found = VALUES.iter().find(|row| row.0 == key && row.1 == name);
    found.map(|row| row.2)
}

/// The reference writes null as text in some places.
fn not_null(value: Option<&String>) -> Option<&String> {
    value.filter(|text| !text.is_empty() && *text != "null")
}
