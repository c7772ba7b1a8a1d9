//! The cases. Each says in its name what must hold.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use model::{Code, Failure, Isolation, Side};
use tokio::time::Instant;

use super::harness::{Guest, Harness, Subject, assert_code, eventually};
use crate::Body;
use crate::log::LogStream;

/// What an engine may hold of a body between caller and guest, both directions together.
const BUFFERED_BYTES_MAX: usize = 1024 * 1024;

/// What may pass between a dropped future and its effect, on a loaded machine.
const SOON: Duration = Duration::from_secs(10);

macro_rules! prepared {
    ($subject:expr, $guest:expr) => {
        prepared!($subject, $guest, |_| {})
    };
    ($subject:expr, $guest:expr, $adjust:expr) => {
        match Harness::prepare($subject, $guest, $adjust).await {
            Some(harness) => harness,
            None => return,
        }
    };
}

/// Status, headers and body arrive as the guest set them.
pub async fn answers_with_head_and_body(subject: &dyn Subject) {
    let harness = prepared!(subject, Guest::Hello);
    let sandbox = harness.sandbox().await;
    let context = harness.context(1);
    let response = harness.call(&sandbox, &context, Body::Empty).await;
    let response = response.expect("the guest answers");
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["x-guest"], "hello");
    let body = response.into_body().collect().await.expect("a whole body");
    assert_eq!(body.to_bytes(), "hello");
}

/// A body that hands out chunks for ever and counts them.
struct Endless(Arc<AtomicUsize>, usize);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.0.load(Ordering::SeqCst) >= self.1 {
            return Poll::Ready(None);
        }
        let chunk = Bytes::from(vec![b'e'; 16 * 1024]);
        self.0.fetch_add(chunk.len(), Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

/// Bodies stream both ways, and a caller who does not read stops the one who writes.
pub async fn echoes_a_streamed_body_with_back_pressure(subject: &dyn Subject) {
    let harness = prepared!(subject, Guest::Echo);
    let sandbox = harness.sandbox().await;
    let total_bytes = 8 * 1024 * 1024;
    let n_taken = Arc::new(AtomicUsize::new(0));
    let body = Body::stream(Endless(Arc::clone(&n_taken), total_bytes));
    let context = harness.context(1);
    let response = harness.call(&sandbox, &context, body).await;
    let mut body = response.expect("the guest answers").into_body();
    let mut n_read = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("no failure in mid-stream");
        n_read += frame.data_ref().map_or(0, Bytes::len);
        let n_held = n_taken.load(Ordering::SeqCst) - n_read.min(n_taken.load(Ordering::SeqCst));
        assert!(n_held <= BUFFERED_BYTES_MAX, "{n_held} bytes are held");
    }
    assert_eq!(n_read, total_bytes);
}

/// No state passes from one sandbox to the next.
pub async fn a_new_sandbox_starts_clean(subject: &dyn Subject) {
    let harness = prepared!(subject, Guest::Count);
    for n in 1..=20 {
        let (_, body) = harness.answer(n).await.expect("the guest answers");
        assert_eq!(body, "1", "instance {n}");
    }
}

/// A sandbox that says it is reusable is the same one at the next invocation.
pub async fn a_reusable_sandbox_counts_on(subject: &dyn Subject) {
    let harness = prepared!(
        subject,
        Guest::Count,
        |config: &mut model::FunctionConfig| {
            config.reuse = 3;
        }
    );
    let sandbox = harness.sandbox().await;
    for n in 1..=3 {
        let (_, body) = harness
            .answer_of(&sandbox, n)
            .await
            .expect("the guest answers");
        assert_eq!(body, n.to_string());
        assert!(sandbox.is_reusable(), "after invocation {n}");
    }
}

