//! How much memory a run takes: an estimate before, a measurement after.

use configs::{Task, TrainConfig};
use model::{EncoderConfig, FeedForward};

const MIB: f64 = (1u64 << 20) as f64;
const FLOAT_BYTES: f64 = 4.0;

/// Where the memory of a training step goes, in MiB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryEstimate {
    /// Parameters, their gradients, and AdamW's two moments.
    pub parameters_mib: f64,
    /// What the forward pass keeps for the backward pass, for a batch whose texts all have the longest length.
    pub activations_mib: f64,
}

impl MemoryEstimate {
    /// An estimate from shapes alone.
    ///
    /// Parameters: `4 · 4` bytes each. Activations per token and layer: `8 H + I` numbers (inputs of the linear maps,
    /// Q, K and V, sums before LayerNorms, the gelu's argument), and `heads · S` for the attention weights on a GPU. A
    /// gated feed-forward keeps `3 I` instead: its two halves, and their product. Per token, once: four times as much as
    /// the feed-forward keeps, for the gradients under way. The sparse head and the losses keep about 8 numbers per
    /// document and vocabulary entry; the masked-LM head `8 H` for each token to guess, and 8 million logits under way.
    /// With gradient caching, tokens are those of one part. Float32 on every device.
    pub fn new(config: &TrainConfig, encoder: &EncoderConfig, parameters: usize) -> Self {
        let rows = config.run.batch_queries * config.data.docs_per_query;
        let part = config.optimizer.grad_cache_docs.unwrap_or(rows).min(rows);
        let seq_len = config.data.max_seq_len as f64;
        let inner = encoder.intermediate_size as f64
            * match encoder.feed_forward {
                FeedForward::Plain => 1.0,
                FeedForward::Gated => 3.0,
            };
        let hidden = 8.0 * encoder.hidden_size as f64 + inner;
        let attention = encoder.num_heads as f64 * seq_len;
        let per_token = encoder.num_layers as f64 * (hidden + attention) + 4.0 * inner;
        let tokens = part as f64 * seq_len;
        let head = match &config.task {
            Task::Ranking => 8.0 * (rows * encoder.vocab_size) as f64,
            Task::MaskedLm(task) => {
                8.0 * (tokens * task.probability * encoder.hidden_size as f64 + 1e6)
            }
        };
        Self {
            parameters_mib: parameters as f64 * 4.0 * FLOAT_BYTES / MIB,
            activations_mib: (tokens * per_token + head) * FLOAT_BYTES / MIB,
        }
    }

    /// All of it.
    pub fn total_mib(&self) -> f64 {
        self.parameters_mib + self.activations_mib
    }
}

/// Has the allocator keep freed blocks of up to 16 MiB and give them out again. A training step allocates and frees a few
/// GB; by default most go back to the system each time, which zeroes them page by page when they are next touched. Larger
/// blocks still go back: kept, they would raise the peak.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    // SAFETY: mallopt sets parameters of the allocator and touches no memory of ours.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 16 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

/// Most memory that this process ever held, in MiB; `None` where the system does not say.
pub fn peak_memory_mib() -> Option<f64> {
    status_mib("/proc/self/status", "VmHWM:")
}

/// Memory that this machine can still give, in MiB; `None` where the system does not say.
pub fn available_memory_mib() -> Option<f64> {
    status_mib("/proc/meminfo", "MemAvailable:")
}

/// The value of a `Key:   1234 kB` line.
fn status_mib(path: &str, key: &str) -> Option<f64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_a_peak_below_what_the_machine_has() {
        let peak = peak_memory_mib().unwrap();
        assert!(peak > 1.0 && available_memory_mib().unwrap() > 1.0);
        assert_eq!(status_mib("/proc/self/status", "NoSuchKey:"), None);
        assert_eq!(status_mib("/no/such/file", "VmHWM:"), None);
    }
}
