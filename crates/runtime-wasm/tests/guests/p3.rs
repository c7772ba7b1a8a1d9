//! `wasi:http` 0.3 components, built from source.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use model::{Code, Contract, FunctionConfig};
use runtime::Body;

use crate::harness::{Function, Outcome, Source, get, guest, post};

async fn hello() -> Option<Function> {
    let wasm = guest("examples/hello-rust-p3", "wasm32-wasip2")?;
    Some(Function::new(&wasm).await)
}

async fn probe(configure: impl FnOnce(&mut FunctionConfig)) -> Option<Function> {
    let wasm = guest("tests/fixtures/http-probe-p3", "wasm32-wasip2")?;
    Some(Function::with(&wasm, configure).await.unwrap())
}

#[tokio::test]
async fn a_component_answers() {
    let Some(function) = hello().await else {
        return;
    };
    assert_eq!(function.contract(), Contract::WasiHttp03);
    let greeting =
        "200|content-type=application/json|{\"greeting\":\"Hello from wasi:http 0.3\"}\n";
    let outcome = function.invoke(get("/")).await;
    let context = outcome.context.clone();
    assert_eq!(outcome.shown().await, greeting);
    assert!(context.meter.cpu_ns.load(Ordering::Relaxed) > 0);
    assert!(context.meter.memory_peak_bytes.load(Ordering::Relaxed) > 0);

    let head = Request::head("/").body(Body::Empty).unwrap();
    let shown = function.invoke(head).await.shown().await;
    assert_eq!(shown, "200|content-type=application/json|");
}

#[tokio::test]
async fn every_request_gets_a_fresh_instance_or_the_same_one_as_asked() {
    let Some(fresh) = probe(|_| {}).await else {
        return;
    };
    for _ in 0..3 {
        assert_eq!(fresh.invoke(get("/counter")).await.shown().await, "200|1\n");
    }
    let Some(kept) = probe(|config| config.reuse = 3).await else {
        return;
    };
    let mut outcome = kept.invoke(get("/counter")).await;
    for n in 1..4 {
        let sandbox = outcome.sandbox.clone();
        assert_eq!(outcome.shown().await, format!("200|{n}\n"));
        assert!(sandbox.is_reusable());
        outcome = kept.invoke_again(sandbox, get("/counter")).await;
    }
}

#[tokio::test]
async fn a_long_request_body_streams_in() {
    const BYTES: u64 = 32 << 20;
    let Some(function) = probe(|_| {}).await else {
        return;
    };
    let outcome = function
        .invoke(post("/upload", Body::stream(Source::new(BYTES))))
        .await;
    let context = outcome.context.clone();
    assert_eq!(outcome.shown().await, format!("200|{BYTES}\n"));
    let peak = context.meter.memory_peak_bytes.load(Ordering::Relaxed);
    assert!(peak < 4 << 20, "{peak} bytes of guest memory");
}

#[tokio::test]
async fn a_long_response_body_streams_out_as_it_is_taken() {
    let Some(function) = probe(|_| {}).await else {
        return;
    };
    let Outcome {
        response, context, ..
    } = function.invoke(get("/infinite")).await;
    let mut body = response.unwrap().into_body();
    let mut n_read = 0;
    while n_read < 16 << 20 {
        n_read += body
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap()
            .len();
    }
    // Nobody polls now: the guest stands still, and ends with the body.
    assert!(Arc::strong_count(&context) > 1);
    drop(body);
    assert_eq!(Arc::strong_count(&context), 1);
}

