//! Against a server of our own that misbehaves on demand.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use configs::teachers::Prefixes;
use serde_json::{Value, json};

use super::*;
use crate::teacher::double::candidates;

/// What the server does with a request.
enum Reply {
    /// Answers as it should.
    Good,
    /// This status, with these header lines.
    Status(u16, &'static str),
    /// 200 and this body.
    Body(&'static str),
    /// Half of a good body under the length of the whole.
    HalfBody,
    /// Closes without a word.
    Hangup,
    /// Says nothing for longer than anybody waits.
    Silence,
}

/// A request that arrived.
struct Seen {
    path: String,
    headers: String,
    body: Value,
}

struct Server {
    address: String,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Listens until the test ends; once `replies` are used up it answers as it should.
    fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            replies: Arc::new(Mutex::new(replies.into())),
            seen: Arc::default(),
        };
        let (replies, seen) = (Arc::clone(&server.replies), Arc::clone(&server.seen));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (replies, seen) = (Arc::clone(&replies), Arc::clone(&seen));
                thread::spawn(move || serve(stream.unwrap(), &replies, &seen));
            }
        });
        server
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn scorer(&self, api: RemoteApi) -> RemoteScorer {
        RemoteScorer::new("remote".to_owned(), &self.config(api)).unwrap()
    }

    fn config(&self, api: RemoteApi) -> RemoteTeacher {
        RemoteTeacher {
            url: self.address.clone(),
            api,
            prefixes: Prefixes::default(),
            revision: None,
            token_env: None,
            batch: 2,
            parallel: 3,
            timeout_s: 5.0,
            retries: 2,
            backoff_s: 0.01,
        }
    }
}

/// One request a connection.
fn serve(stream: TcpStream, replies: &Mutex<VecDeque<Reply>>, seen: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut headers = String::new();
    while !headers.ends_with("\r\n\r\n") {
        if reader.read_line(&mut headers).unwrap_or(0) == 0 {
            return;
        }
    }
    let headers = headers.to_lowercase();
    let length = headers
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let path = headers.split(' ').nth(1).unwrap().to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let good = good_answer(&path, &body).to_string();
    let reply = replies.lock().unwrap().pop_front().unwrap_or(Reply::Good);
    seen.lock().unwrap().push(Seen {
        path,
        headers,
        body,
    });
    let mut stream = stream;
    let send = |stream: &mut TcpStream, status: u16, headers: &str, length: usize, body: &str| {
        let head = format!(
            "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        // The client may be gone.
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(body.as_bytes());
    };
    match reply {
        Reply::Good => send(&mut stream, 200, "", good.len(), &good),
        Reply::Status(status, headers) => send(&mut stream, status, headers, 4, "busy"),
        Reply::Body(body) => send(&mut stream, 200, "", body.len(), body),
        Reply::HalfBody => send(&mut stream, 200, "", good.len(), &good[..good.len() / 2]),
        Reply::Hangup => {}
        Reply::Silence => thread::sleep(Duration::from_secs(20)),
    }
}

/// Scores by the product of lengths; vectors are `[length, 1]`, sparse ones `{length: 2, 7: 0.5}`.
fn good_answer(path: &str, body: &Value) -> Value {
    let length = |text: &Value| text.as_str().unwrap().len();
    match path {
        "/rerank" => {
            let texts = body["texts"].as_array().unwrap().iter().enumerate();
            let score = |(index, text): (usize, &Value)| json!({"index": index, "score": length(text) * length(&body["query"])});
            // Best first, as the real ones: not in the order of the texts.
            let mut scores: Vec<Value> = texts.map(score).collect();
            scores.reverse();
            scores.into()
        }
        "/embed" => {
            let texts = body["inputs"].as_array().unwrap().iter();
            texts.map(|text| json!([length(text), 1.0])).collect()
        }
        "/embed_sparse" => {
            let texts = body["inputs"].as_array().unwrap().iter();
            let vector = |text| json!([{"index": length(text), "value": 2.0}, {"index": 7, "value": 0.5}, {"index": 1, "value": 0.0}]);
            texts.map(vector).collect()
        }
        _ => panic!("no such path {path}"),
    }
}

fn queries() -> [QueryDocuments<'static>; 2] {
    [
        candidates("one", &["a", "bb", "ccc", "dddd", "ccccc"]),
        candidates("four", &["bb"]),
    ]
}

#[test]
fn every_interface_in_bounded_batches() {
    let server = Server::start(Vec::new());
    let scores = server.scorer(RemoteApi::Rerank).score(&queries()).unwrap();
    assert_eq!(scores, [vec![3.0, 6.0, 9.0, 12.0, 15.0], vec![8.0]]);
    assert_eq!(server.requests(), 4, "batches of two, each of one query");
    let scores = server.scorer(RemoteApi::Embed).score(&queries()).unwrap();
    assert_eq!(scores, [vec![4.0, 7.0, 10.0, 13.0, 16.0], vec![9.0]]);
    assert_eq!(
        server.requests(),
        8,
        "one of queries, three of distinct documents"
    );
    let scores = server
        .scorer(RemoteApi::EmbedSparse)
        .score(&queries())
        .unwrap();
    assert_eq!(scores, [vec![0.25, 0.25, 4.25, 0.25, 0.25], vec![0.25]]);
    let seen = server.seen.lock().unwrap();
    for request in seen.iter() {
        let key = if request.path == "/rerank" {
            "texts"
        } else {
            "inputs"
        };
        assert!(request.body[key].as_array().unwrap().len() <= 2);
        assert_eq!(request.body["truncate"], true);
        assert_eq!(request.body.get("raw_scores").is_some(), key == "texts");
        assert!(request.headers.contains("content-type: application/json"));
        assert!(!request.headers.contains("authorization"));
    }
}

#[test]
fn prefixes_and_tokens_are_sent() {
    let server = Server::start(Vec::new());
    let config = RemoteTeacher {
        prefixes: Prefixes {
            query_prefix: Some("q: ".to_owned()),
            document_prefix: Some("d: ".to_owned()),
        },
        // A variable that is set wherever cargo runs tests.
        token_env: Some("CARGO_PKG_NAME".to_owned()),
        ..server.config(RemoteApi::Rerank)
    };
    let scorer = RemoteScorer::new("remote".to_owned(), &config).unwrap();
    scorer.score(&[candidates("x", &["y"])]).unwrap();
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen[0].body["query"], "q: x");
    assert_eq!(seen[0].body["texts"], json!(["d: y"]));
    assert!(
        seen[0].headers.contains("authorization: bearer train"),
        "{}",
        seen[0].headers
    );
    let config = RemoteTeacher {
        token_env: Some("ELLZERO_NO_SUCH_VARIABLE".to_owned()),
        ..config
    };
    let error = RemoteScorer::new("remote".to_owned(), &config)
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("ELLZERO_NO_SUCH_VARIABLE"),
        "{error}"
    );
}

