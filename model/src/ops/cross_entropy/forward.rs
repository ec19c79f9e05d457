//! Forward pass on any backend, a chunk of the vocabulary at a time.

use std::ops::Range;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{IntDType, Shape, Slice};

use super::{CHUNK_LOGITS, backward};

/// Fewest vocabulary entries of a chunk, however many rows there are.
const LEAST_COLUMNS: usize = 256;

/// What the forward pass finds.
#[derive(Debug, Clone)]
pub struct Losses<B: Backend> {
    /// `[rows]`
    pub losses: FloatTensor<B>,
    /// `[rows]`: `log Σ exp(z)`.
    pub log_sums: FloatTensor<B>,
    /// `[rows]`: the first vocabulary entry with the largest logit.
    pub guesses: IntTensor<B>,
}

/// What the backward pass needs: nothing of the size `[rows, vocab]`.
#[derive(Debug, Clone)]
pub struct Kept<B: Backend> {
    /// `[rows, hidden]`
    pub hidden: FloatTensor<B>,
    /// `[vocab, hidden]`
    pub decoder: FloatTensor<B>,
    /// `[vocab]`
    pub bias: FloatTensor<B>,
    /// `[rows]`
    pub targets: IntTensor<B>,
    /// `[rows]`
    pub log_sums: FloatTensor<B>,
}

/// Gradients of hidden, decoder (where asked for) and bias.
pub type Slopes<B> = (FloatTensor<B>, Option<FloatTensor<B>>, FloatTensor<B>);

/// Both passes; the default bodies work on every backend.
pub trait CrossEntropyPasses: Backend {
    /// Losses, and what was found on the way.
    ///
    /// # Shapes
    ///
    /// - hidden: `[rows, hidden]`, decoder: `[vocab, hidden]`, bias: `[vocab]`, targets: `[rows]`
    fn losses(
        hidden: FloatTensor<Self>,
        decoder: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> Losses<Self> {
        let columns = chunk_columns(hidden.shape()[0]);
        by_chunks::<Self>(hidden, decoder, bias, targets, columns)
    }

    /// Gradients from those of the losses; that of the decoder where it `has_decoder_gradient`, which is a third of the
    /// work.
    ///
    /// # Shapes
    ///
    /// - grad: `[rows]`; outputs: those of hidden, decoder and bias
    fn losses_backward(
        grad: FloatTensor<Self>,
        kept: Kept<Self>,
        has_decoder_gradient: bool,
    ) -> Slopes<Self> {
        let columns = chunk_columns(kept.hidden.shape()[0]);
        backward::by_chunks::<Self>(grad, kept, has_decoder_gradient, columns)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl CrossEntropyPasses for burn::backend::Cube {}

/// Vocabulary entries whose logits of `rows` rows are in memory together.
fn chunk_columns(rows: usize) -> usize {
    (CHUNK_LOGITS / rows.max(1)).max(LEAST_COLUMNS)
}

/// The vocabulary, `columns` entries at a time.
pub(super) fn chunks(vocab: usize, columns: usize) -> impl Iterator<Item = Range<usize>> {
    (0..vocab)
        .step_by(columns)
        .map(move |first| first..vocab.min(first + columns))
}

/// `[rows, columns]`: logits of some vocabulary entries.
pub(super) fn logits<B: Backend>(
    hidden: &FloatTensor<B>,
    decoder: FloatTensor<B>,
    bias: &FloatTensor<B>,
    columns: Range<usize>,
) -> FloatTensor<B> {
    let shape = Shape::new([1, columns.len()]);
    let bias = B::float_slice(bias.clone(), &[Slice::from(columns)]);
    let products = B::float_matmul(hidden.clone(), B::float_transpose(decoder));
    B::float_add(products, B::float_reshape(bias, shape))
}

/// Each chunk gives the maximum of a row, where it is, and the sum of exponentials relative to it; the chunks' maxima are
/// then brought to one.
pub(super) fn by_chunks<B: Backend>(
    hidden: FloatTensor<B>,
    decoder: FloatTensor<B>,
    bias: FloatTensor<B>,
    targets: IntTensor<B>,
    columns: usize,
) -> Losses<B> {
    let [rows, _] = hidden.shape().dims();
    let [vocab] = bias.shape().dims();
    let (mut maxima, mut sums, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for range in chunks(vocab, columns) {
        let first = range.start;
        let part = B::float_slice(decoder.clone(), &[Slice::from(range.clone())]);
        let logits = logits::<B>(&hidden, part, &bias, range); // [rows, columns]
        let (largest, place) = B::float_max_dim_with_indices(logits.clone(), 1, IntDType::I32);
        let relative = B::float_exp(B::float_sub(logits, largest.clone()));
        sums.push(B::float_sum_dim(relative, 1)); // [rows, 1]
        maxima.push(largest);
        places.push(B::int_add_scalar(place, first.into()));
    }
    let maxima = B::float_cat(maxima, 1); // [rows, chunks]
    let (largest, chunk) = B::float_max_dim_with_indices(maxima.clone(), 1, IntDType::I32);
    let guesses = B::int_gather(1, B::int_cat(places, 1), chunk); // [rows, 1]
    let relative = B::float_exp(B::float_sub(maxima, largest.clone()));
    let sums = B::float_sum_dim(B::float_mul(B::float_cat(sums, 1), relative), 1);
    let log_sums = B::float_add(B::float_log(sums), largest);

    let rows_of_targets = B::float_select(decoder, 0, targets.clone()); // [rows, hidden]
    let products = B::float_sum_dim(B::float_mul(hidden, rows_of_targets), 1);
    let shape = Shape::new([rows]);
    let logits = B::float_add(
        B::float_reshape(products, shape.clone()),
        B::float_select(bias, 0, targets),
    );
    let log_sums = B::float_reshape(log_sums, shape.clone());
    Losses {
        losses: B::float_sub(log_sums.clone(), logits),
        log_sums,
        guesses: B::int_reshape(guesses, shape),
    }
}
