//! Where a server is, and who asks.

use std::fmt;
use std::str::FromStr;

use super::OpenSearchError;

/// One or more nodes of a cluster, and a user.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// `scheme://host:port`, with a path where a proxy wants one, without a slash at the end.
    pub(super) nodes: Vec<String>,
    /// User and password.
    pub(super) credentials: Option<(String, String)>,
}

impl Address {
    /// Whether a text is an address rather than a path.
    pub fn is_one(text: &str) -> bool {
        text.starts_with("http://") || text.starts_with("https://")
    }

    /// The user that `OPENSEARCH_USER` and `OPENSEARCH_PASSWORD` name, unless the address names one.
    #[must_use]
    pub fn with_user_of(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        if self.credentials.is_none()
            && let Some(user) = variable("OPENSEARCH_USER").filter(|user| !user.is_empty())
        {
            let password = variable("OPENSEARCH_PASSWORD").unwrap_or_default();
            self.credentials = Some((user, password));
        }
        self
    }
}

/// Nodes separated by commas; a user may stand before the host of any of them.
impl FromStr for Address {
    type Err = OpenSearchError;

    fn from_str(text: &str) -> Result<Self, OpenSearchError> {
        let (mut nodes, mut credentials) = (Vec::new(), None);
        for node in text.split(',') {
            let (url, user) = split_user(node.trim().trim_end_matches('/'))?;
            if credentials.is_none() {
                credentials = user;
            }
            nodes.push(url);
        }
        Ok(Self { nodes, credentials })
    }
}

/// The password stays secret.
impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.nodes.join(","))
    }
}

/// An index of a cluster: `ADDRESS/INDEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The cluster.
    pub address: Address,
    /// Name of an index or an alias.
    pub index: String,
}

impl FromStr for Target {
    type Err = OpenSearchError;

    fn from_str(text: &str) -> Result<Self, OpenSearchError> {
        let (address, index) = match text.rsplit_once('/') {
            Some((address, index)) if !address.ends_with("/") => (address, index),
            _ => {
                return Err(OpenSearchError::Address {
                    address: split_user(text)
                        .map_or_else(|_| "the address".to_owned(), |(url, _)| url),
                    reason: "there is no /INDEX at its end".to_owned(),
                });
            }
        };
        let address = address.parse()?;
        check_index_name(index)?;
        Ok(Self {
            address,
            index: index.to_owned(),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.index)
    }
}

/// Refuses names that the server would refuse, or that mean several indices.
pub(super) fn check_index_name(name: &str) -> Result<(), OpenSearchError> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let reason = match name {
        "" => "it is empty",
        _ if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) => "a bad first character",
        _ if name.len() > 240 => "more than 240 characters",
        _ if name.chars().all(is_plain) => return Ok(()),
        _ => "a character that is not allowed",
    };
    let name = name.to_owned();
    Err(OpenSearchError::IndexName { name, reason })
}

type User = Option<(String, String)>;

/// The address without its user, and the user.
fn split_user(url: &str) -> Result<(String, User), OpenSearchError> {
    let refuse = |address: &str, reason: &str| OpenSearchError::Address {
        address: address.to_owned(),
        reason: reason.to_owned(),
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        let bare = url.rsplit('@').next().unwrap_or_default();
        return Err(refuse(bare, "no scheme"));
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let bare = format!("{scheme}://{host}{path}");
    if !matches!(scheme, "http" | "https") {
        return Err(refuse(&bare, "another scheme than http and https"));
    }
    if host.is_empty() || host.starts_with(':') {
        return Err(refuse(&bare, "no host"));
    }
    if bare.contains(['?', '#', ' ']) {
        return Err(refuse(&bare, "a character that an address cannot have"));
    }
    let user = match user {
        None => None,
        Some(user) => {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let decode = |text| {
                percent_decode(text)
                    .ok_or_else(|| refuse(&bare, "user or password is not in %XX form"))
            };
            Some((decode(name)?, decode(password)?))
        }
    };
    Ok((bare, user))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_taken_out_of_addresses() {
        let address: Address = "https://me:p%40ss@a:9200/,https://b/proxy"
            .parse()
            .expect("an address");
        assert_eq!(address.nodes, ["https://a:9200", "https://b/proxy"]);
        assert_eq!(
            address.credentials,
            Some(("me".to_owned(), "p@ss".to_owned()))
        );
        assert_eq!(format!("{address:?}"), "https://a:9200,https://b/proxy");
        let variables = |name: &str| Some(format!("<{name}>"));
        let kept = address.clone().with_user_of(variables);
        assert_eq!(kept, address);
        let address = "http://a".parse::<Address>().expect("an address");
        let user = address.with_user_of(variables).credentials.expect("a user");
        assert_eq!(
            user,
            (
                "<OPENSEARCH_USER>".to_owned(),
                "<OPENSEARCH_PASSWORD>".to_owned()
            )
        );
    }

    #[test]
    fn targets_end_in_an_index() {
        let target: Target = "http://u:p@a:1,http://b:2/my-index"
            .parse()
            .expect("a target");
        assert_eq!(target.index, "my-index");
        assert_eq!(target.address.nodes, ["http://a:1", "http://b:2"]);
        assert_eq!(target.to_string(), "http://a:1,http://b:2/my-index");
    }

    #[test]
    fn bad_addresses_are_refused_without_their_password() {
        for (text, expected) in [
            ("http://u:secret@a", "no /INDEX"),
            ("http://u:secret@a:1/Upper", "`Upper`"),
            ("http://u:secret@a:1/", "it is empty"),
            ("http://u:secret@a:1/_all", "first character"),
            ("http://u:secret@a:1/x,y", "not allowed"),
            ("http://a:1,u:secret@b/x", "no scheme"),
            ("ftp://u:secret@a:1/x", "another scheme"),
            ("http://u:secret@:1/x", "no host"),
            ("http://u:%secret@a:1/x", "%XX"),
        ] {
            let message = text.parse::<Target>().expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
