//! Custom autodiff ops with hand-written backward passes, one folder per op.
//!
//! Rows are tokens: the documents of a batch lie one after the other without padding, and an op that must know where
//! a document begins is told the documents' lengths.

pub mod add_norm;
pub mod attention;
#[cfg(test)]
pub(crate) mod check;
pub mod cross_entropy;
mod floats;
pub mod geglu;
pub mod linear;
pub mod lookup;
pub mod sparse_head;

pub use add_norm::add_norm;
pub use attention::attention;
pub use cross_entropy::{CrossEntropy, cross_entropy};
pub use geglu::geglu;
pub use linear::{Gelu, linear};
pub use lookup::lookup;
pub use sparse_head::sparse_head;

use burn::backend::Backend;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::tensor::FloatTensor;

/// Hands each parent of a node its gradient.
fn register<B: Backend, const N: usize>(
    grads: &mut Gradients,
    parents: [Option<NodeId>; N],
    gradients: [FloatTensor<B>; N],
) {
    for (parent, gradient) in parents.into_iter().zip(gradients) {
        if let Some(parent) = parent {
            grads.register::<B>(parent, gradient);
        }
    }
}
