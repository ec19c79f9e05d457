//! A server with the Hub's interface, and a second one for what the first redirects to.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use data::hub::{Hub, Report, Settings, Silent};
use serde_json::{Value, json};
use sha1::Digest;

/// The commit of every repository until there is another.
pub const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";

/// Bytes that are sent before a pause.
const BLOCK: usize = 1 << 14;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET /path`.
    pub line: String,
    /// First byte asked for.
    pub start: Option<u64>,
    /// `Authorization`.
    pub token: Option<String>,
    /// Whether it went to the second server.
    pub is_linked: bool,
}

/// What an answer looks like instead.
#[derive(Debug, Clone)]
pub enum Fault {
    /// A status with further headers and a body.
    Status(u16, &'static str, &'static str),
    /// Breaks off after so many bytes of the body.
    Cut(usize),
    /// Another body of the same length.
    Corrupt,
    /// All of the body, whatever part is asked for.
    NoRanges,
    /// So long a pause after each block.
    Slow(Duration),
}

struct Repository {
    commit: String,
    files: BTreeMap<String, Vec<u8>>,
}

#[derive(Default)]
struct State {
    /// By `models/org/name` or `datasets/org/name`.
    repositories: BTreeMap<String, Repository>,
    /// Old names of models, and what they are called now.
    moved: BTreeMap<String, String>,
    seen: Vec<Seen>,
    /// Part of the request's line, what happens, and how often.
    faults: Vec<(String, Fault, usize)>,
    /// Only names are listed.
    names_only: bool,
    linked_address: String,
}

/// A running server; its threads end with the process.
pub struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let linked_address = listen(&state, true);
        let address = listen(&state, false);
        let server = Self { address, state };
        server.state().linked_address = linked_address;
        server
    }

    /// A server with `org/name`, a copy of the directory.
    pub fn with_model(dir: &Path) -> Self {
        let server = Self::start();
        server.put("models/org/name", COMMIT, files(dir));
        server
    }

    /// `http://127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Puts a repository there, `models/org/name` or `datasets/org/name`.
    pub fn put(&self, name: &str, commit: &str, files: BTreeMap<String, Vec<u8>>) {
        let commit = commit.to_owned();
        let repository = Repository { commit, files };
        self.state()
            .repositories
            .insert(name.to_owned(), repository);
    }

    /// Redirects requests for a model to another, as the Hub does where the old name has no organisation.
    pub fn redirect(&self, from: &str, to: &str) {
        self.state().moved.insert(from.to_owned(), to.to_owned());
    }

    /// The next `times` requests whose line has `part` in it get this answer.
    pub fn fail(&self, part: &str, fault: Fault, times: usize) {
        self.state().faults.push((part.to_owned(), fault, times));
    }

    /// No further faults.
    pub fn recover(&self) {
        self.state().faults.clear();
    }

    /// Lists no sizes and no digests from now on.
    pub fn list_names_only(&self) {
        self.state().names_only = true;
    }

    /// The requests since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state().seen)
    }

    /// Settings with this server and a cache in `home`.
    pub fn settings(&self, home: &Path) -> Settings {
        Settings {
            endpoint: self.address.clone(),
            token: None,
            cache: home.join("hub"),
            offline: false,
            timeout: Duration::from_secs(20),
            first_wait: Duration::from_millis(1),
            certificates: None,
        }
    }

    pub fn hub(&self, home: &Path) -> Hub {
        Hub::new(self.settings(home), Silent)
    }

    /// A Hub, and what it tells.
    pub fn hub_with_notices(&self, home: &Path) -> (Hub, Notices) {
        let notices = Notices::default();
        (Hub::new(self.settings(home), notices.clone()), notices)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Keeps what it is told.
#[derive(Default, Clone)]
pub struct Notices(Arc<Mutex<Vec<String>>>);

impl Report for Notices {
    fn notice(&self, text: &str) {
        lock(&self.0).push(text.to_owned());
    }
}

impl Notices {
    pub fn text(&self) -> String {
        lock(&self.0).join("\n")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files of a directory, without those of its folders.
pub fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let files = paths.filter(|path| path.is_file()).map(|path| {
        let name = path.file_name().expect("a name").to_string_lossy();
        (name.into_owned(), fs::read(&path).expect("readable"))
    });
    files.collect()
}

/// The lines of the requests, for comparing.
pub fn lines(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|request| request.line.as_str()).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Git's id of a file.
pub fn git_id(content: &[u8]) -> String {
    let mut hasher = sha1::Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    hex(&hasher.finalize())
}

pub fn sha256(content: &[u8]) -> String {
    hex(&sha2::Sha256::digest(content))
}

/// Whether git only has a pointer to the file.
fn is_linked(path: &str) -> bool {
    path.ends_with(".safetensors") || path.ends_with(".bin") || path.ends_with(".gz")
}

fn listen(state: &Arc<Mutex<State>>, is_linked: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let state = Arc::clone(state);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            // A client that goes away in the middle is part of the tests.
            thread::spawn(move || serve(stream, &state, is_linked));
        }
    });
    address
}

