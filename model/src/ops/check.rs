//! What the tests of all ops share.

use burn::tensor::{Device, Tensor};
use burn_flex::FlexTensor;

/// Numbers between -1.5 and 1.5. Not the device's generator: its seed is shared by tests that run side by side.
pub struct Draws<'a> {
    device: &'a Device,
    count: i32,
}

impl<'a> Draws<'a> {
    pub fn new(device: &'a Device) -> Self {
        Self { device, count: 0 }
    }

    pub fn next<const D: usize>(&mut self, shape: [usize; D]) -> Tensor<D> {
        let mut draw = || {
            self.count += 1;
            let x = (self.count as f32 * 78.233).sin() * 43_758.547;
            3.0 * (x - x.floor()) - 1.5
        };
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw()).collect();
        Tensor::<1>::from_floats(values.as_slice(), self.device)
            .reshape(shape)
            .detach()
    }

    pub fn flex<const D: usize>(&mut self, shape: [usize; D]) -> FlexTensor {
        FlexTensor::from_data(self.next(shape).into_data())
    }
}

pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

pub fn flex_floats(tensor: FlexTensor) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

pub fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        let bound = tolerance * (1.0 + b.abs());
        assert!(
            (a - b).abs() <= bound,
            "{what}[{index}]: {a} instead of {b}"
        );
    }
}
