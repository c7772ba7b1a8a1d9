//! The invoker against the scripted engine, on paused time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use model::{
    Artifact, ArtifactKind, Code, Contract, Digest, FunctionConfig, FunctionVersion, InvocationId,
    Isolation, Receipt, StartKind,
};
use parking_lot::Mutex;
use runtime::sim::SimRuntime;
use runtime::{Body, LogLine, LogSink, TraceContext};
use store::{BlobStore, LiveVersion, StoreError};
use tokio::time::Instant;

use crate::{Answer, Call, Invoker, InvokerConfig, InvokerDeps, UsageSink};

#[derive(Default)]
struct Recorded {
    receipts: Mutex<Vec<Receipt>>,
    lines: Mutex<Vec<String>>,
}

impl UsageSink for Recorded {
    fn settle(&self, receipt: Receipt, _version: &FunctionVersion) {
        self.receipts.lock().push(receipt);
    }
}

impl LogSink for Recorded {
    fn write(&self, line: &LogLine<'_>) {
        self.lines
            .lock()
            .push(String::from_utf8_lossy(line.text).into_owned());
    }
}

/// Scripts as files: the only blobs that the scripted engine needs.
struct Scripts(tempfile::TempDir);

impl BlobStore for Scripts {
    fn put(
        &self,
        expected: Digest,
        bytes: &mut dyn std::io::Read,
        _bytes_max: u64,
    ) -> Result<u64, StoreError> {
        let mut file = std::fs::File::create(self.0.path().join(expected.to_string()))?;
        Ok(std::io::copy(bytes, &mut file)?)
    }

    fn find(&self, digest: Digest) -> Result<Option<(PathBuf, u64)>, StoreError> {
        let path = self.0.path().join(digest.to_string());
        Ok(std::fs::metadata(&path).ok().map(|meta| (path, meta.len())))
    }

    fn collect_garbage(&self, _keep: &dyn Fn(Digest) -> bool) -> Result<usize, StoreError> {
        Ok(0)
    }
}

struct Fixture {
    invoker: Arc<Invoker>,
    runtime: Arc<SimRuntime>,
    recorded: Arc<Recorded>,
    scripts: Arc<Scripts>,
    next: AtomicU64,
}

impl Fixture {
    fn new() -> Self {
        Self::with(InvokerConfig::default())
    }

    fn with(config: InvokerConfig) -> Self {
        let runtime = SimRuntime::new(Isolation::Wasm);
        let recorded = Arc::new(Recorded::default());
        let scripts = Arc::new(Scripts(tempfile::tempdir().expect("a directory")));
        let deps = InvokerDeps {
            runtimes: vec![runtime.clone()],
            blobs: scripts.clone(),
            usage: recorded.clone(),
            log: recorded.clone(),
        };
        Self {
            invoker: Invoker::new(config, deps),
            runtime,
            recorded,
            scripts,
            next: AtomicU64::new(1),
        }
    }

