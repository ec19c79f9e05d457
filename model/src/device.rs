//! Which device computes. The only file that names a backend.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use burn::tensor::DeviceType;

/// A device as written on the command line: `auto`, `cpu`, `wgpu[:N]`, `cuda[:N]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The best device that this build has and this machine offers.
    #[default]
    Auto,
    /// The CPU backend, always there.
    Cpu,
    /// The GPU number N through wgpu.
    Wgpu(usize),
    /// The NVIDIA GPU number N.
    Cuda(usize),
}

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The text is not a device.
    #[error("device `{0}` is not known: expected auto, cpu, wgpu[:N] or cuda[:N]")]
    Unknown(String),
    /// This binary was built without the backend.
    #[error(
        "device `{device}` needs a binary built with its feature: \
         add `--features {feature}` to the cargo command, or use --device cpu"
    )]
    MissingFeature {
        /// As asked for.
        device: String,
        /// Cargo feature that brings it.
        feature: &'static str,
    },
    /// The backend is there, the device or its driver is not.
    #[error("device `{device}` is not available: {reason}")]
    NotAvailable {
        /// As asked for.
        device: String,
        /// What is missing.
        reason: String,
    },
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown(text.to_owned());
        let (kind, index) = match text.split_once(':') {
            Some((kind, index)) => (kind, index.parse().map_err(|_| unknown())?),
            None => (text, 0),
        };
        match (kind, text.contains(':')) {
            ("auto", false) => Ok(Self::Auto),
            ("cpu", false) => Ok(Self::Cpu),
            ("wgpu", _) => Ok(Self::Wgpu(index)),
            ("cuda", _) => Ok(Self::Cuda(index)),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => write!(f, "auto"),
            Self::Cpu => write!(f, "cpu"),
            Self::Wgpu(index) => write!(f, "wgpu:{index}"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// The device of a choice; `auto` is the first CUDA device, else the CPU. A GPU behind wgpu is taken only when
/// named, since it may be a software driver, slower than the CPU backend.
///
/// # Errors
///
/// If the choice names a backend that this binary lacks or a device that this machine lacks.
pub fn select(choice: DeviceChoice) -> Result<Device, DeviceError> {
    match choice {
        DeviceChoice::Auto => Ok(cuda(0).unwrap_or_else(|_| Device::flex())),
        DeviceChoice::Cpu => Ok(Device::flex()),
        DeviceChoice::Wgpu(index) => wgpu(index),
        DeviceChoice::Cuda(index) => cuda(index),
    }
}

/// Whether `device`, with autodiff or without, is the CPU.
pub fn is_cpu(device: &Device) -> bool {
    device.clone().inner() == Device::flex()
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<Device, DeviceError> {
    nth(
        DeviceChoice::Cuda(index),
        index,
        DeviceType::Cuda,
        "an NVIDIA driver",
    )
}

#[cfg(not(feature = "cuda"))]
fn cuda(index: usize) -> Result<Device, DeviceError> {
    Err(missing_feature(DeviceChoice::Cuda(index), "cuda"))
}

#[cfg(feature = "wgpu")]
fn wgpu(index: usize) -> Result<Device, DeviceError> {
    nth(
        DeviceChoice::Wgpu(index),
        index,
        DeviceType::Wgpu,
        "a Vulkan, Metal or DirectX 12 driver",
    )
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(index: usize) -> Result<Device, DeviceError> {
    Err(missing_feature(DeviceChoice::Wgpu(index), "wgpu"))
}

#[cfg(not(all(feature = "wgpu", feature = "cuda")))]
fn missing_feature(choice: DeviceChoice, feature: &'static str) -> DeviceError {
    DeviceError::MissingFeature {
        device: choice.to_string(),
        feature,
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn nth(
    choice: DeviceChoice,
    index: usize,
    kind: DeviceType,
    driver: &str,
) -> Result<Device, DeviceError> {
    let devices: Vec<Device> = Device::enumerate(kind).into_iter().collect();
    let count = devices.len();
    devices
        .into_iter()
        .nth(index)
        .ok_or_else(|| DeviceError::NotAvailable {
            device: choice.to_string(),
            reason: format!("this machine shows {count} such devices; it needs {driver}"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_round_trip_and_nonsense_is_refused() {
        for text in ["auto", "cpu", "wgpu:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!(
            "cuda".parse::<DeviceChoice>().unwrap(),
            DeviceChoice::Cuda(0)
        );
        for text in ["gpu", "cuda:x", "cpu:1", ""] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_missing_backend_names_its_feature() {
        let error = select(DeviceChoice::Cuda(0)).unwrap_err().to_string();
        assert!(error.contains("--features cuda"), "{error}");
    }
}