/// One query, one document, on a server that begins with these replies: the outcome and the number of requests.
fn outcome(api: RemoteApi, replies: Vec<Reply>) -> (Result<Vec<Vec<f32>>, String>, usize) {
    let server = Server::start(replies);
    let scorer = server.scorer(api);
    let scores = scorer.score(&[candidates("one", &["bb"])]);
    (scores.map_err(|error| error.to_string()), server.requests())
}

#[test]
fn what_may_pass_is_tried_again() {
    let cases = [
        ("429", vec![Reply::Status(429, "")]),
        (
            "500 and 503",
            vec![Reply::Status(500, ""), Reply::Status(503, "")],
        ),
        ("half a body", vec![Reply::HalfBody]),
        ("a hangup", vec![Reply::Hangup, Reply::Hangup]),
        ("half an answer", vec![Reply::Body("[{\"index\": 0,")]),
    ];
    for (what, replies) in cases {
        let failures = replies.len();
        let (scores, requests) = outcome(RemoteApi::Rerank, replies);
        assert_eq!(scores, Ok(vec![vec![6.0]]), "{what}");
        assert_eq!(requests, failures + 1, "{what}");
    }
}

#[test]
fn retry_after_is_honoured() {
    let began = Instant::now();
    let replies = vec![Reply::Status(429, "retry-after: 1\r\n")];
    let (scores, requests) = outcome(RemoteApi::Rerank, replies);
    assert_eq!((scores, requests), (Ok(vec![vec![6.0]]), 2));
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn tries_are_bounded_and_counted() {
    let down = || Reply::Status(503, "");
    let (scores, requests) = outcome(RemoteApi::Rerank, vec![down(), down(), down(), down()]);
    let message = scores.unwrap_err();
    assert!(
        message.contains("/rerank: status 503 (tried 3 times): busy"),
        "{message}"
    );
    assert_eq!(requests, 3);
    let (scores, requests) = outcome(RemoteApi::Embed, vec![Reply::Status(401, "")]);
    let message = scores.unwrap_err();
    assert!(
        message.contains("/embed: status 401 (tried 1 times): busy; token_env"),
        "{message}"
    );
    assert_eq!(requests, 1, "a refusal is not asked about again");
}

#[test]
fn answers_that_make_no_sense_are_told_at_once() {
    use RemoteApi::{Embed, EmbedSparse, Rerank};
    let cases = [
        (Rerank, "{\"error\": 1}", "invalid type: map"),
        (Rerank, "[]", "it has 0 scores for 1 texts"),
        (
            Rerank,
            "[{\"index\": 1, \"score\": 1}]",
            "it scores text 1, but there are 1",
        ),
        (Rerank, "[{\"score\": 1}]", "missing field `index`"),
        (
            Rerank,
            "[{\"index\": 0}]",
            "the score of text 0 is no number",
        ),
        (
            Rerank,
            "[{\"index\": 0, \"score\": NaN}]",
            "begins with \"[{\\\"index\\\": 0, \\\"score\\\": NaN}]\"",
        ),
        (
            Rerank,
            "[{\"index\": 0, \"score\": 1e300}]",
            "the score of text 0 is no number",
        ),
        (
            Rerank,
            "[{\"index\": 0, \"score\": 1}, {\"index\": 0, \"score\": 2}]",
            "it has 2 scores for 1 texts",
        ),
        (Rerank, "<html>", "begins with \"<html>\""),
        (Embed, "[[]]", "the vector of text 0 has 0 numbers"),
        (
            Embed,
            "[[1, null]]",
            "the vector of text 0 holds something that is no number",
        ),
        (Embed, "[[1, 2], [3]]", "it has 2 vectors for 1 texts"),
        (Embed, "[[[1]]]", "invalid type: sequence"),
        (
            EmbedSparse,
            "[[{\"index\": 3, \"value\": -1}]]",
            "token 3 of text 0 weighs no number of 0 or more",
        ),
        (
            EmbedSparse,
            "[[{\"index\": 3, \"value\": 1}, {\"index\": 3, \"value\": 1}]]",
            "token 3 of text 0 occurs twice",
        ),
        (EmbedSparse, "[[{\"value\": 1}]]", "missing field `index`"),
    ];
    let mut failures = Vec::new();
    for (api, body, expected) in cases {
        let (scores, requests) = outcome(api, vec![Reply::Body(body)]);
        match scores {
            Err(message) if message.contains(expected) && requests == 1 => {}
            found => failures.push(format!("{body}: {found:?} after {requests} requests")),
        }
    }
    assert_eq!(failures, [""; 0]);
    // Two texts, one of them scored twice.
    let server = Server::start(vec![Reply::Body(
        "[{\"index\": 0, \"score\": 1}, {\"index\": 0, \"score\": 2}]",
    )]);
    let error = server
        .scorer(Rerank)
        .score(&[candidates("q", &["a", "b"])])
        .unwrap_err();
    assert!(
        error.to_string().contains("it scores text 0 twice"),
        "{error}"
    );
    // Queries' vectors are longer than those of documents.
    let server = Server::start(vec![Reply::Body("[[1, 2, 3]]")]);
    let error = server
        .scorer(Embed)
        .score(&[candidates("q", &["a"])])
        .unwrap_err();
    assert!(error.to_string().contains("of several lengths"), "{error}");
}

#[test]
fn a_server_that_is_down_or_silent() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let server = Server::start(vec![Reply::Silence, Reply::Silence]);
    for (url, timeout_s, retries) in [
        (format!("http://{address}"), 5.0, 1),
        (server.address.clone(), 0.2, 1),
    ] {
        let config = RemoteTeacher {
            url: url.clone(),
            timeout_s,
            retries,
            ..server.config(RemoteApi::Rerank)
        };
        let scorer = RemoteScorer::new("remote".to_owned(), &config).unwrap();
        let message = scorer
            .score(&[candidates("q", &["d"])])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(&url) && message.contains("(tried 2 times): is the server up"),
            "{message}"
        );
    }
}

#[test]
fn a_failure_ends_the_other_requests() {
    let server = Server::start(vec![Reply::Status(400, "")]);
    let documents = ["d"; 200];
    let error = server
        .scorer(RemoteApi::Rerank)
        .score(&[candidates("q", &documents)]);
    assert!(error.unwrap_err().to_string().contains("status 400"));
    assert!(server.requests() < 50, "{} requests", server.requests());
}
