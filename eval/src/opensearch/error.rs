//! What can go wrong with a server.

use std::path::PathBuf;

/// Why OpenSearch did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum OpenSearchError {
    /// An address that is none.
    #[error(
        "{address}: {reason}; expected http[s]://[USER:PASSWORD@]HOST[:PORT], several separated by commas"
    )]
    Address {
        /// As written, without user and password.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that no index can have.
    #[error(
        "index name `{name}`: {reason}; expected lower-case letters, digits, `-`, `_` and `.`, a letter or digit first"
    )]
    IndexName {
        /// As written.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The certificates to trust cannot be read.
    #[error("{path}: {reason}; expected certificates in PEM form", path = path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No answer at all.
    #[error(
        "no answer from {url}, {attempts} tries in {waited_s} s ({cause}); check that OpenSearch runs there, and the \
         network"
    )]
    Unreachable {
        /// What was requested last.
        url: String,
        /// Requests made.
        attempts: usize,
        /// Seconds since the first.
        waited_s: u64,
        /// What the network said last.
        cause: Box<ureq::Error>,
    },
    /// Too busy, or a fault, for as long as we wait.
    #[error(
        "{url} answers {status}, {attempts} times in {waited_s} s: {reason}; try again when it has less to do"
    )]
    Busy {
        /// What was requested.
        url: String,
        /// 429 or 5xx.
        status: u16,
        /// The server's reason.
        reason: String,
        /// Requests made.
        attempts: usize,
        /// Seconds since the first.
        waited_s: u64,
    },
    /// The server does not do it.
    #[error("{url} answers {status}: {reason}{}", advice(url, *status, reason))]
    Refused {
        /// What was requested.
        url: String,
        /// Its status.
        status: u16,
        /// The server's reason.
        reason: String,
    },
    /// Something else answers at that address.
    #[error("{url} does not answer as OpenSearch does: {reason}")]
    NotOpenSearch {
        /// What was requested.
        url: String,
        /// What was found.
        reason: String,
    },
    /// A document that the server does not take.
    #[error("{url}: document `{id}` is refused with status {status}: {reason}")]
    Document {
        /// The index.
        url: String,
        /// Its id.
        id: String,
        /// The item's status.
        status: u16,
        /// The server's reason.
        reason: String,
    },
    /// An index cannot be what is asked for.
    #[error("{index}: {reason}")]
    Index {
        /// Address of the index.
        index: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Fewer documents than were added.
    #[error("{index}: {added} documents were added and {found} are there: ids must be unique")]
    Count {
        /// Address of the index.
        index: String,
        /// Documents added.
        added: usize,
        /// Documents found.
        found: usize,
    },
}

impl OpenSearchError {
    /// Whether the server says that the thing asked for is there already.
    pub(super) fn is_already_there(&self) -> bool {
        matches!(self, Self::Refused { status: 400, reason, .. } if reason.contains("already exists"))
    }
}

/// What to do about an answer, as the end of a sentence.
fn advice(url: &str, status: u16, reason: &str) -> String {
    let is_amazon = url.contains(".amazonaws.com");
    let text = match status {
        401 | 403 if is_amazon => {
            "requests are not signed, since AWS SigV4 is not supported: use a user of the domain's own database, or a \
             proxy that signs"
        }
        401 | 403 => {
            "set OPENSEARCH_USER and OPENSEARCH_PASSWORD, or write USER:PASSWORD@ before the host, for a user who may \
             do that"
        }
        413 => {
            "the server takes smaller bodies: lower --body-mib, or raise http.max_content_length"
        }
        _ if reason.contains("max_result_window") => {
            "ask for fewer documents, or raise index.max_result_window of the index"
        }
        _ if reason.contains("maxClauseCount") || reason.contains("max_clause_count") => {
            "the query has too many tokens: use --query-prune, or raise indices.query.bool.max_clause_count of the nodes"
        }
        _ => return String::new(),
    };
    format!("; {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        for (url, status, reason, expected) in [
            ("http://a", 401, "Unauthorized", "OPENSEARCH_PASSWORD"),
            ("https://x.es.amazonaws.com/i", 403, "Forbidden", "SigV4"),
            (
                "http://a",
                400,
                "by changing the [index.max_result_window]",
                "fewer",
            ),
            (
                "http://a",
                500,
                "maxClauseCount is set to 1024",
                "--query-prune",
            ),
            ("http://a", 413, "", "--body-mib"),
        ] {
            let error = OpenSearchError::Refused {
                url: url.to_owned(),
                status,
                reason: reason.to_owned(),
            };
            let message = error.to_string();
            assert!(
                message.contains(expected) && message.contains(url),
                "{message}"
            );
        }
    }
}
