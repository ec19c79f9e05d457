//! What a machine may lack. A test that cannot run prints why and passes; with `CI=true` missing data fails it.

use std::path::{Path, PathBuf};

/// Prints why the calling test does nothing.
pub fn skip(reason: &str) {
    println!("skipped: {reason}");
}

/// A file or folder of the real data beside the repository, `../shared/data`.
///
/// # Panics
///
/// If it is not there and the environment says `CI=true`.
pub fn real_data(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data")
        .join(name);
    if path.exists() {
        return Some(path);
    }
    let reason = format!("no real data at {}", path.display());
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "{reason}"
    );
    skip(&reason);
    None
}
