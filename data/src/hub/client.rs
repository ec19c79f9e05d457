//! Requests to the server: repeated where that helps, and with the token only where it belongs.

use std::net::IpAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use ureq::tls::{RootCerts, TlsConfig};

use super::answer::{Answer, header};
use super::{HubError, Report, Repository, Settings};
use crate::http::{self, is_passing};

/// Tries of a request for a file.
pub(super) const ATTEMPTS: usize = 5;
/// No wait that we choose ourselves is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// No wait that the server asks for may be longer: its limits are counted in windows of five minutes.
const LONGEST_ASKED_WAIT: Duration = Duration::from_secs(300);
const MAX_REDIRECTS: usize = 10;
/// The list of files of a very large repository.
const MAX_JSON_BYTES: u64 = 256 << 20;
const USER_AGENT: &str = concat!("ellzero/", env!("CARGO_PKG_VERSION"));

pub(super) type Response = ureq::http::Response<ureq::Body>;

/// How to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
}

/// What to ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub repository: &'a Repository,
    /// What is asked for, for messages.
    pub asked: &'a str,
    pub url: &'a str,
    pub method: Method,
    /// First byte that is wanted.
    pub start: u64,
    /// Tries before giving up.
    pub attempts: usize,
}

/// Sends requests.
pub(super) struct Client<'a> {
    agent: ureq::Agent,
    settings: &'a Settings,
    report: &'a dyn Report,
}

impl<'a> Client<'a> {
    pub fn new(settings: &'a Settings, report: &'a dyn Report) -> Result<Self, HubError> {
        let timeout = Some(settings.timeout);
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // Followed here, since the token must not go along.
            .max_redirects(0)
            .user_agent(USER_AGENT)
            .accept_encoding("identity")
            .timeout_connect(timeout)
            .timeout_recv_response(timeout)
            .timeout_per_read(timeout);
        if is_this_machine(&settings.endpoint) {
            config = config.proxy(None);
        }
        if let Some(path) = &settings.certificates {
            let tls = TlsConfig::builder().root_certs(certificates(path)?);
            config = config.tls_config(tls.build());
        }
        Ok(Self {
            agent: config.build().new_agent(),
            settings,
            report,
        })
    }

    /// The answer to a request: a success, or where they are of use a redirection (of `HEAD`) or a refused range.
    pub fn send(&self, request: &Request) -> Result<Response, HubError> {
        self.send_and(request, Ok)
    }

    /// An answer in JSON.
    pub fn json(&self, request: &Request) -> Result<Value, HubError> {
        let body = self.send_and(request, |mut response| {
            let body = response.body_mut().with_config().limit(MAX_JSON_BYTES);
            body.read_to_vec()
        })?;
        serde_json::from_slice(&body).map_err(|error| HubError::NotAHub {
            asked: request.asked.to_owned(),
            url: request.url.to_owned(),
            reason: format!("expected JSON ({error})"),
        })
    }

    /// Sends a request until `take` has what it wants of the answer, at most as often as the request says.
    fn send_and<T>(
        &self,
        request: &Request,
        take: impl Fn(Response) -> Result<T, ureq::Error>,
    ) -> Result<T, HubError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let is_last = attempt >= request.attempts;
            let result =
                self.follow(request)
                    .and_then(|response| match is_useful(&response, request) {
                        true => take(response).map(Ok),
                        false => Ok(Err(Answer::read(response))),
                    });
            let (reason, wait) = match result {
                Ok(Ok(taken)) => return Ok(taken),
                Ok(Err(answer)) if answer.is_passing() => {
                    if let Some(wait) = answer.wait.filter(|wait| *wait > LONGEST_ASKED_WAIT) {
                        return Err(throttled(request, wait));
                    }
                    if is_last {
                        return Err(answer.fault(request, attempt));
                    }
                    (format!("answers {}", answer.status), answer.wait)
                }
                Ok(Err(answer)) => return Err(answer.refusal(request, self.settings)),
                Err(cause) if is_last || !is_passing(&cause) => {
                    return Err(HubError::Unreachable {
                        asked: request.asked.to_owned(),
                        url: request.url.to_owned(),
                        attempts: attempt,
                        cause: Box::new(cause),
                    });
                }
                Err(cause) => (format!("does not answer ({cause})"), None),
            };
            self.pause(&reason, wait, attempt);
        }
    }

    /// Waits as long as the server asks, or twice as long after each try.
    pub fn pause(&self, reason: &str, asked: Option<Duration>, attempt: usize) {
        let doubled = self.settings.first_wait * (1 << attempt.saturating_sub(1).min(16));
        let wait = asked.unwrap_or(doubled.min(LONGEST_WAIT));
        let host = origin(&self.settings.endpoint);
        self.report.notice(&format!(
            "{host} {reason}; trying again in {:.1} s",
            wait.as_secs_f64()
        ));
        sleep(wait);
    }

    /// Sends a request once, and goes where the answer says. `HEAD` stops where the answer tells all about the file, or
    /// would lead to another server.
    fn follow(&self, request: &Request) -> Result<Response, ureq::Error> {
        let mut url = request.url.to_owned();
        for _ in 0..MAX_REDIRECTS {
            let response = self.call(request, &url)?;
            let location = header(&response, "location");
            let target = match location.filter(|_| response.status().is_redirection()) {
                Some(location) => absolute(&url, location),
                None => return Ok(response),
            };
            let tells_all = header(&response, "x-linked-etag").is_some();
            if request.method == Method::Head && (tells_all || origin(&target) != origin(&url)) {
                return Ok(response);
            }
            url = target;
        }
        Err(ureq::Error::TooManyRedirects)
    }

    fn call(&self, request: &Request, url: &str) -> Result<Response, ureq::Error> {
        let mut call = match request.method {
            Method::Get => self.agent.get(url),
            Method::Head => self.agent.head(url),
        };
        if let Some(token) = &self.settings.token
            && origin(url) == origin(&self.settings.endpoint)
        {
            call = call.header("authorization", format!("Bearer {token}"));
        }
        if request.start > 0 {
            call = call.header("range", format!("bytes={}-", request.start));
        }
        call.call()
    }
}