/// A crash is the function's failure; the sandbox is spent, the engine is not.
pub async fn a_trap_is_a_function_failure(subject: &dyn Subject) {
    let harness = prepared!(subject, Guest::Trap);
    let sandbox = harness.sandbox().await;
    let failure = assert_code(
        harness.answer_of(&sandbox, 1).await,
        &[Code::Trap, Code::Exited, Code::FunctionError],
    );
    assert_eq!(failure.code().side(), Side::Function);
    assert!(!sandbox.is_reusable());
    assert_code(
        harness.answer(2).await,
        &[Code::Trap, Code::Exited, Code::FunctionError],
    );
}

/// A crash after the head ends the body in an error, never in a short answer that looks whole.
pub async fn a_late_trap_fails_the_body(subject: &dyn Subject) {
    let harness = prepared!(subject, Guest::TrapLate);
    let sandbox = harness.sandbox().await;
    let failure = assert_code(
        harness.answer_of(&sandbox, 1).await,
        &[Code::Trap, Code::Exited, Code::FunctionError],
    );
    assert_eq!(failure.code().side(), Side::Function);
    assert!(!sandbox.is_reusable());
}

/// Dropping the future cancels the guest and spends the sandbox.
pub async fn a_dropped_invocation_frees_its_place(subject: &dyn Subject) {
    let harness = prepared!(subject, Guest::Hang);
    for n in 0..8 {
        let sandbox = harness.sandbox().await;
        let answer = harness.answer_of(&sandbox, n);
        let outcome = tokio::time::timeout(Duration::from_millis(20), answer).await;
        assert!(outcome.is_err(), "the guest cannot have answered");
        assert!(!sandbox.is_reusable());
        let sandbox_weak = Arc::downgrade(&sandbox);
        drop(sandbox);
        eventually(SOON, "the sandbox is gone", || {
            sandbox_weak.strong_count() == 0
        })
        .await;
    }
}

/// The CPU budget ends a guest that burns, within 50 ms of the limit where time is the engine's own.
pub async fn cpu_time_is_limited(subject: &dyn Subject) {
    let cpu_ms_max = 100;
    let harness = prepared!(
        subject,
        Guest::Spin,
        |config: &mut model::FunctionConfig| {
            config.limits.cpu_ms_max = cpu_ms_max;
        }
    );
    let sandbox = harness.sandbox().await;
    let context = harness.context(1);
    let began = Instant::now();
    let result = harness.call(&sandbox, &context, Body::Empty).await;
    let failure = assert_code(result, &[Code::CpuExhausted]);
    assert_eq!(
        failure.limit().expect("the limit is named").name,
        "limits.cpu_ms"
    );
    let cpu_ms = context.meter.cpu_ns.load(Ordering::Relaxed) / 1_000_000;
    assert!(
        (cpu_ms_max..cpu_ms_max + 50).contains(&cpu_ms),
        "{cpu_ms} ms of CPU"
    );
    assert!(began.elapsed() < SOON);
    assert!(!sandbox.is_reusable());
}

/// What a guest logs is found under its invocation.
pub async fn logs_arrive_under_the_invocation(subject: &dyn Subject) {
    let harness = prepared!(subject, Guest::Log);
    harness.answer(7).await.expect("the guest answers");
    let log = Arc::clone(&harness.log);
    eventually(SOON, "the line arrives", || !log.lines().is_empty()).await;
    let (id, stream, text) = log.lines().swap_remove(0);
    assert_eq!(id, harness.context(7).id);
    assert_ne!(stream, LogStream::Platform);
    assert_eq!(String::from_utf8_lossy(&text), "a line");
}

