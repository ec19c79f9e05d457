//! `ellzero-eval index`, `search`, `beir`, `bm25` and `mine`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::world::World;

/// Query, document and score of every line of a run.
fn rows(run: &str) -> Vec<(String, String, f64)> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words.len(), 6, "{line}");
        (
            words[0].to_owned(),
            words[2].to_owned(),
            words[4].parse().expect("a score"),
        )
    };
    run.lines().map(row).collect()
}

#[test]
fn index_and_search_of_vectors() {
    let world = World::new();
    world
        .command("eval index --input vectors.jsonl --output index")
        .run()
        .success();
    let line =
        "eval search --index index --query-vectors query-vectors.jsonl --k 100 --run out.trec";
    world.command(line).run().success();
    // school: d0 1.5 * 2, d1 0.25 * 2; water: d1 2 * 1. A document without a shared token is no hit.
    let owned = |query: &str, doc: &str, score| (query.to_owned(), doc.to_owned(), score);
    let expected = [
        owned("q0", "d0", 3.0),
        owned("q0", "d1", 0.5),
        owned("q1", "d1", 2.0),
    ];
    assert_eq!(rows(&world.read("out.trec")), expected);
}

/// Appended to, merged or not, and whatever is scored: the same run as of an index that was built at once.
#[test]
fn appended_and_merged_indexes() {
    let world = World::new();
    let row = |id: &str, token: &str, weight: f64| serde_json::json!({"id": id, "vector": {token: weight, "school": 0.5}});
    let more = [row("d3", "river", 1.5), row("d4", "water", 2.0)];
    world.write_lines("more.jsonl", &more);
    world.write(
        "all.jsonl",
        world.read("vectors.jsonl") + &world.read("more.jsonl"),
    );
    let run = |index: &str, options: &str| {
        let line = format!(
            "eval search --index {index} --query-vectors query-vectors.jsonl --run out.trec{options}"
        );
        world.command(&line).run().success();
        world.read("out.trec")
    };
    for (input, options) in [
        ("all", "--output all"),
        ("vectors", "--output parts"),
        ("more", "--output parts --append"),
    ] {
        let line = format!("eval index --input {input}.jsonl {options}");
        world.command(&line).run().success();
    }
    let expected = run("all", "");
    assert_eq!(rows(&expected).len(), 6);
    assert!(world.path("parts/index-2.bin").exists());
    assert_eq!(run("parts", ""), expected);
    for options in [" --exhaustive", " --approximate 1"] {
        assert_eq!(run("parts", options), expected, "{options}");
    }
    let again = "eval index --input more.jsonl --output parts --append";
    let outcome = world.command(again).run();
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("`d3` is in the index already"),
        "{}",
        outcome.stderr
    );
    world
        .command("eval index --output parts --merge")
        .run()
        .success();
    assert!(!world.path("parts/index-2.bin").exists());
    assert_eq!(run("parts", ""), expected);
    let bytes = |index: &str| std::fs::read(world.path(&format!("{index}/index.bin")));
    assert!(bytes("parts").expect("a file") == bytes("all").expect("a file"));
}

/// Searching texts through an index of encoded documents finds what multiplying the vectors finds.
#[test]
fn search_is_exact() {
    let world = World::new();
    let encode = "eval encode --model model --activation l1_relu";
    for (input, route, output) in [
        ("corpus", "document", "docs.jsonl"),
        ("queries", "query", "queries.jsonl"),
    ] {
        let line = format!("{encode} --input beir/{input}.jsonl --route {route} --output {output}");
        world.command(&line).run().success();
    }
    world
        .command("eval index --input docs.jsonl --output index")
        .run()
        .success();
    let line = "eval search --index index --query-vectors queries.jsonl --k 100 --run out.trec";
    world.command(line).run().success();
    let found: BTreeMap<(String, String), f64> = rows(&world.read("out.trec"))
        .into_iter()
        .map(|(query, doc, score)| ((query, doc), score))
        .collect();
    let mut expected = 0;
    for query in world.read_lines("queries.jsonl") {
        for document in world.read_lines("docs.jsonl") {
            let weights = query["vector"].as_object().expect("a vector").iter();
            let products = weights.filter_map(|(token, weight)| {
                Some(weight.as_f64()? * document["vector"].get(token)?.as_f64()?)
            });
            let score: f64 = products.sum();
            let text = |row: &Value| row["id"].as_str().expect("an id").to_owned();
            let hit = found.get(&(text(&query), text(&document))).copied();
            if score > 0.0 {
                expected += 1;
                let hit = hit
                    .unwrap_or_else(|| panic!("{} does not find {}", query["id"], document["id"]));
                assert!(
                    (hit - score).abs() <= 1e-5 * score,
                    "{hit} instead of {score}"
                );
            }
        }
    }
    assert_eq!(found.len(), expected);

    let document = &world.read_lines("docs.jsonl")[0];
    let weights = document["vector"].as_object().expect("a vector");
    let is_word =
        |token: &&String| token.len() > 2 && token.chars().all(|c| c.is_ascii_lowercase());
    let word = weights.keys().find(is_word).expect("a whole word");
    let line = format!("eval search --model model --index index --k 100 {word}");
    let text = world.command(&line).run().success();
    let id = document["id"].as_str().expect("an id");
    assert!(text.contains(word.as_str()) && text.contains(id), "{text}");
}

