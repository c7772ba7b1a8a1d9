//! A scripted engine for tests of the platform: it implements the seam without isolating anything.
//!
//! An artifact is a text of one instruction per line, run in order for each invocation:
//!
//! ```text
//! init sleep MS      while starting: wait       init fail         while starting: fail
//! sleep MS           wait                       hang              never go on
//! burn MS            add CPU time to the meter  trap              fail as a trapping guest does
//! status N           the response's status      header NAME VALUE a response header
//! write TEXT         a body chunk               count             a chunk: invocations of this instance
//! echo               the request body, streamed env NAME          a chunk: an environment variable
//! log TEXT           a line on stdout           big N             N bytes in chunks of 8 KiB
//! whoami             a chunk: function and version number
//! ```
//! The head goes out with the first chunk, or at the end. Lines that start with `#` are comments.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use model::{Code, Contract, Failure, FunctionConfig, Isolation};

use crate::Body;
use crate::invocation::{Event, Invocation, InvocationContext};
use crate::log::LogStream;
use crate::seam::{
    Availability, BoxFuture, PrepareRequest, Runtime, Sandbox, StartRequest, Started, Template,
};

const CHUNK_BYTES: usize = 8 * 1024;

/// The scripted engine. Counts what it is asked, for assertions.
pub struct SimRuntime {
    isolation: Isolation,
    counts: Arc<SimCounts>,
}

/// What a [`SimRuntime`] was asked so far.
#[derive(Debug, Default)]
pub struct SimCounts {
    /// Templates made.
    pub n_prepared: AtomicUsize,
    /// Sandboxes started.
    pub n_started: AtomicUsize,
    /// Sandboxes alive.
    pub n_alive: AtomicUsize,
}

impl SimRuntime {
    /// An engine that stands in for `isolation`.
    pub fn new(isolation: Isolation) -> Arc<Self> {
        Arc::new(Self {
            isolation,
            counts: Arc::default(),
        })
    }

    /// The counters.
    pub fn counts(&self) -> &Arc<SimCounts> {
        &self.counts
    }
}

impl Runtime for SimRuntime {
    fn isolation(&self) -> Isolation {
        self.isolation
    }

    fn availability(&self) -> Availability {
        Availability::Weak("sim: a scripted engine without isolation, for tests".to_owned())
    }

    fn prepare(&self, request: PrepareRequest) -> BoxFuture<Result<Arc<dyn Template>, Failure>> {
        let counts = Arc::clone(&self.counts);
        Box::pin(async move {
            let text = tokio::fs::read_to_string(&request.artifact_path)
                .await
                .map_err(|error| Failure::new(Code::WasmInvalid, error.to_string()))?;
            let script = parse(&text)?;
            counts.n_prepared.fetch_add(1, Ordering::Relaxed);
            Ok(Arc::new(SimTemplate {
                script: script.into(),
                config: request.config,
                counts,
            }) as Arc<dyn Template>)
        })
    }
}

#[derive(Clone, Debug)]
enum Step {
    InitSleep(Duration),
    InitFail,
    Sleep(Duration),
    Hang,
    Burn(Duration),
    Trap,
    Status(u16),
    Header(String, String),
    Write(String),
    Count,
    Echo,
    Env(String),
    Log(String),
    Big(usize),
    WhoAmI,
}

fn parse(text: &str) -> Result<Vec<Step>, Failure> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            parse_step(line).ok_or_else(|| {
                Failure::new(
                    Code::WasmInvalid,
                    format!("not a sim instruction: `{line}`"),
                )
            })
        })
        .collect()
}

fn parse_step(line: &str) -> Option<Step> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let ms = || rest.parse().ok().map(Duration::from_millis);
    Some(match word {
        "init" => match rest.split_once(' ').unwrap_or((rest, "")) {
            ("fail", "") => Step::InitFail,
            ("sleep", ms) => Step::InitSleep(Duration::from_millis(ms.parse().ok()?)),
            _ => return None,
        },
        "sleep" => Step::Sleep(ms()?),
        "hang" => Step::Hang,
        "burn" => Step::Burn(ms()?),
        "trap" => Step::Trap,
        "status" => Step::Status(rest.parse().ok()?),
        "header" => {
            let (name, value) = rest.split_once(' ')?;
            Step::Header(name.to_owned(), value.to_owned())
        }
        "write" => Step::Write(rest.to_owned()),
        "count" => Step::Count,
        "echo" => Step::Echo,
        "env" => Step::Env(rest.to_owned()),
        "log" => Step::Log(rest.to_owned()),
        "big" => Step::Big(rest.parse().ok()?),
        "whoami" => Step::WhoAmI,
        _ => return None,
    })
}

