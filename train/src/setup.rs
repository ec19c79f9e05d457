//! Everything a run needs, loaded and checked before its first step.

mod checks;

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use configs::{Duration, Precision, QueryEncoder, Task, TrainConfig};
use data::{BatchSampler, Idf, Tokenizer};
use model::hf::{self, ExportOptions, ImportOptions, Layout, WeightType};
use model::{EncoderConfig, MaskedLm};

use crate::checkpoint;
use crate::error::TrainError;
use crate::evaluation::{EvalSet, Evaluator};
use crate::freeze::freeze;
use crate::masked_lm::{EvalTexts, MaskedLmScore};
use crate::memory::MemoryEstimate;
use crate::optimizer::AdamW;
use crate::schedule::LearningRate;
use crate::step::Trainable;
use crate::targets::Targets;
use crate::task::{Feed, TaskData};
use crate::teacher::{self, OnlineTeachers};
use checks::{check_sizes, check_unchanged};

/// Where a new head's entries start at zero: MiniLM, for one, gives a document about 2,800 weights then.
const NEW_HEAD_THRESHOLD: f64 = 2.0;

/// What stays the same from the first step of a run to the last.
pub struct Setup {
    /// The recipe.
    pub config: TrainConfig,
    /// Where the model is; with autodiff.
    pub device: Device,
    /// Splits the texts.
    pub tokenizer: Tokenizer,
    /// Shape of the encoder.
    pub encoder: EncoderConfig,
    /// Number of parameters, the IDF table included.
    pub parameters: usize,
    /// The table that queries start with; `None` where there is none: for siamese training, and without queries.
    pub initial_idf: Option<Idf>,
    /// What it learns from.
    pub data: TaskData,
    /// Who scores it, where the data does not.
    pub teachers: Option<OnlineTeachers>,
    /// Batches in one pass over the data.
    pub batches_per_epoch: usize,
    /// What to evaluate rankings on.
    pub eval_sets: Vec<EvalSet>,
    /// What to evaluate guesses on.
    pub eval_texts: Option<EvalTexts>,
    /// Steps of the whole run.
    pub total_steps: usize,
    /// What the user should know, in sentences.
    pub notes: Vec<String>,
    /// What the user should do something about.
    pub warnings: Vec<String>,
}

/// What every step changes.
pub struct TrainState {
    /// Steps done.
    pub step: usize,
    /// What is trained.
    pub trainable: Trainable,
    /// Moves it.
    pub optimizer: AdamW,
    /// The next batches.
    pub sampler: BatchSampler,
}

impl Setup {
    /// Loads data, tokenizer and model, cheap checks first; with a checkpoint, the state is where that stands.
    ///
    /// # Errors
    ///
    /// Whatever is missing, broken, or does not fit together.
    pub fn load(
        config: &TrainConfig,
        device: &Device,
        checkpoint: Option<&Path>,
    ) -> Result<(Self, TrainState), TrainError> {
        let encoder = hf::load_config(Path::new(&config.model.name_or_path))?;
        let tokenizer = Tokenizer::from_dir(Path::new(&config.model.tokenizer))?;
        check_sizes(config, &tokenizer, &encoder)?;
        let initial_idf = initial_idf(config, &tokenizer)?;
        let eval_data = config.run.eval_data.iter();
        let eval_sets = eval_data
            .map(|path| EvalSet::open(path))
            .collect::<Result<_, _>>()?;
        let eval_texts = match &config.task {
            Task::Ranking => None,
            Task::MaskedLm(task) => task.eval_file.as_deref().map(EvalTexts::open).transpose()?,
        };
        let data = TaskData::open(config, &tokenizer)?;
        let run = &config.run;
        let sampler = BatchSampler::new(
            &data.feed(config, &tokenizer, None).sizes(),
            run.batch_queries,
            run.drop_last,
            run.data_seed,
        )?;
        let mut setup = Self {
            config: config.clone(),
            device: training_device(config, device),
            tokenizer,
            encoder,
            parameters: 0,
            initial_idf,
            data,
            teachers: None,
            batches_per_epoch: sampler.batches_per_epoch(),
            eval_sets,
            eval_texts,
            total_steps: total_steps(config, sampler.batches_per_epoch()),
            notes: Vec::new(),
            warnings: precision_warning(config).into_iter().collect(),
        };
        setup.load_teachers(device)?;
        setup.feed().check()?;
        setup.notes.extend(setup.data.notes());
        let state = setup.load_state(sampler, checkpoint)?;
        setup.parameters = state.trainable.num_params();
        Ok((setup, state))
    }

