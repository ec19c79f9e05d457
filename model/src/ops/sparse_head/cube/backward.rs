//! The backward kernels. Both gather: a cube owns rows of its output and looks for what belongs there, so that sums have
//! one order and no atomics are needed. Entries whose gradient is 0, most of them in a sparse vector, cost a look and no
//! more.

use burn::backend::TensorMetadata;
use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Units of a cube.
const UNITS: usize = 256;
/// Columns of the output that a unit sums.
const COLUMNS: usize = 4;

/// Units of the decoder's kernel that share a vocabulary entry.
const LANES: usize = 32;
/// Vocabulary entries of a cube of the decoder's kernel, documents of one of its rounds.
const ENTRIES: usize = UNITS / LANES;
const DOCS: usize = UNITS / ENTRIES;

/// Which token each (document, entry) came from, and its gradient.
#[derive(Clone)]
pub(super) struct Winners {
    /// `[docs, vocab]`, 0 where the pooled logit is.
    pub(super) grad: CubeTensor,
    /// `[docs, vocab]`, from a document's first token.
    pub(super) positions: CubeTensor,
    /// `[docs + 1]`
    pub(super) firsts: CubeTensor,
}

/// Fills the gradient of the decoder, `[vocab, hidden]`.
pub(super) fn launch_decoder(winners: Winners, hidden: CubeTensor, output: CubeTensor) {
    let [docs, _] = winners.grad.shape().dims::<2>();
    let [vocab, width] = output.shape().dims();
    let client = output.client.clone();
    let cubes = CubeCount::new_2d(
        vocab.div_ceil(ENTRIES) as u32,
        width.div_ceil(LANES * COLUMNS) as u32,
    );
    decoder_gradient::launch(
        &client,
        cubes,
        CubeDim::new_2d(LANES as u32, ENTRIES as u32),
        winners.grad.into_buffer_arg(),
        winners.positions.into_buffer_arg(),
        winners.firsts.into_buffer_arg(),
        hidden.into_buffer_arg(),
        output.into_buffer_arg(),
        docs,
        vocab,
        width,
    );
}

/// `out[v] = sum over d of grad[d, v] * hidden[firsts[d] + positions[d, v]]`, documents ascending.
///
/// 32 units have an entry, 4 columns each; 8 entries and 32 documents at a time go through shared memory. On a GPU with
/// 32 units in lockstep an entry without gradient is skipped without divergence. `docs` is given, as a slice's `len()`
/// is its allocation's, which CUDA rounds up.
#[cube(launch)]
fn decoder_gradient(
    grad: &[f32],
    positions: &[i32],
    firsts: &[i32],
    hidden: &[f32],
    output: &mut [f32],
    docs: usize,
    vocab: usize,
    width: usize,
) {
    let unit = UNIT_POS as usize;
    let (my_entry, lane) = (unit / LANES, unit % LANES);
    let entry = CUBE_POS_X as usize * ENTRIES;
    let column = CUBE_POS_Y as usize * LANES * COLUMNS + lane;
    let mut grads = Shared::<[f32]>::new_slice(UNITS);
    let mut rows = Shared::<[i32]>::new_slice(UNITS);
    let mut sums = zeros();

    let mut doc = 0usize;
    while doc < docs {
        let staged_doc = doc + unit / ENTRIES;
        let staged_entry = entry + unit % ENTRIES;
        grads[unit] = 0.0;
        if staged_doc < docs && staged_entry < vocab {
            let index = staged_doc * vocab + staged_entry;
            grads[unit] = grad[index];
            rows[unit] = firsts[staged_doc] + positions[index];
        }
        sync_cube();
        for round in 0..DOCS {
            let scale = grads[round * ENTRIES + my_entry];
            if scale != 0.0 {
                let row = rows[round * ENTRIES + my_entry] as usize;
                add_scaled(&mut sums, scale, hidden, row, column, width, LANES);
            }
        }
        sync_cube();
        doc += DOCS;
    }
    if entry + my_entry < vocab {
        write(&sums, output, entry + my_entry, column, width, LANES);
    }
}

