//! A runtime with its own cache directory, and functions to invoke on it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use egress::{EgressClient, EgressConfig, OwnListeners, SystemResolver};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use model::{
    Artifact, ArtifactKind, Code, Contract, Digest, Failure, FunctionConfig, FunctionVersion,
    InvocationId, Isolation,
};
use runtime::{
    Body, Event, Invocation, InvocationContext, LogLine, LogSink, LogStream, Meter, PrepareRequest,
    Runtime as _, Sandbox, StartRequest, Template, TraceContext,
};
use runtime_wasm::{WasmConfig, WasmRuntime, WorkerCommand};
use tokio::time::Instant;

/// Keeps log lines as `stream: text`.
#[derive(Default)]
pub struct Log(Mutex<Vec<String>>);

impl LogSink for Log {
    fn write(&self, line: &LogLine<'_>) {
        let stream = match line.stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
            LogStream::Platform => "platform",
        };
        let text = String::from_utf8_lossy(line.text);
        self.0.lock().unwrap().push(format!("{stream}: {text}"));
    }
}

/// A prepared function on a runtime of its own.
pub struct Function {
    pub version: Arc<FunctionVersion>,
    pub template: Arc<dyn Template>,
    pub egress: Arc<EgressClient>,
    _runtime: Arc<WasmRuntime>,
    _cache: tempfile::TempDir,
}

/// What came of one invocation.
pub struct Outcome {
    pub response: Result<Response<Body>, Failure>,
    pub context: Arc<InvocationContext>,
    pub sandbox: Arc<dyn Sandbox>,
    pub log: Arc<Log>,
}

impl Function {
    /// Deploys `wasm` with the default configuration.
    pub async fn new(wasm: &[u8]) -> Self {
        Self::with(wasm, |_| {}).await.expect("it can be prepared")
    }

    /// Deploys `wasm` with a configuration.
    pub async fn with(
        wasm: &[u8],
        configure: impl FnOnce(&mut FunctionConfig),
    ) -> Result<Self, Failure> {
        let cache = tempfile::tempdir().unwrap();
        let worker = WorkerCommand {
            program: PathBuf::from(env!("CARGO_BIN_EXE_holm-compile-worker")),
            args: Vec::new(),
        };
        let mut wasm_config = WasmConfig::new(cache.path().join("compiled"), worker);
        wasm_config.n_slots = 16;
        let egress = EgressClient::new(
            EgressConfig::default(),
            SystemResolver,
            Arc::<OwnListeners>::default(),
        );
        let runtime =
            WasmRuntime::new(wasm_config, egress.clone()).expect("the class is available");

        let artifact_path = cache.path().join("artifact.wasm");
        std::fs::write(&artifact_path, wasm).unwrap();
        let mut config = FunctionConfig::defaults(Isolation::Wasm);
        configure(&mut config);
        let artifact = Artifact {
            digest: Digest::of(wasm),
            size_bytes: wasm.len() as u64,
            kind: ArtifactKind::Wasm,
        };
        let request = PrepareRequest {
            function: "tester".parse().unwrap(),
            config: Arc::new(config.clone()),
            artifact: artifact.clone(),
            artifact_path,
        };
        let template = runtime.prepare(request).await?;
        let version = FunctionVersion {
            function: "tester".parse().unwrap(),
            number: 1,
            digest: config.version_digest(&artifact),
            artifact,
            contract: template.contract(),
            config,
            created_unix_ms: 0,
        };
        Ok(Self {
            version: Arc::new(version),
            template,
            egress,
            _runtime: runtime,
            _cache: cache,
        })
    }

    pub fn contract(&self) -> Contract {
        self.template.contract()
    }

    /// Starts an instance and invokes it.
    pub async fn invoke(&self, request: Request<Body>) -> Outcome {
        let log = Arc::<Log>::default();
        let context = self.context(log.clone());
        let start = StartRequest {
            invocation: Some(context.clone()),
            deadline: Instant::now() + Duration::from_secs(10),
        };
        let started = self.template.start(start).await.expect("it starts");
        Self::invoke_on(started.sandbox, context, log, request).await
    }

