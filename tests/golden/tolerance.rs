//! How far our numbers may be from the reference's: one table.

/// `|found - expected| <= atol + rtol * |expected|`.
pub struct Tolerance {
    pub atol: f64,
    pub rtol: f64,
    pub reason: &'static str,
}

impl Tolerance {
    /// Whether `found` is near enough; NaN never is.
    pub fn allows(&self, found: f64, expected: f64) -> bool {
        (found - expected).abs() <= self.atol + self.rtol * expected.abs()
    }
}

macro_rules! table {
    ($($name:ident: $atol:literal + $rtol:literal, $reason:literal;)*) => {
        $(#[cfg_attr(not(any(feature = "wgpu", feature = "cuda")), allow(dead_code))] // GPU tests use more
        pub const $name: Tolerance = Tolerance { atol: $atol, rtol: $rtol, reason: $reason };)*
    };
}

table! {
    // Loading
    EXACT:          0.0 + 0.0,       "the same bits";
    FLOAT16:        3.0e-8 + 4.9e-4, "rounded to float16: half a unit in the 11th bit, or of the smallest subnormal";
    // Encoder and head
    HIDDEN_STATES:  2.0e-5 + 1.0e-5, "float32 sums in another order; the reference is 2e-6 from its own float64";
    LOGITS:         5.0e-5 + 1.0e-5, "as the hidden states; the reference is 6e-6 from float64";
    SCORES:         2.0e-5 + 1.0e-5, "as the hidden states; the reference is 3e-6 from its own float64";
    WEIGHTS:        5.0e-5 + 1.0e-5, "documents: as the logits; the activation's slope is 1 at most";
    OP_WEIGHTS:     2.0e-5 + 1.0e-5, "from the same logits: made with another attention kernel, 5e-6 apart";
    OP_GRADIENTS:   2.0e-5 + 1.0e-4, "slopes at the same logits, which are 5e-6 apart";
    GPU_KERNEL:     1.0e-5 + 1.0e-4, "float32 sums in another order, on another device";
    TF32:           2.0e-2 + 2.0e-2, "CUDA multiplies float32 matrices in TF32, 11 bits of each factor";
    POOLED_ZERO:    1.0e-4 + 0.0,    "a maximum this close to 0 may be on either side of it";
    ARGMAX_TIE:     2.0e-5 + 0.0,    "two logits this close may swap places between attention kernels";
    PRUNED:         0.0 + 1.0e-6,    "a second run of the reference, one unit in the last place apart";
    IDF:            0.0 + 1.0e-6,    "a table look-up in float32";
    MONO_T5_SCORES: 2.0e-5 + 1.0e-5, "log probabilities, from float32 sums in another order; the reference is 2e-6 from float64";
    // Losses
    LOSS:           1.0e-6 + 1.0e-5, "a sum of thousands of float32 products";
    LOSS_GRADIENTS: 1.0e-6 + 1.0e-4, "as the loss; gradients of single weights are small differences of such sums";
    FORMULA:        1.0e-5 + 1.0e-4, "a formula in float64 against float32 inputs and results";
    SCHEDULE:       0.0 + 1.0e-9,    "pure arithmetic in float64";
    // Training
    TRACE_LOSS:     1.0e-6 + 1.0e-4, "20 steps of float32 training; the reference's own float64 run is as near";
    TRACE_NORM:     1.0e-6 + 1.0e-3, "the norm of a gradient; it moves faster than the loss";
    DOC_LENGTH:     0.5 + 0.0,       "a weight of nearly 0 may be on either side of it";
    STEP_GRADIENTS: 1.0e-5 + 1.0e-4, "one backward pass; the reference is 1.3e-6 from float64";
    FINAL_WEIGHTS:  5.0e-5 + 1.0e-4, "Adam divides by the root of the second moment: rounding of near-zero gradients shows";
    // Evaluation
    METRIC:         1.0e-6 + 0.0,    "float64 throughout";
    METRIC_ROUNDED: 5.1e-6 + 0.0,    "the file has 5 decimals";
    SPARSITY:       1.0e-6 + 1.0e-6, "the reference averages in float32";
    // Across batches and programs
    BATCH:          2.0e-5 + 1.0e-5, "the same sums in another blocking";
    // Real data
    REAL_COSINE:    1.0e-3 + 0.0,    "published with 4 digits for float32 weights; these are float16";
    REAL_IDF:       1.0e-7 + 1.0e-7, "published with 7 decimals";
    REAL_BM25:      5.0e-3 + 0.0,    "exact document lengths and an analyzer of our own";
}
