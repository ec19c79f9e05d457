//! What the server says.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::StatusCode;

use super::OpenSearchError;

/// An answer, whatever its status.
pub(super) struct Answer {
    pub status: StatusCode,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn is_passing(&self) -> bool {
        let error: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        is_passing_error(self.status.as_u16(), &error)
    }

    pub fn parse<T: DeserializeOwned>(&self, url: &str) -> Result<T, OpenSearchError> {
        // Some answers, to HEAD for one, have no body.
        let body = if self.body.is_empty() {
            b"null"
        } else {
            self.body.as_slice()
        };
        serde_json::from_slice(body).map_err(|error| OpenSearchError::NotOpenSearch {
            url: url.to_owned(),
            reason: format!("expected JSON ({error}), found {:?}", start_of(&self.body)),
        })
    }

    pub fn reason(&self) -> String {
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(value) => error_reason(&value["error"]),
            Err(_) => start_of(&self.body),
        }
    }
}

/// Whether another try may do better: the server is busy, or starting, or a node is gone and its shards are on their way
/// to others.
pub(super) fn is_passing_error(status: u16, error: &Value) -> bool {
    /// Exceptions of the transport between nodes, which have a status of their own or none.
    const BETWEEN_NODES: [&str; 6] = [
        "node_disconnected",
        "node_not_connected",
        "node_closed",
        "no_shard_available",
        "receive_timeout_transport",
        "send_request_transport",
    ];
    let is_fault = || {
        let text = error.to_string();
        BETWEEN_NODES.iter().any(|name| text.contains(name))
    };
    matches!(status, 429 | 502..=504) || (status >= 500 && is_fault())
}

/// The reason in an error of the server, the innermost cause with it.
pub(super) fn error_reason(error: &Value) -> String {
    let Some(reason) = error["reason"].as_str() else {
        return error
            .as_str()
            .map_or_else(|| error.to_string(), str::to_owned);
    };
    let outer = error["failed_shards"][0].get("reason").unwrap_or(error);
    let mut reasons = vec![reason];
    let mut cause = Some(outer);
    while let Some(error) = cause {
        let reason = error["reason"]
            .as_str()
            .filter(|reason| !reasons.contains(reason));
        reasons.extend(reason);
        cause = error.get("caused_by");
    }
    reasons.join(": ")
}

fn start_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.trim().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reasons_go_to_the_innermost_cause() {
        let error = json!({"type": "x", "reason": "failed to parse", "caused_by": {"reason": "must be positive"}});
        assert_eq!(error_reason(&error), "failed to parse: must be positive");
        let error = json!({"reason": "all shards failed", "failed_shards": [{"reason": {"reason": "too large"}}]});
        assert_eq!(error_reason(&error), "all shards failed: too large");
        assert_eq!(error_reason(&json!("no handler")), "no handler");
    }
}
