//! What a recipe names on the Hub, brought here before anything is loaded.

use std::path::{Path, PathBuf};

use configs::teachers::LocalModel;
use configs::{QueryEncoder, TeachersConfig, TrainConfig, TrainSource};
use data::hub::{Files, pinned_address, pinned_model};
use data::{Hub, HubError};

/// A recipe whose models and data are on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// The recipe with local paths.
    pub local: TrainConfig,
    /// The recipe with the commits that were taken: what a run writes down, so that it can be repeated.
    pub pinned: TrainConfig,
    /// What was taken for which name, in sentences.
    pub notes: Vec<String>,
}

/// Replaces Hub ids (`ORG/NAME[@REVISION]`) and addresses (`hf://...`) in a recipe by paths, and downloads what is not
/// in the cache. Paths stay as they are.
///
/// # Errors
///
/// If a model is neither here nor on the Hub, or something cannot be downloaded.
pub fn fetch(config: &TrainConfig, hub: &Hub) -> Result<Fetched, HubError> {
    let mut fetched = Fetched {
        local: config.clone(),
        pinned: config.clone(),
        notes: Vec::new(),
    };
    fetched.models(config, hub)?;
    if let QueryEncoder::InferenceFree {
        idf_path: Some(given),
        ..
    } = &config.model.query
    {
        let (local, pinned) = fetched.data(given, hub)?;
        set_idf_path(&mut fetched.local, local);
        set_idf_path(&mut fetched.pinned, pinned);
    }
    let source = |path: PathBuf| match &config.data.source {
        TrainSource::File(_) => TrainSource::File(path),
        TrainSource::Dir(_) => TrainSource::Dir(path),
    };
    let (TrainSource::File(given) | TrainSource::Dir(given)) = &config.data.source;
    let (local, pinned) = fetched.data(given, hub)?;
    fetched.local.data.source = source(local);
    fetched.pinned.data.source = source(pinned);
    for (index, given) in config.run.eval_data.iter().enumerate() {
        let (local, pinned) = fetched.data(given, hub)?;
        fetched.local.run.eval_data[index] = local;
        fetched.pinned.run.eval_data[index] = pinned;
    }
    if let Some(teachers) = &config.teachers {
        let (local, pinned) = fetched.teachers(teachers, hub)?;
        fetched.local.teachers = Some(local);
        fetched.pinned.teachers = Some(pinned);
    }
    Ok(fetched)
}

/// Replaces the names of teachers' models by paths, as [`fetch`] does those of a recipe. Also what was taken for which
/// name, in sentences.
///
/// # Errors
///
/// If a model is neither here nor on the Hub, or cannot be downloaded.
pub fn fetch_teachers(
    config: &TeachersConfig,
    hub: &Hub,
) -> Result<(TeachersConfig, Vec<String>), HubError> {
    let mut notes = Vec::new();
    let mut local = config.clone();
    for model in models_of(&mut local) {
        (model.model, _) = fetch_model(&model.model, Files::Model, hub, &mut notes)?;
    }
    Ok((local, notes))
}

fn models_of(teachers: &mut TeachersConfig) -> impl Iterator<Item = &mut LocalModel> {
    let teachers = teachers.teachers.iter_mut();
    teachers.filter_map(|teacher| teacher.kind.local_model_mut())
}

/// The local path of a model, and the name that means the same everywhere.
fn fetch_model(
    given: &str,
    files: Files,
    hub: &Hub,
    notes: &mut Vec<String>,
) -> Result<(String, String), HubError> {
    let path = hub.model(Path::new(given), files)?;
    let pinned = pinned_model(&path).filter(|_| path != Path::new(given));
    if let Some(pinned) = &pinned {
        notes.push(note(given, pinned, &path));
    }
    let local = path.to_string_lossy().into_owned();
    Ok((local, pinned.unwrap_or_else(|| given.to_owned())))
}

fn note(given: &str, pinned: &str, path: &Path) -> String {
    format!("{given} is {pinned}, {}", path.display())
}

impl Fetched {
    fn teachers(
        &mut self,
        config: &TeachersConfig,
        hub: &Hub,
    ) -> Result<(TeachersConfig, TeachersConfig), HubError> {
        let (mut local, mut pinned) = (config.clone(), config.clone());
        for (local, pinned) in models_of(&mut local).zip(models_of(&mut pinned)) {
            let given = local.model.clone();
            (local.model, pinned.model) = self.model(&given, Files::Model, hub)?;
        }
        Ok((local, pinned))
    }

    fn models(&mut self, config: &TrainConfig, hub: &Hub) -> Result<(), HubError> {
        let model = &config.model;
        let files = match model.from_scratch {
            true => Files::Untrained,
            false => Files::Model,
        };
        let (local, pinned) = self.model(&model.name_or_path, files, hub)?;
        let tokenizer = match model.tokenizer == model.name_or_path {
            true => (local.clone(), pinned.clone()),
            false => self.model(&model.tokenizer, Files::Tokenizer, hub)?,
        };
        (
            self.local.model.name_or_path,
            self.pinned.model.name_or_path,
        ) = (local, pinned);
        (self.local.model.tokenizer, self.pinned.model.tokenizer) = tokenizer;
        Ok(())
    }

    fn model(
        &mut self,
        given: &str,
        files: Files,
        hub: &Hub,
    ) -> Result<(String, String), HubError> {
        fetch_model(given, files, hub, &mut self.notes)
    }

    /// The local path of data, and the address that means the same everywhere.
    fn data(&mut self, given: &Path, hub: &Hub) -> Result<(PathBuf, PathBuf), HubError> {
        let path = hub.data(given)?;
        let pinned = pinned_address(given, &path);
        if let Some(pinned) = &pinned {
            let given = given.display().to_string();
            self.notes.push(note(&given, pinned, &path));
        }
        let pinned = pinned.map_or_else(|| given.to_path_buf(), PathBuf::from);
        Ok((path, pinned))
    }
}

fn set_idf_path(config: &mut TrainConfig, path: PathBuf) {
    if let QueryEncoder::InferenceFree { idf_path, .. } = &mut config.model.query {
        *idf_path = Some(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_paths_stay_as_they_are() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut config = configs::load(&root.join("configs/quickstart.yaml"), &[])
            .unwrap()
            .config;
        config.model.name_or_path = root.join("configs/quickstart").display().to_string();
        config.model.tokenizer = config.model.name_or_path.clone();
        let hub = Hub::for_command_line(true);
        let fetched = fetch(&config, &hub).unwrap();
        assert_eq!(fetched.local, config);
        assert_eq!(fetched.pinned, config);
        assert_eq!(fetched.notes, [] as [String; 0]);

        config.model.tokenizer = "./nowhere".to_owned();
        let message = fetch(&config, &hub).unwrap_err().to_string();
        assert!(
            message.starts_with("./nowhere: no such directory"),
            "{message}"
        );
    }
}
