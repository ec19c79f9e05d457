//! Why something cannot be had from the Hub.

use std::io;
use std::path::{Path, PathBuf};

/// Why something cannot be had from the Hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A path that leads nowhere, and no Hub id.
    #[error(
        "{name}: no such directory; expected a model directory, or a Hub id such as ORG/NAME or ORG/NAME@REVISION"
    )]
    NoDirectory {
        /// As written.
        name: String,
    },
    /// A path that leads nowhere, though its folder is here.
    #[error(
        "{name}: no such directory in {}; expected a model directory. The Hub was not asked: hf://{name} would be its \
         model of that name",
        folder.display()
    )]
    NotInFolder {
        /// As written.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A path that leads nowhere, and a Hub id that could not be had.
    #[error("{name}: no such directory here, and as a Hub id: {cause}")]
    NotHad {
        /// As written.
        name: String,
        /// Why the Hub does not have it.
        cause: Box<HubError>,
    },
    /// An address that is none.
    #[error(
        "{address}: {reason}; expected hf://datasets/ORG/NAME[@REVISION][/PATH], or hf://ORG/NAME[@REVISION][/PATH] \
         for the files of a model"
    )]
    Address {
        /// As written.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting of the environment that cannot be used.
    #[error("{variable}: {reason}")]
    Setting {
        /// Name of the environment variable.
        variable: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Nothing may be asked, and the cache does not have it.
    #[error(
        "{asked}: HF_HUB_OFFLINE is set, and {missing}; unset it, or download once where there is a network"
    )]
    Offline {
        /// What was asked for.
        asked: String,
        /// What the cache lacks, and where it was looked for.
        missing: String,
    },
    /// The server wants to know who asks, or does not let them.
    #[error("{asked}: {url} answers {status}{said}; {advice}")]
    Refused {
        /// What was asked for.
        asked: String,
        /// What was requested.
        url: String,
        /// 401 or 403.
        status: u16,
        /// The server's words, if any, as the end of a sentence.
        said: String,
        /// What to do.
        advice: String,
    },
    /// There is no such repository, revision or file.
    #[error("{asked}: {url} answers {status}{said}; {advice}")]
    NotFound {
        /// What was asked for.
        asked: String,
        /// What was requested.
        url: String,
        /// 404, or what else says the same.
        status: u16,
        /// The server's words, if any, as the end of a sentence.
        said: String,
        /// What to do.
        advice: String,
    },
    /// The repository is there and does not hold what is needed.
    #[error("{asked}: {reason}")]
    Lacks {
        /// What was asked for.
        asked: String,
        /// What is missing, and what there is.
        reason: String,
    },
    /// The server asks for a longer wait than anybody would have.
    #[error(
        "{asked}: {url} answers 429, too many requests, and asks to come back in {wait_s} s; do that, or set HF_TOKEN: \
         requests of known users are limited less"
    )]
    Throttled {
        /// What was asked for.
        asked: String,
        /// What was requested.
        url: String,
        /// Seconds that the server asks to wait.
        wait_s: u64,
    },
    /// The server has a fault, again and again.
    #[error(
        "{asked}: {url} answers {status}{said}, {attempts} times; try again later, or see whether HF_ENDPOINT names \
         the right server"
    )]
    Server {
        /// What was asked for.
        asked: String,
        /// What was requested.
        url: String,
        /// 408, 429 or 5xx.
        status: u16,
        /// The server's words, if any, as the end of a sentence.
        said: String,
        /// Requests made.
        attempts: usize,
    },
    /// No answer at all.
    #[error(
        "{asked}: no answer from {url} after {attempts} tries ({cause}); check the network, HTTPS_PROXY and \
         HF_ENDPOINT, or use a local path"
    )]
    Unreachable {
        /// What was asked for.
        asked: String,
        /// What was requested.
        url: String,
        /// Requests made.
        attempts: usize,
        /// What the network said last.
        cause: Box<ureq::Error>,
    },
    /// An answer that a Hub would not give.
    #[error("{asked}: {url} does not answer as a Hub: {reason}; see whether HF_ENDPOINT is right")]
    NotAHub {
        /// What was asked for.
        asked: String,
        /// What was requested.
        url: String,
        /// What was found, and what was expected.
        reason: String,
    },
    /// The connection breaks off before the end, again and again.
    #[error(
        "{asked}: {url} breaks off after {received} of {expected} bytes, {attempts} times without any progress; the \
         same command continues from there"
    )]
    Truncated {
        /// What was asked for.
        asked: String,
        /// What was requested.
        url: String,
        /// Bytes on the disk.
        received: u64,
        /// Bytes of the whole file, or `an unknown number`.
        expected: String,
        /// Requests made.
        attempts: usize,
    },
    /// The file is not what the server says it is.
    #[error(
        "{asked}: what came from {url} has the {digest} {found}, expected {expected}; it was removed, so run the same \
         command again, and suspect a proxy if it happens again"
    )]
    Checksum {
        /// What was asked for.
        asked: String,
        /// What was requested.
        url: String,
        /// `SHA-256`, `git id` or `size`.
        digest: &'static str,
        /// Of what came.
        found: String,
        /// Of what should have come.
        expected: String,
    },
    /// The cache cannot be read or written.
    #[error("{}", describe(path, cause))]
    Cache {
        /// File or folder of the cache.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
}

impl HubError {
    /// Wraps an io failure with the path it happened at.
    pub(super) fn cache(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |cause| Self::Cache {
            path: path.to_path_buf(),
            cause,
        }
    }

    /// Whether the server, or the way to it, is at fault: what was downloaded before is good enough then.
    pub(super) fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Server { .. } | Self::Throttled { .. }
        )
    }
}

fn describe(path: &Path, cause: &io::Error) -> String {
    let advice = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, or let HF_HOME name a folder with more of it: the same command continues the download"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; let HF_HOME name a folder that you may write to"
        }
        _ => "",
    };
    format!("the cache of the Hub, {}: {cause}{advice}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_to_do() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let message = HubError::cache(Path::new("hub/x.incomplete"))(full).to_string();
        assert!(message.contains("hub/x.incomplete"), "{message}");
        assert!(message.contains("HF_HOME"), "{message}");
    }

    #[test]
    fn only_an_outage_is_one() {
        let throttled = HubError::Throttled {
            asked: String::new(),
            url: String::new(),
            wait_s: 900,
        };
        assert!(throttled.is_outage());
        let lacks = HubError::Lacks {
            asked: String::new(),
            reason: String::new(),
        };
        assert!(!lacks.is_outage());
    }
}
