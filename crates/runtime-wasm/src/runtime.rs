//! The engine behind the seam: from an uploaded file to a template.
//!
//! ```text
//! prepare --in memory?--> template
//!    +--on disk?--> map --> bind --> template
//!         +--no--> worker compiles --> keep --> map --> bind --> template      one per digest at a time
//! ```

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};

use egress::EgressClient;
use model::limits::MIB;
use model::{Code, Contract, Digest, Failure, Isolation, Limits};
use parking_lot::Mutex;
use runtime::{Availability, BoxFuture, PrepareRequest, Runtime, Template};
use tokio::sync::OnceCell;
use wasmtime::{Engine, ResourcesRequired};

use crate::cache::{Cache, Entry};
use crate::cgi::{CgiGuest, CgiLinker, CgiPrepared};
use crate::compile::Compiler;
use crate::config::WasmConfig;
use crate::core_abi::{CoreGuest, CoreLinker, CorePrepared};
use crate::engine::{EngineKind, Engines};
use crate::failure;
use crate::host::FunctionShared;
use crate::load;
use crate::p2::{P2Guest, P2Linker, P2Prepared};
use crate::p3::{P3Guest, P3Linker, P3Prepared};
use crate::template::WasmTemplate;

/// A WebAssembly page. Other sizes are a proposal that is off.
const PAGE_BYTES: u64 = 64 << 10;

/// The `wasm` class of a node.
pub struct WasmRuntime {
    inner: Arc<Inner>,
}

/// Why the class cannot be used on this host.
#[derive(Debug, thiserror::Error)]
pub enum WasmUnavailable {
    /// The engine refused its settings, or the host its address space.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
    /// The cache directory cannot be used.
    #[error("the cache of compiled modules cannot be used: {0}")]
    Cache(#[source] std::io::Error),
}

struct Inner {
    engines: Engines,
    core: CoreLinker,
    cgi: CgiLinker,
    p2: P2Linker,
    /// Made with the second engine, when first needed.
    p3: OnceLock<P3Linker>,
    cache: Cache,
    compiler: Compiler,
    egress: Arc<EgressClient>,
    artifacts: Mutex<Artifacts>,
    clock_base: std::time::Instant,
}

/// Artifacts that are in use, by digest.
#[derive(Default)]
struct Artifacts {
    slots: HashMap<Digest, Weak<Slot>>,
    /// The number of entries at which those that no function uses any more are forgotten.
    purge_at: usize,
}

impl Artifacts {
    fn slot(&mut self, digest: Digest) -> Arc<Slot> {
        if let Some(slot) = self.slots.get(&digest).and_then(Weak::upgrade) {
            return slot;
        }
        if self.slots.len() >= self.purge_at {
            self.slots.retain(|_, slot| slot.strong_count() > 0);
            // Twice what is in use: a purge costs each entry a constant.
            self.purge_at = 2 * self.slots.len() + 64;
        }
        let slot = Arc::new(Slot::new());
        self.slots.insert(digest, Arc::downgrade(&slot));
        slot
    }
}

/// One artifact that is prepared or being prepared, shared by all its functions. Lives as long as one
/// of them does.
type Slot = OnceCell<Prepared>;

/// An artifact bound to the host's functions.
#[derive(Clone)]
struct Prepared {
    bound: Bound,
    /// The largest memory that an instance begins with.
    initial_memory_bytes: u64,
}

impl Prepared {
    fn new(bound: Bound, required: Option<ResourcesRequired>) -> Self {
        let initial_pages = required
            .and_then(|required| required.max_initial_memory_size)
            .unwrap_or(0);
        let initial_memory_bytes = initial_pages.saturating_mul(PAGE_BYTES);
        Self {
            bound,
            initial_memory_bytes,
        }
    }
}

/// The same, by contract.
#[derive(Clone)]
enum Bound {
    Core(Arc<CorePrepared>),
    Cgi(Arc<CgiPrepared>),
    P2(Arc<P2Prepared>),
    P3(Arc<P3Prepared>),
}

impl Bound {
    fn template(self, function: Arc<FunctionShared>) -> Arc<dyn Template> {
        match self {
            Bound::Core(prepared) => Arc::new(WasmTemplate::<CoreGuest>::new(prepared, function)),
            Bound::Cgi(prepared) => Arc::new(WasmTemplate::<CgiGuest>::new(prepared, function)),
            Bound::P2(prepared) => Arc::new(WasmTemplate::<P2Guest>::new(prepared, function)),
            Bound::P3(prepared) => Arc::new(WasmTemplate::<P3Guest>::new(prepared, function)),
        }
    }
}

impl WasmRuntime {
    /// Makes the engine. Outbound requests go through `egress`.
    ///
    /// # Errors
    /// The class cannot be used on this host, and why.
    pub fn new(
        config: WasmConfig,
        egress: Arc<EgressClient>,
    ) -> Result<Arc<Self>, WasmUnavailable> {
        let engine_error =
            |error: wasmtime::Error| WasmUnavailable::Engine(failure::one_line(&error));
        let engines = Engines::new(&config).map_err(engine_error)?;
        let plain = engines.get(EngineKind::Plain).map_err(engine_error)?;
        let core = CoreLinker::new(plain).map_err(engine_error)?;
        let cgi = CgiLinker::new(plain).map_err(engine_error)?;
        let p2 = P2Linker::new(plain).map_err(engine_error)?;
        let cache = Cache::open(&config.cache_dir).map_err(WasmUnavailable::Cache)?;
        Ok(Arc::new(Self {
            inner: Arc::new(Inner {
                core,
                cgi,
                p2,
                p3: OnceLock::new(),
                cache,
                compiler: Compiler::new(config.worker, config.compile),
                engines,
                egress,
                artifacts: Mutex::default(),
                clock_base: std::time::Instant::now(),
            }),
        }))
    }
}

impl Runtime for WasmRuntime {
    fn isolation(&self) -> Isolation {
        Isolation::Wasm
    }

