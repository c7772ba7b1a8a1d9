//! A node made of real parts for tests of the gateway: catalog, invoker and gateway, with an engine whose
//! functions are closures. And a client that speaks bytes.

#![allow(dead_code, reason = "each test binary uses another part of it")]

pub mod frames;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway::{Gateway, GatewayConfig, GatewayDeps, GatewayHandle};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use invoker::{Invoker, InvokerConfig, InvokerDeps, UsageSink};
use model::{
    Artifact, ArtifactKind, Code, Contract, Digest, Failure, FunctionConfig, FunctionVersion,
    Isolation, Receipt, Route,
};
use runtime::{
    Availability, Body, BoxFuture, Event, Invocation, LogLine, LogSink, PrepareRequest, Runtime,
    Sandbox, StartRequest, Started, Template,
};
use store::memory::MemoryStore;
use store::{BlobStore, Catalog, Publish};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a test function does with a request.
pub type Handler =
    Arc<dyn Fn(Request<Body>) -> BoxFuture<Result<Response<Body>, Failure>> + Send + Sync>;

/// A running gateway with functions.
pub struct Node {
    pub address: SocketAddr,
    pub receipts: Arc<Receipts>,
    pub engine: Arc<ClosureEngine>,
    pub gateway: Option<GatewayHandle>,
    catalog: Arc<Catalog>,
    invoker: Arc<Invoker>,
    store: Arc<MemoryStore>,
}

/// An engine whose artifacts are names of closures.
pub struct ClosureEngine {
    handlers: Mutex<HashMap<String, Handler>>,
    /// Invocations that began.
    pub n_invoked: Arc<AtomicUsize>,
    /// Sandboxes alive: an invocation that was cancelled drops its own.
    pub n_alive: Arc<AtomicUsize>,
}

/// Keeps receipts.
#[derive(Default)]
pub struct Receipts {
    all: Mutex<Vec<Receipt>>,
    came: Condvar,
}

struct NoLog;

impl LogSink for NoLog {
    fn write(&self, _line: &LogLine<'_>) {}
}

impl UsageSink for Receipts {
    fn settle(&self, receipt: Receipt, _version: &FunctionVersion) {
        self.all.lock().expect("no test panics in it").push(receipt);
        self.came.notify_all();
    }
}

impl Receipts {
    /// Waits for `n` receipts and gives all.
    pub fn wait(&self, n: usize) -> Vec<Receipt> {
        let all = self.all.lock().expect("no test panics in it");
        let (all, timeout) = self
            .came
            .wait_timeout_while(all, PATIENCE, |all| all.len() < n)
            .expect("no test panics in it");
        assert!(!timeout.timed_out(), "{} of {n} receipts came", all.len());
        all.clone()
    }

    pub fn len(&self) -> usize {
        self.all.lock().expect("no test panics in it").len()
    }
}

/// Short enough for tests, long enough for a busy machine.
pub fn quick_config() -> GatewayConfig {
    GatewayConfig {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        n_workers: 2,
        ..GatewayConfig::default()
    }
}

impl Node {
    /// A node with the usual functions: see `usual_handlers`.
    pub fn start() -> Self {
        Self::with(quick_config())
    }

    pub fn with(config: GatewayConfig) -> Self {
        let engine = Arc::new(ClosureEngine {
            handlers: Mutex::new(HashMap::new()),
            n_invoked: Arc::default(),
            n_alive: Arc::default(),
        });
        let store = Arc::new(MemoryStore::new(Duration::from_secs(60)).expect("a store"));
        let catalog = Arc::new(Catalog::open(store.clone()).expect("an empty catalog"));
        let receipts = Arc::new(Receipts::default());
        let invoker = Invoker::new(
            InvokerConfig::default(),
            InvokerDeps {
                runtimes: vec![engine.clone()],
                blobs: store.clone(),
                usage: receipts.clone(),
                log: Arc::new(NoLog),
            },
        );
        let deps = GatewayDeps {
            catalog: catalog.clone(),
            invoker: invoker.clone(),
        };
        let gateway = Gateway::start(config, deps).expect("port 0 is free");
        let node = Self {
            address: gateway.local_addr(),
            gateway: Some(gateway),
            receipts,
            engine,
            catalog,
            invoker,
            store,
        };
        for (name, handler) in usual_handlers() {
            node.deploy(name, handler, |_| {});
        }
        node
    }

