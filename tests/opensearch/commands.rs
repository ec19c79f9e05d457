//! The commands of `ellzero-eval` that talk to OpenSearch, on a small model.

use std::collections::BTreeMap;

use eval::opensearch::delete_all;
use serde_json::Value;

use super::server::{ask, behind, client, ids, shared};
use crate::cli::world::World;

/// Score of each query and document.
fn scores(run: &str) -> BTreeMap<(String, String), f64> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let score = words[4].parse().expect("a score");
        ((words[0].to_owned(), words[2].to_owned()), score)
    };
    run.lines().map(row).collect()
}

/// Texts encoded on their way into an index are found as those of the embedded index are, up to rounding.
#[test]
fn texts_go_in_and_are_found() {
    let Some(url) = shared() else { return };
    let world = World::new();
    let encode = "eval encode --model model --activation l1_relu";
    for (input, route, output) in [
        ("corpus", "document", "docs.jsonl"),
        ("queries", "query", "queries.jsonl"),
    ] {
        let line = format!("{encode} --input beir/{input}.jsonl --route {route} --output {output}");
        world.command(&line).run().success();
    }
    for line in [
        "eval index --input docs.jsonl --output index".to_owned(),
        format!("eval index --input docs.jsonl --output {url}/from-vectors"),
        format!(
            "eval ingest --model model --activation l1_relu --with-texts --input beir/corpus.jsonl --index {url}/from-texts"
        ),
    ] {
        world.command(&line).run().success();
    }
    let search = |index: &str, more: &str| {
        let line = format!(
            "eval search --index {index} --query-vectors queries.jsonl --k 100 --run - {more}"
        );
        scores(&world.command(line.trim()).run().success())
    };
    let expected = search("index", "");
    assert!(!expected.is_empty());
    for name in ["from-vectors", "from-texts"] {
        for form in ["rank-feature", "neural-sparse"] {
            let found = search(&format!("{url}/{name}"), &format!("--query-form {form}"));
            assert!(
                found.keys().eq(expected.keys()),
                "{name} {form}: {found:?} instead of {expected:?}"
            );
            for (pair, score) in &found {
                let exact = expected[pair];
                assert!(
                    *score <= exact * 1.00001 && exact - score < exact / 256.0,
                    "{pair:?}: {score} and {exact}"
                );
            }
        }
        assert_eq!(behind(url, name), [format!("{name}-000001")]);
    }
    let line =
        format!("eval search --model model --activation l1_relu --index {url}/from-texts school");
    let text = world.command(&line).run().success();
    assert!(
        text.contains("school") && (0..8).any(|number| text.contains(&format!("d{number} "))),
        "{text}"
    );
    let document = ask("GET", &format!("{url}/from-texts/_doc/d0"), &Value::Null);
    assert_eq!(
        document["_source"]["title"], "School district",
        "{document}"
    );
    // Pruned queries have fewer tokens, so lower scores.
    let pruned = search(&format!("{url}/from-texts"), "--query-prune 0.9");
    assert!(pruned.values().sum::<f64>() < expected.values().sum::<f64>());
    for name in ["from-vectors", "from-texts"] {
        delete_all(&client(url), name).expect("removable");
    }
}

/// Evaluation and mining with the same results, and nothing left behind.
#[test]
fn evaluation_and_mining() {
    let Some(url) = shared() else { return };
    let world = World::new();
    let engine = format!("--engine opensearch --opensearch {url}");
    for line in [
        "eval beir --model model --activation l1_relu --data beir --output ENGINE".to_owned(),
        "eval mine --model model --activation l1_relu --data beir --split train --depth 10 --output ENGINE.jsonl".to_owned(),
    ] {
        world.command(&line.replace("ENGINE", "embedded")).run().success();
        let line = format!("{} {engine}", line.replace("ENGINE", "served"));
        world.command(&line).run().success();
    }
    let figures = |dir: &str| -> Value {
        let results: Value =
            serde_json::from_str(&world.read(&format!("{dir}/results.json"))).expect("JSON");
        results["datasets"]["beir"].clone()
    };
    let (embedded, served) = (figures("embedded"), figures("served"));
    for figure in [
        "flops",
        "q_length",
        "d_length",
        "docs",
        "queries",
        "recall@100",
    ] {
        assert_eq!(served[figure], embedded[figure], "{figure}");
    }
    let negatives = |name: &str| {
        let rows = world.read_lines(name).into_iter();
        let row = rows.map(|row| {
            let texts = row["negs"].as_array().expect("negatives").iter();
            let mut texts: Vec<String> = texts.map(Value::to_string).collect();
            texts.sort(); // neighbours may change places by rounding
            (row["query"].clone(), row["pos"].clone(), texts)
        });
        row.collect::<Vec<_>>()
    };
    assert_eq!(negatives("served.jsonl"), negatives("embedded.jsonl"));
    for index in ["ellzero-beir-*", "ellzero-mine-*"] {
        let left = ask("GET", &format!("{url}/{index}/_count"), &Value::Null);
        assert_eq!(left["_shards"]["total"], 0, "{index}: {left}");
    }
}

