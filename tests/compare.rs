//! Elementwise comparison that reports every failure of a test at once.

use crate::golden::tolerance::Tolerance;

/// Collects what is wrong; [`Checks::finish`] fails the test with all of it.
#[derive(Default)]
pub struct Checks {
    failures: Vec<String>,
    compared: usize,
    slack: Option<&'static Tolerance>,
}

impl Checks {
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows differences within `slack` too, of a device that computes with less precision.
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    pub fn with_slack(slack: &'static Tolerance) -> Self {
        Self {
            slack: Some(slack),
            ..Self::default()
        }
    }

    fn allows(&self, tolerance: &Tolerance, found: f64, expected: f64) -> bool {
        [Some(tolerance), self.slack]
            .into_iter()
            .flatten()
            .any(|tolerance| tolerance.allows(found, expected))
    }

    /// `|found - expected| <= atol + rtol * |expected|` for every element.
    pub fn close(&mut self, what: &str, found: &[f32], expected: &[f32], tolerance: &Tolerance) {
        self.close_where(what, &[expected.len()], found, expected, tolerance, |_| {
            true
        });
    }

    /// The same for the elements whose flat index `keep`s; `shape` is for the message.
    pub fn close_where(
        &mut self,
        what: &str,
        shape: &[usize],
        found: &[f32],
        expected: &[f32],
        tolerance: &Tolerance,
        keep: impl Fn(usize) -> bool,
    ) {
        if found.len() != expected.len() || expected.len() != shape.iter().product::<usize>() {
            let (found, expected) = (found.len(), expected.len());
            self.fail(format!(
                "{what}: {found} elements, expected {expected} of shape {shape:?}"
            ));
            return;
        }
        let mut first = None;
        let (mut differing, mut worst, mut compared) = (0, 0.0_f64, 0);
        for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            if !keep(index) {
                continue;
            }
            compared += 1;
            let (found, expected) = (f64::from(found), f64::from(expected));
            // Not written as `difference > bound`, which NaN would pass.
            if !self.allows(tolerance, found, expected) {
                differing += 1;
                worst = worst.max((found - expected).abs());
                first.get_or_insert((index, found, expected));
            }
        }
        self.compared += compared;
        if let Some((index, found, expected)) = first {
            self.failures.push(format!(
                "{what}{:?}: found {found}, expected {expected}; {differing} of {compared} differ, by up to {worst:.3e} \
                 (allowed {:.0e} + {:.0e} * |expected|: {})",
                unravel(index, shape),
                tolerance.atol,
                tolerance.rtol,
                tolerance.reason,
            ));
        }
    }

    /// One number.
    pub fn number(&mut self, what: &str, found: f64, expected: f64, tolerance: &Tolerance) {
        self.compared += 1;
        if !self.allows(tolerance, found, expected) {
            self.failures.push(format!(
                "{what}: found {found}, expected {expected}, off by {:.3e} (allowed {:.0e} + {:.0e} * |expected|: {})",
                (found - expected).abs(),
                tolerance.atol,
                tolerance.rtol,
                tolerance.reason,
            ));
        }
    }

    /// Two lists that must be the same; names the first position that is not.
    pub fn same<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &str,
        found: &[T],
        expected: &[T],
    ) {
        self.compared += 1;
        if found == expected {
            return;
        }
        let index = found
            .iter()
            .zip(expected)
            .take_while(|(a, b)| a == b)
            .count();
        self.failures.push(format!(
            "{what}[{index}]: found {:?}, expected {:?} (lengths {} and {})",
            found.get(index),
            expected.get(index),
            found.len(),
            expected.len(),
        ));
    }

    /// Two values that must be the same.
    pub fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, expected: T) {
        self.compared += 1;
        if found != expected {
            self.failures
                .push(format!("{what}: found {found:?}, expected {expected:?}"));
        }
    }

    /// Something that must hold.
    pub fn require(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.compared += 1;
        if !holds {
            self.failures.push(otherwise());
        }
    }

    pub fn fail(&mut self, message: String) {
        self.failures.push(message);
    }

    /// Fails the test if anything was wrong, or if nothing was compared.
    #[track_caller]
    pub fn finish(self) {
        assert!(
            self.failures.is_empty(),
            "{} failures:\n  {}",
            self.failures.len(),
            self.failures.join("\n  ")
        );
        assert!(self.compared > 0, "nothing was compared");
    }
}

/// The index in every dimension.
fn unravel(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut position = vec![0; shape.len()];
    for (slot, &size) in position.iter_mut().zip(shape).rev() {
        *slot = index % size;
        index /= size;
    }
    position
}

#[test]
fn failures_name_the_first_difference() {
    let tolerance = Tolerance {
        atol: 0.1,
        rtol: 0.0,
        reason: "a test",
    };
    let mut checks = Checks::new();
    let found = [0.0, 0.05, f32::NAN, 9.0];
    checks.close_where("x", &[2, 2], &found, &[0.0; 4], &tolerance, |index| {
        index != 3
    });
    assert_eq!(checks.failures.len(), 1);
    assert!(checks.failures[0].starts_with("x[1, 0]: found NaN, expected 0; 1 of 3 differ"));
}