    /// Why a second gateway does not start.
    pub fn try_second(&self, config: GatewayConfig) -> Failure {
        let deps = GatewayDeps {
            catalog: self.catalog.clone(),
            invoker: self.invoker.clone(),
        };
        Gateway::start(config, deps)
            .err()
            .expect("it does not start")
            .into()
    }

    /// Deploys a function, by default in the default namespace, under limits that `change` may alter.
    pub fn deploy(&self, name: &str, handler: Handler, change: impl FnOnce(&mut FunctionConfig)) {
        self.engine
            .handlers
            .lock()
            .expect("no panics")
            .insert(name.to_owned(), handler);
        let digest = Digest::of(name.as_bytes());
        self.store
            .put(digest, &mut name.as_bytes(), 1000)
            .expect("a blob");
        let mut config = FunctionConfig::defaults(Isolation::Wasm);
        change(&mut config);
        let publish = Publish {
            function: name.parse().expect("a function key"),
            config,
            artifact: Artifact {
                digest,
                size_bytes: name.len() as u64,
                kind: ArtifactKind::Wasm,
            },
            contract: Contract::Sim,
            promote: true,
            now_unix_ms: 1,
        };
        self.catalog.publish(&publish).expect("it is valid");
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Sends `request` on a new connection, reads one answer.
    pub fn call(&self, request: &str) -> Answer {
        let mut client = self.connect();
        client.send(request);
        client.answer()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
    }

    pub fn n_invoked(&self) -> usize {
        self.engine.n_invoked.load(Ordering::SeqCst)
    }

    pub fn n_alive(&self) -> usize {
        self.engine.n_alive.load(Ordering::SeqCst)
    }

    pub fn n_connections(&self) -> usize {
        self.gateway
            .as_ref()
            .expect("it runs")
            .stats()
            .n_connections()
    }
}

/// Waits until `holds`.
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

pub fn route(host: Option<&str>, path: &str, methods: &[&str]) -> Route {
    Route {
        host: host.map(str::to_owned),
        path: path.parse().expect("a pattern"),
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
    }
}

pub fn handler<F>(function: impl Fn(Request<Body>) -> F + Send + Sync + 'static) -> Handler
where
    F: Future<Output = Result<Response<Body>, Failure>> + Send + 'static,
{
    Arc::new(move |request| Box::pin(function(request)))
}

/// One of the usual functions' closures, for another name or other limits.
pub fn usual_handler(name: &str) -> Handler {
    let found = usual_handlers()
        .into_iter()
        .find(|(usual, _)| *usual == name);
    found.expect("it is usual").1
}

/// hello, inspect, echo, ignore, answer, hang, trap, stream, big.
fn usual_handlers() -> Vec<(&'static str, Handler)> {
    vec![
        (
            "hello",
            handler(|_| async { Ok(Response::new(Body::from(Bytes::from("hello")))) }),
        ),
        ("inspect", handler(inspect)),
        (
            "echo",
            handler(|request| async { Ok(Response::new(request.into_body())) }),
        ),
        (
            "ignore",
            handler(|_| async { Ok(Response::new(Body::from(Bytes::from("ignored")))) }),
        ),
        ("answer", handler(answer)),
        ("hang", handler(|_| std::future::pending())),
        (
            "trap",
            handler(|_| async { Err(Failure::new(Code::Trap, "unreachable")) }),
        ),
        (
            "stream",
            handler(|_| async { Ok(Response::new(chunks(4, 3))) }),
        ),
        (
            "big",
            handler(|_| async { Ok(Response::new(chunks(64, 1024 * 1024))) }),
        ),
    ]
}

/// Tells what arrived, one thing a line.
async fn inspect(request: Request<Body>) -> Result<Response<Body>, Failure> {
    let (head, body) = request.into_parts();
    let mut text = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
    }
    let collected = body.collect().await?;
    for (name, value) in collected.trailers().into_iter().flatten() {
        text.push_str(&format!(
            "trailer {name}: {}\n",
            value.to_str().unwrap_or("?")
        ));
    }
    let bytes = collected.to_bytes();
    text.push_str(&format!(
        "body {} {}",
        bytes.len(),
        String::from_utf8_lossy(&bytes)
    ));
    Ok(Response::new(Body::from(Bytes::from(text))))
}

/// Answers as the request says: `x-status`, `x-header: name=value` (any number), and the body.
async fn answer(request: Request<Body>) -> Result<Response<Body>, Failure> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(Body::Empty);
    if let Some(status) = head.headers.get("x-status") {
        let status = status
            .to_str()
            .expect("a number")
            .parse()
            .expect("a number");
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    }
    for header in head.headers.get_all("x-header") {
        let (name, value) = header
            .to_str()
            .expect("text")
            .split_once('=')
            .expect("a pair");
        let name = HeaderName::try_from(name).expect("a name");
        response
            .headers_mut()
            .append(name, HeaderValue::from_str(value).expect("a value"));
    }
    let bytes = body.collect().await?.to_bytes();
    *response.body_mut() = if head.headers.contains_key("x-stream") {
        Body::stream(Chunks {
            n_left: 1,
            chunk: bytes,
        })
    } else {
        Body::from(bytes)
    };
    Ok(response)
}

/// A streamed body of `n` chunks of `n_bytes`.
pub fn chunks(n: usize, n_bytes: usize) -> Body {
    Body::stream(Chunks {
        n_left: n,
        chunk: Bytes::from(vec![b'x'; n_bytes]),
    })
}

struct Chunks {
    n_left: usize,
    chunk: Bytes,
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.n_left == 0 {
            return std::task::Poll::Ready(None);
        }
        self.n_left -= 1;
        std::task::Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))))
    }
}