struct SimTemplate {
    script: Arc<[Step]>,
    config: Arc<FunctionConfig>,
    counts: Arc<SimCounts>,
}

impl Template for SimTemplate {
    fn contract(&self) -> Contract {
        Contract::Sim
    }

    fn start(&self, _request: StartRequest) -> BoxFuture<Result<Started, Failure>> {
        let script = Arc::clone(&self.script);
        let counts = Arc::clone(&self.counts);
        let config = Arc::clone(&self.config);
        Box::pin(async move {
            let began = tokio::time::Instant::now();
            for step in script.iter() {
                match step {
                    Step::InitSleep(time) => tokio::time::sleep(*time).await,
                    Step::InitFail => {
                        return Err(Failure::new(Code::InitFailed, "the script fails in init"));
                    }
                    _ => {}
                }
            }
            counts.n_started.fetch_add(1, Ordering::Relaxed);
            counts.n_alive.fetch_add(1, Ordering::Relaxed);
            let sandbox = SimSandbox {
                script,
                config,
                counts,
                n_served: AtomicU64::new(0),
                broken: AtomicBool::new(false),
            };
            Ok(Started {
                sandbox: Arc::new(sandbox),
                init: began.elapsed(),
                init_cpu: Duration::ZERO,
            })
        })
    }
}

struct SimSandbox {
    script: Arc<[Step]>,
    config: Arc<FunctionConfig>,
    counts: Arc<SimCounts>,
    n_served: AtomicU64,
    /// Set while an invocation runs: one that was dropped half-way leaves it set.
    broken: AtomicBool,
}

