//! What the environment says about the Hub, read when it is asked for.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::HubError;

const ENDPOINT: &str = "https://huggingface.co";
const TIMEOUT: Duration = Duration::from_secs(30);
/// The first wait between two tries; each is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Where the Hub is, who asks, and where downloads are kept.
///
/// The defaults, and the variables that change them, are those of the Python library `huggingface_hub`, so that both
/// use one cache and one token.
#[derive(Clone)]
pub struct Settings {
    /// Address of the server, without a slash at its end (`HF_ENDPOINT`).
    pub endpoint: String,
    /// Sent to that server and to no other (`HF_TOKEN`, or the file that `hf auth login` writes).
    pub token: Option<String>,
    /// Folder of the repositories (`HF_HUB_CACHE`, or `hub` in `HF_HOME`).
    pub cache: PathBuf,
    /// Nothing is requested; what is in the cache must do (`HF_HUB_OFFLINE`).
    pub offline: bool,
    /// How long nothing may come from the server (`HF_HUB_DOWNLOAD_TIMEOUT`, in seconds).
    pub timeout: Duration,
    /// Wait before the second try of a request; twice as long before the third, and so on.
    pub first_wait: Duration,
    /// Certificates to trust instead of Mozilla's, in PEM form (`SSL_CERT_FILE`, or `REQUESTS_CA_BUNDLE`).
    pub certificates: Option<PathBuf>,
}

impl Settings {
    /// What the environment of this process says.
    ///
    /// # Errors
    /// [`HubError::Setting`], naming the variable.
    pub fn from_env() -> Result<Self, HubError> {
        Self::read(&|name| std::env::var_os(name))
    }

    /// What `variable` says; empty values count as none.
    ///
    /// # Errors
    /// [`HubError::Setting`], naming the variable.
    pub fn read(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let variables = Variables(variable);
        let home = variables.home();
        let cache = variables
            .path("HF_HUB_CACHE")
            .or_else(|| variables.path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| home.as_ref().map(|home| home.join("hub")))
            .ok_or_else(|| HubError::Setting {
                variable: "HF_HOME",
                reason: "not set, and neither is HOME: name a folder for downloads".to_owned(),
            })?;
        Ok(Self {
            endpoint: variables.endpoint()?,
            token: variables.token(home.as_deref()),
            cache,
            offline: variables.is_true("HF_HUB_OFFLINE")
                || variables.is_true("TRANSFORMERS_OFFLINE"),
            timeout: variables.timeout()?,
            first_wait: FIRST_WAIT,
            certificates: ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"]
                .into_iter()
                .find_map(|name| variables.path(name)),
        })
    }
}

