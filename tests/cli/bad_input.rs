//! What every table of bad inputs checks: the exit code, what the message names, and that nothing panicked.

use crate::compare::Checks;

use super::binary::Outcome;
use super::world::World;

/// One command that must fail.
pub struct Bad {
    /// The command line, as [`World::command`] takes it.
    pub line: String,
    /// 1 failed, 2 wrong usage.
    pub code: i32,
    /// What the message must contain.
    pub says: Vec<String>,
}

impl Bad {
    pub fn new(line: impl Into<String>, code: i32, says: &[&str]) -> Self {
        Self {
            line: line.into(),
            code,
            says: says.iter().map(|&text| text.to_owned()).collect(),
        }
    }
}

/// Runs all commands and reports every one that does not fail as it should.
#[track_caller]
pub fn check_all(world: &World, table: &[Bad]) {
    let mut checks = Checks::new();
    for bad in table {
        check(&mut checks, bad, &world.command(&bad.line).run());
    }
    checks.finish();
}

pub fn check(checks: &mut Checks, bad: &Bad, outcome: &Outcome) {
    let line = &bad.line;
    checks.equal(&format!("{line}: exit code"), outcome.code, Some(bad.code));
    let message = outcome.stderr.trim();
    for expected in &bad.says {
        checks.require(message.contains(expected), || {
            format!("{line}: no {expected:?} in: {message}")
        });
    }
    // A panic's message says "panicked"; a backtrace or a bare `Err` is no message for a user either.
    for unwanted in ["panicked", "RUST_BACKTRACE", "Os {", "unwrap()"] {
        checks.require(!message.contains(unwanted), || {
            format!("{line}: {unwanted:?} in: {message}")
        });
    }
    checks.require(!message.is_empty(), || format!("{line}: no message"));
}