/// Pipelines and index are taken by the server; models, whose plugin it lacks, are not sent without an address.
#[test]
fn setup_is_printed_and_applied() {
    let Some(url) = shared() else { return };
    let world = World::new();
    let export =
        "model export model --output exported --activation relu --layout opensearch --quiet";
    world.command(export).run().success();
    let line = format!(
        "eval opensearch setup --index {url}/served --two-phase --prune-ratio 0.1 --register exported/opensearch/config.json"
    );
    let printed = world.command(&line).run().success();
    for part in [
        "POST _plugins/_ml/models/_register",
        "SPARSE_TOKENIZE",
        "PUT _ingest/pipeline/served-ingest",
        "PUT served\n",
    ] {
        assert!(printed.contains(part), "no {part} in {printed}");
    }
    let line = format!("{line} --document-model dm --query-model qm --apply");
    let outcome = world.command(&line).run();
    assert!(outcome.stderr.contains("not sent"), "{}", outcome.stderr);
    outcome.success();
    let settings = ask(
        "GET",
        &format!("{url}/served/_settings?flat_settings=true"),
        &Value::Null,
    );
    let settings = &settings["served"]["settings"];
    assert_eq!(
        settings["index.default_pipeline"], "served-ingest",
        "{settings}"
    );
    assert_eq!(
        settings["index.search.default_pipeline"], "served-search",
        "{settings}"
    );
    let pipeline = ask(
        "GET",
        &format!("{url}/_search/pipeline/served-search"),
        &Value::Null,
    );
    assert!(
        pipeline
            .to_string()
            .contains("neural_sparse_two_phase_processor"),
        "{pipeline}"
    );
    for path in [
        "served",
        "_ingest/pipeline/served-ingest",
        "_search/pipeline/served-search",
    ] {
        ask("DELETE", &format!("{url}/{path}"), &Value::Null);
    }
}

/// These need no server.
#[test]
fn what_cannot_be_reached_is_named() {
    let world = World::new();
    for (line, code, says) in [
        (
            "eval bm25 --data beir --engine opensearch",
            2,
            "--opensearch",
        ),
        (
            "eval bm25 --data beir --engine opensearch --opensearch localhost:9200",
            2,
            "no scheme",
        ),
        (
            "eval bm25 --data beir --engine opensearch --opensearch http://u:secret@127.0.0.1:1 --patience 0",
            1,
            "no answer from http://127.0.0.1:1/",
        ),
        (
            "eval index --input vectors.jsonl --output http://127.0.0.1:1/Docs",
            1,
            "`Docs`",
        ),
        (
            "eval index --input vectors.jsonl --output http://127.0.0.1:1/docs --patience 0",
            1,
            "no answer from http://127.0.0.1:1/docs",
        ),
        (
            "eval search --index http://127.0.0.1:1 --query-vectors query-vectors.jsonl",
            1,
            "no /INDEX",
        ),
        (
            "eval ingest --model model --input beir/corpus.jsonl --index http://127.0.0.1:1/docs --patience 0",
            1,
            "no answer",
        ),
        (
            "eval ingest --model model --input beir/corpus.jsonl --index docs",
            2,
            "no /INDEX",
        ),
        (
            "eval index --input vectors.jsonl --output https://127.0.0.1:1/docs --ca-file vectors.jsonl",
            1,
            "PEM",
        ),
    ] {
        let outcome = world.command(line).run();
        assert_eq!(outcome.code, Some(code), "{line}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(says),
            "{line}: no {says} in {}",
            outcome.stderr
        );
        assert!(!outcome.stderr.contains("secret"), "{}", outcome.stderr);
    }
}

/// What is written twice is there once, and a user's own rows stay.
#[test]
fn the_same_command_twice_is_the_same_index() {
    let Some(url) = shared() else { return };
    let world = World::new();
    let line = format!("eval index --input vectors.jsonl --output {url}/twice");
    for number in 1..=3 {
        world.command(&line).run().success();
        assert_eq!(behind(url, "twice"), [format!("twice-00000{number}")]);
        assert_eq!(ids(url, "twice"), ["d0", "d1", "d2"]);
    }
    world.write(
        "vectors.jsonl",
        "{\"id\":\"d3\",\"vector\":{\"water\":1.0}}\n",
    );
    world.command(&format!("{line} --append")).run().success();
    assert_eq!(ids(url, "twice"), ["d0", "d1", "d2", "d3"]);
    assert_eq!(behind(url, "twice"), ["twice-000003"]);
    delete_all(&client(url), "twice").expect("removable");
}
