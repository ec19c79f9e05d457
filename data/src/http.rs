//! What every client of a server needs to know.

use std::fs;
use std::io;
use std::path::Path;

use ureq::tls::{PemItem, RootCerts, parse_pem};

/// Whether another try may do better. A host that is not known, or not trusted, is so the next second too.
pub fn is_passing(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(cause) => cause.kind() != io::ErrorKind::InvalidData,
        ureq::Error::Timeout(_)
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::Protocol(_)
        | ureq::Error::BodyStalled => true,
        _ => false,
    }
}

/// The certificates to trust that a file holds in PEM form.
///
/// # Errors
///
/// The reason, without the file's name: it cannot be read, or there is no certificate in it.
pub fn certificates(path: &Path) -> Result<RootCerts, String> {
    let pem = fs::read(path).map_err(|cause| cause.to_string())?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(cause) => return Err(cause.to_string()),
        }
    }
    if certificates.is_empty() {
        return Err("there is no certificate in it; expected them in PEM form".to_owned());
    }
    Ok(RootCerts::from(certificates))
}