    fn availability(&self) -> Availability {
        let reset = if self.inner.engines.has_page_map_scan() {
            "slots are reset by page-map scan"
        } else {
            "slots are reset by giving pages back (slower: needs Linux 6.7 without swap)"
        };
        Availability::Available(format!("wasmtime 48; {reset}"))
    }

    fn prepare(&self, request: PrepareRequest) -> BoxFuture<Result<Arc<dyn Template>, Failure>> {
        Box::pin(self.inner.clone().prepare(request))
    }
}

impl Inner {
    async fn prepare(
        self: Arc<Self>,
        request: PrepareRequest,
    ) -> Result<Arc<dyn Template>, Failure> {
        let digest = request.artifact.digest;
        let slot = self.artifacts.lock().slot(digest);
        // Whoever comes first prepares; if they give up, the next one takes over.
        let prepared = slot
            .get_or_try_init(|| self.clone().prepare_artifact(digest, request.artifact_path))
            .await?
            .clone();
        check_memory(prepared.initial_memory_bytes, &request.config.limits)?;
        let function = Arc::new(FunctionShared {
            function: request.function,
            config: request.config,
            ticker: self.engines.ticker.clone(),
            egress: self.egress.clone(),
            clock_base: self.clock_base,
            _artifact: slot,
        });
        Ok(prepared.bound.template(function))
    }

    async fn prepare_artifact(
        self: Arc<Self>,
        digest: Digest,
        module: PathBuf,
    ) -> Result<Prepared, Failure> {
        let found = self.blocking(move |inner| Ok(inner.find(&digest))).await?;
        if let Some(prepared) = found {
            return Ok(prepared);
        }
        let output = self.cache.scratch(&digest);
        let compiled = match self.compiler.compile(&module, &output).await {
            Ok(compiled) => compiled,
            Err(failure) => {
                let _ = tokio::fs::remove_file(&output).await;
                return Err(failure);
            }
        };
        self.blocking(move |inner| {
            let entry = inner
                .cache
                .keep(&digest, &output, compiled)
                .map_err(cache_failed)?;
            let bound = inner.bind(&entry);
            if bound.is_err() {
                inner.cache.discard(&entry);
            }
            bound
        })
        .await
    }

