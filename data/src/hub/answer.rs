//! Answers of the server that are no success: what they mean, and what to do.

use std::io::Read;
use std::time::Duration;

use serde_json::Value;

use super::client::{Request, Response};
use super::name::Kind;
use super::{HubError, Settings};

/// Enough of a body to find an explanation in it.
const READ_BYTES: u64 = 4096;
/// Characters of an explanation that are shown.
const SHOWN_CHARS: usize = 200;

/// An answer that is no success.
pub(super) struct Answer {
    pub status: u16,
    /// How long the server asks to wait.
    pub wait: Option<Duration>,
    /// The Hub's name of the fault, such as `RepoNotFound`.
    code: String,
    /// The server's words.
    text: String,
}

/// A header as text.
pub(super) fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

impl Answer {
    pub fn read(response: Response) -> Self {
        let text_of = |name| header(&response, name).unwrap_or_default().to_owned();
        let mut answer = Self {
            status: response.status().as_u16(),
            wait: wait(&text_of("retry-after"), &text_of("ratelimit")),
            code: text_of("x-error-code"),
            text: text_of("x-error-message"),
        };
        if answer.text.is_empty() {
            let mut body = Vec::new();
            let mut reader = response.into_body().into_reader().take(READ_BYTES);
            // What an error page says is welcome and not needed.
            let _ = reader.read_to_end(&mut body);
            answer.text = explanation(&body);
        }
        answer
    }

    /// Whether the same request may succeed later.
    pub fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504)
    }

    /// The error of a fault that did not pass.
    pub fn fault(&self, request: &Request, attempts: usize) -> HubError {
        HubError::Server {
            asked: request.asked.to_owned(),
            url: request.url.to_owned(),
            status: self.status,
            said: self.said(),
            attempts,
        }
    }

    /// The error of an answer that will stay the same.
    pub fn refusal(&self, request: &Request, settings: &Settings) -> HubError {
        let asked = request.asked.to_owned();
        let url = request.url.to_owned();
        let (status, said) = (self.status, self.said());
        match status {
            401 | 403 => HubError::Refused {
                asked,
                url,
                status,
                said,
                advice: self.refusal_advice(request, settings),
            },
            404 => HubError::NotFound {
                asked,
                url,
                status,
                said,
                advice: self.not_found_advice().to_owned(),
            },
            _ => HubError::NotAHub {
                asked,
                url,
                reason: format!("it answers {status}{said}"),
            },
        }
    }

    /// The server's words as the end of a sentence.
    fn said(&self) -> String {
        match self.text.as_str() {
            "" => String::new(),
            text => format!(" ({text})"),
        }
    }

    fn refusal_advice(&self, request: &Request, settings: &Settings) -> String {
        let id = &request.repository.id;
        let page = match request.repository.kind {
            Kind::Model => format!("{}/{id}", settings.endpoint),
            Kind::Dataset => format!("{}/datasets/{id}", settings.endpoint),
        };
        let token = "HF_TOKEN, or the file that `hf auth login` writes";
        match (self.code.as_str(), &settings.token) {
            ("GatedRepo", _) => format!(
                "its owner asks for consent: accept the licence at {page} in a browser, and set HF_TOKEN to a token of \
                 that account"
            ),
            (_, None) => "there is no such repository, or it is private: check the name, or set HF_TOKEN to a token \
                          that may read it"
                .to_owned(),
            (_, Some(_)) if self.status == 401 => format!(
                "the token ({token}) is not valid there, or there is no such repository: check both"
            ),
            (_, Some(_)) => format!("the token ({token}) may not read it: take one that may"),
        }
    }

    fn not_found_advice(&self) -> &'static str {
        match self.code.as_str() {
            "RevisionNotFound" => "there is no such revision: check what follows the @",
            "EntryNotFound" => "there is no such file at this revision",
            _ => "there is no such repository: check the name, or set HF_TOKEN where it is private",
        }
    }
}

/// How long to wait, from `Retry-After` in seconds or else from the draft standard's `RateLimit: "api";r=0;t=55`.
fn wait(retry_after: &str, rate_limit: &str) -> Option<Duration> {
    if let Ok(seconds) = retry_after.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let reset = rate_limit
        .split(';')
        .find_map(|part| part.trim().strip_prefix("t="))?;
    // A second more, since it is rounded.
    Some(Duration::from_secs(reset.trim().parse::<u64>().ok()? + 1))
}

/// What a body says: the `error` of a JSON object, or its first line where that is plain text.
fn explanation(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(json) => json["error"].as_str().unwrap_or_default().to_owned(),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let line = text.trim().lines().next().unwrap_or_default();
    if line.starts_with('<') {
        return String::new();
    }
    line.chars()
        .filter(|c| !c.is_control())
        .take(SHOWN_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_from_either_header() {
        let seconds = |retry_after, rate_limit| wait(retry_after, rate_limit).map(|w| w.as_secs());
        assert_eq!(seconds("7", ""), Some(7));
        assert_eq!(seconds("", "\"api\";r=0;t=55"), Some(56));
        assert_eq!(seconds("7", "\"api\";r=0;t=55"), Some(7));
        assert_eq!(seconds("Wed, 21 Oct 2015 07:28:00 GMT", ""), None);
        assert_eq!(seconds("", ""), None);
    }

    #[test]
    fn explanations_are_short_and_plain() {
        assert_eq!(
            explanation(br#"{"error": "no such model"}"#),
            "no such model"
        );
        assert_eq!(explanation(b"Entry not found\nmore"), "Entry not found");
        assert_eq!(explanation(b"<html><body>..."), "");
        assert_eq!(explanation(b"a\x1b[31mb"), "a[31mb");
        assert_eq!(explanation("x".repeat(999).as_bytes()).len(), SHOWN_CHARS);
    }
}
