//! Requests to a cluster, repeated where that helps.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use data::http::{self, is_passing};
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::Request;
use ureq::tls::{RootCerts, TlsConfig};

use super::answer::Answer;
use super::backoff::Backoff;
use super::{Address, OpenSearchError};

/// An answer of this size is a mistake.
const MAX_ANSWER_BYTES: u64 = 1 << 30;
const USER_AGENT: &str = concat!("ellzero/", env!("CARGO_PKG_VERSION"));

/// How to talk to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// Certificates to trust instead of Mozilla's, in PEM form.
    pub certificates: Option<PathBuf>,
    /// How long a request is repeated when nobody answers, or the answer is 429, 502, 503 or 504.
    pub patience: Duration,
    /// Wait before the second try; twice as long before the third, and so on, up to 8 s, each shortened by up to half
    /// at random.
    pub first_wait: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            certificates: None,
            patience: Duration::from_secs(120),
            first_wait: Duration::from_millis(100),
            timeout: Duration::from_secs(120),
        }
    }
}

/// A connection to a cluster, as cheap to clone as a pointer. Requests go to one node until it does not answer, then to
/// the next.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    agent: ureq::Agent,
    address: Address,
    authorization: Option<String>,
    options: ClientOptions,
    node: AtomicUsize,
    repeated: AtomicUsize,
}

/// What a request carries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body<'a> {
    Empty,
    Json(&'a Value),
    /// JSON values, each on a line.
    Lines(&'a [u8]),
}

impl Client {
    /// Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// If the certificates cannot be read.
    pub fn new(address: Address, options: ClientOptions) -> Result<Self, OpenSearchError> {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(USER_AGENT)
            .max_idle_connections_per_host(16)
            .timeout_connect(Some(options.timeout.min(Duration::from_secs(10))))
            .timeout_recv_response(Some(options.timeout))
            .timeout_per_read(Some(options.timeout));
        if address.nodes.iter().all(|node| is_this_machine(node)) {
            config = config.proxy(None);
        }
        if let Some(path) = &options.certificates {
            let tls = TlsConfig::builder().root_certs(certificates(path)?);
            config = config.tls_config(tls.build());
        }
        let basic = |(user, password)| {
            format!(
                "Basic {}",
                BASE64_STANDARD.encode(format!("{user}:{password}"))
            )
        };
        Ok(Self(Arc::new(Inner {
            agent: config.build().new_agent(),
            authorization: address.credentials.clone().map(basic),
            address,
            options,
            node: AtomicUsize::new(0),
            repeated: AtomicUsize::new(0),
        })))
    }

    /// Where the cluster is.
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// Requests that were made again, so far.
    pub fn repeated(&self) -> usize {
        self.0.repeated.load(Ordering::Relaxed)
    }

    /// The address of `path` at the node in use.
    pub(super) fn url(&self, path: &str) -> String {
        self.url_at(self.0.node.load(Ordering::Relaxed), path)
    }

    fn url_at(&self, node: usize, path: &str) -> String {
        let nodes = &self.0.address.nodes;
        format!("{}/{path}", nodes[node % nodes.len()])
    }

    /// Pauses between tries of something larger than a request.
    pub(super) fn backoff(&self) -> Backoff {
        let ClientOptions {
            patience,
            first_wait,
            ..
        } = self.0.options;
        Backoff::new(patience, first_wait)
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, OpenSearchError> {
        self.send("GET", path, Body::Empty)
    }

    /// `None` where there is nothing of that name.
    pub(super) fn find(&self, path: &str) -> Result<Option<Value>, OpenSearchError> {
        match self.get(path) {
            Err(OpenSearchError::Refused { status: 404, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Sends a request until it is answered with a success, and gives that.
    pub(super) fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Body,
    ) -> Result<T, OpenSearchError> {
        let mut backoff = self.backoff();
        loop {
            let node = self.0.node.load(Ordering::Relaxed);
            let result = self.call(method, &self.url_at(node, path), body);
            let url = self.url_at(node, without_query(path));
            let (error, asked) = match result {
                Ok(answer) if answer.status.is_success() => return answer.parse(&url),
                Ok(answer) if answer.is_passing() => {
                    let status = answer.status.as_u16();
                    (
                        backoff.busy(url, status, answer.reason()),
                        answer.retry_after,
                    )
                }
                Ok(answer) => {
                    let (status, reason) = (answer.status.as_u16(), answer.reason());
                    return Err(OpenSearchError::Refused {
                        url,
                        status,
                        reason,
                    });
                }
                Err(cause) => {
                    let is_passing = is_passing(&cause);
                    let error = backoff.unreachable(url, cause);
                    if !is_passing {
                        return Err(error);
                    }
                    // The next node may be alive, unless another request has found one already.
                    let relaxed = Ordering::Relaxed;
                    let _ = (self.0.node).compare_exchange(node, node + 1, relaxed, relaxed);
                    (error, None)
                }
            };
            if !backoff.wait(asked) {
                return Err(error);
            }
            self.0.repeated.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn call(&self, method: &str, url: &str, body: Body) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder().method(method).uri(url);
        if let Some(authorization) = &self.0.authorization {
            request = request.header("authorization", authorization);
        }
        let agent = &self.0.agent;
        let mut response = match body {
            Body::Empty => agent.run(request.body(())?)?,
            Body::Json(value) => {
                let request = request.header("content-type", "application/json");
                agent.run(request.body(value.to_string())?)?
            }
            Body::Lines(lines) => {
                let request = request.header("content-type", "application/x-ndjson");
                agent.run(request.body(lines)?)?
            }
        };
        let retry_after = response.headers().get("retry-after");
        let seconds = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES);
        Ok(Answer {
            body: body.read_to_vec()?,
            status: response.status(),
            retry_after: seconds.map(Duration::from_secs),
        })
    }
}

/// The path as errors show it.
fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

/// Whether an address is on this machine, which no proxy reaches.
fn is_this_machine(url: &str) -> bool {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next(),
        None => authority.split(':').next(),
    };
    host.is_some_and(|host| {
        let address = host.parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

fn certificates(path: &Path) -> Result<RootCerts, OpenSearchError> {
    http::certificates(path).map_err(|reason| OpenSearchError::Certificates {
        path: path.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(patience: Duration) -> ClientOptions {
        ClientOptions {
            patience,
            first_wait: Duration::from_millis(1),
            ..ClientOptions::default()
        }
    }

    #[test]
    fn nobody_there_is_said_with_the_address() {
        let address = "http://u:secret@127.0.0.1:1".parse().expect("an address");
        let client =
            Client::new(address, options(Duration::from_millis(20))).expect("no certificates");
        let message = client.get("x/_count").expect_err("nobody").to_string();
        assert!(
            message.contains("no answer from http://127.0.0.1:1/x/_count"),
            "{message}"
        );
        assert!(!message.contains("secret"), "{message}");
        assert!(client.repeated() > 0);
    }

    #[test]
    fn certificates_are_read() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, "nothing").expect("writable");
        let options = ClientOptions {
            certificates: Some(path),
            ..ClientOptions::default()
        };
        let address: Address = "https://127.0.0.1:1".parse().expect("an address");
        let message = Client::new(address, options).expect_err("none").to_string();
        assert!(
            message.contains("ca.pem") && message.contains("no certificate"),
            "{message}"
        );
    }
}
