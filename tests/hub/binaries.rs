//! The binaries, with names of the Hub wherever a model or data can be given.

use std::collections::BTreeMap;
use std::fs;

use crate::cli::bad_input::{Bad, check};
use crate::cli::binary::Run;
use crate::cli::world::World;
use crate::compare::Checks;

use super::server::{COMMIT, Fault, Server, files, lines};

/// A world beside a Hub that has its model as `org/name` and its BEIR directory as `org/set`.
struct Online {
    world: World,
    server: Server,
}

impl Online {
    fn new() -> Self {
        let world = World::new();
        let server = Server::with_model(&world.path("model"));
        let mut set = files(&world.path("beir"));
        set.extend(
            files(&world.path("beir/qrels"))
                .into_iter()
                .map(|(name, content)| (format!("qrels/{name}"), content)),
        );
        set.insert("kd.jsonl".to_owned(), world.read("kd.jsonl").into_bytes());
        server.put("datasets/org/set", COMMIT, set);
        Self { world, server }
    }

    fn command(&self, line: &str) -> Run {
        self.world
            .command(line)
            .env("HF_HUB_OFFLINE", "0")
            .env("HF_ENDPOINT", self.server.address())
            .env("HF_HOME", self.world.path("home"))
    }

    fn offline(&self, line: &str) -> Run {
        self.command(line).env("HF_HUB_OFFLINE", "1")
    }
}

/// The same results as with the paths, and the second time without a download.
#[test]
fn names_do_what_paths_do() {
    let online = Online::new();
    let mut checks = Checks::new();
    for (named, local) in [
        (
            "eval encode --model org/name --input hf://datasets/org/set/corpus.jsonl --output -",
            "eval encode --model model --input beir/corpus.jsonl --output -",
        ),
        (
            "eval beir --model org/name --data hf://datasets/org/set --quiet",
            "eval beir --model model --data set --quiet",
        ),
        (
            "eval explain --model org/name@main --query school --document school",
            "eval explain --model model --query school --document school",
        ),
        (
            "data idf --corpus hf://datasets/org/set/corpus.jsonl --tokenizer org/name --output -",
            "data idf --corpus beir/corpus.jsonl --tokenizer model --output -",
        ),
        (
            "data convert --input hf://datasets/org/set/kd.jsonl --output -",
            "data convert --input kd.jsonl --output -",
        ),
        (
            "eval mine --model org/name --data hf://datasets/org/set --output -",
            "eval mine --model model --data beir --output -",
        ),
    ] {
        online.world.copy_beir("set");
        let expected = online.world.command(local).run().success();
        let online_text = online.command(named).run().success();
        let offline_text = online.offline(named).run().success();
        // Speeds differ from run to run.
        let without_times = |text: &str| {
            let words = |line: &str| {
                let words: Vec<&str> = line.split_whitespace().take(5).collect();
                words.join(" ")
            };
            match named.contains("beir") {
                true => text.lines().map(words).collect::<Vec<_>>().join("\n"),
                false => text.to_owned(),
            }
        };
        for found in [online_text, offline_text] {
            checks.equal(named, without_times(&found), without_times(&expected));
        }
    }
    checks.finish();
}

#[test]
fn models_are_inspected_and_exported_by_name() {
    let online = Online::new();
    let text = online.command("model inspect org/name").run().success();
    assert!(text.contains(COMMIT), "{text}");
    let export = "model export org/name --output exported --activation relu --quiet";
    let outcome = online.command(export).run();
    assert_eq!(outcome.stderr, "");
    outcome.success();
    assert!(online.world.path("exported/model.safetensors").is_file());
    let seen = online.server.take_seen();
    let contents = seen.iter().filter(|request| request.is_linked).count();
    assert_eq!(contents, 1);
}