/// A world with an index of its vectors: d0 has school and district, d1 water and school.
fn indexed() -> World {
    let world = World::new();
    let line = "eval index --input vectors.jsonl --output index";
    world.command(line).run().success();
    world
}

const SEARCH: &str = "eval search --model model --index index --k 3";

#[test]
fn hits_as_a_person_reads_them() {
    let world = indexed();
    let search = |options: &str| {
        let line = format!("{SEARCH} {options} school");
        world.command(&line).run().success()
    };
    let plain = search("--corpus beir/corpus.jsonl");
    for part in [
        "school\n1  ",
        "School district",
        "that operates local public schools",
        " %",
    ] {
        assert!(plain.contains(part), "no {part:?} in {plain}");
    }
    assert!(
        !plain.contains('\u{1b}'),
        "colours without a terminal: {plain:?}"
    );
    let painted = search("--corpus beir/corpus.jsonl --color always");
    assert!(
        painted.contains("\u{1b}[1;33mschool\u{1b}[0m"),
        "{painted:?}"
    );
    let unpainted = ["\u{1b}[1;33m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[0m"]
        .iter()
        .fold(painted, |text, code| text.replace(code, ""));
    assert_eq!(unpainted, plain);

    // Documents are found by id, wherever they are; what is not there is said.
    let mut rows = world.read_lines("beir/corpus.jsonl");
    rows.reverse();
    world.write_lines("reversed.jsonl", &rows);
    assert_eq!(search("--corpus reversed.jsonl"), plain);
    world.write_lines("one.jsonl", &rows[..1]);
    assert!(search("--corpus one.jsonl").contains("(not in the corpus)"));
    let bare = search("--quiet");
    assert!(
        bare.contains(" %") && !bare.contains("School district"),
        "{bare}"
    );
}

#[test]
fn hits_as_json() {
    let world = indexed();
    let line = format!("{SEARCH} --corpus beir/corpus.jsonl --json school water");
    let text = world.command(&line).run().success();
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let of = |query: &str| rows.iter().filter(|row| row["query"] == query).count();
    assert!(of("school") > 0 && of("water") > 0 && rows.len() == of("school") + of("water"));
    for row in &rows {
        let matches = row["matches"].as_array().expect("tokens");
        let number = |found: &Value, key: &str| found[key].as_f64().expect("a number");
        let sum = |value: &dyn Fn(&Value) -> f64| matches.iter().map(value).sum::<f64>();
        let score = sum(&|found| number(found, "query_weight") * number(found, "document_weight"));
        assert!((score - number(row, "score")).abs() < 1e-4 * score, "{row}");
        let shares = sum(&|found| number(found, "share"));
        assert!((shares - 1.0).abs() < 1e-5, "{row}");
        assert!(
            row["title"].is_string() && row["snippet"].is_string() && row["rank"].is_u64(),
            "{row}"
        );
    }
}