    fn load_teachers(&mut self, device: &Device) -> Result<(), TrainError> {
        if let Some(config) = &self.config.teachers {
            let (ensemble, notes) = teacher::load(config, device)?;
            let names: Vec<&str> = ensemble.names().collect();
            self.notes
                .push(format!("scores come from {}", names.join(", ")));
            self.warnings.extend(notes);
            self.teachers = Some(OnlineTeachers::new(ensemble));
        }
        Ok(())
    }

    fn load_state(
        &mut self,
        sampler: BatchSampler,
        checkpoint: Option<&Path>,
    ) -> Result<TrainState, TrainError> {
        self.device.seed(self.config.run.seed);
        let model = self.load_model(checkpoint)?;
        let idf = self.initial_idf.as_ref().map(|idf| idf.weights.as_slice());
        let settings = &self.config.optimizer;
        let mut state = TrainState {
            step: 0,
            trainable: Trainable::new(model, idf, trains_idf(&self.config), &self.device),
            optimizer: AdamW::new(settings.beta1, settings.beta2, settings.epsilon),
            sampler,
        };
        if let Some(dir) = checkpoint {
            let stored = checkpoint::read_state(dir)?;
            let warning = check_unchanged(dir, &stored, &self.config, &self.targets())?;
            self.warnings.extend(warning);
            state.sampler.restore(&stored.sampler)?;
            let (trainable, optimizer) = (&mut state.trainable, &mut state.optimizer);
            checkpoint::restore(dir, &stored, trainable, optimizer, &self.device)?;
            state.step = stored.step;
            if stored.total_steps != self.total_steps {
                self.warnings.push(format!(
                    "the run was to have {} steps and now has {}: the learning rate follows the new number",
                    stored.total_steps, self.total_steps
                ));
            }
        }
        Ok(state)
    }

    fn load_model(&mut self, checkpoint: Option<&Path>) -> Result<MaskedLm, TrainError> {
        let settings = &self.config.model;
        let options = ImportOptions {
            head_threshold: settings.head_threshold.unwrap_or(match self.config.task {
                Task::Ranking => NEW_HEAD_THRESHOLD,
                Task::MaskedLm(_) => 0.0,
            }),
            dropout: settings.dropout,
        };
        let source = Path::new(&settings.name_or_path);
        if checkpoint.is_none() && settings.from_scratch {
            let note = "the model starts from random weights (init_from_scratch)";
            self.notes.push(note.to_owned());
            let (mut model, _) = hf::from_scratch(source, &options, &self.device)?;
            self.shift_bias(&mut model, 0.0);
            return freeze(model, &settings.freeze);
        }
        let (mut model, _, report) =
            hf::load(checkpoint.unwrap_or(source), &options, &self.device)?;
        if !report.initialised.is_empty() {
            self.notes.push(format!(
                "{} has no masked-LM head: it starts as one that passes the hidden states on to the word embeddings, \
                 less head_threshold {}",
                report.path.display(),
                options.head_threshold
            ));
        }
        if checkpoint.is_none() {
            let is_new = !report.initialised.is_empty();
            let threshold = settings.head_threshold.filter(|_| !is_new);
            self.shift_bias(&mut model, threshold.unwrap_or(0.0));
        }
        freeze(model, &settings.freeze)
    }

    /// Adds to the decoder's bias what `head_idf_cap` says, and takes `threshold` away.
    fn shift_bias(&self, model: &mut MaskedLm, threshold: f64) {
        let idf = self
            .initial_idf
            .as_ref()
            .zip(self.config.model.head_idf_cap);
        let shift: Vec<f32> = (0..self.encoder.vocab_size)
            .map(|token| {
                // A padded vocabulary has more entries than the table.
                let weight =
                    |idf: &Idf| idf.weights.get(token).map_or(0.0, |&weight| weight.into());
                let prior = idf.map_or(0.0, |(idf, cap)| cap.min(weight(idf)));
                (prior - threshold) as f32
            })
            .collect();
        if shift.iter().any(|&shift| shift != 0.0) {
            model.shift_bias(&shift);
        }
    }

