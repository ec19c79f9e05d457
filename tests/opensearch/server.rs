//! Starting nodes, and asking them what a client does not.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use eval::opensearch::{Client, ClientOptions};
use serde_json::{Value, json};

use crate::needs::skip;

/// Exit code of the script where a tool is missing, or Maven Central cannot be reached.
const CANNOT_RUN: i32 = 3;

/// Nodes; stopped, and their data removed, when the script's input ends.
pub struct Server {
    script: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Addresses by number, from 1.
    nodes: Vec<String>,
}

impl Server {
    /// Starts nodes with these arguments of the script; `None` where this machine cannot.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("opensearch/server/run.sh");
        let mut child = Command::new("bash")
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash runs");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut server = Self {
            script: child,
            input,
            output,
            nodes: Vec::new(),
        };
        loop {
            let line = server.line();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["node", _, url, _] => server.nodes.push(url.to_owned()),
                ["ready"] => return Some(server),
                _ => {
                    let status = server.script.wait().expect("waitable");
                    let reason = format!("OpenSearch does not start ({status}): see above");
                    let is_required =
                        std::env::var_os("ELLZERO_REQUIRE_OPENSEARCH").is_some_and(|v| v == "1");
                    assert!(
                        status.code() == Some(CANNOT_RUN) && !is_required,
                        "{reason}"
                    );
                    skip(&format!("SKIPPED: {reason}"));
                    return None;
                }
            }
        }
    }

    /// Addresses of all nodes, separated by commas.
    pub fn address(&self) -> String {
        self.nodes.join(",")
    }

    /// The address of a node that is not one of these.
    pub fn node_besides(&self, numbers: &[usize]) -> &str {
        let number = (1..=self.nodes.len()).find(|number| !numbers.contains(number));
        &self.nodes[number.expect("another node") - 1]
    }

    /// Ends a node without a chance to tidy up.
    pub fn kill(&mut self, number: usize) {
        self.command(&format!("kill {number}"), &format!("killed {number}"));
    }

    /// Starts it again and waits until the cluster is green.
    pub fn restart(&mut self, number: usize) {
        self.command(&format!("start {number}"), &format!("started {number}"));
    }

    fn command(&mut self, command: &str, answer: &str) {
        writeln!(self.input, "{command}").expect("the script reads");
        assert_eq!(self.line().trim(), answer);
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.script.id().to_string();
        // The script stops its nodes on this; both fail where it has ended.
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.script.wait();
    }
}

/// The address of a node that all tests share, started once; it stops when this process ends. It has room for few
/// documents at a time, so that every load meets refusals.
pub fn shared() -> Option<&'static str> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    let arguments = [
        "--set",
        "thread_pool.write.size=1",
        "--set",
        "thread_pool.write.queue_size=1",
    ];
    let server = SHARED.get_or_init(|| Server::start(&arguments)).as_ref();
    server.map(|server| server.nodes[0].as_str())
}

/// A client of these nodes.
pub fn client(address: &str) -> Client {
    let address = address.parse().expect("an address");
    Client::new(address, ClientOptions::default()).expect("a client")
}

/// The answer to a request, which must be JSON; asked again where the node is busy.
pub fn ask(method: &str, url: &str, body: &Value) -> Value {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None);
    let agent = config.build().new_agent();
    loop {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(url)
            .header("content-type", "application/json");
        let request = match body {
            Value::Null => agent.run(request.body(()).expect("a request")),
            body => agent.run(request.body(body.to_string()).expect("a request")),
        };
        let mut response = request.unwrap_or_else(|error| panic!("{url}: {error}"));
        let text = response.body_mut().read_to_string().expect("text");
        if response.status() == 429 {
            sleep(Duration::from_millis(50));
            continue;
        }
        return serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{url}: {error}: {text}"));
    }
}

/// The ids of all documents of an index, sorted, each as often as it is there.
pub fn ids(node: &str, index: &str) -> Vec<String> {
    let body = json!({"size": 10_000, "_source": false, "query": {"match_all": {}}, "sort": [{"id": "asc"}]});
    let answer = ask("POST", &format!("{node}/{index}/_search"), &body);
    assert_eq!(answer["_shards"]["failed"], 0, "{answer}");
    let hits = answer["hits"]["hits"].as_array().expect("hits");
    let id = |hit: &Value| hit["_id"].as_str().expect("an id").to_owned();
    let mut ids: Vec<String> = hits.iter().map(id).collect();
    ids.sort();
    ids
}

/// Indices behind an alias, sorted.
pub fn behind(node: &str, alias: &str) -> Vec<String> {
    let answer = ask("GET", &format!("{node}/_alias/{alias}"), &Value::Null);
    let indices = answer.as_object().expect("an object");
    indices.keys().cloned().collect()
}

/// Waits for something to become true.
pub fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < Duration::from_secs(100), "never: {what}");
        sleep(Duration::from_millis(50));
    }
}
