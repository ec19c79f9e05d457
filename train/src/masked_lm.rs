//! The masked-LM task: its data, its batches, and a step's gradients.

mod score;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use configs::{MaskedLmConfig, TrainConfig};
use data::mlm::{MaskedTexts, Masking, Occasion, Packing, Sequences, Texts};
use data::{GroupId, Tokenizer};
use model::{MaskedLm, TokenTensors};

use crate::batch::BatchError;
use crate::error::TrainError;
use crate::figures::MaskedLmFigures;
use crate::step::Trainable;
pub use score::{EvalTexts, MaskedLmScore};

/// Documents, the sequences that are cut from them, and what of those is to be guessed.
pub struct MaskedLmData {
    /// The documents.
    pub texts: Texts,
    /// Where sequences begin and end; `None` where every text is one.
    pub packing: Option<Packing>,
    /// Which tokens are hidden.
    pub masking: Masking,
}

impl MaskedLmData {
    /// Opens the documents of a recipe.
    ///
    /// # Errors
    ///
    /// If they cannot be read, or the tokenizer cannot mask.
    pub fn open(
        config: &TrainConfig,
        task: &MaskedLmConfig,
        tokenizer: &Tokenizer,
    ) -> Result<Self, TrainError> {
        // Cheap checks first.
        let masking = Masking::new(tokenizer, task.probability, task.whole_word)?;
        let mut data = Self {
            texts: Texts::open(&config.data.source)?,
            packing: None,
            masking,
        };
        if task.packed {
            data.packing = Some(Packing::new(&data.sequences(config, tokenizer))?);
        }
        Ok(data)
    }

    /// The sequences to train on.
    pub fn sequences<'a>(
        &'a self,
        config: &TrainConfig,
        tokenizer: &'a Tokenizer,
    ) -> Sequences<'a> {
        Sequences {
            texts: &self.texts,
            tokenizer,
            preprocess: config.model.preprocess,
            max_seq_len: config.data.max_seq_len,
            packing: self.packing.as_ref(),
        }
    }
}

/// Reads sequences and masks them.
pub struct MaskedBatchMaker<'a> {
    /// Where they come from.
    pub sequences: Sequences<'a>,
    /// Which tokens are hidden.
    pub masking: &'a Masking,
    /// Of the masking.
    pub seed: u64,
}

impl MaskedBatchMaker<'_> {
    /// The batch of these sequences in this epoch.
    ///
    /// # Errors
    ///
    /// If a text cannot be read or tokenized.
    pub fn make(&self, epoch: usize, ids: &[GroupId]) -> Result<MaskedTexts, BatchError> {
        let sequences = self.sequences.read(ids)?;
        let occasion = Occasion::Training {
            seed: self.seed,
            epoch,
        };
        Ok(self.masking.mask(ids, sequences, occasion))
    }
}

/// Sequences to guess in, on a device.
struct MaskedBatch {
    tokens: TokenTensors,
    /// `[masked]`
    positions: Tensor<1, Int>,
    /// `[masked]`
    targets: Tensor<1, Int>,
}

impl MaskedBatch {
    fn new(texts: &MaskedTexts, device: &Device) -> Self {
        let tensor = |values: Vec<i32>| {
            let shape = [values.len()];
            Tensor::from_data(TensorData::new(values, shape), device)
        };
        let positions = texts.positions.iter().map(|&position| position as i32);
        let targets = texts.targets.iter().map(|&target| target as i32);
        Self {
            tokens: TokenTensors::new(&texts.tokens, device),
            positions: tensor(positions.collect()),
            targets: tensor(targets.collect()),
        }
    }
}

/// What guessing the hidden tokens of a batch gave.
struct Guessed {
    /// Sum of the losses: `[1]`.
    loss: Tensor<1>,
    /// Tokens guessed right.
    right: usize,
}

