//! The engines of this node: each is made, probed, and stands in for itself as unavailable where this
//! host cannot run it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use egress::{EgressClient, OwnListeners, SystemResolver};
use model::{Code, Digest, Failure, Isolation};
use runtime::{Availability, BoxFuture, PrepareRequest, Runtime, Template};
use runtime_wasm::{CompileLimits, WasmConfig, WasmRuntime, WorkerCommand};

use crate::config::NodeConfig;

/// The program and arguments that act as the compile worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileCommand {
    /// The program; absolute.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Default for CompileCommand {
    /// This program itself. The link under /proc keeps naming the running file when an upgrade replaced
    /// it on disk.
    fn default() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
            arguments: vec!["internal-compile-wasm".into()],
        }
    }
}

/// Which classes this host can run under `config`, and why not the others.
pub fn probe(config: &NodeConfig) -> Vec<(Isolation, Availability)> {
    let runtimes = engines(config);
    Isolation::ALL
        .into_iter()
        .map(|class| {
            let runtime = runtimes.iter().find(|runtime| runtime.isolation() == class);
            let availability = match runtime {
                Some(runtime) => runtime.availability(),
                None => Availability::Unavailable("this release has no engine for it".to_owned()),
            };
            (class, availability)
        })
        .collect()
}

/// The way out of all functions, which keeps them away from `own`.
pub(crate) fn egress_client(config: &NodeConfig, own: Arc<OwnListeners>) -> Arc<EgressClient> {
    EgressClient::new(config.egress.to_config(), SystemResolver, own)
}

/// How an engine of this release is made.
type Make = fn(&NodeConfig, &Arc<EgressClient>) -> Arc<dyn Runtime>;

/// Every engine of this release.
const ENGINES: [(Isolation, Make); 1] = [(Isolation::Wasm, wasm)];

/// The engines of this release as a node under `config` would have them, without a node.
pub fn engines(config: &NodeConfig) -> Vec<Arc<dyn Runtime>> {
    runtimes_with(config, &egress_client(config, Arc::default()), Vec::new())
}

/// `own`, and the engines of this release for the classes that are not among them: those that are, are
/// not even made.
pub(crate) fn runtimes_with(
    config: &NodeConfig,
    egress: &Arc<EgressClient>,
    own: Vec<Arc<dyn Runtime>>,
) -> Vec<Arc<dyn Runtime>> {
    let is_own = |class| own.iter().any(|runtime| runtime.isolation() == class);
    let of_release: Vec<_> = ENGINES
        .into_iter()
        .filter(|(class, _)| !is_own(*class))
        .map(|(_, make)| make(config, egress))
        .collect();
    own.into_iter()
        .chain(of_release)
        .map(|runtime| {
            if config.production {
                refuse_weak(runtime)
            } else {
                runtime
            }
        })
        .collect()
}

fn wasm(config: &NodeConfig, egress: &Arc<EgressClient>) -> Arc<dyn Runtime> {
    let settings = &config.wasm;
    let mut wasm = WasmConfig::new(
        wasm_cache_dir(&config.data_dir),
        WorkerCommand {
            program: config.compile.program.clone(),
            args: config.compile.arguments.clone(),
        },
    );
    wasm.n_slots = settings.n_slots;
    wasm.compile = CompileLimits {
        memory_bytes_max: settings.compile_memory_bytes_max,
        cpu_s_max: settings.compile_cpu_s_max,
        output_bytes_max: settings.compile_output_bytes_max,
        timeout: Duration::from_secs(settings.compile_timeout_s),
        n_workers: settings.n_compile_workers,
    };
    match WasmRuntime::new(wasm, Arc::clone(egress)) {
        Ok(runtime) => runtime,
        Err(error) => Arc::new(Unavailable {
            isolation: Isolation::Wasm,
            reason: error.to_string(),
        }),
    }
}

fn wasm_cache_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("cache/wasm")
}

/// Removes what the engines prepared for artifacts that no version names; returns how many.
pub(crate) fn collect_garbage(
    data_dir: &Path,
    keep: &dyn Fn(Digest) -> bool,
) -> std::io::Result<usize> {
    runtime_wasm::collect_garbage(&wasm_cache_dir(data_dir), keep)
}

/// Turns an engine with a known weakness into an unavailable one that says so.
fn refuse_weak(runtime: Arc<dyn Runtime>) -> Arc<dyn Runtime> {
    match runtime.availability() {
        Availability::Weak(weakness) => Arc::new(Unavailable {
            isolation: runtime.isolation(),
            reason: format!("refused under --production: {weakness}"),
        }),
        Availability::Available(_) | Availability::Unavailable(_) => runtime,
    }
}

/// Stands in for an engine that this host cannot run.
struct Unavailable {
    isolation: Isolation,
    reason: String,
}

impl Runtime for Unavailable {
    fn isolation(&self) -> Isolation {
        self.isolation
    }

    fn availability(&self) -> Availability {
        Availability::Unavailable(self.reason.clone())
    }

    fn prepare(&self, _request: PrepareRequest) -> BoxFuture<Result<Arc<dyn Template>, Failure>> {
        let failure = Failure::new(Code::ClassUnavailable, self.reason.clone());
        Box::pin(async move { Err(failure) })
    }
}
