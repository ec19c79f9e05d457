//! Requests with retries: what may pass by itself is tried again after a while, anything else is told at once.

use std::thread;
use std::time::Duration;

use configs::teachers::RemoteTeacher;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Agent;

/// No pause between two tries is longer, whatever the server asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// No answer is larger.
const LARGEST_ANSWER: u64 = 1 << 30;
/// Bytes of an answer that an error shows.
const EXCERPT: usize = 200;

/// Why a server gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The token is not there.
    #[error("the environment variable {name} with the token for {address} is not set")]
    Token {
        /// The variable.
        name: String,
        /// What it is for.
        address: String,
    },
    /// No connection, or one that broke.
    #[error(
        "{address}: {cause} (tried {tries} times): is the server up, and timeout_s long enough?"
    )]
    Connection {
        /// What was asked.
        address: String,
        /// How often.
        tries: usize,
        /// What the system or the protocol said.
        cause: Box<ureq::Error>,
    },
    /// It answers that it will not answer.
    #[error("{address}: status {status} (tried {tries} times): {text}{}", advice(*.status))]
    Status {
        /// What was asked.
        address: String,
        /// How often.
        tries: usize,
        /// HTTP's status.
        status: u16,
        /// The beginning of what it said.
        text: String,
    },
    /// The answer is cut off or makes no sense.
    #[error("{address}: the answer cannot be used (tried {tries} times): {reason}")]
    Answer {
        /// What was asked.
        address: String,
        /// How often.
        tries: usize,
        /// What is wrong with it.
        reason: String,
    },
}

fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => "; token_env names the environment variable with the token",
        404 | 405 => "; does this server have that interface? api chooses another",
        413 | 422 => "; a smaller batch may help, or a shorter text",
        429 => "; a smaller parallel may help",
        _ => "",
    }
}

/// Asks one address.
pub(super) struct Client {
    agent: Agent,
    address: String,
    token: Option<String>,
    retries: usize,
    backoff: Duration,
}

/// Why one try failed.
enum Failure {
    Connection(ureq::Error),
    Status {
        status: u16,
        text: String,
        retry_after: Option<Duration>,
    },
    Answer {
        reason: String,
        cut_off: bool,
    },
}

impl Client {
    pub(super) fn new(address: String, config: &RemoteTeacher) -> Result<Self, RemoteError> {
        let token = config.token_env.as_ref().map(|name| {
            std::env::var(name).map_err(|_| RemoteError::Token {
                name: name.clone(),
                address: address.clone(),
            })
        });
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs_f64(config.timeout_s)))
            .max_idle_connections_per_host(config.parallel)
            .user_agent(concat!("ellzero/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            address,
            token: token.transpose()?,
            retries: config.retries,
            backoff: Duration::from_secs_f64(config.backoff_s),
        })
    }

    /// Sends a request until it is answered or the tries are used up. Tried again are broken connections, answers cut
    /// short, 429 and 5xx: after the seconds of `Retry-After`, else after `backoff_s`, doubled each time.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        request: &impl Serialize,
    ) -> Result<T, RemoteError> {
        let body = serde_json::to_vec(request).expect("texts have a form in JSON");
        let mut tries = 1;
        loop {
            let failure = match self.try_once(&body) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if tries > self.retries || !failure.may_pass() {
                return Err(failure.into_error(self.address.clone(), tries));
            }
            thread::sleep(failure.pause(self.backoff, tries));
            tries += 1;
        }
    }

    /// The error for an answer that was read and makes no sense.
    pub(super) fn refuse(&self, reason: String) -> RemoteError {
        RemoteError::Answer {
            address: self.address.clone(),
            tries: 1,
            reason,
        }
    }

    fn try_once<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        let mut request = self.agent.post(&self.address);
        request = request.header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.send(body).map_err(Failure::Connection)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = response.body_mut().with_config().limit(LARGEST_ANSWER);
        let answer = body.read_to_vec();
        if !(200..300).contains(&status) {
            return Err(Failure::Status {
                status,
                text: excerpt(&answer.unwrap_or_default()),
                retry_after: retry_after.map(Duration::from_secs),
            });
        }
        let answer = answer.map_err(Failure::Connection)?;
        serde_json::from_slice(&answer).map_err(|error| Failure::Answer {
            reason: format!("{error}; it begins with {:?}", excerpt(&answer)),
            cut_off: error.is_eof(),
        })
    }
}

impl Failure {
    fn may_pass(&self) -> bool {
        match self {
            Self::Connection(error) => matches!(
                error,
                ureq::Error::Io(_)
                    | ureq::Error::Timeout(_)
                    | ureq::Error::HostNotFound
                    | ureq::Error::ConnectionFailed
                    | ureq::Error::Protocol(_)
            ),
            Self::Status { status, .. } => *status == 429 || (500..600).contains(status),
            Self::Answer { cut_off, .. } => *cut_off,
        }
    }

    /// Seconds until the next try, after `tries` tries.
    fn pause(&self, backoff: Duration, tries: usize) -> Duration {
        let doublings = u32::try_from(tries - 1).unwrap_or(u32::MAX).min(16);
        let pause = match self {
            Self::Status {
                retry_after: Some(pause),
                ..
            } => *pause,
            _ => backoff.saturating_mul(1 << doublings),
        };
        pause.min(LONGEST_PAUSE)
    }

    fn into_error(self, address: String, tries: usize) -> RemoteError {
        match self {
            Self::Connection(cause) => RemoteError::Connection {
                address,
                tries,
                cause: Box::new(cause),
            },
            Self::Status { status, text, .. } => RemoteError::Status {
                address,
                tries,
                status,
                text,
            },
            Self::Answer { reason, .. } => RemoteError::Answer {
                address,
                tries,
                reason,
            },
        }
    }
}

/// The beginning of an answer as text.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(EXCERPT)]);
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_unless_the_server_says_how_long() {
        let backoff = Duration::from_millis(500);
        let broken = Failure::Connection(ureq::Error::ConnectionFailed);
        let pauses: Vec<u128> = (1..5)
            .map(|tries| broken.pause(backoff, tries).as_millis())
            .collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000]);
        assert_eq!(broken.pause(backoff, 100), LONGEST_PAUSE);
        let busy = |seconds| Failure::Status {
            status: 429,
            text: String::new(),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(busy(3).pause(backoff, 4), Duration::from_secs(3));
        assert_eq!(busy(99_999).pause(backoff, 1), LONGEST_PAUSE);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let status = |status| Failure::Status {
            status,
            text: String::new(),
            retry_after: None,
        };
        for (code, passes) in [
            (429, true),
            (500, true),
            (503, true),
            (400, false),
            (401, false),
            (413, false),
        ] {
            assert_eq!(status(code).may_pass(), passes, "{code}");
        }
        let answer = |cut_off| Failure::Answer {
            reason: String::new(),
            cut_off,
        };
        assert!(answer(true).may_pass() && !answer(false).may_pass());
        assert!(!Failure::Connection(ureq::Error::BadUri(String::new())).may_pass());
    }
}
