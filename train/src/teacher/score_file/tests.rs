//! Whole files with a teacher whose scores are known.

use std::fs;
use std::sync::Arc;

use super::*;
use crate::teacher::Member;
use crate::teacher::double::FirstByte;
use crate::teacher::fingerprint::Fingerprint;

fn ensemble(factor: f32) -> (Arc<FirstByte>, Ensemble) {
    let teacher = Arc::new(FirstByte {
        factor,
        ..FirstByte::default()
    });
    let member = Member {
        teacher: Box::new(Arc::clone(&teacher)),
        weight: 1.0,
        fingerprint: Fingerprint([factor as u8; 32]),
    };
    (teacher, Ensemble::new(vec![member], 30.0))
}

/// Scores `input` in `dir`, stopping after about `most` rows.
fn score(
    dir: &Path,
    ensemble: &Ensemble,
    [input, output]: [&str; 2],
    most: usize,
) -> Result<ScoreOutcome, ScoreError> {
    let stop = AtomicBool::new(false);
    let job = ScoreJob {
        ensemble,
        input: &dir.join(input),
        output: &dir.join(output),
        stop: &stop,
    };
    let cache = ScoreCache::open(&dir.join("cache"));
    let mut cache = cache.map_err(TeacherError::from)?;
    job.run(&mut cache, &mut |state| {
        stop.store(state.written >= most, Ordering::Relaxed);
    })
}

const ALL: usize = usize::MAX;

#[test]
fn every_form_becomes_kd_rows_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let forms = [
        (
            "kd.jsonl",
            r#"{"query": "q", "docs": ["a","c","b"], "scores": [9,9,9], "first_rank": 2}"#,
            r#"{"query":"q","docs":["a","c","b"],"scores":[0.0,29.999985,14.999993],"first_rank":2}"#,
        ),
        (
            "ids.jsonl",
            r#"{"query": "q", "q_id": 7, "docs": ["b","a"], "d_ids": [1,"x"]}"#,
            r#"{"query":"q","q_id":"7","docs":["b","a"],"d_ids":["1","x"],"scores":[29.99997,0.0]}"#,
        ),
        (
            "posnegs.jsonl",
            r#"{"query": "q", "pos": "c", "negs": ["a","b"]}"#,
            r#"{"query":"q","docs":["c","a","b"],"scores":[29.999985,0.0,14.999993]}"#,
        ),
        (
            "passages.jsonl",
            r#"{"query": "q", "positive_passages": [{"title": "b", "text": "t"}], "negative_passages": [{"text": "a"}]}"#,
            r#"{"query":"q","docs":["b t","a"],"scores":[29.99997,0.0]}"#,
        ),
    ];
    let (_, ensemble) = ensemble(1.0);
    for (name, row, expected) in forms {
        let rows = format!("{row}\n\n{}\n{row}\n", row.replace("\"q\"", "null"));
        fs::write(dir.path().join(name), rows).unwrap();
        let ScoreOutcome::Finished(state) =
            score(dir.path(), &ensemble, [name, "out.jsonl"], ALL).unwrap()
        else {
            panic!("{name} was stopped");
        };
        let expected_state = ScoreProgress {
            total: 3,
            done: 3,
            written: 2,
            resumed: 0,
            skipped: 1,
        };
        assert_eq!(state, expected_state, "{name}");
        let written = fs::read_to_string(dir.path().join("out.jsonl")).unwrap();
        let written: Vec<serde_json::Value> = written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        assert_eq!(written.len(), 2);
        for row in written {
            let scores = |row: &serde_json::Value| -> Vec<f64> {
                let scores = row["scores"].as_array().unwrap().iter();
                scores.map(|score| score.as_f64().unwrap()).collect()
            };
            for (found, expected) in scores(&row).iter().zip(scores(&expected)) {
                assert!((found - expected).abs() < 1e-5, "{row}");
            }
            let without_scores = |row: &serde_json::Value| {
                let mut row = row.clone();
                row.as_object_mut().unwrap().remove("scores");
                row
            };
            assert_eq!(without_scores(&row), without_scores(&expected), "{name}");
        }
    }
}

fn many(dir: &Path, rows: usize) {
    let row = |row: usize| {
        let letter = |shift: usize| char::from(b'a' + ((row * 7 + shift * shift) % 23) as u8);
        let docs: Vec<String> = (0..100)
            .map(|shift| format!("{}{row} {shift}", letter(shift)))
            .collect();
        format!(
            "{}\n",
            serde_json::json!({"query": format!("q{row}"), "pos": docs[0], "negs": docs[1..]})
        )
    };
    let rows: String = (0..rows).map(row).collect();
    fs::write(dir.join("in.jsonl"), rows).unwrap();
}