/// An answer before it is sent.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Answers one request and closes the connection.
fn serve(stream: TcpStream, state: &Mutex<State>, is_linked: bool) -> Option<()> {
    let request = read_request(&stream, is_linked)?;
    let (method, path) = request.line.split_once(' ')?;
    let (answer, fault) = {
        let mut state = lock(state);
        state.seen.push(request.clone());
        let fault = state
            .faults
            .iter_mut()
            .find(|(part, _, times)| *times > 0 && request.line.contains(part.as_str()));
        let fault = fault.map(|(_, fault, times)| {
            *times -= 1;
            fault.clone()
        });
        let answer = match &fault {
            Some(Fault::Status(status, headers, body)) => {
                let mut answer = Answer::new(*status, *body);
                let headers = headers.lines().filter_map(|line| line.split_once(": "));
                answer.headers = headers
                    .map(|(name, value)| (name, value.to_owned()))
                    .collect();
                answer
            }
            _ if is_linked => state.content(path),
            _ => state.answer(path),
        };
        (answer, fault)
    };
    send(stream, method, answer, request.start, fault.as_ref())
}

fn read_request(stream: &TcpStream, is_linked: bool) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let mut request = Seen {
        line: format!("{} {}", words.next()?, words.next()?),
        start: None,
        token: None,
        is_linked,
    };
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            return Some(request);
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.token = Some(value.to_owned()),
            "range" => {
                let start = value.strip_prefix("bytes=")?.strip_suffix('-')?;
                request.start = start.parse().ok();
            }
            _ => {}
        }
    }
}

impl State {
    /// `/api/KINDS/org/name/revision/REVISION` and `/[datasets/]org/name/resolve/REVISION/PATH`.
    fn answer(&self, path: &str) -> Answer {
        for (from, to) in &self.moved {
            for (prefix, end) in [("/api/models/", "/revision/"), ("/", "/resolve/")] {
                if let Some(rest) = path.strip_prefix(&format!("{prefix}{from}{end}")) {
                    let location = format!("{prefix}{to}{end}{rest}");
                    return Answer::new(307, "Moved").header("Location", location);
                }
            }
        }
        let path = path.split('?').next().unwrap_or(path);
        if let Some(path) = path.strip_prefix("/api/") {
            let (name, revision) = path.split_once("/revision/").unwrap_or((path, ""));
            return match self.find(name, revision) {
                Ok(repository) => {
                    let body = self.listing(repository).to_string();
                    Answer::new(200, body).header("Content-Type", "application/json")
                }
                Err(answer) => answer,
            };
        }
        let (name, rest) = path.split_once("/resolve/").unwrap_or((path, ""));
        let (revision, file) = rest.split_once('/').unwrap_or((rest, ""));
        let name = match name.strip_prefix("/datasets/") {
            Some(id) => format!("datasets/{id}"),
            None => format!("models{name}"),
        };
        let repository = match self.find(&name, revision) {
            Ok(repository) => repository,
            Err(answer) => return answer,
        };
        let Some(content) = repository.files.get(&file.replace("%20", " ")) else {
            return Answer::new(404, "Entry not found").header("X-Error-Code", "EntryNotFound");
        };
        let commit = repository.commit.clone();
        if !is_linked(file) {
            return Answer::new(200, content.clone())
                .header("ETag", format!("\"{}\"", git_id(content)))
                .header("X-Repo-Commit", commit);
        }
        let sha256 = sha256(content);
        let location = format!("{}/{sha256}?signature=x", self.linked_address);
        Answer::new(302, "Found. Redirecting")
            .header("Location", location)
            .header("X-Linked-Etag", format!("\"{sha256}\""))
            .header("X-Linked-Size", content.len().to_string())
            .header("X-Repo-Commit", commit)
    }