/// Vectors of documents and of queries.
#[test]
fn vectors_are_indexed_and_searched_by_address() {
    let online = Online::new();
    let vectors = ["vectors.jsonl", "query-vectors.jsonl"].map(|name| {
        let content = online.world.read(name).into_bytes();
        (name.to_owned(), content)
    });
    let server = &online.server;
    server.put("datasets/org/vectors", COMMIT, vectors.into());
    let run = |command: &dyn Fn(&str) -> Run, prefix: &str, index: &str| {
        let lines = [
            format!("eval index --input {prefix}vectors.jsonl --output {index}"),
            format!("eval search --index {index} --query-vectors {prefix}query-vectors.jsonl"),
        ];
        lines.map(|line| command(&line).run().success())
    };
    let local = run(&|line: &str| online.world.command(line), "", "local");
    assert!(local[1].contains("q0 Q0 d0 1 "), "{}", local[1]);
    let address = "hf://datasets/org/vectors/";
    let named = run(&|line: &str| online.command(line), address, "named");
    assert_eq!(named, local);
    assert_eq!(
        run(&|line: &str| online.offline(line), address, "again"),
        local
    );
}

/// Documents, queries and judgements of two repositories.
#[test]
fn beir_directories_are_put_together() {
    let online = Online::new();
    let qrels = files(&online.world.path("beir/qrels"));
    online.server.put("datasets/org/set-qrels", COMMIT, qrels);
    let line =
        "data beir --data hf://datasets/org/set --qrels hf://datasets/org/set-qrels --output made";
    online.command(line).run().success();
    let made = online
        .world
        .command("eval bm25 --data made --output made-run");
    made.run().success();
    let given = online
        .world
        .command("eval bm25 --data beir --output beir-run");
    given.run().success();
    assert_eq!(
        online.world.read("made-run/made.run.trec"),
        online.world.read("beir-run/beir.run.trec")
    );
}

/// BEIR's data sets and NanoBEIR's by their names: downloaded, put together, and then a folder like any other.
#[test]
fn known_data_sets_are_downloaded_once() {
    let online = Online::new();
    let world = &online.world;
    let mut nano = BTreeMap::new();
    // Parquet has no form for an object without members.
    let mut documents = world.read_lines("beir/corpus.jsonl");
    for document in &mut documents {
        document.as_object_mut().expect("a row").remove("metadata");
    }
    world.write_lines("documents.jsonl", &documents);
    let judged: String = (0..8)
        .map(|index| format!("{{\"query-id\": \"q{index}\", \"corpus-id\": \"d{index}\"}}\n"))
        .collect();
    world.write("judged.jsonl", judged);
    for (rows, folder) in [
        ("documents.jsonl", "corpus"),
        ("beir/queries.jsonl", "queries"),
        ("judged.jsonl", "qrels"),
    ] {
        let line = format!("data convert --input {rows} --output {folder}.parquet");
        world.command(&line).run().success();
        let parquet = fs::read(world.path(&format!("{folder}.parquet"))).expect("written");
        nano.insert(format!("{folder}/train-00000-of-00001.parquet"), parquet);
    }
    online
        .server
        .put("datasets/zeta-alpha-ai/NanoSciFact", COMMIT, nano);
    online
        .server
        .put("datasets/BeIR/scifact", COMMIT, files(&world.path("beir")));
    let qrels = files(&world.path("beir/qrels"));
    online
        .server
        .put("datasets/BeIR/scifact-qrels", COMMIT, qrels);
    let line = "eval bm25 --data scifact,NanoSciFact --root sets --output";
    online.command(&format!("{line} first")).run().success();
    online.server.take_seen();
    online.command(&format!("{line} second")).run().success();
    assert_eq!(lines(&online.server.take_seen()), [] as [&str; 0]);
    let local = world.command("eval bm25 --data beir --output local");
    local.run().success();
    for run in ["first/scifact", "second/NanoSciFact"] {
        let found = world.read(&format!("{run}.run.trec"));
        assert_eq!(found, world.read("local/beir.run.trec"), "{run}");
    }
}

