//! Prints the cost of one call in a fresh instance, in one thread, for the core ABI and for a component
//! given as argument: what regressions of the hot path show in first.
//!
//! `cargo run --release --example hot_loop [component.wasm]`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use egress::{EgressClient, EgressConfig, OwnListeners, SystemResolver};
use http_body_util::BodyExt as _;
use model::{
    Artifact, ArtifactKind, Digest, FunctionConfig, FunctionVersion, InvocationId, Isolation,
};
use runtime::{
    Body, Event, Invocation, InvocationContext, LogLine, LogSink, Meter, PrepareRequest,
    Runtime as _, StartRequest, Template, TraceContext,
};
use runtime_wasm::{WasmConfig, WasmRuntime, WorkerCommand};

/// How long one row is measured.
const ROW: Duration = Duration::from_secs(2);

struct NoLog;

impl LogSink for NoLog {
    fn write(&self, _line: &LogLine<'_>) {}
}

fn main() -> ExitCode {
    // The example is its own compile worker.
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return runtime_wasm::compile_worker::main();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure());
    ExitCode::SUCCESS
}

async fn measure() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let worker = WorkerCommand {
        program: std::env::current_exe().expect("this program"),
        args: vec!["worker".into()],
    };
    let config = WasmConfig::new(directory.path().join("cache"), worker);
    let egress = EgressClient::new(
        EgressConfig::default(),
        SystemResolver,
        Arc::new(OwnListeners::default()),
    );
    let wasm = WasmRuntime::new(config, egress).expect("this host can run WebAssembly");
    println!("{:?}", wasm.availability());
    print_memory("idle");

    let noop = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/wat/noop.wat"
    );
    let bytes = wat::parse_file(noop).expect("the fixture is there");
    let path = directory.path().join("noop.wasm");
    std::fs::write(&path, bytes).expect("writable");
    let mut rows = vec![("holm:core/1 noop".to_owned(), path)];
    for argument in std::env::args().skip(1) {
        rows.push((argument.clone(), PathBuf::from(argument)));
    }
    for (name, path) in rows {
        for reuse in [1, 1_000_000] {
            let (version, template) = prepare(&wasm, path.clone(), reuse).await;
            let (n_calls, elapsed) = run(&version, &*template).await;
            let micros = elapsed.as_secs_f64() * 1e6 / n_calls as f64;
            let kind = if reuse == 1 { "fresh" } else { "reused" };
            println!("{micros:8.2} µs per {kind} call   {name}");
        }
    }
    print_memory("after all");
}

fn print_memory(when: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find(|line| line.starts_with("VmRSS"));
    println!("{} ({when})", resident.unwrap_or("VmRSS: unknown"));
}

async fn prepare(
    wasm: &Arc<WasmRuntime>,
    artifact_path: PathBuf,
    reuse: u32,
) -> (Arc<FunctionVersion>, Arc<dyn Template>) {
    let bytes = std::fs::read(&artifact_path).expect("the file is readable");
    let artifact = Artifact {
        digest: Digest::of(&bytes),
        size_bytes: bytes.len() as u64,
        kind: ArtifactKind::Wasm,
    };
    let mut config = FunctionConfig::defaults(Isolation::Wasm);
    config.reuse = reuse;
    let function: model::FunctionKey = "guest.bench".parse().expect("a valid key");
    let template = wasm
        .prepare(PrepareRequest {
            function: function.clone(),
            config: Arc::new(config.clone()),
            artifact: artifact.clone(),
            artifact_path,
        })
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    let version = FunctionVersion {
        function,
        number: 1,
        digest: config.version_digest(&artifact),
        artifact,
        contract: template.contract(),
        config,
        created_unix_ms: 0,
    };
    (Arc::new(version), template)
}

async fn run(version: &Arc<FunctionVersion>, template: &dyn Template) -> (u64, Duration) {
    let context = Arc::new(InvocationContext {
        id: InvocationId::new(1_790_000_000_000, [1; 10]),
        version: version.clone(),
        timeout_at: OnceLock::new(),
        trace: TraceContext::root(1, 1),
        scheme: http::uri::Scheme::HTTP,
        caller: None,
        caller_failure: OnceLock::new(),
        meter: Meter::default(),
        log: Arc::new(NoLog),
    });
    let mut n_calls = 0;
    let mut warm = None;
    let began = Instant::now();
    while n_calls % 64 != 0 || began.elapsed() < ROW {
        let sandbox = match warm.take() {
            Some(sandbox) => sandbox,
            None => {
                let request = StartRequest {
                    invocation: Some(context.clone()),
                    deadline: tokio::time::Instant::now() + ROW,
                };
                template
                    .start(request)
                    .await
                    .expect("the guest starts")
                    .sandbox
            }
        };
        let request = http::Request::get("/path?query=1")
            .header("host", "guest.localhost")
            .header("user-agent", "hot-loop")
            .body(Body::Empty)
            .expect("a valid request");
        let invocation = Invocation {
            context: context.clone(),
            event: Event::Http(request),
        };
        let response = sandbox.clone().invoke(invocation).await;
        let response = response.unwrap_or_else(|failure| panic!("{failure}"));
        response.into_body().collect().await.expect("a whole body");
        if sandbox.is_reusable() {
            warm = Some(sandbox);
        }
        n_calls += 1;
    }
    (n_calls, began.elapsed())
}
