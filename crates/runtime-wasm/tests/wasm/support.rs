//! A runtime in a directory of its own, functions made from fixtures, and calls to them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use egress::{EgressClient, EgressConfig, OwnListeners, SystemResolver};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use model::{
    Artifact, ArtifactKind, Digest, Failure, FunctionConfig, FunctionVersion, InvocationId,
    Isolation,
};
use runtime::conformance::RecordedLog;
use runtime::{
    Body, Event, Invocation, InvocationContext, Meter, PrepareRequest, Runtime as _, Sandbox,
    StartRequest, Started, Template, TraceContext,
};
use runtime_wasm::{WasmConfig, WasmRuntime, WorkerCommand};
use tempfile::TempDir;
use tokio::time::Instant;

/// The worker binary of this crate.
pub(crate) fn worker() -> WorkerCommand {
    WorkerCommand {
        program: env!("CARGO_BIN_EXE_holm-compile-worker").into(),
        args: Vec::new(),
    }
}

/// A client that allows what the functions' rules allow.
pub(crate) fn egress() -> Arc<EgressClient> {
    let config = EgressConfig {
        trust_system_roots: false,
        ..EgressConfig::default()
    };
    EgressClient::new(config, SystemResolver, Arc::new(OwnListeners::default()))
}

/// The text of a fixture: `NAME` or `refused/NAME`.
pub(crate) fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/wat")
        .join(format!("{name}.wat"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A runtime and its files.
pub(crate) struct World {
    pub(crate) runtime: Arc<WasmRuntime>,
    pub(crate) dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut WasmConfig)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let runtime = Self::open(dir.path(), adjust);
        Self { runtime, dir }
    }

    /// A runtime on the cache in `dir`.
    pub(crate) fn open(dir: &Path, adjust: impl FnOnce(&mut WasmConfig)) -> Arc<WasmRuntime> {
        let mut config = WasmConfig::new(dir.join("cache"), worker());
        adjust(&mut config);
        WasmRuntime::new(config, egress()).expect("this host can run WebAssembly")
    }

    pub(crate) async fn try_bytes(
        &self,
        bytes: &[u8],
        adjust: impl FnOnce(&mut FunctionConfig),
    ) -> Result<Function, Failure> {
        let digest = Digest::of(bytes);
        let artifact_path = self.dir.path().join(digest.to_string());
        std::fs::write(&artifact_path, bytes).expect("the directory is writable");
        self.try_file(artifact_path, adjust).await
    }

    pub(crate) async fn try_file(
        &self,
        artifact_path: PathBuf,
        adjust: impl FnOnce(&mut FunctionConfig),
    ) -> Result<Function, Failure> {
        let bytes = std::fs::read(&artifact_path).expect("the file is readable");
        let artifact = Artifact {
            digest: Digest::of(&bytes),
            size_bytes: bytes.len() as u64,
            kind: ArtifactKind::Wasm,
        };
        let mut config = FunctionConfig::defaults(Isolation::Wasm);
        adjust(&mut config);
        let function: model::FunctionKey = "guest.test".parse().expect("a valid key");
        let request = PrepareRequest {
            function: function.clone(),
            config: Arc::new(config.clone()),
            artifact: artifact.clone(),
            artifact_path,
        };
        let template = self.runtime.prepare(request).await?;
        Ok(Function {
            version: Arc::new(FunctionVersion {
                function,
                number: 1,
                digest: config.version_digest(&artifact),
                artifact,
                contract: template.contract(),
                config,
                created_unix_ms: 0,
            }),
            template,
            log: Arc::default(),
        })
    }

    /// A function from WebAssembly text.
    pub(crate) async fn text(&self, text: &str) -> Function {
        let bytes = wat::parse_str(text).expect("valid text");
        self.try_bytes(&bytes, |_| {})
            .await
            .expect("the module prepares")
    }

    /// A function from a fixture.
    pub(crate) async fn function(&self, name: &str) -> Function {
        self.adjusted(name, |_| {}).await
    }

    /// The same with another configuration.
    pub(crate) async fn adjusted(
        &self,
        name: &str,
        adjust: impl FnOnce(&mut FunctionConfig),
    ) -> Function {
        let bytes = wat::parse_str(fixture(name)).expect("valid text");
        self.try_bytes(&bytes, adjust)
            .await
            .unwrap_or_else(|failure| panic!("{name}: {failure}"))
    }
}

/// A prepared function.
pub(crate) struct Function {
    pub(crate) version: Arc<FunctionVersion>,
    pub(crate) template: Arc<dyn Template>,
    pub(crate) log: Arc<RecordedLog>,
}

/// A collected answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Function {
    pub(crate) fn context(&self) -> Arc<InvocationContext> {
        Arc::new(InvocationContext {
            id: InvocationId::new(1_790_000_000_000, [1; 10]),
            version: self.version.clone(),
            timeout_at: OnceLock::new(),
            trace: TraceContext::root(1, 1),
            scheme: http::uri::Scheme::HTTP,
            caller: None,
            caller_failure: OnceLock::new(),
            meter: Meter::default(),
            log: self.log.clone(),
        })
    }

    pub(crate) async fn start(&self) -> Result<Started, Failure> {
        self.start_within(Duration::from_secs(10)).await
    }

    pub(crate) async fn start_within(&self, limit: Duration) -> Result<Started, Failure> {
        self.template
            .start(StartRequest {
                invocation: None,
                deadline: Instant::now() + limit,
            })
            .await
    }

    pub(crate) async fn sandbox(&self) -> Arc<dyn Sandbox> {
        self.start().await.expect("the guest starts").sandbox
    }

    /// Calls `target` in a fresh instance and collects the answer.
    pub(crate) async fn get(&self, target: &str) -> Result<Answer, Failure> {
        let sandbox = self.start().await?.sandbox;
        collect(self.call(&sandbox, get(target)).await?).await
    }

    /// Calls a sandbox.
    pub(crate) async fn call(
        &self,
        sandbox: &Arc<dyn Sandbox>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Failure> {
        self.call_as(sandbox, self.context(), request).await
    }

    pub(crate) async fn call_as(
        &self,
        sandbox: &Arc<dyn Sandbox>,
        context: Arc<InvocationContext>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Failure> {
        let event = Event::Http(request);
        sandbox.clone().invoke(Invocation { context, event }).await
    }

    /// What the function logged, as text.
    pub(crate) fn log_text(&self) -> Vec<String> {
        self.log
            .lines()
            .iter()
            .map(|(_, _, text)| String::from_utf8_lossy(text).into_owned())
            .collect()
    }
}

/// A GET request.
pub(crate) fn get(target: &str) -> Request<Body> {
    request("GET", target, Body::Empty)
}

pub(crate) fn request(method: &str, target: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(target)
        .header("host", "guest.localhost")
        .body(body)
        .expect("a valid request")
}

/// Reads an answer to its end.
pub(crate) async fn collect(response: Response<Body>) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { head, body })
}
