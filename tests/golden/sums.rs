//! The fixtures are the ones that were made.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::compare::Checks;
use crate::fixture;

#[test]
fn files_are_the_ones_that_were_made() {
    let mut checks = Checks::new();
    for folder in [fixture::root(), fixture::own("teachers")] {
        check(&mut checks, &folder);
    }
    checks.finish();
}

/// Every file of the folder's list.
fn check(checks: &mut Checks, folder: &Path) {
    let list = fs::read_to_string(folder.join("SHA256SUMS")).expect("SHA256SUMS");
    for line in list.lines() {
        let (expected, name) = line.split_once("  ").expect("sum and name");
        match fs::read(folder.join(name)) {
            Ok(bytes) => {
                let digest = Sha256::digest(&bytes);
                let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                checks.equal(name, found.as_str(), expected);
            }
            Err(error) => checks.fail(format!("{name}: {error}")),
        }
    }
}