/// Environment variables, behind a function so that tests can make some up.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl Variables<'_> {
    fn text(&self, name: &str) -> Option<String> {
        let value = (self.0)(name)?.into_string().ok()?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// A path; `~/` at its beginning is the user's folder.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let path = (self.0)(name).filter(|value| !value.is_empty())?;
        let path = PathBuf::from(path);
        let rest = path.strip_prefix("~").ok();
        let expanded = rest.and_then(|rest| Some(self.user_dir()?.join(rest)));
        Some(expanded.unwrap_or(path))
    }

    fn is_true(&self, name: &str) -> bool {
        let value = self.text(name).unwrap_or_default().to_ascii_uppercase();
        matches!(value.as_str(), "1" | "ON" | "YES" | "TRUE")
    }

    fn user_dir(&self) -> Option<PathBuf> {
        let variable = ["HOME", "USERPROFILE"].into_iter();
        variable
            .filter_map(|name| (self.0)(name))
            .find(|value| !value.is_empty())
            .map(PathBuf::from)
    }

    fn home(&self) -> Option<PathBuf> {
        self.path("HF_HOME").or_else(|| {
            let caches = self
                .path("XDG_CACHE_HOME")
                .or_else(|| Some(self.user_dir()?.join(".cache")))?;
            Some(caches.join("huggingface"))
        })
    }

    fn endpoint(&self) -> Result<String, HubError> {
        let endpoint = self.text("HF_ENDPOINT").unwrap_or(ENDPOINT.to_owned());
        let endpoint = endpoint.trim_end_matches('/');
        let host = ["https://", "http://"]
            .into_iter()
            .find_map(|scheme| endpoint.strip_prefix(scheme));
        if host.is_none_or(str::is_empty) {
            return Err(HubError::Setting {
                variable: "HF_ENDPOINT",
                reason: format!("found {endpoint:?}, expected an address such as {ENDPOINT}"),
            });
        }
        Ok(endpoint.to_owned())
    }

    fn token(&self, home: Option<&Path>) -> Option<String> {
        if self.is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return None;
        }
        let mut named = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].into_iter();
        named.find_map(|name| self.text(name)).or_else(|| {
            let file = self
                .path("HF_TOKEN_PATH")
                .or_else(|| Some(home?.join("token")))?;
            // Without the file there is no token, which most downloads do not need.
            let token = fs::read_to_string(file).ok()?;
            Some(token.trim().to_owned()).filter(|token| !token.is_empty())
        })
    }

    fn timeout(&self) -> Result<Duration, HubError> {
        let variable = "HF_HUB_DOWNLOAD_TIMEOUT";
        let Some(text) = self.text(variable) else {
            return Ok(TIMEOUT);
        };
        match text.parse::<u64>() {
            Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
            _ => Err(HubError::Setting {
                variable,
                reason: format!("found {text:?}, expected a whole number of seconds above 0"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, HubError> {
        Settings::read(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_cache_is_that_of_python() {
        for (variables, cache) in [
            (vec![("HOME", "/u")], "/u/.cache/huggingface/hub"),
            (vec![("HOME", "/u"), ("HF_HOME", "/h")], "/h/hub"),
            (vec![("HOME", "/u"), ("HF_HOME", "~/h")], "/u/h/hub"),
            (vec![("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (vec![("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")], "/c"),
            (vec![("HF_HUB_CACHE", ""), ("HF_HOME", "/h")], "/h/hub"),
        ] {
            let settings = read(&variables).unwrap();
            assert_eq!(settings.cache, Path::new(cache), "{variables:?}");
        }
        assert!(read(&[]).err().unwrap().to_string().contains("HF_HOME"));
    }

    #[test]
    fn tokens_come_from_a_variable_or_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        assert_eq!(read(&[("HF_HOME", home)]).unwrap().token, None);
        fs::write(dir.path().join("token"), "hf_file\n").unwrap();
        let token = |variables: &[(&str, &str)]| read(variables).unwrap().token;
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("hf_file"));
        let both = [("HF_HOME", home), ("HF_TOKEN", " hf_variable ")];
        assert_eq!(token(&both).as_deref(), Some("hf_variable"));
        let none = [("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
        assert_eq!(token(&none), None);
    }

    #[test]
    fn endpoint_offline_and_timeout() {
        let home = ("HF_HOME", "/h");
        let settings = read(&[home]).unwrap();
        assert_eq!(settings.endpoint, "https://huggingface.co");
        assert!(!settings.offline);
        assert_eq!(settings.timeout, TIMEOUT);
        let settings = read(&[
            home,
            ("HF_ENDPOINT", "http://mirror:8080/hub/"),
            ("HF_HUB_OFFLINE", "true"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "7"),
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.endpoint, "http://mirror:8080/hub");
        assert!(settings.offline);
        assert_eq!(settings.timeout, Duration::from_secs(7));
        for (name, value) in [
            ("HF_ENDPOINT", "huggingface.co"),
            ("HF_ENDPOINT", "https://"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "0"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "soon"),
        ] {
            let message = read(&[home, (name, value)]).err().unwrap().to_string();
            assert!(message.starts_with(name), "{message}");
        }
        assert!(!read(&[home, ("HF_HUB_OFFLINE", "0")]).unwrap().offline);
    }
}