    /// Invokes an instance that served before.
    pub async fn invoke_again(&self, sandbox: Arc<dyn Sandbox>, request: Request<Body>) -> Outcome {
        let log = Arc::<Log>::default();
        let context = self.context(log.clone());
        Self::invoke_on(sandbox, context, log, request).await
    }

    async fn invoke_on(
        sandbox: Arc<dyn Sandbox>,
        context: Arc<InvocationContext>,
        log: Arc<Log>,
        request: Request<Body>,
    ) -> Outcome {
        let invocation = Invocation {
            context: context.clone(),
            event: Event::Http(request),
        };
        Outcome {
            response: sandbox.clone().invoke(invocation).await,
            context,
            sandbox,
            log,
        }
    }

    fn context(&self, log: Arc<Log>) -> Arc<InvocationContext> {
        Arc::new(InvocationContext {
            id: InvocationId::new(1, [7; 10]),
            version: self.version.clone(),
            timeout_at: std::sync::OnceLock::new(),
            trace: TraceContext::root(1, 1),
            scheme: http::uri::Scheme::HTTP,
            caller: Some("192.0.2.7".parse().unwrap()),
            caller_failure: Default::default(),
            meter: Meter::default(),
            log,
        })
    }
}

impl Outcome {
    /// The answer as `status|header=value|...|body`, or the failure as `CODE: detail`; after a head
    /// whose body failed, both.
    pub async fn shown(self) -> String {
        let response = match self.response {
            Ok(response) => response,
            Err(failure) => return format!("{:?}: {}", failure.code(), failure.detail()),
        };
        let (parts, mut body) = response.into_parts();
        let mut text = parts.status.as_u16().to_string();
        for (name, value) in &parts.headers {
            text += &format!("|{name}={}", value.to_str().unwrap());
        }
        text += "|";
        while let Some(frame) = body.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(bytes)) => text += &String::from_utf8_lossy(&bytes),
                Ok(Err(_trailers)) => text += "|trailers",
                Err(failure) => text += &format!("|{:?}: {}", failure.code(), failure.detail()),
            }
        }
        text
    }

    /// The body of a good answer.
    pub async fn body(self) -> Bytes {
        let response = self.response.expect("an answer");
        response
            .into_body()
            .collect()
            .await
            .expect("a whole body")
            .to_bytes()
    }

    pub fn failure_code(&self) -> Option<Code> {
        self.response.as_ref().err().map(Failure::code)
    }
}

impl Log {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A guest crate below the repository's root; `None`, said aloud, where it cannot be built here.
pub fn guest(directory: &str, target: &str) -> Option<Vec<u8>> {
    match testkit::guests::cargo(directory, target) {
        Ok(wasm) => Some(wasm),
        Err(reason) => {
            testkit::skipped(directory, &reason);
            None
        }
    }
}

pub fn get(path: &str) -> Request<Body> {
    let request = Request::get(path).header("host", "tester.localhost:8080");
    request.body(Body::Empty).unwrap()
}

pub fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header("host", "tester.localhost:8080");
    request.body(body.into()).unwrap()
}

/// Yields `n_bytes` in pieces and counts what was taken of them.
pub struct Source {
    left: u64,
    pub taken: Arc<std::sync::atomic::AtomicU64>,
}

const PIECE: usize = 32 * 1024;

impl Source {
    pub fn new(n_bytes: u64) -> Self {
        assert_eq!(n_bytes % PIECE as u64, 0);
        Self {
            left: n_bytes,
            taken: Arc::default(),
        }
    }
}

impl http_body::Body for Source {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Failure>>> {
        static PIECES: [u8; PIECE] = [b'x'; PIECE];
        if self.left == 0 {
            return std::task::Poll::Ready(None);
        }
        self.left -= PIECE as u64;
        let taken = &self.taken;
        taken.fetch_add(PIECE as u64, std::sync::atomic::Ordering::SeqCst);
        let frame = http_body::Frame::data(Bytes::from_static(&PIECES));
        std::task::Poll::Ready(Some(Ok(frame)))
    }
}