#[test]
fn queries_without_a_hit_say_why() {
    let world = indexed();
    for (query, reason) in [
        ("", "the query is empty"),
        ("\u{1f600}", "known to the model"),
        ("[MASK]", "known to the model"),
    ] {
        // A space before the query that is none.
        let text = world.command(&format!("{SEARCH} {query}")).run().success();
        assert!(
            text.contains("no hit: ") && text.contains(reason),
            "{query:?}: {text}"
        );
        let json = world
            .command(&format!("{SEARCH} --json {query}"))
            .run()
            .success();
        let row: Value = serde_json::from_str(json.trim()).expect("one object");
        assert_eq!((&row["query"], &row["hits"]), (&json!(query), &json!(0)));
        assert!(
            row["reason"]
                .as_str()
                .is_some_and(|text| text.contains(reason)),
            "{row}"
        );
    }
    let vectors = [json!({"id": "d", "vector": {"water": 1.0}})];
    world.write_lines("water.jsonl", &vectors);
    world
        .command("eval index --input water.jsonl --output water")
        .run()
        .success();
    let line = "eval search --model model --index water school";
    let text = world.command(line).run().success();
    assert!(
        text.contains("no document has any of the query's tokens: school"),
        "{text}"
    );
}

const FIGURES: [&str; 9] = [
    "ndcg@10",
    "map@100",
    "recall@100",
    "mrr@10",
    "flops",
    "q_length",
    "d_length",
    "docs",
    "queries",
];

fn check_results(world: &World, dir: &str, name: &str) {
    let results: Value =
        serde_json::from_str(&world.read(&format!("{dir}/results.json"))).expect("JSON");
    for figure in FIGURES {
        let value = &results["datasets"][name][figure];
        assert!(value.is_number(), "{figure} of {name} is {value}");
    }
    assert_eq!(results["datasets"][name]["docs"], 8);
    assert_eq!(results["datasets"][name]["queries"], 8);
    for percentile in ["p50", "p99"] {
        let value = &results["datasets"][name]["query_latency_ms"][percentile];
        assert!(value.is_number(), "{percentile} is {value}");
    }
    assert!(results["datasets"][name]["docs_per_s"].is_number());
    assert!(results["average"]["ndcg@10"].is_number());
    let page = world.read(&format!("{dir}/report.html"));
    assert!(page.contains("<html") && page.contains(name));
}

#[test]
fn evaluation_of_a_model_and_of_bm25() {
    let world = World::new();
    world.copy_beir("other");
    for (line, dir) in [
        (
            "eval beir --model model --activation l1_relu --data beir,other --output with-model",
            "with-model",
        ),
        (
            "eval bm25 --data beir,other --output with-bm25",
            "with-bm25",
        ),
    ] {
        let table = world.command(line).run().success();
        for name in ["beir", "other"] {
            assert!(table.contains(name), "{table}");
            check_results(&world, dir, name);
            let run = rows(&world.read(&format!("{dir}/{name}.run.trec")));
            assert!(!run.is_empty());
            // The stored run gives the stored figures.
            let line = format!(
                "eval metrics --qrels beir/qrels/test.tsv --run {dir}/{name}.run.trec --json"
            );
            let figures: Value =
                serde_json::from_str(&world.command(&line).run().success()).expect("JSON");
            let results: Value =
                serde_json::from_str(&world.read(&format!("{dir}/results.json"))).expect("JSON");
            for figure in ["ndcg@10", "map@100", "recall@100", "mrr@10"] {
                let stored = results["datasets"][name][figure]
                    .as_f64()
                    .expect("a number");
                let again = figures[figure].as_f64().expect("a number");
                assert!(
                    (stored - again).abs() < 1e-9,
                    "{figure}: {stored} and {again}"
                );
            }
        }
    }
    // Every query shares words with its document alone.
    let results: Value = serde_json::from_str(&world.read("with-bm25/results.json")).expect("JSON");
    assert!(
        results["average"]["ndcg@10"].as_f64().expect("a number") > 0.9,
        "{results}"
    );
}

/// Groups that training reads: the positive is judged, no negative is.
#[test]
fn mined_negatives() {
    let world = World::new();
    let line = "eval mine --model model --activation l1_relu --data beir --split train --depth 4 --output mined.jsonl";
    world.command(line).run().success();
    let rows = world.read_lines("mined.jsonl");
    assert_eq!(rows.len(), 8);
    for row in rows {
        let negatives: Vec<&str> = row["negs"]
            .as_array()
            .expect("negatives")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert!(
            !negatives.is_empty() && !negatives.contains(&row["pos"].as_str().expect("a positive")),
            "{row}"
        );
        assert!(row["query"].is_string(), "{row}");
    }
    world
        .command("train train.yaml --dry-run --set train_file=mined.jsonl --set data_type=posnegs --set loss_types=[infonce] --set sample_num_one_query=1")
        .run()
        .success();
}