impl Drop for SimSandbox {
    fn drop(&mut self) {
        self.counts.n_alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Sandbox for SimSandbox {
    fn invoke(
        self: Arc<Self>,
        invocation: Invocation,
    ) -> BoxFuture<Result<Response<Body>, Failure>> {
        Box::pin(async move {
            self.broken.store(true, Ordering::Release);
            self.n_served.fetch_add(1, Ordering::AcqRel);
            invocation.context.meter.note_memory_bytes(64 * 1024);
            let Event::Http(request) = invocation.event;
            let mut run = Run {
                sandbox: self,
                context: invocation.context,
                request_body: Some(request.into_body()),
                next: 0,
                big_left: 0,
            };
            let mut head = Response::new(());
            let first = run.next_chunk(&mut head).await?;
            let body = match first {
                None => {
                    run.finish();
                    Body::Empty
                }
                Some(Chunk::Bytes(bytes)) if run.is_done() => {
                    run.finish();
                    Body::from(bytes)
                }
                Some(first) => Body::stream(SimBody::new(run, first)),
            };
            Ok(head.map(|()| body))
        })
    }

    fn is_reusable(&self) -> bool {
        !self.broken.load(Ordering::Acquire)
    }

    fn stop(self: Arc<Self>, _grace: Duration) -> BoxFuture<()> {
        self.broken.store(true, Ordering::Release);
        Box::pin(async {})
    }
}

/// A script under way.
struct Run {
    sandbox: Arc<SimSandbox>,
    context: Arc<InvocationContext>,
    request_body: Option<Body>,
    next: usize,
    big_left: usize,
}

enum Chunk {
    Bytes(Bytes),
    /// From here on the request body is the chunk source.
    Echo(Body),
}

impl Run {
    fn is_done(&self) -> bool {
        self.next == self.sandbox.script.len() && self.big_left == 0
    }

    fn finish(&self) {
        self.sandbox.broken.store(false, Ordering::Release);
    }

    /// Runs to the next chunk; `None` at the script's end. Steps that concern the head change `head`.
    async fn next_chunk(&mut self, head: &mut Response<()>) -> Result<Option<Chunk>, Failure> {
        if self.big_left > 0 {
            let n_bytes = self.big_left.min(CHUNK_BYTES);
            self.big_left -= n_bytes;
            return Ok(Some(Chunk::Bytes(Bytes::from(vec![b'x'; n_bytes]))));
        }
        while let Some(step) = self.sandbox.script.get(self.next).cloned() {
            self.next += 1;
            let chunk = match step {
                Step::InitSleep(_) | Step::InitFail => continue,
                Step::Sleep(time) => {
                    tokio::time::sleep(time).await;
                    continue;
                }
                Step::Hang => std::future::pending().await,
                Step::Burn(time) => {
                    let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                    self.context.meter.add_cpu_ns(ns);
                    continue;
                }
                Step::Trap => return Err(Failure::new(Code::Trap, "the script traps")),
                Step::Log(text) => {
                    self.context.log(LogStream::Stdout, text.as_bytes());
                    continue;
                }
                Step::Status(status) => {
                    *head.status_mut() = http::StatusCode::from_u16(status).map_err(bad_head)?;
                    continue;
                }
                Step::Header(name, value) => {
                    let name = http::HeaderName::try_from(name).map_err(bad_head)?;
                    let value = http::HeaderValue::try_from(value).map_err(bad_head)?;
                    head.headers_mut().append(name, value);
                    continue;
                }
                Step::Big(n_bytes) => {
                    self.big_left = n_bytes;
                    return Box::pin(self.next_chunk(head)).await;
                }
                Step::Write(text) => text,
                Step::Count => self.sandbox.n_served.load(Ordering::Acquire).to_string(),
                Step::Env(name) => self
                    .sandbox
                    .config
                    .env
                    .get(&name)
                    .cloned()
                    .unwrap_or_default(),
                Step::WhoAmI => {
                    let version = &self.context.version;
                    format!("{} {}", version.function, version.number)
                }
                Step::Echo => {
                    let body = self.request_body.take().unwrap_or_default();
                    return Ok(Some(Chunk::Echo(body)));
                }
            };
            return Ok(Some(Chunk::Bytes(Bytes::from(chunk))));
        }
        Ok(None)
    }
}

fn bad_head(error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::BadResponse, error.to_string())
}

type NextChunk = (Run, Result<Option<Chunk>, Failure>);

/// The rest of a script as a body.
enum SimBody {
    Chunk(Option<Run>, Option<Chunk>),
    Echo(Run, Body),
    Running(BoxFuture<NextChunk>),
    Done,
}

impl SimBody {
    fn new(run: Run, first: Chunk) -> Self {
        Self::Chunk(Some(run), Some(first))
    }

    fn running(mut run: Run) -> Self {
        Self::Running(Box::pin(async move {
            let mut late_head = Response::new(());
            let chunk = run.next_chunk(&mut late_head).await;
            (run, chunk)
        }))
    }
}

impl http_body::Body for SimBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.get_mut();
        loop {
            match this {
                SimBody::Chunk(run, chunk) => {
                    let run = run.take().expect("a run is taken once per state");
                    match chunk.take().expect("a chunk is taken once per state") {
                        Chunk::Bytes(bytes) => {
                            *this = SimBody::running(run);
                            return Poll::Ready(Some(Ok(Frame::data(bytes))));
                        }
                        Chunk::Echo(body) => *this = SimBody::Echo(run, body),
                    }
                }
                SimBody::Echo(_, body) => match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(None) => {
                        let SimBody::Echo(run, _) = std::mem::replace(this, SimBody::Done) else {
                            unreachable!("matched above")
                        };
                        *this = SimBody::running(run);
                    }
                    other => return other,
                },
                SimBody::Running(future) => match future.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready((run, Ok(Some(chunk)))) => *this = SimBody::new(run, chunk),
                    Poll::Ready((run, Ok(None))) => {
                        run.finish();
                        *this = SimBody::Done;
                    }
                    Poll::Ready((_, Err(failure))) => {
                        *this = SimBody::Done;
                        return Poll::Ready(Some(Err(failure)));
                    }
                },
                SimBody::Done => return Poll::Ready(None),
            }
        }
    }
}