fn is_useful(response: &Response, request: &Request) -> bool {
    let status = response.status();
    status.is_success()
        || (request.method == Method::Head && status.is_redirection())
        || (request.start > 0 && status.as_u16() == 416)
}

fn throttled(request: &Request, wait: Duration) -> HubError {
    HubError::Throttled {
        asked: request.asked.to_owned(),
        url: request.url.to_owned(),
        wait_s: wait.as_secs(),
    }
}

/// Whether an address is on this machine, which no proxy reaches.
fn is_this_machine(url: &str) -> bool {
    let authority = origin(url);
    let authority = authority
        .split_once("://")
        .map_or("", |(_, authority)| authority);
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next(),
        None => authority.split(':').next(),
    };
    host.is_some_and(|host| {
        let address = host.parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// `scheme://host:port` of an address, in lower case: what the token is meant for.
pub(super) fn origin(url: &str) -> String {
    let start = url.find("://").map_or(0, |scheme| scheme + 3);
    let end = url[start..].find(['/', '?', '#']);
    url[..end.map_or(url.len(), |end| start + end)].to_ascii_lowercase()
}

/// The address that a redirection leads to, seen from `base`.
fn absolute(base: &str, location: &str) -> String {
    if location.starts_with("http://") || location.starts_with("https://") {
        return location.to_owned();
    }
    if let Some(rest) = location.strip_prefix("//") {
        let scheme = base.split("://").next().unwrap_or("https");
        return format!("{scheme}://{rest}");
    }
    if location.starts_with('/') {
        return format!("{}{location}", &base[..origin(base).len()]);
    }
    let path = base.split(['?', '#']).next().unwrap_or(base);
    let folder = path.rfind('/').map_or(path, |slash| &path[..slash]);
    format!("{folder}/{location}")
}

/// A path as part of an address: everything but letters, digits, `-`, `_`, `.`, `~` and the slashes in `kept` is
/// written as `%XX`.
pub(super) fn encode(path: &str, keep_slashes: bool) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        match is_plain || (keep_slashes && byte == b'/') {
            true => encoded.push(byte.into()),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn certificates(path: &Path) -> Result<RootCerts, HubError> {
    http::certificates(path).map_err(|reason| HubError::Setting {
        variable: "SSL_CERT_FILE or REQUESTS_CA_BUNDLE",
        reason: format!("{}: {reason}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn redirections_are_seen_from_where_they_are() {
        let base = "https://Hub.example:8443/org/name/resolve/main/x?download=true";
        assert_eq!(origin(base), "https://hub.example:8443");
        for (location, expected) in [
            ("http://cdn/x?y", "http://cdn/x?y"),
            ("//cdn/x", "https://cdn/x"),
            (
                "/api/x?u=http://y",
                "https://Hub.example:8443/api/x?u=http://y",
            ),
            ("y", "https://Hub.example:8443/org/name/resolve/main/y"),
        ] {
            assert_eq!(absolute(base, location), expected);
        }
    }

    #[test]
    fn addresses_are_encoded() {
        assert_eq!(encode("a b/ü#?.json", true), "a%20b/%C3%BC%23%3F.json");
        assert_eq!(encode("refs/pr/1", false), "refs%2Fpr%2F1");
    }

    #[test]
    fn no_proxy_for_this_machine() {
        for url in [
            "http://127.0.0.1:8080",
            "https://localhost/x",
            "http://[::1]:1",
        ] {
            assert!(is_this_machine(url), "{url}");
        }
        for url in [
            "https://huggingface.co",
            "http://127.0.0.1.example",
            "http://10.0.0.1",
        ] {
            assert!(!is_this_machine(url), "{url}");
        }
    }

    #[test]
    fn files_without_certificates_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let message = |path: &Path| certificates(path).err().unwrap().to_string();
        assert!(message(&path).contains("ca.pem"));
        fs::write(&path, "nothing").unwrap();
        assert!(message(&path).contains("no certificate"));
    }
}
