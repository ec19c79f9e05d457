//! The forward kernel: a cube has one document and 128 vocabulary entries.
//!
//! It goes through the document 64 tokens at a time and through the hidden width 16 numbers at a time, with both tiles
//! in shared memory (28.5 KiB in all). Each of its 256 units sums the logits of 4 tokens and 8 entries in registers and
//! keeps the maximum of its tokens for each entry; the maxima of the 16 units that share an entry meet at the end.
//!
//! Tiles are stored transposed, four rows to a vector, so that one load brings four factors. A row of vectors is one
//! longer than the tile is wide: units that store or load side by side then hit different banks. Units whose tokens are
//! all behind the document's end do not multiply, so that a document of 20 tokens costs what 24 do on a GPU with 32
//! units in lockstep.

use burn::backend::TensorMetadata;
use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Vectors of the tile of hidden states: 64 tokens.
const TOKENS: usize = 16;
/// Vectors of the tile of the decoder: 128 vocabulary entries.
const ENTRIES: usize = 32;
/// Hidden dimensions of a tile.
const DEPTH: usize = 16;
/// Vectors of entries that a unit sums: its own and the one half a tile on.
const HALVES: usize = 2;
const HALF: usize = ENTRIES / HALVES;
const UNITS: usize = TOKENS * HALF;

/// What is loaded and multiplied together.
type Four = Vector<f32, Const<4>>;

/// Fills `[pooled, positions]`, both `[docs, vocab]`, from `[hidden, decoder, bias]` and the documents' first rows.
pub(super) fn launch(inputs: [CubeTensor; 3], firsts: CubeTensor, outputs: [CubeTensor; 2]) {
    let [hidden, decoder, bias] = inputs;
    let [pooled, positions] = outputs;
    let [docs, vocab] = pooled.shape().dims();
    let [_, width] = hidden.shape().dims::<2>();
    let client = pooled.client.clone();
    // Documents vary fastest: cubes that run at the same time share a tile of the decoder, the larger matrix.
    let cubes = CubeCount::new_2d(docs as u32, vocab.div_ceil(4 * ENTRIES) as u32);
    pool_logits::launch(
        &client,
        cubes,
        CubeDim::new_1d(UNITS as u32),
        hidden.into_buffer_arg(),
        decoder.into_buffer_arg(),
        bias.into_buffer_arg(),
        firsts.into_buffer_arg(),
        pooled.into_buffer_arg(),
        positions.into_buffer_arg(),
        vocab,
        width,
    );
}

/// `vocab` is given, as a slice's `len()` is its allocation's, which CUDA rounds up.
#[cube(launch)]
fn pool_logits(
    hidden: &[f32],
    decoder: &[f32],
    bias: &[f32],
    firsts: &[i32],
    pooled: &mut [f32],
    positions: &mut [i32],
    vocab: usize,
    width: usize,
) {
    let doc = CUBE_POS_X as usize;
    let entry = CUBE_POS_Y as usize * 4 * ENTRIES;
    let (first, end) = (firsts[doc] as usize, firsts[doc + 1] as usize);
    let unit = UNIT_POS as usize;
    let (my_tokens, my_entries) = (unit / HALF, unit % HALF);

    let mut token_tile = Shared::<[Four]>::new_slice(DEPTH * (TOKENS + 1));
    let mut entry_tile = Shared::<[Four]>::new_slice(DEPTH * (ENTRIES + 1));
    let mut logits = Array::<Four>::new(4 * HALVES);
    // The maximum starts at 0, not below: that is the relu.
    let mut best = Array::<f32>::new(4 * HALVES);
    let mut best_at = Array::<i32>::new(4 * HALVES);
    #[unroll]
    for i in 0..4 * HALVES {
        best[i] = 0.0;
        best_at[i] = 0;
    }
    let mut row = first;
    while row < end {
        start_from_bias(&mut logits, bias, entry + 4 * my_entries, vocab);
        let mut column = 0usize;
        while column < width {
            sync_cube();
            stage(hidden, row, end, column, width, &mut token_tile, TOKENS);
            stage(
                decoder,
                entry,
                vocab,
                column,
                width,
                &mut entry_tile,
                ENTRIES,
            );
            sync_cube();
            if row + 4 * my_tokens < end {
                multiply(&token_tile, &entry_tile, my_tokens, my_entries, &mut logits);
            }
            column += DEPTH;
        }
        let position = row - first + 4 * my_tokens;
        fold(&logits, position, end - first, &mut best, &mut best_at);
        row += 4 * TOKENS;
    }
    let (value, position) = meet(&best, &best_at, my_tokens, my_entries);
    if unit < 4 * ENTRIES && entry + unit < vocab {
        pooled[doc * vocab + entry + unit] = value;
        positions[doc * vocab + entry + unit] = position;
    }
}