impl Runtime for ClosureEngine {
    fn isolation(&self) -> Isolation {
        Isolation::Wasm
    }

    fn availability(&self) -> Availability {
        Availability::Available("closures".to_owned())
    }

    fn prepare(&self, request: PrepareRequest) -> BoxFuture<Result<Arc<dyn Template>, Failure>> {
        let name = std::fs::read_to_string(&request.artifact_path).expect("a blob");
        let handler = self.handlers.lock().expect("no panics")[&name].clone();
        let template = ClosureTemplate {
            handler,
            n_invoked: self.n_invoked.clone(),
            n_alive: self.n_alive.clone(),
        };
        Box::pin(async move { Ok(Arc::new(template) as Arc<dyn Template>) })
    }
}

struct ClosureTemplate {
    handler: Handler,
    n_invoked: Arc<AtomicUsize>,
    n_alive: Arc<AtomicUsize>,
}

impl Template for ClosureTemplate {
    fn contract(&self) -> Contract {
        Contract::Sim
    }

    fn start(&self, _request: StartRequest) -> BoxFuture<Result<Started, Failure>> {
        self.n_alive.fetch_add(1, Ordering::SeqCst);
        let sandbox = ClosureSandbox {
            handler: self.handler.clone(),
            n_invoked: self.n_invoked.clone(),
            n_alive: self.n_alive.clone(),
        };
        Box::pin(async move {
            Ok(Started {
                sandbox: Arc::new(sandbox),
                init: Duration::ZERO,
                init_cpu: Duration::ZERO,
            })
        })
    }
}

struct ClosureSandbox {
    handler: Handler,
    n_invoked: Arc<AtomicUsize>,
    n_alive: Arc<AtomicUsize>,
}

