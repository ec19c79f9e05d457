//! The fixtures are the ones that were made.

use std::fs;

use sha2::{Digest, Sha256};

use crate::compare::Checks;
use crate::fixture;

#[test]
fn files_are_the_ones_that_were_made() {
    let list = fs::read_to_string(fixture::path("SHA256SUMS")).expect("SHA256SUMS");
    let mut checks = Checks::new();
    for line in list.lines() {
        let (expected, name) = line.split_once("  ").expect("sum and name");
        match fs::read(fixture::path(name)) {
            Ok(bytes) => {
                let digest = Sha256::digest(&bytes);
                let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                checks.equal(name, found.as_str(), expected);
            }
            Err(error) => checks.fail(format!("{name}: {error}")),
        }
    }
    checks.finish();
}
