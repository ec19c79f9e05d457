//! Multi-head self-attention of documents that lie one after the other, as one op.
//!
//! For each document and head: `softmax(Q Kᵀ / √d) V` (Vaswani et al. 2017). No document attends to another, and
//! padding does not exist. On the CPU the attention weights, `[seq, seq]` for each head, are made a document and a
//! head at a time and made again in the backward pass, which saves Q, K and V alone.

mod backward;
mod forward;
mod kernel;
pub(crate) use kernel::{Head, head_of};
mod padded;
pub mod reference;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use forward::AttentionPasses;

/// How rows are shared out.
#[derive(Debug, Clone, PartialEq)]
pub struct Heads {
    /// Number of tokens of each document; together all rows.
    pub lengths: Vec<usize>,
    /// Number of heads, side by side in a row.
    pub count: usize,
    /// Probability that an attention weight is dropped; 0 outside training.
    pub dropout: f64,
}

/// Backends that have the op. Called through [`attention`].
#[backend_extension(Autodiff, Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")))]
pub trait AttentionOps: Backend {
    /// See [`attention`].
    fn attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self>;
}

impl AttentionOps for Flex {
    fn attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        Self::forward(query, key, value, &heads).0
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl AttentionOps for burn::backend::Cube {
    fn attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        Self::forward(query, key, value, &heads).0
    }
}

/// What every token takes from the tokens of its document.
///
/// # Shapes
///
/// - query, key, value, output: `[tokens, heads * per_head]`
///
/// # Panics
///
/// If the shapes do not fit together.
pub fn attention(query: Tensor<2>, key: Tensor<2>, value: Tensor<2>, heads: Heads) -> Tensor<2> {
    let [tokens, width] = query.dims();
    assert_eq!(
        [key.dims(), value.dims()],
        [query.dims(); 2],
        "one key and value a token"
    );
    assert_eq!(
        heads.lengths.iter().sum::<usize>(),
        tokens,
        "documents are all of the rows"
    );
    assert!(
        width.is_multiple_of(heads.count),
        "{} heads in {width} columns",
        heads.count
    );
    Tensor::from_dispatch(<Dispatch as AttentionOps>::attention(
        query.into_dispatch(),
        key.into_dispatch(),
        value.into_dispatch(),
        heads,
    ))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::ops::check::{Draws, assert_close, flex_floats, floats};

    /// Documents' lengths, number of heads, width of a head.
    const CASES: [(&[usize], usize, usize); 5] = [
        (&[1], 1, 1),
        (&[3, 1, 2], 2, 3),
        (&[0, 5, 0], 1, 4),
        (&[20, 33], 3, 32),
        (&[130], 2, 17),
    ];

    fn heads((lengths, count, _): (&[usize], usize, usize), dropout: f64) -> Heads {
        Heads {
            lengths: lengths.to_vec(),
            count,
            dropout,
        }
    }

    fn shape((lengths, count, width): (&[usize], usize, usize)) -> [usize; 2] {
        [lengths.iter().sum(), count * width]
    }

    type Op = fn(Tensor<2>, Tensor<2>, Tensor<2>, Heads) -> Tensor<2>;

    fn run(op: Op, case: (&[usize], usize, usize)) -> [Vec<f32>; 4] {
        let device = Device::flex().autodiff();
        let mut draws = Draws::new(&device);
        let mut next = || draws.next(shape(case)).require_grad();
        let (query, key, value, upstream) = (next(), next(), next(), next());
        let output = op(query.clone(), key.clone(), value.clone(), heads(case, 0.0));
        let grads = (output.clone() * upstream.detach()).sum().backward();
        let gradient = |tensor: Tensor<2>| floats(tensor.grad(&grads).expect("a gradient"));
        [
            floats(output.inner()),
            gradient(query),
            gradient(key),
            gradient(value),
        ]
    }

    #[test]
    fn values_and_gradients_match_plain_tensor_operations() {
        for case in CASES {
            let (found, expected) = (run(attention, case), run(reference::attention, case));
            for (part, name) in ["output", "d query", "d key", "d value"].iter().enumerate() {
                assert_close(
                    &found[part],
                    &expected[part],
                    2e-5,
                    &format!("{case:?} {name}"),
                );
            }
        }
    }

    /// The bodies that GPUs run, on the CPU, against its kernel.
    #[test]
    fn the_default_bodies_agree_with_the_kernel() {
        let device = Device::flex();
        for case in CASES {
            let mut draws = Draws::new(&device);
            let mut next = || draws.flex(shape(case));
            let (query, key, value, grad) = (next(), next(), next(), next());
            let heads = heads(case, 0.0);
            let args = || (query.clone(), key.clone(), value.clone());
            let (q, k, v) = args();
            let (found, saved) = forward::attention::<Flex>(q, k, v, &heads);
            let (q, k, v) = args();
            let (expected, nothing) = Flex::forward(q, k, v, &heads);
            assert_close(&flex_floats(found), &flex_floats(expected), 1e-5, "output");
            let (q, k, v) = args();
            let found = backward::attention::<Flex>(grad.clone(), [q, k, v], saved, &heads);
            let (q, k, v) = args();
            let expected = Flex::backward(grad, [q, k, v], nothing, &heads);
            for (found, expected) in found.into_iter().zip(expected) {
                assert_close(
                    &flex_floats(found),
                    &flex_floats(expected),
                    2e-5,
                    "gradient",
                );
            }
        }
    }

    /// With V the identity the output is the attention weights themselves: some are 0, the rest larger by `1 / keep`,
    /// and the backward pass drops the same ones.
    #[test]
    fn dropped_weights_are_zero_forward_and_backward() {
        let device = Device::flex();
        let length = 64;
        let shape = [length, length];
        let mut draws = Draws::new(&device);
        let (query, key) = (draws.flex(shape), draws.flex(shape));
        let value = burn_flex::FlexTensor::from_data(Tensor::<2>::eye(length, &device).into_data());
        let run = |dropout: f64| {
            let heads = Heads {
                lengths: vec![length],
                count: 1,
                dropout,
            };
            let inputs = [query.clone(), key.clone(), value.clone()];
            let [q, k, v] = inputs.clone();
            let (output, saved) = Flex::forward(q, k, v, &heads);
            // The gradient of V is the transposed weights where the upstream gradient is the identity.
            let [_, _, gradient] = Flex::backward(value.clone(), inputs, saved, &heads);
            (flex_floats(output), flex_floats(gradient))
        };
        let ((whole, _), (dropped, gradient)) = (run(0.0), run(0.25));
        let kept = dropped.iter().filter(|&&weight| weight != 0.0).count() as f64;
        let share = kept / dropped.len() as f64;
        assert!((share - 0.75).abs() < 0.05, "{share} are kept");
        for i in 0..length {
            for j in 0..length {
                let (weight, whole) = (dropped[i * length + j], whole[i * length + j]);
                assert!(weight == 0.0 || (weight - whole / 0.75).abs() < 1e-6);
                assert!((gradient[j * length + i] - weight).abs() < 1e-6);
            }
        }
    }
}
