//! `checkpoint-STEP/`: a model directory that any tool loads, and beside it in `trainer/` what exact resumption
//! needs besides the weights.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use data::SamplerState;
use data::output::{AtomicDir, write_file};
use model::EncoderConfig;
use model::hf::{self, ExportOptions};
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::optimizer::{AdamW, Moments, parameter_sizes};
use crate::step::Trainable;
use crate::targets::Targets;

/// Version of the files in `trainer/`.
const FORMAT: u32 = 1;
const FIRST: &str = "first/";
const SECOND: &str = "second/";
/// The trained table as it is: the exported one has its negative weights and special tokens at 0.
const IDF: &str = "idf";

/// `trainer/state.json`: where the run stands.
///
/// The learning rate, lambda and every random draw are functions of the step and the seed, so these numbers are
/// the whole of the scheduler's and the generators' state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Version of this file.
    pub format: u32,
    /// Steps done.
    pub step: usize,
    /// Steps that the run was to have.
    pub total_steps: usize,
    /// Seed of everything but the data order.
    pub seed: u64,
    /// Micro-batches per step.
    pub accumulation_steps: usize,
    /// Position in the data.
    pub sampler: SamplerState,
    /// What is learnt beside what the data says; not known of checkpoints of older versions.
    #[serde(default)]
    pub targets: Option<Targets>,
}

impl TrainerState {
    /// The state after `step` steps.
    pub fn new(
        step: usize,
        total_steps: usize,
        seed: u64,
        accumulation_steps: usize,
        sampler: SamplerState,
        targets: Targets,
    ) -> Self {
        Self {
            format: FORMAT,
            step,
            total_steps,
            seed,
            accumulation_steps,
            sampler,
            targets: Some(targets),
        }
    }
}

/// Writes a checkpoint; it appears under its name when complete, or not at all.
///
/// # Errors
///
/// If the disk refuses or `dir` exists already.
pub fn write(
    dir: &Path,
    trainable: &Trainable,
    encoder: &EncoderConfig,
    export: &ExportOptions,
    optimizer: &AdamW,
    state: &TrainerState,
) -> Result<(), TrainError> {
    let staging = AtomicDir::create(dir)?;
    let name = dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy();
    hf::write_files(&trainable.model, encoder, export, &name, staging.path())?;
    let trainer = staging.path().join("trainer");
    fs::create_dir(&trainer).map_err(TrainError::io(&trainer))?;
    write_tensors(&trainer.join("optimizer.safetensors"), optimizer, trainable)?;
    let json = serde_json::to_vec_pretty(state).expect("the state is plain numbers");
    write_file(&trainer.join("state.json"), &json)?;
    staging.finish()?;
    Ok(())
}

/// Reads where the run of a checkpoint stands.
///
/// # Errors
///
/// If the file is missing, damaged, or of another version.
pub fn read_state(dir: &Path) -> Result<TrainerState, TrainError> {
    let path = dir.join("trainer/state.json");
    let bytes = fs::read(&path).map_err(TrainError::io(&path))?;
    let bad = |reason: String| TrainError::BadCheckpoint {
        path: path.clone(),
        reason,
    };
    let state: TrainerState = serde_json::from_slice(&bytes)
        .map_err(|cause| bad(format!("not a trainer state ({cause})")))?;
    if state.format != FORMAT {
        return Err(bad(format!(
            "format {} found, {FORMAT} expected",
            state.format
        )));
    }
    Ok(state)
}

/// Puts a checkpoint's moments into `optimizer`, and its table, if that is trained, into `trainable`, whose model
/// was loaded from the same checkpoint.
///
/// # Errors
///
/// If the file is missing, damaged, or does not fit the model.
pub fn restore(
    dir: &Path,
    state: &TrainerState,
    trainable: &mut Trainable,
    optimizer: &mut AdamW,
    device: &Device,
) -> Result<(), TrainError> {
    let path = dir.join("trainer/optimizer.safetensors");
    let bytes = fs::read(&path).map_err(TrainError::io(&path))?;
    let bad = |reason: String| TrainError::BadCheckpoint {
        path: path.clone(),
        reason,
    };
    let file = SafeTensors::deserialize(&bytes).map_err(|cause| bad(cause.to_string()))?;
    let values = |name: &str, size: usize| -> Result<Vec<f32>, TrainError> {
        let tensor = file.tensor(name).map_err(|cause| bad(cause.to_string()))?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != [size] {
            let (dtype, shape) = (tensor.dtype(), tensor.shape());
            return Err(bad(format!(
                "`{name}` is {dtype:?} {shape:?}, expected F32 [{size}]"
            )));
        }
        let numbers = tensor.data().as_chunks::<4>().0;
        Ok(numbers
            .iter()
            .map(|&number| f32::from_le_bytes(number))
            .collect())
    };
    let mut moments = BTreeMap::new();
    for (name, size) in parameter_sizes(trainable) {
        let moment = |kind: &str| {
            let values = values(&format!("{kind}{name}"), size)?;
            // The optimizer works beside the graph, not in it.
            Ok::<_, TrainError>(Tensor::from_data(
                TensorData::new(values, [size]),
                &device.clone().inner(),
            ))
        };
        let (first, second) = (moment(FIRST)?, moment(SECOND)?);
        moments.insert(name, Moments { first, second });
    }
    optimizer.moments = moments;
    optimizer.step = state.step;
    if let Some(idf) = trainable.idf.take_if(|idf| idf.is_require_grad()) {
        let size = idf.shape()[0];
        let table = Tensor::from_data(TensorData::new(values(IDF, size)?, [size]), device);
        trainable.idf = Some(Param::from_tensor(table));
    }
    Ok(())
}

fn write_tensors(path: &Path, optimizer: &AdamW, trainable: &Trainable) -> Result<(), TrainError> {
    let mut tensors = Vec::new();
    for (name, moments) in &optimizer.moments {
        tensors.push((format!("{FIRST}{name}"), Flat::new(moments.first.clone())));
        tensors.push((format!("{SECOND}{name}"), Flat::new(moments.second.clone())));
    }
    if let Some(idf) = trainable.idf.as_ref().filter(|idf| idf.is_require_grad()) {
        tensors.push((IDF.to_owned(), Flat::new(idf.val().inner())));
    }
    let written =
        safetensors::serialize_to_file(tensors, None, path).map_err(std::io::Error::other);
    written.map_err(TrainError::io(path))?;
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(TrainError::io(path))
}

/// A vector as safetensors writes it: copied from the device when its turn comes.
struct Flat {
    tensor: Tensor<1>,
    shape: [usize; 1],
}

impl Flat {
    fn new(tensor: Tensor<1>) -> Self {
        Self {
            shape: tensor.dims(),
            tensor,
        }
    }
}

impl View for Flat {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let data = self.tensor.clone().into_data();
        Cow::Owned(data.iter::<f32>().flat_map(f32::to_le_bytes).collect())
    }

    fn data_len(&self) -> usize {
        self.shape[0] * size_of::<f32>()
    }
}