/// Every logit of a unit begins as its entry's bias.
#[cube]
fn start_from_bias(logits: &mut Array<Four>, bias: &[f32], entry: usize, vocab: usize) {
    #[unroll]
    for half in 0..HALVES {
        let mut four = Four::new(0.0);
        #[unroll]
        for lane in 0..4usize {
            let entry = entry + 4 * half * HALF + lane;
            if entry < vocab {
                four.insert(lane, bias[entry]);
            }
        }
        #[unroll]
        for token in 0..4usize {
            logits[token * HALVES + half] = four;
        }
    }
}

/// Copies `[4 * vectors, DEPTH]` of `source` from (`row`, `column`) into `tile`, transposed; 0 from `end` and `width` on.
#[cube]
fn stage(
    source: &[f32],
    row: usize,
    end: usize,
    column: usize,
    width: usize,
    tile: &mut Shared<[Four]>,
    #[comptime] vectors: usize,
) {
    // Units side by side read numbers side by side.
    let depth = UNIT_POS as usize % DEPTH;
    let column = column + depth;
    #[unroll]
    for pass in 0..vectors * DEPTH / UNITS {
        let vector = UNIT_POS as usize / DEPTH + pass * (UNITS / DEPTH);
        let mut four = Four::new(0.0);
        #[unroll]
        for lane in 0..4usize {
            let row = row + 4 * vector + lane;
            if row < end && column < width {
                four.insert(lane, source[row * width + column]);
            }
        }
        tile[depth * (vectors + 1) + vector] = four;
    }
}

/// Adds the tiles' products to the logits of a unit: 32 multiplications for every 3 loads.
#[cube]
fn multiply(
    token_tile: &Shared<[Four]>,
    entry_tile: &Shared<[Four]>,
    my_tokens: usize,
    my_entries: usize,
    logits: &mut Array<Four>,
) {
    for depth in 0..DEPTH {
        let states = token_tile[depth * (TOKENS + 1) + my_tokens];
        #[unroll]
        for half in 0..HALVES {
            let weights = entry_tile[depth * (ENTRIES + 1) + half * HALF + my_entries];
            #[unroll]
            for token in 0..4usize {
                logits[token * HALVES + half] += Four::new(states.extract(token)) * weights;
            }
        }
    }
}

/// Folds a unit's logits into its maxima. A strictly greater logit wins, so ties go to the first position.
#[cube]
fn fold(
    logits: &Array<Four>,
    position: usize,
    length: usize,
    best: &mut Array<f32>,
    best_at: &mut Array<i32>,
) {
    #[unroll]
    for token in 0..4usize {
        if position + token < length {
            #[unroll]
            for i in 0..4 * HALVES {
                let logit = logits[token * HALVES + i / 4].extract(i % 4);
                if logit > best[i] {
                    best[i] = logit;
                    best_at[i] = (position + token) as i32;
                }
            }
        }
    }
}

/// The largest of all units' maxima for the entry of a unit's number, and the first position that holds it.
#[cube]
fn meet(
    best: &Array<f32>,
    best_at: &Array<i32>,
    my_tokens: usize,
    my_entries: usize,
) -> (f32, i32) {
    let mut maxima = Shared::<[f32]>::new_slice(TOKENS * 4 * ENTRIES);
    let mut maxima_at = Shared::<[i32]>::new_slice(TOKENS * 4 * ENTRIES);
    #[unroll]
    for i in 0..4 * HALVES {
        let entry = 4 * (my_entries + i / 4 * HALF) + i % 4;
        maxima[my_tokens * 4 * ENTRIES + entry] = best[i];
        maxima_at[my_tokens * 4 * ENTRIES + entry] = best_at[i];
    }
    sync_cube();
    let entry = UNIT_POS as usize % (4 * ENTRIES);
    let mut largest = maxima[entry];
    let mut largest_at = maxima_at[entry];
    for tokens in 1..TOKENS {
        let value = maxima[tokens * 4 * ENTRIES + entry];
        let at = maxima_at[tokens * 4 * ENTRIES + entry];
        if value > largest || (value == largest && at < largest_at) {
            largest = value;
            largest_at = at;
        }
    }
    (largest, largest_at)
}
