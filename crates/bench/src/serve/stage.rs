//! The stages of a node between hyper and the whole: the engine alone, and the engine behind the invoker.
//! One function, no routing, receipts and logs thrown away. The decomposition's steps.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::uri::Scheme;
use http::{HeaderValue, Request, Response};
use invoker::{Call, Invoker, InvokerConfig, InvokerDeps};
use model::{
    Artifact, ArtifactKind, Digest, Failure, FunctionConfig, FunctionKey, FunctionVersion,
    InvocationId, Isolation,
};
use node::NodeConfig;
use runtime::{
    Body, Event, Invocation, InvocationContext, Meter, PrepareRequest, Runtime, StartRequest,
    Template, TraceContext,
};
use store::memory::MemoryStore;
use store::{BlobStore as _, Catalog, LiveVersion, Publish};
use tokio::time::Instant;

use super::node::Dropping;
use super::{Stage, StageSpec, internal, raw};

pub(super) fn run(spec: StageSpec) -> Result<(), Failure> {
    let function = Function::new(&spec)?;
    match spec.stage {
        Stage::Engine => {
            let engine = Arc::new(EngineStage::new(function)?);
            raw::serve(move |_| {
                let engine = Arc::clone(&engine);
                async move { answer(engine.call().await) }
            })
        }
        Stage::Invoker => {
            let invoker = Arc::new(InvokerStage::new(function)?);
            raw::serve(move |_| {
                let invoker = Arc::clone(&invoker);
                async move { answer(invoker.call().await) }
            })
        }
    }
}

/// The function that is served, prepared.
struct Function {
    key: FunctionKey,
    config: FunctionConfig,
    artifact: Artifact,
    module: std::path::PathBuf,
    engine: Arc<dyn Runtime>,
    template: Arc<dyn Template>,
}

impl Function {
    fn new(spec: &StageSpec) -> Result<Self, Failure> {
        let config = NodeConfig {
            data_dir: spec.data_dir.clone(),
            ..NodeConfig::default()
        };
        let engine = node::engines(&config)
            .into_iter()
            .find(|engine| engine.isolation() == Isolation::Wasm)
            .expect("every release has the wasm class");
        let bytes = std::fs::read(&spec.module).map_err(|error| internal("the module", &error))?;
        let key: FunctionKey = "stage"
            .parse()
            .map_err(|error| internal("a name", &error))?;
        let artifact = Artifact {
            digest: Digest::of(&bytes),
            size_bytes: bytes.len() as u64,
            kind: ArtifactKind::Wasm,
        };
        let config = FunctionConfig::defaults(Isolation::Wasm);
        let request = PrepareRequest {
            function: key.clone(),
            config: Arc::new(config.clone()),
            artifact: artifact.clone(),
            artifact_path: spec.module.clone(),
        };
        let template = raw::event_loop()?.block_on(engine.prepare(request))?;
        Ok(Self {
            key,
            config,
            artifact,
            module: spec.module.clone(),
            engine,
            template,
        })
    }

    fn version(&self) -> FunctionVersion {
        FunctionVersion {
            function: self.key.clone(),
            number: 1,
            digest: self.config.version_digest(&self.artifact),
            artifact: self.artifact.clone(),
            contract: self.template.contract(),
            config: self.config.clone(),
            created_unix_ms: unix_ms(),
        }
    }
}

/// The engine alone.
struct EngineStage {
    template: Arc<dyn Template>,
    version: Arc<FunctionVersion>,
    log: Arc<Dropping>,
    ids: Ids,
}

impl EngineStage {
    fn new(function: Function) -> Result<Self, Failure> {
        Ok(Self {
            version: Arc::new(function.version()),
            template: function.template,
            log: Arc::new(Dropping),
            ids: Ids::default(),
        })
    }

    async fn call(&self) -> Result<Response<Body>, Failure> {
        let timeout = Duration::from_millis(self.version.config.limits.timeout_ms);
        let deadline = Instant::now() + timeout;
        let (id, trace) = self.ids.next(0);
        let context = Arc::new(InvocationContext {
            id,
            version: Arc::clone(&self.version),
            timeout_at: OnceLock::from(deadline),
            trace,
            scheme: Scheme::HTTP,
            caller: None,
            caller_failure: OnceLock::new(),
            meter: Meter::default(),
            log: self.log.clone(),
        });
        let request = StartRequest {
            invocation: Some(Arc::clone(&context)),
            deadline,
        };
        let started = self.template.start(request).await?;
        let invocation = Invocation {
            context,
            event: Event::Http(request_of_guest()),
        };
        started.sandbox.invoke(invocation).await
    }
}

/// The engine behind the invoker.
struct InvokerStage {
    invoker: Arc<Invoker>,
    target: Arc<LiveVersion>,
    ids: Ids,
}

impl InvokerStage {
    fn new(function: Function) -> Result<Self, Failure> {
        let store = Arc::new(MemoryStore::new(Duration::from_secs(3_600))?);
        put(&store, &function.artifact, &function.module)?;
        let catalog = Catalog::open(store.clone())?;
        let publication = catalog.publish(&Publish {
            function: function.key.clone(),
            config: function.config.clone(),
            artifact: function.artifact.clone(),
            contract: function.template.contract(),
            promote: true,
            now_unix_ms: unix_ms(),
        })?;
        let invoker = Invoker::new(
            InvokerConfig::default(),
            InvokerDeps {
                runtimes: vec![function.engine],
                blobs: store,
                usage: Arc::new(Dropping),
                log: Arc::new(Dropping),
            },
        );
        Ok(Self {
            invoker,
            target: publication.version,
            ids: Ids::default(),
        })
    }

    async fn call(&self) -> Result<Response<Body>, Failure> {
        let accepted_unix_ms = unix_ms();
        let (id, trace) = self.ids.next(accepted_unix_ms);
        let call = Call {
            target: Arc::clone(&self.target),
            id,
            trace,
            accepted: Instant::now(),
            accepted_unix_ms,
            scheme: Scheme::HTTP,
            caller: None,
            request: request_of_guest(),
        };
        self.invoker.invoke(call).await.response
    }
}

fn put(store: &MemoryStore, artifact: &Artifact, module: &Path) -> Result<(), Failure> {
    let mut file = File::open(module).map_err(|error| internal("the module", &error))?;
    store.put(artifact.digest, &mut file, artifact.size_bytes)?;
    Ok(())
}

/// Ids that differ; that is all that is asked of them here.
#[derive(Default)]
struct Ids(AtomicU64);

impl Ids {
    fn next(&self, unix_ms: u64) -> (InvocationId, TraceContext) {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        let trace = TraceContext::root(u128::from(number), number);
        (InvocationId::new(unix_ms, random), trace)
    }
}

fn request_of_guest() -> Request<Body> {
    let mut request = Request::new(Body::Empty);
    let host = HeaderValue::from_static("bench");
    request.headers_mut().insert(http::header::HOST, host);
    request
}

/// A failure is an answer that the load generator takes for none.
fn answer(outcome: Result<Response<Body>, Failure>) -> Response<Body> {
    outcome.unwrap_or_else(|failure| {
        let mut response = Response::new(Body::from(bytes::Bytes::from(failure.to_string())));
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
