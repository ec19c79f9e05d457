//! GPU kernels, one source for wgpu and CUDA: logits live in registers, where the maximum is folded in as soon as their
//! sums are complete.
//!
//! float32 only. Anything else, and more documents than a launch has cubes for, takes the default bodies. Nothing is
//! held beside inputs and outputs.

mod backward;
mod forward;

use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::{DType, FloatDType, IntDType, Shape, TensorData};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

use super::forward::{PoolLogits, pool_by_document};

/// Cubes that every backend launches along any axis.
const MAX_CUBES: usize = 65_535;

impl PoolLogits for Cube {
    fn pool_logits(
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        lengths: &[usize],
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        if !has_kernel(&hidden, lengths) {
            return pool_by_document::<Self>(hidden, decoder, bias, lengths);
        }
        let shape = Shape::new([lengths.len(), bias.shape()[0]]);
        if hidden.shape()[0] == 0 {
            let device = hidden.device();
            return (
                Self::float_zeros(shape.clone(), &device, FloatDType::F32),
                Self::int_zeros(shape, &device, IntDType::I32),
            );
        }
        let pooled = output(&hidden, shape.clone(), DType::F32);
        let positions = output(&hidden, shape, DType::I32);
        forward::launch(
            [hidden, decoder, bias].map(into_contiguous),
            first_rows(lengths, &pooled),
            [pooled.clone(), positions.clone()],
        );
        (pooled, positions)
    }

    fn pool_logits_backward(
        grad: FloatTensor<Self>,
        positions: IntTensor<Self>,
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        lengths: &[usize],
    ) -> [FloatTensor<Self>; 3] {
        if !has_kernel(&hidden, lengths) {
            return super::backward::pool_by_document_backward::<Self>(
                grad, positions, hidden, decoder, lengths,
            );
        }
        let vocab = Shape::new([decoder.shape()[0]]);
        let grad_bias = Self::float_reshape(Self::float_sum_dim(grad.clone(), 0), vocab);
        if hidden.shape()[0] == 0 {
            let device = decoder.device();
            let grad_decoder = Self::float_zeros(decoder.shape(), &device, FloatDType::F32);
            return [hidden, grad_decoder, grad_bias];
        }
        let grad_hidden = output(&hidden, hidden.shape(), DType::F32);
        let grad_decoder = output(&hidden, decoder.shape(), DType::F32);
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let firsts = first_rows(lengths, &hidden);
        let winners = backward::Winners {
            grad: into_contiguous(grad),
            positions: into_contiguous(positions),
            firsts,
        };
        backward::launch_hidden(
            winners.clone(),
            into_contiguous(decoder),
            grad_hidden.clone(),
            longest,
        );
        backward::launch_decoder(winners, into_contiguous(hidden), grad_decoder.clone());
        [grad_hidden, grad_decoder, grad_bias]
    }
}

fn has_kernel(hidden: &CubeTensor, lengths: &[usize]) -> bool {
    hidden.dtype == DType::F32 && lengths.len() <= MAX_CUBES
}

/// A contiguous tensor for a kernel to fill, where `like` is.
fn output(like: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, dtype)
}

/// `[docs + 1]`: the first row of each document, and the number of rows.
fn first_rows(lengths: &[usize], like: &CubeTensor) -> CubeTensor {
    let ends = lengths.iter().scan(0, |end, &length| {
        *end += length as i32;
        Some(*end)
    });
    let firsts: Vec<i32> = std::iter::once(0).chain(ends).collect();
    let shape = [firsts.len()];
    Cube::int_from_data(TensorData::new(firsts, shape), &like.device)
}
