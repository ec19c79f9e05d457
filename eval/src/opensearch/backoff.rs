//! Pauses between tries.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::OpenSearchError;

/// No wait that we choose ourselves is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Waits that grow, until patience ends.
pub(super) struct Backoff {
    started: Instant,
    patience: Duration,
    next: Duration,
    /// Tries that are over.
    attempts: usize,
}

impl Backoff {
    pub fn new(patience: Duration, first_wait: Duration) -> Self {
        Self {
            started: Instant::now(),
            patience,
            next: first_wait,
            attempts: 0,
        }
    }

    /// Waits as long as the server asks, or twice as long as before; false when that is longer than patience lasts.
    pub fn wait(&mut self, asked: Option<Duration>) -> bool {
        self.attempts += 1;
        let wait = asked.unwrap_or_else(|| self.next.mul_f64(1.0 - 0.5 * random_share()));
        if self.started.elapsed() + wait > self.patience {
            return false;
        }
        sleep(wait);
        self.next = (self.next * 2).min(LONGEST_WAIT);
        true
    }

    /// The error of a server that did not answer until now.
    pub fn unreachable(&self, url: String, cause: ureq::Error) -> OpenSearchError {
        OpenSearchError::Unreachable {
            url,
            attempts: self.attempts + 1,
            waited_s: self.started.elapsed().as_secs(),
            cause: Box::new(cause),
        }
    }

    /// The error of a server that was busy until now.
    pub fn busy(&self, url: String, status: u16, reason: String) -> OpenSearchError {
        OpenSearchError::Busy {
            url,
            status,
            reason,
            attempts: self.attempts + 1,
            waited_s: self.started.elapsed().as_secs(),
        }
    }
}

/// A number from 0 to 1, so that many clients do not come back at once.
fn random_share() -> f64 {
    // Each state is seeded anew by the standard library.
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let mut backoff = Backoff::new(Duration::from_millis(30), Duration::from_millis(1));
        let mut waits = 0;
        while backoff.wait(None) {
            waits += 1;
        }
        assert!((2..=10).contains(&waits), "{waits}");
        let mut backoff = Backoff::new(Duration::from_millis(30), Duration::from_millis(1));
        assert!(!backoff.wait(Some(Duration::from_secs(1))));
        assert!(
            (0..100)
                .map(|_| random_share())
                .all(|share| (0.0..1.0).contains(&share))
        );
    }
}
