//! What the cases work with: a subject, its guests, and an invocation made from little.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use model::{
    Artifact, ArtifactKind, Code, Digest, Failure, FunctionConfig, FunctionKey, FunctionVersion,
    InvocationId, Isolation,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::invocation::{Event, Invocation, InvocationContext, Meter};
use crate::log::{LogLine, LogSink, LogStream};
use crate::seam::{PrepareRequest, Runtime, Sandbox, StartRequest, Started, Template};
use crate::{Body, TraceContext};

/// The guests of the suite. Each answers every request the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// Status 201, header `x-guest: hello`, body `hello`.
    Hello,
    /// The request body, streamed chunk by chunk.
    Echo,
    /// How many invocations this instance has served, as decimal text.
    Count,
    /// Fails without an answer: a trap, an uncaught exception.
    Trap,
    /// Sends a head and a chunk, then fails as [`Guest::Trap`].
    TrapLate,
    /// Waits for ever without using CPU.
    Hang,
    /// Burns CPU for ever.
    Spin,
    /// Writes the line `a line` to its log (stdout, or the platform's log call), answers `ok`.
    Log,
    /// Writes 1 MiB of lines of 64 bytes to its log, answers `ok`.
    LogFlood,
    /// The value of the environment variable `GREETING`.
    Env,
    /// 1,000,000 bytes `x`.
    Big,
    /// Fails in its init.
    InitFail,
    /// Not a valid artifact.
    Junk,
}

/// An engine under test.
pub trait Subject: Sync {
    /// The engine.
    fn runtime(&self) -> Arc<dyn Runtime>;

    /// A guest's artifact file, or why this machine cannot have it.
    fn artifact(&self, guest: Guest) -> Result<(PathBuf, ArtifactKind), String>;
}

/// Keeps log lines for assertions.
#[derive(Default)]
pub struct RecordedLog(Mutex<Vec<(InvocationId, LogStream, Vec<u8>)>>);

impl LogSink for RecordedLog {
    fn write(&self, line: &LogLine<'_>) {
        self.0
            .lock()
            .push((line.invocation, line.stream, line.text.to_vec()));
    }
}

impl RecordedLog {
    /// What was written so far.
    pub fn lines(&self) -> Vec<(InvocationId, LogStream, Vec<u8>)> {
        self.0.lock().clone()
    }
}

/// A prepared guest with everything to call it.
pub struct Harness {
    /// The version that runs.
    pub version: Arc<FunctionVersion>,
    /// Its template.
    pub template: Arc<dyn Template>,
    /// Where its log goes.
    pub log: Arc<RecordedLog>,
}

impl Harness {
    /// Prepares `guest` under the default limits changed by `adjust`; `None` when the guest cannot be had
    /// here, which is printed.
    pub async fn prepare(
        subject: &dyn Subject,
        guest: Guest,
        adjust: impl FnOnce(&mut FunctionConfig),
    ) -> Option<Self> {
        match Self::try_prepare(subject, guest, adjust).await {
            Some(Ok(harness)) => Some(harness),
            Some(Err(failure)) => panic!("{guest:?} does not prepare: {failure}"),
            None => None,
        }
    }

    /// The same, with the failure where preparing fails.
    pub async fn try_prepare(
        subject: &dyn Subject,
        guest: Guest,
        adjust: impl FnOnce(&mut FunctionConfig),
    ) -> Option<Result<Self, Failure>> {
        let runtime = subject.runtime();
        let (artifact_path, kind) = match subject.artifact(guest) {
            Ok(artifact) => artifact,
            Err(reason) => {
                skipped(
                    &format!("conformance guest {guest:?} of {:?}", runtime.isolation()),
                    &reason,
                );
                return None;
            }
        };
        let bytes = std::fs::read(&artifact_path).expect("the subject made the file");
        let artifact = Artifact {
            digest: Digest::of(&bytes),
            size_bytes: bytes.len() as u64,
            kind,
        };
        let mut config = FunctionConfig::defaults(runtime.isolation());
        config.env = BTreeMap::from([("GREETING".to_owned(), "moin".to_owned())]);
        adjust(&mut config);
        let function: FunctionKey = "guest.conformance".parse().expect("a valid key");
        let request = PrepareRequest {
            function: function.clone(),
            config: Arc::new(config.clone()),
            artifact: artifact.clone(),
            artifact_path,
        };
        let template = match runtime.prepare(request).await {
            Ok(template) => template,
            Err(failure) => return Some(Err(failure)),
        };
        let version = Arc::new(FunctionVersion {
            function,
            number: 1,
            digest: config.version_digest(&artifact),
            artifact,
            contract: template.contract(),
            config,
            created_unix_ms: 0,
        });
        Some(Ok(Self {
            version,
            template,
            log: Arc::default(),
        }))
    }