    /// Makes the run's batches.
    pub fn feed(&self) -> Feed<'_> {
        let teachers = self.teachers.as_ref();
        self.data.feed(&self.config, &self.tokenizer, teachers)
    }

    /// What the run learns beside what its data says.
    pub fn targets(&self) -> Targets {
        let teachers = self.teachers.as_ref();
        Targets::new(&self.config, teachers.map(OnlineTeachers::ensemble))
    }

    /// The learning rate of the run.
    pub fn learning_rate(&self) -> LearningRate {
        LearningRate::new(&self.config.optimizer, self.total_steps)
    }

    /// Evaluates the run's model.
    pub fn evaluator(&self) -> Evaluator<'_> {
        Evaluator {
            config: &self.config,
            tokenizer: &self.tokenizer,
            device: &self.device,
        }
    }

    /// Measures the guesses of the run's model, where the recipe names texts to guess in.
    ///
    /// # Errors
    ///
    /// If a text cannot be read or tokenized.
    pub fn score_guesses(
        &self,
        trainable: &Trainable,
    ) -> Result<Option<MaskedLmScore>, TrainError> {
        let (TaskData::MaskedLm(data), Some(texts)) = (&self.data, &self.eval_texts) else {
            return Ok(None);
        };
        let (config, tokenizer) = (&self.config, &self.tokenizer);
        let score = texts.score(trainable, config, tokenizer, &data.masking, &self.device)?;
        Ok(Some(score))
    }

    /// How the run's models are written; `idf` is the query table of an inference-free one.
    pub fn export_options<'a>(&'a self, idf: Option<&'a Idf>) -> ExportOptions<'a> {
        let activation = match self.config.task {
            Task::Ranking => Some(self.config.model.activation),
            Task::MaskedLm(_) => None,
        };
        ExportOptions {
            source: Path::new(&self.config.model.name_or_path),
            tokenizer: &self.tokenizer,
            idf,
            activation,
            max_seq_len: (self.config.data.eval_max_seq_len).min(self.encoder.max_positions),
            weight_type: WeightType::F32,
            layouts: activation.map_or(&[Layout::Hf] as &[Layout], Layout::usual),
        }
    }

    /// Passes over the data after `step` steps.
    pub fn epoch(&self, step: usize) -> f64 {
        let batches = step * self.config.optimizer.accumulation_steps;
        batches as f64 / self.batches_per_epoch as f64
    }

    /// What the run will need.
    pub fn memory(&self) -> MemoryEstimate {
        MemoryEstimate::new(&self.config, &self.encoder, self.parameters)
    }
}

fn trains_idf(config: &TrainConfig) -> bool {
    matches!(
        config.model.query,
        QueryEncoder::InferenceFree {
            learning_rate: Some(_),
            ..
        }
    )
}

fn initial_idf(config: &TrainConfig, tokenizer: &Tokenizer) -> Result<Option<Idf>, TrainError> {
    if let Task::MaskedLm(_) = config.task {
        return Ok(None);
    }
    match &config.model.query {
        QueryEncoder::Siamese => Ok(None),
        QueryEncoder::InferenceFree { idf_path: None, .. } => {
            Ok(Some(Idf::uniform(tokenizer.vocab_size())))
        }
        QueryEncoder::InferenceFree {
            idf_path: Some(path),
            ..
        } => Ok(Some(Idf::from_file(path, tokenizer)?)),
    }
}

fn total_steps(config: &TrainConfig, batches_per_epoch: usize) -> usize {
    match config.run.duration {
        Duration::Steps(steps) => steps,
        Duration::Epochs(epochs) => {
            let steps = batches_per_epoch.div_ceil(config.optimizer.accumulation_steps);
            (epochs * steps as f64).ceil() as usize
        }
    }
}

fn training_device(config: &TrainConfig, device: &Device) -> Device {
    let device = device.clone().autodiff();
    match config.run.gradient_checkpointing {
        true => device.gradient_checkpointing(),
        false => device,
    }
}

fn precision_warning(config: &TrainConfig) -> Option<String> {
    let key = match config.run.precision {
        Precision::F32 => return None,
        Precision::F16 => "fp16",
        Precision::Bf16 => "bf16",
    };
    Some(format!(
        "{key} has no effect in this version: everything is computed in float32"
    ))
}
