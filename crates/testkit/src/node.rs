//! A node of the real binary, with a data directory of its own and ports of the kernel's choice. Killed
//! by handle when dropped.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::http::{Answer, HttpClient};

/// How a node is started.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// Further arguments of `holm up`.
    pub arguments: Vec<String>,
    /// The configuration file's content.
    pub config: Option<String>,
    /// The data directory; a temporary one where there is none.
    pub data_dir: Option<PathBuf>,
}

/// A running node.
pub struct Node {
    /// The binary.
    binary: PathBuf,
    child: Child,
    /// Where functions answer.
    pub gateway: SocketAddr,
    /// Where the admin API answers.
    pub admin: SocketAddr,
    /// The data directory.
    pub data_dir: PathBuf,
    /// What the node wrote to stderr so far.
    log: Arc<Mutex<String>>,
    _scratch: tempfile::TempDir,
}

/// What a command wrote and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Output {
    /// The output of a command that succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(
            self.code, 0,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }

    /// Stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in {}\n{}", self.stdout, self.stderr))
    }
}

impl Node {
    /// Starts a node of `binary` and waits until it is ready.
    #[track_caller]
    pub fn start(binary: impl Into<PathBuf>, options: NodeOptions) -> Self {
        Self::try_start(binary, options).unwrap_or_else(|output| {
            panic!(
                "the node did not start ({}): {}",
                output.code, output.stderr
            )
        })
    }