/// What a run writes down names the commits, and starts the same run again.
#[test]
fn training_writes_down_what_it_took() {
    let online = Online::new();
    let names = "--set model_name_or_path=org/name --set train_file=hf://datasets/org/set/kd.jsonl \
                 --set idf_path=hf://org/name/idf.json --set eval_data=[hf://datasets/org/set]";
    let line = format!("train train.yaml --set max_steps=2 {names}");
    let outcome = online.command(&line).run();
    assert!(
        outcome.stderr.contains("org/name is org/name@"),
        "{}",
        outcome.stderr
    );
    outcome.success();
    let resolved = online.world.read("out/config.resolved.yaml");
    for expected in [
        format!("org/name@{COMMIT}"),
        format!("hf://datasets/org/set@{COMMIT}/kd.jsonl"),
        format!("hf://org/name@{COMMIT}/idf.json"),
        format!("hf://datasets/org/set@{COMMIT}"),
    ] {
        assert!(resolved.contains(&expected), "no {expected} in {resolved}");
    }
    let local = "train train.yaml --set max_steps=2 --set output_dir=local";
    online.world.command(local).run().success();
    let weights = |dir: &str| fs::read(online.world.path(dir).join("final/model.safetensors"));
    assert_eq!(
        weights("out").expect("weights"),
        weights("local").expect("weights")
    );

    online.server.take_seen();
    let again = "train out/config.resolved.yaml --dry-run --set output_dir=again";
    online.command(again).run().success();
    assert_eq!(lines(&online.server.take_seen()), [] as [&str; 0]);
}

#[test]
fn failures_have_an_exit_code_and_a_message() {
    let online = Online::new();
    let mut checks = Checks::new();
    for (line, fault, code, says) in [
        (
            "model inspect org/nothing",
            None,
            1,
            vec!["org/nothing: no such directory here", "404"],
        ),
        (
            "model inspect ./org/name",
            None,
            1,
            vec!["./org/name: no such directory;"],
        ),
        (
            "model inspect a/b/c",
            None,
            1,
            vec!["a/b/c: no such directory;"],
        ),
        (
            "model inspect name",
            None,
            1,
            vec!["name: no such directory here", "as a Hub id", "404"],
        ),
        (
            "model inspect beir/name",
            None,
            1,
            vec!["beir/name: no such directory in beir", "hf://beir/name"],
        ),
        (
            "model inspect org/name",
            Some(Fault::Status(401, "", "who are you")),
            1,
            vec!["401 (who are you)", "HF_TOKEN"],
        ),
        (
            "data convert --input hf://datasets/org/set/nothing.jsonl --output x.jsonl",
            None,
            1,
            vec!["no file and no folder nothing.jsonl", "corpus.jsonl"],
        ),
        (
            "data convert --input hf://datasets/set --output x.jsonl",
            None,
            1,
            vec!["hf://datasets/set", "expected hf://datasets/ORG/NAME"],
        ),
    ] {
        if let Some(fault) = fault {
            online.server.fail("/api/", fault, 1);
        }
        let bad = Bad::new(line, code, &says);
        check(&mut checks, &bad, &online.command(line).run());
    }
    let line = "model inspect org/name";
    let bad = Bad::new(line, 1, &["HF_HUB_OFFLINE is set", "not in the cache"]);
    check(&mut checks, &bad, &online.offline(line).run());
    let bad = Bad::new(line, 1, &["HF_ENDPOINT", "huggingface.co"]);
    let misspelt = online.command(line).env("HF_ENDPOINT", "huggingface.co");
    check(&mut checks, &bad, &misspelt.run());
    checks.finish();
    assert!(!online.world.path("x.jsonl").exists());
}

/// Real weights, where they are there.
#[test]
fn real_weights_by_name() {
    let Some(dir) = crate::needs::real_data("minilm-l6-fp16") else {
        return;
    };
    let online = Online::new();
    online.server.put("models/org/mini", COMMIT, files(&dir));
    let text = online.command("model inspect org/mini").run().success();
    let local = format!("model inspect {}", dir.display());
    let local = online.world.command(&local).run().success();
    let shape = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("weights"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(shape(&text), shape(&local));
    let line = "eval encode --model org/mini --input beir/queries.jsonl --route query --output -";
    let rows = online.command(line).run().success();
    assert_eq!(
        rows.lines().count(),
        online.world.read_lines("beir/queries.jsonl").len()
    );
    let row: serde_json::Value =
        serde_json::from_str(rows.lines().next().expect("a row")).expect("JSON");
    assert_eq!(row["id"], "q0");
}