impl Drop for ClosureSandbox {
    fn drop(&mut self) {
        self.n_alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Sandbox for ClosureSandbox {
    fn invoke(
        self: Arc<Self>,
        invocation: Invocation,
    ) -> BoxFuture<Result<Response<Body>, Failure>> {
        self.n_invoked.fetch_add(1, Ordering::SeqCst);
        let Event::Http(request) = invocation.event;
        (self.handler)(request)
    }

    fn is_reusable(&self) -> bool {
        false
    }

    fn stop(self: Arc<Self>, _grace: Duration) -> BoxFuture<()> {
        Box::pin(async {})
    }
}

/// A client that sends bytes and reads answers.
pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
    /// Whether the next answer is one to HEAD.
    pub expects_head_only: bool,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            read: Vec::new(),
            expects_head_only: false,
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("it reads");
    }

    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
    }

    /// Reads more; false at the end of the stream, however it ended.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(n_bytes) => {
                self.read.extend_from_slice(&buffer[..n_bytes]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!(
                    "nothing came within {PATIENCE:?}; so far: {}",
                    String::from_utf8_lossy(&self.read)
                )
            }
            Err(_) => false,
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.read.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(line).expect("heads are text"));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn exactly(&mut self, n_bytes: usize) -> Vec<u8> {
        while self.read.len() < n_bytes {
            assert!(
                self.fill(),
                "the answer ended after {} of {n_bytes} bytes",
                self.read.len()
            );
        }
        self.read.drain(..n_bytes).collect()
    }

    pub fn answer(&mut self) -> Answer {
        self.try_answer()
            .expect("an answer, not the end of the connection")
    }

    /// Reads the head of an answer whose body comes in chunks.
    pub fn head_of_stream(&mut self) -> Answer {
        let was_head_only = std::mem::replace(&mut self.expects_head_only, true);
        let answer = self.answer();
        self.expects_head_only = was_head_only;
        assert_eq!(
            answer.header("transfer-encoding"),
            Some("chunked"),
            "{answer:?}"
        );
        answer
    }

    /// Reads one chunk; an empty one is the last.
    pub fn chunk(&mut self) -> Vec<u8> {
        let size = self.line().expect("a chunk size");
        let chunk = self.exactly(usize::from_str_radix(&size, 16).expect("a number"));
        assert_eq!(self.exactly(2), b"\r\n");
        chunk
    }

    /// Reads an answer; `None` where the connection ended instead.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .expect("a status")
            .parse()
            .expect("a number");
        let mut headers = Vec::new();
        loop {
            let line = self.line().expect("a whole head");
            let Some((name, value)) = line.split_once(": ") else {
                assert!(line.is_empty(), "not a header: {line:?}");
                break;
            };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if self.expects_head_only || matches!(status, 100 | 204 | 304) {
            return Some(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.chunk();
                if chunk.is_empty() {
                    break;
                }
                answer.body.extend(chunk);
            }
        } else if let Some(n_bytes) = answer.header("content-length") {
            let n_bytes = n_bytes.parse().expect("a number");
            answer.body = self.exactly(n_bytes);
        } else {
            while self.fill() {}
            answer.body = std::mem::take(&mut self.read);
        }
        Some(answer)
    }

    /// Waits until the other side closes; gives what still came.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.read)
    }

    /// Asserts that nothing more comes but the end.
    pub fn assert_closed(&mut self) {
        let rest = self.rest();
        assert!(
            rest.is_empty(),
            "after the last answer: {}",
            String::from_utf8_lossy(&rest)
        );
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The line of an `inspect` answer that starts with `start`.
    pub fn line(&self, start: &str) -> Option<&str> {
        self.text().lines().find(|line| line.starts_with(start))
    }

    /// Asserts that this is the problem document of `code`.
    pub fn assert_problem(&self, code: Code) {
        assert_eq!(self.status, code.status(), "{self:?}");
        assert_eq!(
            self.header("holm-error"),
            Some(code.to_string().as_str()),
            "{self:?}"
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem: model::Problem = serde_json::from_slice(&self.body).expect("a problem");
        assert_eq!((problem.code, problem.status), (code, code.status()));
        let id = self.header("holm-invocation-id").expect("an id");
        assert_eq!(problem.instance, Some(format!("urn:uuid:{id}")));
    }
}