    /// `/SHA256` on the second server.
    fn content(&self, path: &str) -> Answer {
        let path = path.split('?').next().unwrap_or(path);
        let mut all = self.repositories.values().flat_map(|r| r.files.values());
        match all.find(|content| path == format!("/{}", sha256(content))) {
            Some(content) => Answer::new(200, content.clone()),
            None => Answer::new(404, "no such content"),
        }
    }

    fn find(&self, name: &str, revision: &str) -> Result<&Repository, Answer> {
        let Some(repository) = self.repositories.get(name) else {
            let answer = Answer::new(404, "{\"error\":\"Repository not found\"}");
            return Err(answer.header("X-Error-Code", "RepoNotFound"));
        };
        if revision == "main" || revision == "v%2F1" || revision == repository.commit {
            return Ok(repository);
        }
        let answer = Answer::new(404, "Invalid rev id");
        Err(answer.header("X-Error-Code", "RevisionNotFound"))
    }

    fn listing(&self, repository: &Repository) -> Value {
        let sibling = |(path, content): (&String, &Vec<u8>)| {
            if self.names_only {
                return json!({"rfilename": path});
            }
            let mut sibling = json!({
                "rfilename": path, "size": content.len(), "blobId": git_id(content),
            });
            if is_linked(path) {
                // Git's id of the pointer, which is not the content's.
                sibling["blobId"] = json!(git_id(b"pointer"));
                sibling["lfs"] = json!({
                    "sha256": sha256(content), "size": content.len(), "pointerSize": 134,
                });
            }
            sibling
        };
        let siblings: Vec<Value> = repository.files.iter().map(sibling).collect();
        json!({"sha": repository.commit, "siblings": siblings})
    }
}

fn send(
    mut stream: TcpStream,
    method: &str,
    mut answer: Answer,
    start: Option<u64>,
    fault: Option<&Fault>,
) -> Option<()> {
    if matches!(fault, Some(Fault::Corrupt)) {
        answer.body.iter_mut().for_each(|byte| *byte ^= 1);
    }
    let ranges = !matches!(fault, Some(Fault::NoRanges));
    if let Some(start) = start.filter(|_| answer.status == 200 && ranges) {
        let total = answer.body.len();
        let start = start as usize;
        if start < total {
            let range = format!("bytes {start}-{}/{total}", total - 1);
            answer.body.drain(..start);
            answer.status = 206;
            answer = answer.header("Content-Range", range);
        } else {
            answer = Answer::new(416, "").header("Content-Range", format!("bytes */{total}"));
        }
    }
    let mut head = format!("HTTP/1.1 {} Because\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let length = answer.body.len();
    head += &format!("Content-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    if method == "HEAD" {
        return Some(());
    }
    if let Some(Fault::Cut(bytes)) = fault {
        answer.body.truncate(*bytes);
    }
    for block in answer.body.chunks(BLOCK) {
        stream.write_all(block).ok()?;
        if let Some(Fault::Slow(pause)) = fault {
            thread::sleep(*pause);
        }
    }
    Some(())
}
