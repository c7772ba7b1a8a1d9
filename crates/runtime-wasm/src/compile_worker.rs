//! The compile worker: a process of its own that checks and compiles one module under hard limits, so
//! that a compile bomb hurts nobody. It sets its limits before it reads a byte of the module.
//!
//! One JSON request on standard input, one JSON answer on standard output, then it ends. An answer that
//! never comes (the kernel ended the worker at a limit) is the caller's to interpret.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use model::{Code, Contract, Digest, Failure};
use rustix::process::{Pid, Resource, Rlimit, Signal, setrlimit};
use serde::{Deserialize, Serialize};
use wasmtime::Engine;

use crate::engine::{EngineKind, compatibility_name, compile_settings};
use crate::sniff;

/// Bytes of a request.
const REQUEST_BYTES_MAX: u64 = 64 << 10;
/// How much the worker gives way to requests that are being served.
const NICE: i32 = 10;

/// What to compile, and under which limits.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The module.
    pub(crate) module: PathBuf,
    /// Where to put the compiled file; it must not exist.
    pub(crate) output: PathBuf,
    pub(crate) memory_bytes_max: u64,
    pub(crate) cpu_s_max: u64,
    pub(crate) output_bytes_max: u64,
    /// The process that asks: when it dies, the worker dies.
    pub(crate) parent_pid: i32,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Compiled.
    Compiled(Compiled),
    /// Refused.
    Refused { code: Code, detail: String },
}

/// A compiled module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Compiled {
    /// What it speaks.
    pub(crate) contract: Contract,
    /// The digest of the compiled file.
    pub(crate) digest: Digest,
    /// Its size in bytes.
    pub(crate) size_bytes: u64,
    /// The engine and settings it was compiled for.
    pub(crate) compatibility: String,
}

/// Runs the worker: reads a request from standard input, answers on standard output.
pub fn main() -> ExitCode {
    let answer = serve().unwrap_or_else(|error| Answer::Refused {
        code: match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::StoreFull,
            _ => Code::Internal,
        },
        detail: format!("the compile worker: {error}"),
    });
    let written = serde_json::to_vec(&answer)
        .map_err(io::Error::from)
        .and_then(|text| io::stdout().write_all(&text));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<Answer> {
    let mut text = Vec::new();
    io::stdin().take(REQUEST_BYTES_MAX).read_to_end(&mut text)?;
    let request: Request = serde_json::from_slice(&text)?;
    confine(&request)?;
    let bytes = std::fs::read(&request.module)?;
    Ok(match compile(&bytes) {
        Ok((contract, compiled, compatibility)) => {
            write_new(&request.output, &compiled)?;
            Answer::Compiled(Compiled {
                contract,
                digest: Digest::of(&compiled),
                size_bytes: compiled.len() as u64,
                compatibility,
            })
        }
        Err(failure) => Answer::Refused {
            code: failure.code(),
            detail: failure.detail().to_owned(),
        },
    })
}

/// Gives up what the worker does not need and bounds the rest.
fn confine(request: &Request) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = rustix::process::getppid().map(Pid::as_raw_pid);
    if parent != Some(request.parent_pid) {
        return Err(io::Error::other("the node is gone"));
    }
    for (resource, limit) in [
        (Resource::Core, 0),
        (Resource::As, request.memory_bytes_max),
        (Resource::Fsize, request.output_bytes_max),
        // Its own thread pool, no children.
        (Resource::Nofile, 32),
    ] {
        let limit = Some(limit);
        setrlimit(
            resource,
            Rlimit {
                current: limit,
                maximum: limit,
            },
        )?;
    }
    // The signal at the first limit says which it was; the second is certain.
    setrlimit(
        Resource::Cpu,
        Rlimit {
            current: Some(request.cpu_s_max),
            maximum: Some(request.cpu_s_max + 2),
        },
    )?;
    // Less important than serving; not worth failing for.
    let _ = rustix::process::nice(NICE);
    Ok(())
}

fn compile(bytes: &[u8]) -> Result<(Contract, Vec<u8>, String), Failure> {
    let contract = sniff::sniff(bytes)?;
    let kind = EngineKind::of(contract);
    let refuse = |error: wasmtime::Error| {
        Failure::new(
            Code::WasmUnsupported,
            format!("compiling failed: {error:#}"),
        )
    };
    let engine = Engine::new(&compile_settings(kind)).map_err(refuse)?;
    sniff::validate(bytes, &engine)?;
    let compiled = match contract {
        Contract::WasiHttp02 | Contract::WasiHttp03 => engine.precompile_component(bytes),
        _ => engine.precompile_module(bytes),
    };
    Ok((
        contract,
        compiled.map_err(refuse)?,
        compatibility_name(&engine),
    ))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}
