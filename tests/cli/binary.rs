//! Finding, running and stopping the binaries.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// No command of these tests takes this long.
const LIMIT: Duration = Duration::from_secs(120);

/// A binary of the workspace, such as `ellzero-eval`.
///
/// Cargo builds binaries for the tests of their own package only, so they are built here, once: a no-op after
/// `cargo test --workspace`.
pub fn path(name: &str) -> PathBuf {
    static BUILT: OnceLock<bool> = OnceLock::new();
    let own = std::env::current_exe().expect("the path of this test");
    let profile_dir = own
        .parent()
        .and_then(Path::parent)
        .expect("target/<profile>/deps/<test>");
    let built = BUILT.get_or_init(|| build(profile_dir));
    assert!(built, "cargo could not build the binaries: see above");
    let path = profile_dir
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.is_file(), "{} is not built", path.display());
    path
}

fn build(profile_dir: &Path) -> bool {
    // Without cargo (a test binary that was copied to another machine) what lies beside it is used.
    let Some(cargo) = std::env::var_os("CARGO") else {
        return true;
    };
    let profile = profile_dir
        .file_name()
        .and_then(OsStr::to_str)
        .expect("a profile");
    let mut command = Command::new(cargo);
    // `-p tests` so that dependencies are built with the same features as for this test.
    command.args(["build", "--quiet", "--bins", "-p", "tests"]);
    command.args(["-p", "data", "-p", "model", "-p", "eval", "-p", "train"]);
    command.args([
        "--profile",
        if profile == "debug" { "dev" } else { profile },
    ]);
    command
        .arg("--target-dir")
        .arg(profile_dir.parent().expect("a target folder"));
    for (feature, on) in [
        ("wgpu", cfg!(feature = "wgpu")),
        ("cuda", cfg!(feature = "cuda")),
    ] {
        if on {
            command.args(["--features", &format!("tests/{feature}")]);
        }
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.status().expect("cargo runs").success()
}

/// What a command left behind.
#[derive(Debug)]
pub struct Outcome {
    /// `None` where a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Outcome {
    /// Standard output of a command that must succeed.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "failed: {}", self.stderr);
        self.stdout
    }
}

/// A command line of one of the binaries.
pub struct Run {
    command: Command,
    line: String,
}

/// `ellzero-<tool>` with these arguments.
pub fn ellzero<S: AsRef<OsStr>>(tool: &str, arguments: &[S]) -> Run {
    let mut command = Command::new(path(&format!("ellzero-{tool}")));
    command.args(arguments).stdin(Stdio::null());
    // The Hub is never asked, whatever this machine knows of it, and progress is not drawn.
    for variable in [
        "HF_TOKEN",
        "HF_HUB_CACHE",
        "HF_TOKEN_PATH",
        "RUST_BACKTRACE",
    ] {
        command.env_remove(variable);
    }
    command.env("HF_HUB_OFFLINE", "1");
    let words = arguments.iter().map(|word| word.as_ref().to_string_lossy());
    let line = format!("ellzero-{tool} {}", words.collect::<Vec<_>>().join(" "));
    Run { command, line }
}

impl Run {
    /// Runs in this folder.
    pub fn within(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Standard input.
    pub fn input(mut self, path: &Path) -> Self {
        let file = File::open(path).expect("an input file");
        self.command.stdin(file);
        self
    }

    /// Runs to the end, with standard output going to this file.
    pub fn run_into(mut self, path: &Path) -> Outcome {
        let file = File::options()
            .write(true)
            .open(path)
            .expect("an output file");
        self.command.stdout(file);
        self.spawn(None).wait()
    }

    /// Runs to the end, with standard output going to a pipe that nobody reads.
    pub fn run_unread(mut self) -> Outcome {
        self.command.stdout(Stdio::piped());
        let mut running = self.spawn(None);
        drop(running.child.stdout.take());
        running.wait()
    }

    /// Runs to the end.
    pub fn run(self) -> Outcome {
        self.start().wait()
    }

    /// Starts.
    pub fn start(mut self) -> Running {
        let stdout = NamedTempFile::new().expect("a file");
        self.command.stdout(stdout.reopen().expect("a handle"));
        self.spawn(Some(stdout))
    }

    fn spawn(mut self, stdout: Option<NamedTempFile>) -> Running {
        let stderr = NamedTempFile::new().expect("a file");
        self.command.stderr(stderr.reopen().expect("a handle"));
        let child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.line));
        Running {
            child,
            line: self.line,
            started: Instant::now(),
            stdout,
            stderr,
        }
    }
}

/// A command that is running; killed when dropped.
pub struct Running {
    child: Child,
    line: String,
    started: Instant,
    stdout: Option<NamedTempFile>,
    stderr: NamedTempFile,
}

impl Running {
    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready`; false where the command ended first.
    pub fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> bool {
        loop {
            if ready() {
                return true;
            }
            if self.has_ended() {
                return ready();
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Ends it without a chance to tidy up.
    pub fn kill(mut self) {
        self.child.kill().expect("killable");
        self.child.wait().expect("waitable");
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Outcome {
        while !self.has_ended() {
            sleep(Duration::from_millis(5));
        }
        let status = self.child.wait().expect("waitable");
        let text = |file: &NamedTempFile| {
            let bytes = fs::read(file.path()).expect("readable");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Outcome {
            code: status.code(),
            stdout: self.stdout.as_ref().map_or(String::new(), text),
            stderr: text(&self.stderr),
            took: self.started.elapsed(),
        }
    }

    fn has_ended(&mut self) -> bool {
        assert!(
            self.started.elapsed() < LIMIT,
            "still running after {LIMIT:?}: {}",
            self.line
        );
        self.child.try_wait().expect("waitable").is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