/// A flood is cut at the limit and counted; the notice about it comes once.
pub async fn log_volume_is_limited(subject: &dyn Subject) {
    let log_bytes_max = 10_000;
    let harness = prepared!(
        subject,
        Guest::LogFlood,
        |config: &mut model::FunctionConfig| {
            config.limits.log_bytes_max = log_bytes_max;
        }
    );
    let sandbox = harness.sandbox().await;
    let context = harness.context(1);
    let response = harness.call(&sandbox, &context, Body::Empty).await;
    let body = response
        .expect("the guest answers")
        .into_body()
        .collect()
        .await;
    body.expect("a whole body");
    let meter = &context.meter;
    eventually(SOON, "the flood is counted", || {
        meter.log_dropped_bytes.load(Ordering::Relaxed) > 900_000
    })
    .await;
    let lines = harness.log.lines();
    let n_bytes: usize = lines
        .iter()
        .filter(|(_, stream, _)| *stream != LogStream::Platform)
        .map(|(_, _, text)| text.len() + 1)
        .sum();
    assert!(n_bytes as u64 <= log_bytes_max, "{n_bytes} bytes were kept");
    let n_notices = lines
        .iter()
        .filter(|(_, stream, _)| *stream == LogStream::Platform)
        .count();
    assert_eq!(n_notices, 1);
}

/// The version's environment reaches the guest.
pub async fn the_environment_is_there(subject: &dyn Subject) {
    let harness = prepared!(subject, Guest::Env);
    let (_, body) = harness.answer(1).await.expect("the guest answers");
    assert_eq!(body, "moin");
}

/// A body of many chunks arrives whole.
pub async fn a_big_body_streams(subject: &dyn Subject) {
    let harness = prepared!(subject, Guest::Big);
    let (_, body) = harness.answer(1).await.expect("the guest answers");
    assert_eq!(body.len(), 1_000_000);
    assert!(body.iter().all(|byte| *byte == b'x'));
}

/// A guest that fails before it can serve is not taken for one that failed while serving.
pub async fn a_failing_init_is_told_apart(subject: &dyn Subject) {
    let harness = prepared!(subject, Guest::InitFail);
    assert_code(harness.start().await.map(|_| ()), &[Code::InitFailed]);
}

/// What is no artifact is refused, and says so.
pub async fn junk_is_refused_with_a_4xx(subject: &dyn Subject) {
    let Some(result) = Harness::try_prepare(subject, Guest::Junk, |_| {}).await else {
        return;
    };
    let failure = result.err().expect("junk cannot be prepared");
    assert!((400..500).contains(&failure.code().status()), "{failure}");
}

/// A herd of starts is served.
pub async fn many_start_at_once(subject: &dyn Subject) {
    let harness = Arc::new(prepared!(subject, Guest::Hello));
    let n_starts = match harness.isolation() {
        Isolation::Wasm => 200,
        Isolation::V8 | Isolation::Container | Isolation::Gvisor => 8,
        Isolation::Microvm => 3,
    };
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..n_starts {
        let harness = Arc::clone(&harness);
        tasks.spawn(async move { harness.answer(n).await });
    }
    while let Some(answer) = tasks.join_next().await {
        let (status, body) = answer.expect("no panic").expect("the guest answers");
        assert_eq!((status, &body[..]), (201, &b"hello"[..]));
    }
}

/// CPU time and memory are on the meter when the answer has ended.
pub async fn usage_is_metered(subject: &dyn Subject) {
    let harness = prepared!(subject, Guest::Big);
    let sandbox = harness.sandbox().await;
    let context = harness.context(1);
    let response = harness.call(&sandbox, &context, Body::Empty).await;
    let body = response
        .expect("the guest answers")
        .into_body()
        .collect()
        .await;
    body.expect("a whole body");
    assert!(context.meter.memory_peak_bytes.load(Ordering::Relaxed) > 0);
    if harness.version.contract != model::Contract::Sim {
        assert!(context.meter.cpu_ns.load(Ordering::Relaxed) > 0);
    }
}

/// Stopping twice is stopping once.
pub async fn stop_is_idempotent(subject: &dyn Subject) {
    let harness = prepared!(subject, Guest::Hello);
    let sandbox = harness.sandbox().await;
    Arc::clone(&sandbox).stop(Duration::ZERO).await;
    Arc::clone(&sandbox).stop(Duration::ZERO).await;
    assert!(!sandbox.is_reusable());
}