    /// The class under test.
    pub fn isolation(&self) -> Isolation {
        self.version.config.isolation
    }

    /// A context for one invocation; `n` makes its id.
    pub fn context(&self, n: u8) -> Arc<InvocationContext> {
        let limits = &self.version.config.limits;
        let timeout_at = OnceLock::new();
        let _ = timeout_at.set(Instant::now() + Duration::from_millis(limits.timeout_ms));
        Arc::new(InvocationContext {
            id: InvocationId::new(1_790_000_000_000, [n; 10]),
            version: Arc::clone(&self.version),
            timeout_at,
            trace: TraceContext::root(1, 1),
            scheme: http::uri::Scheme::HTTP,
            caller: None,
            caller_failure: OnceLock::new(),
            meter: Meter::default(),
            log: self.log.clone(),
        })
    }

    /// Starts a sandbox.
    pub async fn start(&self) -> Result<Started, Failure> {
        let start_timeout = Duration::from_millis(self.version.config.limits.start_timeout_ms);
        self.template
            .start(StartRequest {
                invocation: None,
                deadline: Instant::now() + start_timeout,
            })
            .await
    }

    /// Starts a sandbox and unwraps it.
    pub async fn sandbox(&self) -> Arc<dyn Sandbox> {
        self.start().await.expect("the guest starts").sandbox
    }

    /// Calls a sandbox with `body`.
    pub async fn call(
        &self,
        sandbox: &Arc<dyn Sandbox>,
        context: &Arc<InvocationContext>,
        body: Body,
    ) -> Result<Response<Body>, Failure> {
        let request = Request::builder()
            .method("POST")
            .uri("/path?query=1")
            .header("host", "guest.localhost")
            .body(body)
            .expect("a valid request");
        let invocation = Invocation {
            context: Arc::clone(context),
            event: Event::Http(request),
        };
        Arc::clone(sandbox).invoke(invocation).await
    }

    /// Starts, calls without a body, and collects the answer.
    pub async fn answer(&self, n: u8) -> Result<(u16, Bytes), Failure> {
        let sandbox = self.start().await?.sandbox;
        self.answer_of(&sandbox, n).await
    }

    /// Calls a sandbox without a body and collects the answer.
    pub async fn answer_of(
        &self,
        sandbox: &Arc<dyn Sandbox>,
        n: u8,
    ) -> Result<(u16, Bytes), Failure> {
        let response = self.call(sandbox, &self.context(n), Body::Empty).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, body))
    }
}

/// Says aloud that something was skipped: on stderr, and in the file that `HOLM_TEST_SKIPS` names, which
/// `make test` prints and counts at its end (the test runner hides the output of tests that pass).
pub fn skipped(what: &str, reason: &str) {
    use std::io::Write as _;
    eprintln!("SKIPPED {what}: {reason}");
    if let Some(path) = std::env::var_os("HOLM_TEST_SKIPS") {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path);
        let mut file = file.expect("the file of skips can be written");
        writeln!(file, "SKIPPED {what}: {reason}").expect("the file of skips can be written");
    }
}

/// Waits until `condition` holds, at most `limit`.
pub(crate) async fn eventually(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::task::yield_now().await;
    }
}

/// Asserts a function-side failure with one of `codes`.
pub(crate) fn assert_code<T>(result: Result<T, Failure>, codes: &[Code]) -> Failure {
    let failure = result.err().expect("the guest cannot have answered");
    assert!(
        codes.contains(&failure.code()),
        "{failure}, expected {codes:?}"
    );
    failure
}
