//! Files of teachers: what they mean, and what is wrong with them.

use std::path::Path;

use configs::teachers::{Pooling, RemoteApi};
use configs::{Activation, ConfigError, TeacherKind, TeachersConfig, load_teachers};

fn load(text: &str) -> Result<TeachersConfig, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("teachers.yaml");
    std::fs::write(&path, text).unwrap();
    load_teachers(&path)
}

/// The message without the folder and the file's own name.
fn message(text: &str) -> String {
    let message = load(text).unwrap_err().to_string();
    let (_, rest) = message.split_once("teachers.yaml").unwrap();
    rest.to_owned()
}

#[test]
fn every_type_with_its_defaults_and_its_options() {
    let text = "\
teachers:
  - type: sparse
    model: models/v1
    activation_type: l1_relu
  - {type: dense, model: gte, pooling: mean, normalize: false, query_prefix: 'query: ', weight: 0.5}
  - {type: cross-encoder, model: ce, max_length: 256, batch_tokens: 100}
  - {type: monot5, model: t5}
  - {type: bm25, corpus: beir/scifact, k1: 1.2}
  - {type: vectors, queries: q.jsonl, documents: d.parquet}
  - {type: remote, url: http://localhost:8080/, api: rerank, token_env: TOKEN, parallel: 8, retries: 0}
";
    let config = load(text).unwrap();
    assert_eq!(config.score_scale, 30.0);
    let weights: Vec<f64> = config
        .teachers
        .iter()
        .map(|teacher| teacher.weight)
        .collect();
    assert_eq!(weights, [1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0]);
    let names = config
        .teachers
        .iter()
        .map(|teacher| teacher.kind.type_name());
    let expected = [
        "sparse",
        "dense",
        "cross-encoder",
        "monot5",
        "bm25",
        "vectors",
        "remote",
    ];
    assert!(names.eq(expected));
    for teacher in &config.teachers {
        match &teacher.kind {
            TeacherKind::Sparse(sparse) => {
                assert_eq!(
                    (sparse.model.max_length, sparse.model.batch_tokens),
                    (512, 8192)
                );
                assert_eq!(sparse.activation_type, Some(Activation::L1Relu));
                assert_eq!((sparse.inf_free, &sparse.idf_path), (None, &None));
            }
            TeacherKind::Dense(dense) => {
                assert_eq!(
                    (dense.pooling, dense.normalize),
                    (Some(Pooling::Mean), Some(false))
                );
                let prefixes = &dense.model.prefixes;
                assert_eq!(prefixes.query_prefix.as_deref(), Some("query: "));
                assert_eq!(prefixes.document_prefix, None);
            }
            TeacherKind::CrossEncoder(pair) => {
                assert_eq!((pair.model.max_length, pair.model.batch_tokens), (256, 100));
            }
            TeacherKind::MonoT5(pair) => assert_eq!(pair.model.model, "t5"),
            TeacherKind::Bm25(bm25) => assert_eq!((bm25.k1, bm25.b), (1.2, 0.4)),
            TeacherKind::Vectors(vectors) => {
                assert_eq!(vectors.documents, Path::new("d.parquet"));
                assert!(teacher.kind.needs_ids());
            }
            TeacherKind::Remote(remote) => {
                assert_eq!(
                    (remote.url.as_str(), remote.api),
                    ("http://localhost:8080", RemoteApi::Rerank)
                );
                assert_eq!((remote.batch, remote.parallel, remote.retries), (32, 8, 0));
                assert_eq!((remote.timeout_s, remote.backoff_s), (60.0, 0.5));
                assert_eq!(remote.token_env.as_deref(), Some("TOKEN"));
            }
        }
    }
}

#[test]
fn the_form_of_the_reference_means_the_same() {
    let columns = "types: [dense, sparse, remote]\nmodel_ids: [a, b, 'http://c']\n\
                   teacher_tokenizer_ids: [a, b, c]\nscore_scale: 10\n";
    let list = "score_scale: 10\nteachers:\n- {type: dense, model: a, pooling: cls, normalize: true, query_prefix: '', document_prefix: ''}\n- {type: sparse, model: b, inf_free: false}\n\
                - {type: remote, url: 'http://c', api: embed}\n";
    assert_eq!(load(columns).unwrap(), load(list).unwrap());
}

#[test]
fn errors_name_line_and_key() {
    let cases = [
        ("", ": teachers: is missing: name at least one teacher"),
        ("teachers: []\n", ":1: teachers: the list is empty"),
        (
            "teachers: sparse\n",
            ":1: teachers: expected a list of mappings",
        ),
        (
            "\nteachers: [sparse]\n",
            ":2: teachers: expected a list of mappings",
        ),
        ("- a\n", ":1: expected `key: value` lines"),
        (
            "teachers: [{model: m}]\n",
            ":1: teachers[0].type: is missing: one of sparse, dense",
        ),
        (
            "teachers:\n- type: sparce\n",
            ":2: teachers[0].type: `sparce` is none of sparse, dense",
        ),
        (
            "teachers:\n- type: sparse\n",
            ":2: teachers[0].model: is missing: a model directory",
        ),
        (
            "teachers:\n- type: sparse\n  model: m\n- type: dense\n  model: n\n  max_lenght: 4\n",
            ":6: unknown key `teachers[1].max_lenght`; did you mean `max_length`?",
        ),
        (
            "teachers:\n- {type: bm25, corpus: c}\nscale: 3\n",
            ":3: unknown key `scale`",
        ),
        (
            "teachers:\n- type: dense\n  model: n\n  max_length: long\n",
            ":4: teachers[0].max_length: expected a whole number of 0 or more, found the text \"long\"",
        ),
        (
            "teachers:\n- type: dense\n  model: n\n  max_length: 4\n",
            ":4: teachers[0].max_length: expected 5 or more",
        ),
        (
            "teachers:\n- type: dense\n  model: n\n  pooling: max\n",
            ":4: teachers[0].pooling: `max` is none of cls, mean",
        ),
        (
            "teachers:\n- {type: dense, model: n, weight: 0}\n",
            ":2: teachers[0].weight: expected more than 0",
        ),
        ("score_scale: 0\n", ":1: score_scale: expected more than 0"),
        (
            "teachers:\n- {type: remote, url: host, api: embed}\n",
            ":2: teachers[0].url: `host` is no address",
        ),
        (
            "teachers:\n- {type: remote, url: 'http://h'}\n",
            ":2: teachers[0].api: is missing",
        ),
        (
            "teachers:\n- {type: remote, url: 'http://h', api: predict}\n",
            ":2: teachers[0].api: `predict` is none of rerank, embed, embed_sparse",
        ),
        (
            "teachers:\n- {type: vectors, queries: q}\n",
            ":2: teachers[0].documents: is missing",
        ),
        (
            "teachers:\n- {type: sparse, model: m, inf_free: false, idf_path: i}\n",
            ":2: teachers[0].idf_path: inf_free: false encodes queries with the model",
        ),
        (
            "types: [sparse]\nteachers: []\nmodel_ids: [a]\n",
            ":1: types: teachers is given too",
        ),
        (
            "types: [bm25]\nmodel_ids: [a]\n",
            ":1: types: bm25 has no model id",
        ),
        (
            "types: [sparse]\n",
            ": model_ids: is missing: one model for each",
        ),
    ];
    let mut failures = Vec::new();
    for (text, expected) in cases {
        let found = message(text);
        if !found.starts_with(expected) {
            failures.push(format!("{text:?}: {found}"));
        }
    }
    assert_eq!(failures, [""; 0]);
    let missing = load_teachers(Path::new("no/such.yaml"))
        .unwrap_err()
        .to_string();
    assert_eq!(missing, "no/such.yaml: cannot read the teachers");
}
