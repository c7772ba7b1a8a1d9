//! What an operator or a test may set about the class, and the named constants that nobody sets.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use model::limits::MIB;

/// Settings of a [`crate::WasmRuntime`].
#[derive(Clone, Debug)]
pub struct WasmConfig {
    /// Where compiled modules are kept. Created with mode 0700; nothing in it is trusted unless it
    /// belongs to this user and nobody else may write there.
    pub cache_dir: PathBuf,
    /// The program that compiles.
    pub worker: WorkerCommand,
    /// Instances that may exist at the same time, over all functions. Each reserves 4 GiB of address
    /// space per memory and next to no memory.
    pub n_slots: u32,
    /// Memories that are there per slot. Fewer than an instance may have let one function use up the
    /// memories of others: for tests that want a slot to be used again.
    pub n_memories_per_slot: u32,
    /// What one compilation may use.
    pub compile: CompileLimits,
}

impl WasmConfig {
    /// The defaults, with a cache at `cache_dir` and compilations by `worker`.
    pub fn new(cache_dir: PathBuf, worker: WorkerCommand) -> Self {
        Self {
            cache_dir,
            worker,
            n_slots: 1000,
            n_memories_per_slot: crate::engine::MEMORIES_PER_STORE_MAX,
            compile: CompileLimits::default(),
        }
    }
}

/// How to start the compile worker: a program that calls [`crate::compile_worker::main`].
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// The program; absolute, since the worker gets no `PATH`.
    pub program: PathBuf,
    /// Arguments that make the program act as the worker.
    pub args: Vec<OsString>,
}

/// What one compilation may use. A module that needs more is refused with `CompileLimit`.
#[derive(Clone, Debug)]
pub struct CompileLimits {
    /// Address space of the worker, in bytes (`RLIMIT_AS`).
    pub memory_bytes_max: u64,
    /// CPU time of the worker over all its threads, in seconds (`RLIMIT_CPU`).
    pub cpu_s_max: u64,
    /// Size of the compiled file, in bytes (`RLIMIT_FSIZE`).
    pub output_bytes_max: u64,
    /// Wall-clock time of the worker.
    pub timeout: Duration,
    /// Workers that run at the same time; further compilations wait.
    pub n_workers: usize,
}

impl Default for CompileLimits {
    /// Four times what the largest known honest components need (SpiderMonkey, CPython: 18 MB of
    /// wasm, 9 CPU seconds, 340 MB).
    fn default() -> Self {
        Self {
            memory_bytes_max: 2048 * MIB,
            cpu_s_max: 60,
            output_bytes_max: 256 * MIB,
            timeout: Duration::from_secs(300),
            n_workers: 2,
        }
    }
}