    /// Starts a node; what it said where it did not come up.
    pub fn try_start(binary: impl Into<PathBuf>, options: NodeOptions) -> Result<Self, Output> {
        let binary = binary.into();
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let data_dir = options
            .data_dir
            .unwrap_or_else(|| scratch.path().join("data"));
        let mut command = Command::new(&binary);
        command.args([
            "up",
            "--json",
            "--gateway",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ]);
        command.arg("--data-dir").arg(&data_dir);
        if let Some(config) = options.config {
            let path = scratch.path().join("node.toml");
            std::fs::write(&path, config).expect("the scratch directory is writable");
            command.arg("--config").arg(path);
        }
        command.args(options.arguments);
        clean_environment(&mut command, scratch.path());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = drain_stderr(&mut child);
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut line).expect("stdout is readable");
        let Ok(ready) = serde_json::from_str::<serde_json::Value>(&line) else {
            let code = child
                .wait()
                .expect("the child is ours")
                .code()
                .unwrap_or(-1);
            // The reader thread ends with the child's stderr: wait for its last words.
            crate::resources::eventually(Duration::from_secs(2), || Arc::strong_count(&log) == 1);
            let stderr = log.lock().expect("no panic holds the lock").clone();
            return Err(Output {
                code,
                stdout: line,
                stderr,
            });
        };
        let address = |key: &str| -> SocketAddr {
            let url = ready[key].as_str().expect("an address");
            let address = url.strip_prefix("http://").expect("an http URL");
            address
                .trim_end_matches('/')
                .parse()
                .expect("an address and port")
        };
        Ok(Self {
            gateway: address("gateway"),
            admin: address("admin"),
            binary,
            child,
            data_dir,
            log,
            _scratch: scratch,
        })
    }

    /// The node's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the node wrote to stderr so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic holds the lock").clone()
    }

    /// Runs `holm` with `arguments` against this node.
    pub fn holm(&self, arguments: &[&str]) -> Output {
        self.holm_in(Path::new("."), arguments)
    }

    /// The same in a working directory.
    pub fn holm_in(&self, directory: &Path, arguments: &[&str]) -> Output {
        run(self.command(arguments).current_dir(directory), None)
    }

    /// The same with `stdin`.
    pub fn holm_with_input(&self, arguments: &[&str], stdin: &[u8]) -> Output {
        run(&mut self.command(arguments), Some(stdin))
    }

    /// A `holm` command against this node, for tests that need the child itself.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments);
        clean_environment(&mut command, &self.data_dir);
        command.env("HOLM_ADMIN", format!("http://{}", self.admin));
        command.env("HOLM_DATA_DIR", &self.data_dir);
        command
    }

    /// The admin token.
    pub fn token(&self) -> String {
        let text = std::fs::read_to_string(self.data_dir.join("admin.token"));
        text.expect("the node wrote it").trim().to_owned()
    }

    /// Deploys `wasm` bytes under `name` with further arguments and returns the command's JSON.
    #[track_caller]
    pub fn deploy_wasm(&self, name: &str, wasm: &[u8], arguments: &[&str]) -> serde_json::Value {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join(format!("{name}.wasm"));
        std::fs::write(&path, wasm).expect("the directory is writable");
        let path = path.to_str().expect("a UTF-8 path");
        let all = [&["deploy", path, "--name", name, "--json"], arguments].concat();
        self.holm(&all).ok().json()
    }

    /// Deploys `wasm` bytes with a manifest that names `name` and holds `manifest`.
    #[track_caller]
    pub fn deploy(&self, name: &str, wasm: &[u8], manifest: &str) -> serde_json::Value {
        self.try_deploy(name, wasm, manifest).ok().json()
    }

    /// The same; what the command said.
    pub fn try_deploy(&self, name: &str, wasm: &[u8], manifest: &str) -> Output {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("app.wasm"), wasm).expect("writable");
        let manifest = format!("name = \"{name}\"\nmain = \"app.wasm\"\n{manifest}");
        std::fs::write(directory.path().join("holm.toml"), manifest).expect("writable");
        let path = directory.path().to_str().expect("a UTF-8 path");
        self.holm(&["deploy", path, "--json"])
    }

    /// A client connection to the gateway.
    pub fn client(&self) -> HttpClient {
        HttpClient::connect(self.gateway)
    }

    /// GETs `path` of function `name`.
    #[track_caller]
    pub fn get(&self, name: &str, path: &str) -> Answer {
        crate::http::get(self.gateway, &format!("/function/{name}{path}"))
    }

    /// POSTs `body` to `path` of function `name`.
    #[track_caller]
    pub fn post(&self, name: &str, path: &str, body: &[u8]) -> Answer {
        crate::http::post(self.gateway, &format!("/function/{name}{path}"), body)
    }

    /// The receipt of an answer, as soon as it is there.
    #[track_caller]
    pub fn receipt(&self, answer: &Answer) -> serde_json::Value {
        let id = answer
            .header("holm-invocation-id")
            .expect("every answer has an id");
        self.holm(&["receipt", id, "--json"]).ok().json()
    }

    /// Invocations in flight, as the node says.
    #[track_caller]
    pub fn n_running(&self) -> u64 {
        let info = self.holm(&["doctor", "--json"]).ok().json();
        info["node"]["n_running"]
            .as_u64()
            .expect("the node answers")
    }

    /// Waits until `n` invocations are in flight.
    #[track_caller]
    pub fn await_running(&self, n: u64) {
        let limit = Duration::from_secs(30);
        let reached = crate::resources::eventually(limit, || self.n_running() == n);
        assert!(
            reached,
            "{n} invocations were never in flight, but {}",
            self.n_running()
        );
    }

    /// Sends SIGTERM and waits for the end, at most `limit`.
    pub fn stop(mut self, limit: Duration) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        self.wait(limit)
    }

    /// Waits for the end, at most `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                return Some(status);
            }
            if began.elapsed() > limit {
                return None;
            }
            std::thread::park_timeout(crate::resources::POLL_INTERVAL);
        }
    }

    /// Kills the node as a crash would and keeps its data directory (which must be the caller's).
    pub fn crash(mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("process ids fit");
        let pid = Pid::from_raw(pid).expect("process ids are not zero");
        kill_process(pid, signal).expect("the child is ours");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both may find it gone already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// No variable of the developer's own may reach a node under test.
fn clean_environment(command: &mut Command, home: &Path) {
    for name in [
        "HOLM_ADMIN",
        "HOLM_DATA_DIR",
        "HOLM_TOKEN",
        "HOLM_CONFIG",
        "HOLM_LOG",
    ] {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", home.join("no-config"));
    command.env("NO_COLOR", "1");
}

fn drain_stderr(child: &mut Child) -> Arc<Mutex<String>> {
    let log = Arc::new(Mutex::new(String::new()));
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let shared = Arc::clone(&log);
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(n_bytes @ 1..) = stderr.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..n_bytes]);
            shared
                .lock()
                .expect("no panic holds the lock")
                .push_str(&text);
        }
    });
    log
}

fn run(command: &mut Command, stdin: Option<&[u8]>) -> Output {
    let mut child = command
        .stdin(if stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    if let Some(bytes) = stdin {
        let mut pipe = child.stdin.take().expect("stdin is piped");
        pipe.write_all(bytes).expect("the command reads its input");
    }
    let output = child.wait_with_output().expect("the child is ours");
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
