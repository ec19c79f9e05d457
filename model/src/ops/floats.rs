//! Float32 tensors of the CPU backend as slices, and back.

use burn::tensor::{DType, TensorData};
use burn_flex::FlexTensor;

/// The same values, row by row.
pub fn contiguous(tensor: FlexTensor) -> FlexTensor {
    assert_eq!(tensor.dtype(), DType::F32, "the CPU computes in float32");
    tensor.to_contiguous()
}

/// The values of a [`contiguous`] tensor.
pub fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("a contiguous float32 tensor")
}

/// A tensor of these values.
pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
