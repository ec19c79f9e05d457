//! The floating-point types in which weights are stored.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};
use safetensors::Dtype;

/// Type of the weights in a file. The model computes with float32; all three convert to it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WeightType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16: float32's range, 8 bits of precision.
    Bf16,
}

/// The text is not a weight type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("weight type `{0}` is not known: expected f32, f16 or bf16")]
pub struct UnknownWeightType(String);

impl WeightType {
    /// Bytes of one weight.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Appends little-endian `bytes` to `weights` as float32.
    pub(super) fn decode(self, bytes: &[u8], weights: &mut Vec<f32>) {
        match self {
            Self::F32 => {
                let (words, _) = bytes.as_chunks::<4>();
                weights.extend(words.iter().map(|&word| f32::from_le_bytes(word)));
            }
            Self::F16 => {
                let (words, _) = bytes.as_chunks::<2>();
                weights.extend(words.iter().map(|&word| f16::from_le_bytes(word).to_f32()));
            }
            Self::Bf16 => {
                let (words, _) = bytes.as_chunks::<2>();
                weights.extend(words.iter().map(|&word| bf16::from_le_bytes(word).to_f32()));
            }
        }
    }

    /// Appends `weights`, rounded to the nearest value of this type, to `bytes`.
    ///
    /// # Errors
    ///
    /// The index of the first weight that this type cannot hold: NaN, infinite, or beyond its range.
    pub(super) fn encode(self, weights: &[f32], bytes: &mut Vec<u8>) -> Result<(), usize> {
        for (index, &weight) in weights.iter().enumerate() {
            let stored = match self {
                Self::F32 => {
                    bytes.extend(weight.to_le_bytes());
                    weight
                }
                Self::F16 => {
                    let half = f16::from_f32(weight);
                    bytes.extend(half.to_le_bytes());
                    half.to_f32()
                }
                Self::Bf16 => {
                    let half = bf16::from_f32(weight);
                    bytes.extend(half.to_le_bytes());
                    half.to_f32()
                }
            };
            if !stored.is_finite() {
                return Err(index);
            }
        }
        Ok(())
    }

    /// The name that config.json uses.
    pub(super) fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    pub(super) fn safetensors(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }

    /// `None` where weights cannot be of this type.
    pub(super) fn from_safetensors(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    /// `None` where weights cannot be of this type.
    pub(super) fn from_torch(dtype: pytorch_reader::DType) -> Option<Self> {
        match dtype {
            pytorch_reader::DType::F32 => Some(Self::F32),
            pytorch_reader::DType::F16 => Some(Self::F16),
            pytorch_reader::DType::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }
}

impl fmt::Display for WeightType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for WeightType {
    type Err = UnknownWeightType;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::F32, Self::F16, Self::Bf16]
            .into_iter()
            .find(|weight_type| weight_type.to_string() == name)
            .ok_or_else(|| UnknownWeightType(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_half_survives_float32() {
        for weight_type in [WeightType::F16, WeightType::Bf16] {
            let finite = |bits: &u16| match weight_type {
                WeightType::F16 => f16::from_bits(*bits).is_finite(),
                _ => bf16::from_bits(*bits).is_finite(),
            };
            let bytes: Vec<u8> = (0..=u16::MAX)
                .filter(finite)
                .flat_map(u16::to_le_bytes)
                .collect();
            let mut weights = Vec::new();
            weight_type.decode(&bytes, &mut weights);
            let mut back = Vec::new();
            weight_type.encode(&weights, &mut back).unwrap();
            assert!(bytes == back, "{weight_type}");
        }
    }

    #[test]
    fn what_a_type_cannot_hold_is_named_by_index() {
        let weights = [1.0, 70_000.0, f32::NAN];
        assert_eq!(WeightType::F16.encode(&weights, &mut Vec::new()), Err(1));
        assert_eq!(WeightType::Bf16.encode(&weights, &mut Vec::new()), Err(2));
        assert_eq!(WeightType::F32.encode(&weights, &mut Vec::new()), Err(2));
    }

    #[test]
    fn names_parse_back() {
        assert_eq!("bf16".parse(), Ok(WeightType::Bf16));
        assert!("int8".parse::<WeightType>().is_err());
    }
}