    fn deploy(&self, script: &str, adjust: impl FnOnce(&mut FunctionConfig)) -> Arc<LiveVersion> {
        let digest = Digest::of(script.as_bytes());
        self.scripts
            .put(digest, &mut script.as_bytes(), u64::MAX)
            .expect("the directory is writable");
        let mut config = FunctionConfig::defaults(Isolation::Wasm);
        adjust(&mut config);
        let artifact = Artifact {
            digest,
            size_bytes: script.len() as u64,
            kind: ArtifactKind::Wasm,
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let version = FunctionVersion {
            function: "scripted".parse().expect("a name"),
            number,
            digest: config.version_digest(&artifact),
            artifact,
            contract: Contract::Sim,
            config,
            created_unix_ms: 0,
        };
        Arc::new(LiveVersion::new(number, Arc::new(version)))
    }

    async fn call(&self, target: &Arc<LiveVersion>, body: Body) -> Answer {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        self.invoker
            .invoke(Call {
                target: Arc::clone(target),
                id: InvocationId::new(n, [0; 10]),
                trace: TraceContext::root(1, n),
                accepted: Instant::now(),
                accepted_unix_ms: n,
                scheme: http::uri::Scheme::HTTP,
                caller: None,
                request: Request::new(body),
            })
            .await
    }

    async fn text(&self, target: &Arc<LiveVersion>) -> Result<String, Code> {
        let answer = self.call(target, Body::Empty).await;
        let response = answer.response.map_err(|failure| failure.code())?;
        let body = response.into_body().collect().await;
        let bytes = body.map_err(|failure| failure.code())?.to_bytes();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn last_receipt(&self) -> Receipt {
        self.recorded
            .receipts
            .lock()
            .last()
            .expect("a receipt")
            .clone()
    }

    fn n_alive(&self) -> usize {
        self.runtime.counts().n_alive.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_instance_per_request_is_the_default() {
    let fixture = Fixture::new();
    let target = fixture.deploy("count", |_| {});
    for kind in [StartKind::Cold, StartKind::Fresh, StartKind::Fresh] {
        assert_eq!(fixture.text(&target).await.as_deref(), Ok("1"));
        assert_eq!(fixture.last_receipt().start, kind);
        assert_eq!(fixture.n_alive(), 0);
    }
    let receipt = fixture.last_receipt();
    assert_eq!(
        (receipt.status, receipt.error, receipt.bytes_out),
        (200, None, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_reused_instance_serves_its_number_and_goes() {
    let fixture = Fixture::new();
    let target = fixture.deploy("count", |config| config.reuse = 2);
    for expected in ["1", "2", "1"] {
        assert_eq!(fixture.text(&target).await.as_deref(), Ok(expected));
    }
    assert_eq!(fixture.n_alive(), 1);
    fixture
        .invoker
        .sweep(Instant::now() + Duration::from_secs(11));
    assert_eq!(fixture.n_alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn concurrency_is_limited_by_name_and_given_back() {
    let fixture = Fixture::new();
    let target = fixture.deploy("sleep 100\nwrite ok", |config| {
        config.limits.concurrency_max = 1;
    });
    let (first, second) = tokio::join!(fixture.text(&target), fixture.call(&target, Body::Empty));
    assert_eq!(first.as_deref(), Ok("ok"));
    let failure = second.response.expect_err("one place only");
    assert_eq!(failure.code(), Code::TooManyConcurrent);
    assert_eq!(failure.limit().expect("named").name, "limits.concurrency");
    assert!(failure.retry_after_s().is_some());
    assert_eq!(fixture.text(&target).await.as_deref(), Ok("ok"));
    assert_eq!(fixture.recorded.receipts.lock().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn one_namespace_cannot_take_every_place() {
    let fixture = Fixture::with(InvokerConfig {
        n_per_namespace_max: 2,
        ..InvokerConfig::default()
    });
    let target = fixture.deploy("sleep 100\nwrite ok", |_| {});
    let calls = async {
        tokio::join!(
            fixture.text(&target),
            fixture.text(&target),
            fixture.call(&target, Body::Empty)
        )
    };
    let (first, second, third) = calls.await;
    assert_eq!((first.as_deref(), second.as_deref()), (Ok("ok"), Ok("ok")));
    let failure = third.response.expect_err("two places only");
    assert_eq!(failure.code(), Code::TooManyConcurrent);
    let limit = failure.limit().expect("named");
    assert_eq!(limit.name, "n_per_namespace_max");
    assert_eq!(
        fixture.text(&target).await.as_deref(),
        Ok("ok"),
        "given back"
    );
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_hanging_function_before_and_after_the_head() {
    let fixture = Fixture::new();
    for script in ["hang", "write part\nhang"] {
        let target = fixture.deploy(script, |config| config.limits.timeout_ms = 50);
        assert_eq!(
            fixture.text(&target).await,
            Err(Code::DeadlineExceeded),
            "{script}"
        );
        let receipt = fixture.last_receipt();
        assert_eq!(receipt.error, Some(Code::DeadlineExceeded));
        assert!(
            (50_000_000..60_000_000).contains(&receipt.run_ns),
            "{}",
            receipt.run_ns
        );
        assert_eq!(fixture.n_alive(), 0);
        assert_eq!(fixture.invoker.n_running(), 0);
    }
    // The caller saw the status of the head that was sent.
    assert_eq!(fixture.last_receipt().status, 200);
    assert!(
        fixture
            .recorded
            .lines
            .lock()
            .iter()
            .any(|line| line.contains("H2002"))
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_start_does_not_eat_the_deadline() {
    let fixture = Fixture::new();
    let slow = fixture.deploy("init sleep 200\nsleep 40\nwrite ok", |config| {
        config.limits.timeout_ms = 50;
    });
    assert_eq!(fixture.text(&slow).await.as_deref(), Ok("ok"));
    let never = fixture.deploy("init sleep 200\nwrite ok", |config| {
        config.limits.start_timeout_ms = 100;
    });
    assert_eq!(fixture.text(&never).await, Err(Code::StartTimeout));
    assert_eq!(fixture.last_receipt().start, StartKind::None);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_frees_everything_and_leaves_a_receipt() {
    let fixture = Fixture::new();
    for script in ["hang", "write part\nhang"] {
        let target = fixture.deploy(script, |_| {});
        let outcome = tokio::time::timeout(Duration::from_millis(5), fixture.text(&target)).await;
        assert!(outcome.is_err());
        assert_eq!(fixture.last_receipt().error, Some(Code::CallerGone));
        assert_eq!((fixture.n_alive(), fixture.invoker.n_running()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn request_bodies_are_counted_and_limited() {
    let fixture = Fixture::new();
    let target = fixture.deploy("echo", |config| config.limits.body_bytes_max = 10);
    let answer = fixture
        .call(&target, Body::from(Bytes::from_static(b"0123456789")))
        .await;
    let body = answer
        .response
        .expect("within the limit")
        .into_body()
        .collect()
        .await;
    assert_eq!(body.expect("whole").to_bytes(), "0123456789");
    let receipt = fixture.last_receipt();
    assert_eq!((receipt.bytes_in, receipt.bytes_out), (10, 10));

    let announced = fixture
        .call(&target, Body::from(Bytes::from_static(b"0123456789a")))
        .await;
    assert_eq!(
        announced.response.expect_err("above").code(),
        Code::BodyTooLarge
    );
    assert_eq!(fixture.last_receipt().start, StartKind::None);

    let chunks = [Bytes::from_static(b"012345"), Bytes::from_static(b"6789ab")];
    let frames = chunks.map(|chunk| Ok(http_body::Frame::data(chunk)));
    let stream = http_body_util::StreamBody::new(Frames(frames.into_iter()));
    let streamed = fixture.call(&target, Body::stream(stream)).await;
    let body = streamed
        .response
        .expect("the head was sent")
        .into_body()
        .collect()
        .await;
    assert_eq!(body.expect_err("above").code(), Code::BodyTooLarge);
    assert_eq!(fixture.last_receipt().error, Some(Code::BodyTooLarge));
}

/// A stream of frames, so that no length is announced.
struct Frames<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_response_ends_at_the_limit() {
    let fixture = Fixture::new();
    let target = fixture.deploy("big 1000000", |config| {
        config.limits.body_bytes_max = 100_000;
    });
    assert_eq!(fixture.text(&target).await, Err(Code::ResponseTooLarge));
    assert_eq!(fixture.n_alive(), 0);
    let whole = fixture.deploy("write 0123456789", |config| {
        config.limits.body_bytes_max = 9;
    });
    assert_eq!(fixture.text(&whole).await, Err(Code::ResponseTooLarge));
}

#[tokio::test(start_paused = true)]
async fn a_herd_of_first_requests_prepares_once() {
    let fixture = Arc::new(Fixture::new());
    let target = fixture.deploy("whoami", |_| {});
    let mut herd = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (fixture, target) = (Arc::clone(&fixture), Arc::clone(&target));
        herd.spawn(async move { fixture.text(&target).await });
    }
    while let Some(answer) = herd.join_next().await {
        assert_eq!(answer.expect("no panic").as_deref(), Ok("scripted 1"));
    }
    assert_eq!(
        fixture.runtime.counts().n_prepared.load(Ordering::Relaxed),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_artifact_and_a_failing_init_have_codes() {
    let fixture = Fixture::new();
    let target = fixture.deploy("init fail", |_| {});
    assert_eq!(fixture.text(&target).await, Err(Code::InitFailed));
    let gone = fixture.deploy("write gone", |_| {});
    let path = fixture
        .scripts
        .0
        .path()
        .join(gone.version.artifact.digest.to_string());
    std::fs::remove_file(path).expect("it was written");
    assert_eq!(fixture.text(&gone).await, Err(Code::ArtifactMissing));
}

#[tokio::test(start_paused = true)]
async fn a_retired_version_keeps_no_instance_and_may_come_back() {
    let fixture = Fixture::new();
    let target = fixture.deploy("sleep 10\ncount", |config| config.reuse = 100);
    assert_eq!(fixture.text(&target).await.as_deref(), Ok("1"));
    let busy = fixture.text(&target);
    let retire = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        fixture.invoker.retire(target.uid);
    };
    let (answer, ()) = tokio::join!(busy, retire);
    assert_eq!(
        answer.as_deref(),
        Ok("2"),
        "an invocation under way finishes"
    );
    assert_eq!(fixture.n_alive(), 0, "its instance is not kept");
    assert_eq!(fixture.text(&target).await.as_deref(), Ok("1"));
    assert_eq!(fixture.text(&target).await.as_deref(), Ok("2"));
}

#[tokio::test(start_paused = true)]
async fn the_class_budget_evicts_idle_instances_then_makes_callers_wait() {
    let mut config = InvokerConfig::default();
    config.wasm.n_instances_max = 1;
    let fixture = Fixture::with(config);
    let idle = fixture.deploy("count", |config| config.reuse = 100);
    let slow = fixture.deploy("sleep 50\nwrite ok", |_| {});
    assert_eq!(fixture.text(&idle).await.as_deref(), Ok("1"));
    assert_eq!(fixture.n_alive(), 1);
    let (first, second) = tokio::join!(fixture.text(&slow), fixture.text(&slow));
    assert_eq!((first.as_deref(), second.as_deref()), (Ok("ok"), Ok("ok")));
    let receipts = fixture.recorded.receipts.lock().clone();
    let waited_ns = receipts.iter().map(|receipt| receipt.queue_ns).max();
    assert!(
        waited_ns.is_some_and(|ns| ns >= 50_000_000),
        "{waited_ns:?}"
    );
    assert_eq!(
        fixture.text(&idle).await.as_deref(),
        Ok("1"),
        "it had been evicted"
    );
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_could_idle_gives_its_place_to_whoever_waits() {
    let mut config = InvokerConfig::default();
    config.wasm.n_instances_max = 1;
    let fixture = Fixture::with(config);
    let keeper = fixture.deploy("sleep 50\ncount", |config| config.reuse = 100);
    let other = fixture.deploy("write ok", |_| {});
    let late = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        fixture.text(&other).await
    };
    let began = Instant::now();
    let (kept, waited) = tokio::join!(fixture.text(&keeper), late);
    assert_eq!((kept.as_deref(), waited.as_deref()), (Ok("1"), Ok("ok")));
    // Not until the idle instance expires, which is seconds later.
    assert_eq!(began.elapsed().as_millis(), 50);
}

#[tokio::test(start_paused = true)]
async fn functions_of_the_same_content_do_not_share_a_template() {
    let fixture = Fixture::new();
    let first = fixture.deploy("whoami", |_| {});
    let mut version = FunctionVersion::clone(&first.version);
    version.function = "twin".parse().expect("a name");
    let twin = Arc::new(LiveVersion::new(1_000, Arc::new(version)));
    for target in [&first, &twin] {
        let version = &target.version;
        let config = Arc::new(version.config.clone());
        let prepared = fixture
            .invoker
            .prepare(&version.function, config, &version.artifact);
        prepared.await.map(drop).expect("the script is valid");
    }
    assert_eq!(fixture.text(&first).await.as_deref(), Ok("scripted 1"));
    assert_eq!(fixture.text(&twin).await.as_deref(), Ok("twin 1"));
    let n_prepared = fixture.runtime.counts().n_prepared.load(Ordering::Relaxed);
    assert_eq!(n_prepared, 2, "each finds the one made for it");
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_the_last_and_refuses_the_next() {
    let fixture = Fixture::new();
    let target = fixture.deploy("sleep 50\nwrite ok", |_| {});
    let drain = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let n_left = fixture.invoker.drain(Duration::from_secs(5)).await;
        (n_left, fixture.text(&target).await)
    };
    let (answer, (n_left, refused)) = tokio::join!(fixture.text(&target), drain);
    assert_eq!(answer.as_deref(), Ok("ok"));
    assert_eq!((n_left, refused), (0, Err(Code::Draining)));
}

#[tokio::test(start_paused = true)]
async fn the_receipt_is_there_before_the_last_frame() {
    let fixture = Fixture::new();
    let target = fixture.deploy("write a\nwrite b", |_| {});
    let answer = fixture.call(&target, Body::Empty).await;
    let mut body = answer.response.expect("an answer").into_body();
    while let Some(frame) = body.frame().await {
        frame.expect("no failure");
    }
    assert_eq!(fixture.recorded.receipts.lock().len(), 1);
    drop(body);
    assert_eq!(fixture.recorded.receipts.lock().len(), 1, "exactly one");
}