#[test]
fn a_stopped_run_continues_to_the_same_bytes_and_asks_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    many(dir.path(), 50);
    let (teacher, ensemble) = ensemble(2.0);
    score(dir.path(), &ensemble, ["in.jsonl", "whole.jsonl"], ALL).unwrap();
    assert_eq!(teacher.asked(), 5000);
    let whole = fs::read(dir.path().join("whole.jsonl")).unwrap();
    fs::remove_dir_all(dir.path().join("cache")).unwrap();

    let job = ["in.jsonl", "cut.jsonl"];
    let stopped = score(dir.path(), &ensemble, job, 20).unwrap();
    let ScoreOutcome::Stopped(state) = stopped else {
        panic!("it was not stopped");
    };
    assert!((20..50).contains(&state.written), "{state:?}");
    assert!(!dir.path().join("cut.jsonl").exists());
    // A kill while a row is written leaves half of it.
    let partial = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let partial: Vec<PathBuf> = partial
        .filter(|path| path.to_string_lossy().contains(".partial-"))
        .collect();
    let mut torn = fs::read(&partial[0]).unwrap();
    torn.extend_from_slice(&whole[torn.len()..torn.len() + 100]);
    fs::write(&partial[0], torn).unwrap();

    let finished = score(dir.path(), &ensemble, job, ALL).unwrap();
    assert!(matches!(finished, ScoreOutcome::Finished(end) if end.resumed == state.written));
    assert!(fs::read(dir.path().join("cut.jsonl")).unwrap() == whole);
    assert!(!partial[0].exists());
    assert_eq!(
        teacher.asked(),
        10_000,
        "every pair once in each of two runs"
    );

    score(dir.path(), &ensemble, ["in.jsonl", "again.jsonl"], ALL).unwrap();
    assert!(fs::read(dir.path().join("again.jsonl")).unwrap() == whole);
    assert_eq!(teacher.asked(), 10_000, "everything is known");
}

#[test]
fn other_teachers_and_other_inputs_do_not_continue() {
    let dir = tempfile::tempdir().unwrap();
    many(dir.path(), 30);
    let job = ["in.jsonl", "out.jsonl"];
    let (_, first) = ensemble(1.0);
    score(dir.path(), &first, job, 10).unwrap();
    let (_, second) = ensemble(3.0);
    let finished = score(dir.path(), &second, job, ALL).unwrap();
    assert!(matches!(finished, ScoreOutcome::Finished(state) if state.resumed == 0));

    let changed = fs::read_to_string(dir.path().join("in.jsonl")).unwrap();
    let changed = changed.replacen("q3", "q3 changed", 1);
    fs::write(dir.path().join("in.jsonl"), changed).unwrap();
    let error = score(dir.path(), &first, job, ALL).unwrap_err().to_string();
    assert!(
        error.contains("row 4 has other texts than the input"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_scored_is_told_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_, ensemble) = ensemble(1.0);
    let message = |rows: &str, output: &str| {
        fs::write(dir.path().join("in.jsonl"), rows).unwrap();
        let error = score(dir.path(), &ensemble, ["in.jsonl", output], ALL);
        error.unwrap_err().to_string()
    };
    for (rows, output, expected) in [
        (
            "",
            "out.jsonl",
            "in.jsonl: no row of it can be scored (0 rows",
        ),
        (
            r#"{"query": null, "docs": ["a"]}"#,
            "out.jsonl",
            "can be scored (1 rows",
        ),
        (
            r#"{"query": "q", "docs": []}"#,
            "out.jsonl",
            "can be scored (1 rows",
        ),
        (
            r#"{"query": "q", "text": "t"}"#,
            "out.jsonl",
            "there are: query, text",
        ),
        (
            r#"{"query": "q", "docs": ["a"]}"#,
            "out.csv",
            "out.csv: this form cannot be written",
        ),
        (
            r#"{"query": "q", "docs": [7]}"#,
            "out.jsonl",
            "in.jsonl:1: ",
        ),
    ] {
        let found = message(rows, output);
        assert!(found.contains(expected), "{found}");
    }
    let names: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("out.") && !name.contains(".partial-"))
        .collect();
    assert_eq!(names, [""; 0]);
}
