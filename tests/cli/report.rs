//! `report.html`: what is on it, and that a browser draws it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::bad_input::{Bad, check_all};
use super::world::World;
use crate::needs;

/// A model and BM25 on two data sets, one of them with a published name, and what a training run left beside the model.
fn evaluated() -> World {
    let world = World::new();
    world.copy_beir("scifact");
    world.copy_model("run/final");
    let steps = (1..9).map(|step| format!("{{\"step\":{step},\"loss\":{}}}\n", 9 - step));
    world.write("run/metrics.jsonl", steps.collect::<String>());
    let line = "eval beir --model run/final --activation l1_relu --data scifact,beir --output out";
    world.command(line).run().success();
    world
}

#[test]
fn a_page_has_everything_and_needs_nothing() {
    let world = evaluated();
    let page = world.read("out/report.html");
    for part in [
        "doc-v2-distill",
        "class=\"frontier\"",
        "class=\"own\"",
        "class=\"baseline\"",
        "minus that of BM25",
        "how does a school district work",
        "Documents by number of tokens",
        "<b class=\"w9\"",
        "aria-label=\"loss\"",
        "prefers-color-scheme: dark",
    ] {
        assert!(page.contains(part), "no {part}");
    }
    for part in ["<script", "http:", "https:", "NaN", "inf\""] {
        assert!(!page.contains(part), "{part}");
    }
    let line = "eval beir --model run/final --activation l1_relu --data scifact,beir --output out --baseline none";
    world.command(line).run().success();
    assert!(!world.read("out/report.html").contains("minus that of"));
}

#[test]
fn one_page_of_several_evaluations() {
    let world = evaluated();
    let bm25 = "eval bm25 --data scifact,beir --k1 1.2 --output other";
    world.command(bm25).run().success();
    let report = "eval report --output page.html --results";
    world
        .command(&format!("{report} out,other --title Both"))
        .run()
        .success();
    let page = world.read("page.html");
    for part in [
        "<h1>Both</h1>",
        "run/final",
        "BM25 (k1 1.2, b 0.4)",
        "minus that of BM25 (k1 0.9",
        "aria-label=\"loss\"",
    ] {
        assert!(page.contains(part), "no {part}");
    }
    world
        .command(&format!("{report} out,other --baseline none"))
        .run()
        .success();
    assert!(!world.read("page.html").contains("minus that of"));
    world
        .command("eval bm25 --data beir --output single")
        .run()
        .success();
    let with_run = "--baseline run.trec --qrels beir/qrels/test.tsv";
    world
        .command(&format!("{report} single {with_run}"))
        .run()
        .success();
    assert!(world.read("page.html").contains("minus that of run.trec"));
    check_all(
        &world,
        &[
            Bad::new(format!("{report} nowhere"), 1, &["nowhere", "details.json"]),
            Bad::new(
                format!("{report} single --baseline run.trec"),
                1,
                &["run.trec", "--qrels"],
            ),
            Bad::new(
                format!("{report} out {with_run}"),
                1,
                &["run.trec", "one data set"],
            ),
            Bad::new(
                format!("{report} out --training nowhere.jsonl"),
                1,
                &["nowhere.jsonl"],
            ),
            Bad::new("eval report --output page.html", 2, &["--results"]),
            Bad::new(
                "eval beir --model model --data beir --output out2 --baseline missing.trec",
                1,
                &["missing.trec"],
            ),
        ],
    );
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let all = std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name)));
    let found = all.into_iter().find(|path| path.is_file());
    if found.is_none() {
        needs::skip("no Chromium in PATH");
    }
    found
}

/// The document after a browser has read the page, and what it had to complain about.
fn browse(chromium: &Path, page: &Path) -> (String, String) {
    let profile = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(chromium);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
    ]);
    command.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    command.args(["--enable-logging=stderr", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    let output = command.arg(format!("file://{}", page.display())).output();
    let output = output.expect("Chromium starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_browser_draws_the_page() {
    let Some(chromium) = chromium() else {
        return;
    };
    let world = evaluated();
    let (document, said) = browse(&chromium, &world.path("out/report.html"));
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    assert_eq!(complaints, [] as [&str; 0]);
    let written = world.read("out/report.html");
    // What a browser cannot parse it moves or leaves out.
    for element in [
        "<svg",
        "<rect",
        "<circle",
        "<polyline",
        "<title",
        "<table",
        "<tr",
        "<details",
        "<b class",
    ] {
        let count = |text: &str| text.matches(element).count();
        assert!(count(&written) > 0, "no {element}");
        assert_eq!(count(&document), count(&written), "{element}");
    }
}
