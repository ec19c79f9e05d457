//! How exactly the matrix products of inference are computed.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use crate::device;
use crate::kernel::reduced;

/// How exactly matrix products are computed where nothing is differentiated. Everything else, sums of products
/// included, is float32 (sums of int8 products are exact).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32-bit floating point.
    #[default]
    Float32,
    /// Factors rounded to bfloat16: 8 significant bits.
    BFloat16,
    /// Factors rounded to 8-bit integers, with a scale for each token and for each output.
    Int8,
}

/// Why a precision cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrecisionError {
    /// The text is not a precision.
    #[error("precision `{0}` is not known: expected f32, bf16 or int8")]
    Unknown(String),
    /// Only the CPU has it.
    #[error("precision {0} is computed on the CPU only: add --device cpu, or use --precision f32")]
    NotOnThisDevice(Precision),
    /// The processor lacks the instruction.
    #[error(
        "precision {precision} needs a processor with {instructions}, which this one lacks: use --precision f32"
    )]
    NotOnThisProcessor {
        /// As asked for.
        precision: Precision,
        /// What the processor lacks.
        instructions: &'static str,
    },
}

impl Precision {
    /// Refuses what `device` cannot compute.
    ///
    /// # Errors
    ///
    /// If the device is not the CPU, or the processor has no instruction for it.
    pub fn check(self, device: &Device) -> Result<(), PrecisionError> {
        let instructions = match self {
            Self::Float32 => return Ok(()),
            Self::BFloat16 => "AVX-512 BF16",
            Self::Int8 => "AVX-512 VNNI",
        };
        if !device::is_cpu(device) {
            return Err(PrecisionError::NotOnThisDevice(self));
        }
        if !reduced::is_available(self) {
            return Err(PrecisionError::NotOnThisProcessor {
                precision: self,
                instructions,
            });
        }
        Ok(())
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "f32",
            Self::BFloat16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for Precision {
    type Err = PrecisionError;

    fn from_str(text: &str) -> Result<Self, PrecisionError> {
        let all = [Self::Float32, Self::BFloat16, Self::Int8];
        all.into_iter()
            .find(|precision| precision.to_string() == text)
            .ok_or_else(|| PrecisionError::Unknown(text.to_owned()))
    }
}