    /// The artifact from the cache on disk.
    fn find(&self, digest: &Digest) -> Option<Prepared> {
        for kind in [EngineKind::Plain, EngineKind::Concurrent] {
            let compatibility = self.engines.compatibility(kind);
            let Some(entry) = self.cache.find(compatibility, digest) else {
                continue;
            };
            match self.bind(&entry) {
                Ok(prepared) => return Some(prepared),
                Err(error) => {
                    tracing::warn!(%digest, %error, "a compiled module did not load");
                    self.cache.discard(&entry);
                }
            }
        }
        None
    }

    /// Maps a compiled file and binds it to the host's functions.
    fn bind(&self, entry: &Entry) -> Result<Prepared, Failure> {
        let contract = entry.compiled.contract;
        let engine = self
            .engines
            .get(EngineKind::of(contract))
            .map_err(|error| unsupported(&error))?;
        match contract {
            Contract::HolmCore1 | Contract::Cgi11 => {
                let module = load::module(engine, entry).map_err(|error| unsupported(&error))?;
                let required = module.resources_required();
                let bound = match contract {
                    Contract::Cgi11 => Bound::Cgi(CgiPrepared::new(&self.cgi, &module)?.into()),
                    _ => Bound::Core(CorePrepared::new(&self.core, &module)?.into()),
                };
                Ok(Prepared::new(bound, Some(required)))
            }
            Contract::WasiHttp02 | Contract::WasiHttp03 => {
                let component =
                    load::component(engine, entry).map_err(|error| unsupported(&error))?;
                let required = component.resources_required();
                let bound = match contract {
                    Contract::WasiHttp03 => {
                        Bound::P3(P3Prepared::new(self.p3(engine)?, &component)?.into())
                    }
                    _ => Bound::P2(P2Prepared::new(&self.p2, &component)?.into()),
                };
                Ok(Prepared::new(bound, required))
            }
            Contract::Sim => Err(Failure::new(Code::Internal, "sim guests are not compiled")),
        }
    }

    fn p3(&self, engine: &Engine) -> Result<&P3Linker, Failure> {
        if let Some(linker) = self.p3.get() {
            return Ok(linker);
        }
        let linker = P3Linker::new(engine).map_err(|error| unsupported(&error))?;
        Ok(self.p3.get_or_init(|| linker))
    }

    /// Runs file work off the event loop. Dropping the future lets the work finish by itself.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Inner) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let inner = self.clone();
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(Failure::new(Code::Internal, error.to_string())),
        }
    }
}

/// A module that begins with more memory than it may have would never start.
fn check_memory(initial_bytes: u64, limits: &Limits) -> Result<(), Failure> {
    let limit_bytes = limits.memory_bytes_max;
    if initial_bytes <= limit_bytes {
        return Ok(());
    }
    let limit = format!("{} MiB", limit_bytes / MIB);
    Err(Failure::new(
        Code::WasmUnsupported,
        format!(
            "the module begins with {} MiB of memory and may have {limit}",
            initial_bytes.div_ceil(MIB)
        ),
    )
    .with_limit("limits.memory", limit, "memory under [limits] in holm.toml"))
}

/// The engine's own limits: memories, tables, size of an instance.
fn unsupported(error: &wasmtime::Error) -> Failure {
    Failure::new(Code::WasmUnsupported, failure::one_line(error))
}

fn cache_failed(error: std::io::Error) -> Failure {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::StoreFull,
        _ => Code::StoreFailed,
    };
    Failure::new(code, format!("the cache of compiled modules: {error}"))
}