/// Fills the gradient of the hidden states, `[tokens, hidden]`, of documents of at most `longest` tokens.
pub(super) fn launch_hidden(
    winners: Winners,
    decoder: CubeTensor,
    output: CubeTensor,
    longest: usize,
) {
    let [docs, vocab] = winners.grad.shape().dims();
    let [_, width] = output.shape().dims::<2>();
    let client = output.client.clone();
    // Tokens vary fastest: cubes that run at the same time look through the same document's winners.
    let cubes = CubeCount::new_3d(
        longest as u32,
        docs as u32,
        width.div_ceil(UNITS * COLUMNS) as u32,
    );
    hidden_gradient::launch(
        &client,
        cubes,
        CubeDim::new_1d(UNITS as u32),
        winners.grad.into_buffer_arg(),
        winners.positions.into_buffer_arg(),
        winners.firsts.into_buffer_arg(),
        decoder.into_buffer_arg(),
        output.into_buffer_arg(),
        vocab,
        width,
    );
}

/// `out[firsts[d] + s] = sum over the v with positions[d, v] = s of grad[d, v] * decoder[v]`.
///
/// A cube has a token. It looks through 8,192 entries at a time: each unit through 32 of them, one in 256, which it
/// notes in the bits of a word; then all units go through the words together and add the rows that were found. The look
/// costs one comparison for each (token, entry), where the forward pass has `hidden` multiplications, so that lists
/// sorted by token are not worth building.
#[cube(launch)]
fn hidden_gradient(
    grad: &[f32],
    positions: &[i32],
    firsts: &[i32],
    decoder: &[f32],
    output: &mut [f32],
    vocab: usize,
    width: usize,
) {
    let doc = CUBE_POS_Y as usize;
    let position = CUBE_POS_X as i32;
    let row = firsts[doc] + position;
    if row >= firsts[doc + 1] {
        terminate!();
    }
    let unit = UNIT_POS as usize;
    let column = CUBE_POS_Z as usize * UNITS * COLUMNS + unit;
    let mut found = Shared::<[u32]>::new_slice(UNITS);
    let mut sums = zeros();

    let mut entry = 0usize;
    while entry < vocab {
        let mut word = 0u32;
        for bit in 0..32u32 {
            let entry = entry + bit as usize * UNITS + unit;
            if entry < vocab {
                let index = doc * vocab + entry;
                if positions[index] == position && grad[index] != 0.0 {
                    word |= 1u32 << bit;
                }
            }
        }
        found[unit] = word;
        sync_cube();
        for finder in 0..UNITS {
            let mut word = found[finder];
            while word != 0 {
                let entry = entry + word.trailing_zeros() as usize * UNITS + finder;
                let scale = grad[doc * vocab + entry];
                add_scaled(&mut sums, scale, decoder, entry, column, width, UNITS);
                word &= word - 1;
            }
        }
        sync_cube();
        entry += 32 * UNITS;
    }
    write(&sums, output, row as usize, column, width, UNITS);
}

#[cube]
fn zeros() -> Array<f32> {
    let mut sums = Array::<f32>::new(COLUMNS);
    #[unroll]
    for i in 0..COLUMNS {
        sums[i] = 0.0;
    }
    sums
}

/// Adds `scale` times a row of `source` to a unit's columns, which are `step` apart.
#[cube]
fn add_scaled(
    sums: &mut Array<f32>,
    scale: f32,
    source: &[f32],
    row: usize,
    column: usize,
    width: usize,
    #[comptime] step: usize,
) {
    #[unroll]
    for i in 0..COLUMNS {
        let column = column + i * step;
        if column < width {
            sums[i] += scale * source[row * width + column];
        }
    }
}

/// Puts a unit's columns into a row of `output`.
#[cube]
fn write(
    sums: &Array<f32>,
    output: &mut [f32],
    row: usize,
    column: usize,
    width: usize,
    #[comptime] step: usize,
) {
    #[unroll]
    for i in 0..COLUMNS {
        let column = column + i * step;
        if column < width {
            output[row * width + column] = sums[i];
        }
    }
}