#[tokio::test]
async fn a_body_that_is_passed_on_outlives_the_guest() {
    let Some(function) = probe(|_| {}).await else {
        return;
    };
    // The guest has returned long before the first piece of the body arrives.
    let (sender, receiver) = tokio::sync::oneshot::channel::<Bytes>();
    let pieces = futures_body(receiver);
    let outcome = function.invoke(post("/echo", Body::stream(pieces))).await;
    let mut body = outcome.response.unwrap().into_body();
    let mut first = Box::pin(body.frame());
    let waiting = std::future::poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx).is_pending()));
    assert!(waiting.await, "nothing has arrived");
    sender.send(Bytes::from_static(b"late")).unwrap();
    assert_eq!(first.await.unwrap().unwrap().into_data().unwrap(), "late");
    assert!(body.frame().await.is_none());
}

/// A body of one piece, which comes when it is sent.
fn futures_body(
    receiver: tokio::sync::oneshot::Receiver<Bytes>,
) -> impl http_body::Body<Data = Bytes, Error = model::Failure> {
    StreamBody::new(Box::pin(futures_util::stream::once(async move {
        Ok(Frame::data(receiver.await.unwrap()))
    })))
}

#[tokio::test]
async fn a_passed_on_body_is_whole() {
    const BYTES: u64 = 8 << 20;
    let Some(function) = probe(|_| {}).await else {
        return;
    };
    let outcome = function
        .invoke(post("/echo", Body::stream(Source::new(BYTES))))
        .await;
    assert_eq!(outcome.body().await.len() as u64, BYTES);
}

#[tokio::test]
async fn what_ends_badly_is_named() {
    let Some(function) = probe(|config| config.limits.cpu_ms_max = 200).await else {
        return;
    };
    for (path, code) in [
        ("/trap", Code::Trap),
        ("/panic", Code::Trap),
        ("/exit?code=3", Code::Exited),
        ("/exit?code=0", Code::NoResponse),
        ("/error-response", Code::FunctionError),
        ("/spin?ms=60000", Code::CpuExhausted),
        ("/status?code=101", Code::BadResponse),
    ] {
        let outcome = function.invoke(get(path)).await;
        assert_eq!(outcome.failure_code(), Some(code), "{path}");
        assert!(!outcome.sandbox.is_reusable());
    }
    for (path, expected) in [
        ("/trap-mid-stream", "200|before the trap\n|Trap: "),
        ("/trap-after-answer", "200|done\n|Trap: "),
        ("/answer-then-spin", "200|done\n|CpuExhausted: "),
        (
            "/content-length-lie?declared=10&actual=20",
            "200|content-length=10||BadResponse: ",
        ),
        (
            "/content-length-lie?declared=20&actual=10",
            "200|content-length=20|aaaaaaaaaa|BadResponse: ",
        ),
    ] {
        let shown = function.invoke(get(path)).await.shown().await;
        assert!(shown.starts_with(expected), "{path}: {shown}");
    }
}

#[tokio::test]
async fn waiting_costs_no_cpu_time_and_dropping_ends_it() {
    let Some(function) = probe(|_| {}).await else {
        return;
    };
    let outcome = function.invoke(get("/sleep?ms=200")).await;
    let context = outcome.context.clone();
    assert_eq!(outcome.shown().await, "200|slept 200 ms\n");
    let cpu_ms = context.meter.cpu_ns.load(Ordering::Relaxed) / 1_000_000;
    assert!(cpu_ms < 100, "{cpu_ms} ms");

    let mut pending = Box::pin(function.invoke(get("/pending")));
    let still_waiting =
        std::future::poll_fn(|cx| Poll::Ready(pending.as_mut().poll(cx).is_pending()));
    assert!(still_waiting.await);
    drop(pending);
}

#[tokio::test]
async fn a_flood_of_tasks_hurts_only_its_maker() {
    let Some(function) = probe(|_| {}).await else {
        return;
    };
    let shown = function.invoke(get("/many-tasks?n=1000")).await;
    let mut body = shown.response.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "1000\n");
    drop(body);
    let shown = function
        .invoke(get("/many-tasks?n=100000"))
        .await
        .shown()
        .await;
    assert!(shown.contains("HostcallLimit: "), "{shown}");
}
