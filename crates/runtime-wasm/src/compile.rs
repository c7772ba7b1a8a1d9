//! The node's side of a compilation: starts the worker, waits, and says what its end means.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use model::limits::MIB;
use model::{Code, Failure};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use crate::compile_worker::{Answer, Compiled, Request};
use crate::config::{CompileLimits, WorkerCommand};

/// Bytes of an answer, and of what a worker may say on its error stream.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Threads of one worker.
const WORKER_THREADS: &str = "4";

/// Starts compile workers, a few at a time.
#[derive(Debug)]
pub(crate) struct Compiler {
    worker: WorkerCommand,
    limits: CompileLimits,
    places: Semaphore,
}

impl Compiler {
    pub(crate) fn new(worker: WorkerCommand, limits: CompileLimits) -> Self {
        Self {
            places: Semaphore::new(limits.n_workers.max(1)),
            worker,
            limits,
        }
    }

    /// Compiles `module` into the new file `output`. Dropping the future kills the worker.
    ///
    /// # Errors
    /// `WasmInvalid` or `WasmUnsupported` with the reason, `CompileLimit` with the limit, `Internal`
    /// where no worker could be had.
    pub(crate) async fn compile(&self, module: &Path, output: &Path) -> Result<Compiled, Failure> {
        let _place = self
            .places
            .acquire()
            .await
            .expect("the semaphore is never closed");
        // The worker runs in another directory.
        let absolute =
            |path: &Path| std::path::absolute(path).map_err(|error| internal("ask", &error));
        let request = Request {
            module: absolute(module)?,
            output: absolute(output)?,
            memory_bytes_max: self.limits.memory_bytes_max,
            cpu_s_max: self.limits.cpu_s_max,
            output_bytes_max: self.limits.output_bytes_max,
            parent_pid: rustix::process::getpid().as_raw_pid(),
        };
        let request = serde_json::to_vec(&request).map_err(|error| internal("ask", &error))?;
        let mut child = self.spawn().map_err(|error| internal("start", &error))?;
        let talk = converse(&mut child, &request);
        let (answer, complaint, status) =
            match tokio::time::timeout(self.limits.timeout, talk).await {
                Ok(talked) => talked.map_err(|error| internal("talk to", &error))?,
                Err(_elapsed) => {
                    // Waits for its end, so that nothing writes to `output` any more.
                    let _ = child.kill().await;
                    let seconds = self.limits.timeout.as_secs();
                    return Err(limit("timeout", format!("{seconds} s"), "took too long"));
                }
            };
        if !status.success() {
            return Err(self.explain(status, &complaint));
        }
        match serde_json::from_slice(&answer) {
            Ok(Answer::Compiled(compiled)) => Ok(compiled),
            Ok(Answer::Refused { code, detail }) => Err(Failure::new(code, detail)),
            Err(error) => Err(internal("understand", &error)),
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        Command::new(&self.worker.program)
            .args(&self.worker.args)
            .env_clear()
            // Each thread of the allocator reserves address space, which the limit counts.
            .env("RAYON_NUM_THREADS", WORKER_THREADS)
            .env("MALLOC_ARENA_MAX", WORKER_THREADS)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Not the node's terminal signals: the node decides.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    /// What an end without an answer means.
    fn explain(&self, status: ExitStatus, complaint: &[u8]) -> Failure {
        let limits = &self.limits;
        let memory = || {
            let mib = limits.memory_bytes_max / MIB;
            limit("memory", format!("{mib} MiB"), "needs too much memory")
        };
        let complaint = String::from_utf8_lossy(complaint);
        if complaint.contains("memory allocation of") {
            return memory();
        }
        let failure = match status.signal().and_then(Signal::from_named_raw) {
            Some(Signal::XCPU) => {
                let seconds = limits.cpu_s_max;
                limit("cpu", format!("{seconds} s"), "needs too much CPU time")
            }
            Some(Signal::XFSZ) => {
                let mib = limits.output_bytes_max / MIB;
                limit(
                    "output",
                    format!("{mib} MiB"),
                    "compiles to too large a file",
                )
            }
            // The allocator gives up by aborting; the kernel, short of memory, kills.
            Some(Signal::ABORT | Signal::KILL) => memory(),
            // Stack overflow, or a bug that the process boundary kept from the node.
            _ => Failure::new(
                Code::CompileLimit,
                format!("the compiler could not cope with this module ({status})"),
            ),
        };
        tracing::warn!(%status, complaint = %complaint.trim_end(), "a compile worker failed");
        failure
    }
}

/// Sends the request, reads answer and complaints, waits for the end.
async fn converse(
    child: &mut Child,
    request: &[u8],
) -> std::io::Result<(Vec<u8>, Vec<u8>, ExitStatus)> {
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let ask = async move {
        // A worker that is gone already is explained by its status.
        let _ = stdin.write_all(request).await;
    };
    let (mut answer, mut complaint) = (Vec::new(), Vec::new());
    let mut stdout = stdout.take(ANSWER_BYTES_MAX);
    let mut stderr = stderr.take(ANSWER_BYTES_MAX);
    let ((), read, complained) = tokio::join!(
        ask,
        stdout.read_to_end(&mut answer),
        stderr.read_to_end(&mut complaint)
    );
    read?;
    complained?;
    Ok((answer, complaint, child.wait().await?))
}

fn limit(name: &str, value: String, what: &str) -> Failure {
    Failure::new(
        Code::CompileLimit,
        format!("compiling this module {what} (limit: {value})"),
    )
    .with_limit(
        &format!("wasm.compile.{name}"),
        value,
        "[wasm.compile] in the node's configuration",
    )
}

fn internal(what: &str, error: &dyn std::fmt::Display) -> Failure {
    tracing::error!(%error, "cannot {what} the compile worker");
    Failure::new(
        Code::Internal,
        format!("cannot {what} the compile worker: {error}"),
    )
}
