//! marginmse in a batch: the reference takes column 0, which is query 0's positive, as the positive of every row.
//! Ours takes each row's own. One formula in float64 gives both: with column 0 it must meet the golden value, with
//! the own column ours.

use super::super::tolerance::FORMULA;
use super::{Golden, Outcome};
use crate::compare::Checks;
use crate::fixture::{Array, Arrays};

/// `mean over rows and j != p of ((s_p - s_j) - (t_p - t_j))² / T²`, p = `positive(row)`.
fn formula(
    arrays: &Arrays,
    teacher: &str,
    temperature: f64,
    positive: impl Fn(usize) -> usize,
) -> Outcome {
    let (queries, documents) = (arrays.get("q_rep"), arrays.get("d_rep"));
    let teacher = arrays.get(teacher);
    let [rows, columns] = teacher.dims();
    let vocab = queries.shape[1];
    let at = |array: &Array, row: usize, v: usize| f64::from(array.floats()[row * vocab + v]);
    let dot = |row, column| {
        (0..vocab)
            .map(|v| at(queries, row, v) * at(documents, column, v))
            .sum()
    };
    let offset = |row: usize, column: usize| -> f64 {
        let score: f64 = dot(row, column);
        (score - f64::from(teacher.floats()[row * columns + column])) / temperature
    };
    let size = (rows * (columns - 1)) as f64;
    let (mut value, mut slopes) = (0.0, vec![0.0; rows * columns]);
    for row in 0..rows {
        let own = positive(row);
        for column in (0..columns).filter(|&column| column != own) {
            let error = offset(row, own) - offset(row, column);
            value += error * error / size;
            slopes[row * columns + own] += 2.0 * error / (temperature * size);
            slopes[row * columns + column] -= 2.0 * error / (temperature * size);
        }
    }
    let (mut grad_q, mut grad_d) = (vec![0.0; rows * vocab], vec![0.0; columns * vocab]);
    for row in 0..rows {
        for column in 0..columns {
            let slope = slopes[row * columns + column];
            for v in 0..vocab {
                grad_q[row * vocab + v] += slope * at(documents, column, v);
                grad_d[column * vocab + v] += slope * at(queries, row, v);
            }
        }
    }
    let narrow = |values: Vec<f64>| Some(values.into_iter().map(|value| value as f32).collect());
    Outcome {
        value,
        grad_q: narrow(grad_q),
        grad_d: narrow(grad_d),
    }
}

fn check(checks: &mut Checks, what: &str, found: &Outcome, expected: &Outcome) {
    checks.number(what, found.value, expected.value, &FORMULA);
    for (part, found, expected) in [
        ("grad_q", &found.grad_q, &expected.grad_q),
        ("grad_d", &found.grad_d, &expected.grad_d),
    ] {
        let both = (found.as_deref(), expected.as_deref());
        let (Some(found), Some(expected)) = both else {
            checks.fail(format!("{what} {part}: missing"));
            continue;
        };
        checks.close(&format!("{what} {part}"), found, expected, &FORMULA);
    }
}

#[test]
fn in_batch() {
    let golden = Golden::read();
    let mut checks = Checks::new();
    for (name, case, value) in golden.cases() {
        if !case.is_reference_mistake() {
            continue;
        }
        let gradient = |key: &str| {
            Some(
                golden
                    .arrays
                    .get(&format!("{name}.{key}"))
                    .floats()
                    .to_vec(),
            )
        };
        let reference = Outcome {
            value,
            grad_q: gradient("grad_q"),
            grad_d: gradient("grad_d"),
        };
        let with = |positive: &dyn Fn(usize) -> usize| {
            formula(&golden.arrays, &case.teacher, case.temperature, positive)
        };
        check(
            &mut checks,
            &format!("{name}, the reference's"),
            &reference,
            &with(&|_| 0),
        );

        let [rows, columns] = golden.arrays.get(&case.teacher).dims();
        let own = with(&|row| row * (columns / rows));
        check(
            &mut checks,
            &format!("{name}, ours"),
            &golden.run(&case),
            &own,
        );
    }
    checks.finish();
}