/// `texts` must have a token to guess.
fn guess(model: &MaskedLm, texts: &MaskedTexts, device: &Device) -> Guessed {
    let batch = MaskedBatch::new(texts, device);
    let targets = batch.targets;
    let found = model.masked_losses(&batch.tokens, batch.positions, targets.clone());
    let guesses = found.guesses.into_data();
    let right = guesses
        .iter::<i64>()
        .zip(&texts.targets)
        .filter(|(guess, target)| *guess == i64::from(**target));
    Guessed {
        loss: found.losses.sum(),
        right: right.count(),
    }
}

/// Adds a step's gradients to `accumulator`: those of the mean loss of all tokens to guess in all of its micro-batches,
/// however they are spread over them. Texts without any teach nothing.
pub fn accumulate(
    trainable: &Trainable,
    batches: &[MaskedTexts],
    device: &Device,
    accumulator: &mut GradientsAccumulator<Trainable>,
) -> MaskedLmFigures {
    let masked: usize = batches.iter().map(|batch| batch.positions.len()).sum();
    let (mut loss, mut right) = (0.0, 0);
    for batch in batches.iter().filter(|batch| !batch.positions.is_empty()) {
        let guessed = guess(&trainable.model, batch, device);
        let share = guessed.loss / masked as f64;
        loss += f64::from(share.clone().into_scalar::<f32>());
        right += guessed.right;
        let gradients = GradientsParams::from_grads(share.backward(), trainable);
        accumulator.accumulate(trainable, gradients);
    }
    MaskedLmFigures {
        loss,
        mlm_loss: loss,
        mlm_accuracy: right as f64 / masked.max(1) as f64,
        masked_tokens: masked,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use data::TokenBatch;

    use super::*;
    use crate::optimizer::gradient_norm;
    use crate::step::tests::trainable;

    fn texts(rows: &[&[u32]], positions: &[usize], targets: &[u32]) -> MaskedTexts {
        MaskedTexts {
            tokens: TokenBatch::new(rows),
            positions: positions.to_vec(),
            targets: targets.to_vec(),
        }
    }

    /// Figures, and the norm of the gradient.
    fn run(trainable: &Trainable, batches: &[MaskedTexts]) -> (MaskedLmFigures, f64) {
        let device = Device::flex().autodiff();
        let mut accumulator = GradientsAccumulator::new();
        let figures = accumulate(trainable, batches, &device, &mut accumulator);
        (figures, gradient_norm(trainable, &accumulator.grads()))
    }

    /// Micro-batches with different numbers of tokens to guess weigh by those, not by one each.
    #[test]
    fn micro_batches_are_one_batch_in_parts() {
        let whole = texts(&[&[2, 4, 4, 3], &[2, 4, 3]], &[1, 2, 5], &[5, 7, 9]);
        let parts = [
            texts(&[&[2, 4, 4, 3]], &[1, 2], &[5, 7]),
            texts(&[&[2, 4, 3]], &[1], &[9]),
        ];
        let trainable = trainable(false, &Device::flex().autodiff());
        let (whole, whole_norm) = run(&trainable, &[whole]);
        let (parts, parts_norm) = run(&trainable, &parts);
        assert!(
            (whole.loss - parts.loss).abs() < 1e-6,
            "{whole:?} {parts:?}"
        );
        assert!((whole_norm - parts_norm).abs() < 1e-5 * whole_norm);
        assert_eq!(whole.mlm_accuracy, parts.mlm_accuracy);
        assert_eq!((whole.masked_tokens, whole.mlm_loss), (3, whole.loss));
    }

    #[test]
    fn a_batch_without_anything_to_guess_changes_nothing() {
        let nothing = texts(&[&[2, 1, 3]], &[], &[]);
        let trainable = trainable(false, &Device::flex().autodiff());
        let (figures, norm) = run(&trainable, std::slice::from_ref(&nothing));
        assert_eq!((figures.loss, figures.masked_tokens, norm), (0.0, 0, 0.0));
        let something = texts(&[&[2, 4, 3]], &[1], &[9]);
        let both = run(&trainable, &[nothing, something.clone()]);
        assert_eq!(both, run(&trainable, &[something]));
    }
}
