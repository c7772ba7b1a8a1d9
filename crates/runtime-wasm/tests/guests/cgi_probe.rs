//! The CGI probe: a real program with a real standard library, right and wrong on request.

use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::Bytes;
use model::{Code, FunctionConfig};
use runtime::Body;

use crate::harness::{Function, Source, get, guest, post};

async fn probe(configure: impl FnOnce(&mut FunctionConfig)) -> Option<Function> {
    let wasm = guest("tests/fixtures/cgi-probe", "wasm32-wasip1")?;
    Some(Function::with(&wasm, configure).await.unwrap())
}

#[tokio::test]
async fn what_the_rfc_allows_is_answered() {
    let Some(function) = probe(|_| {}).await else {
        return;
    };
    const TEXT: &str = "200|content-type=text/plain|";
    for (path, expected) in [
        ("/args?a+b", format!("{TEXT}tester\n")),
        (
            "/status?n=418",
            "418|content-type=text/plain|body\n".to_owned(),
        ),
        (
            "/no-reason?n=503",
            "503|content-type=text/plain|body\n".to_owned(),
        ),
        (
            "/lf",
            "201|content-type=text/plain|x-two=blanks around|body\r\n\r\nmore\n".to_owned(),
        ),
        (
            "/redirect",
            "302|location=https://example.com/elsewhere|".to_owned(),
        ),
        ("/local-redirect", "302|location=/ignore-body|".to_owned()),
        (
            "/cookies",
            "200|set-cookie=a=1|set-cookie=b=2|content-type=text/plain|".to_owned(),
        ),
        ("/sleep?n=5", format!("{TEXT}slept\n")),
        ("/connection", "200|body\n".to_owned()),
        ("/upgrade", "200|body\n".to_owned()),
        (
            "/nothing",
            "404|content-type=text/plain|no such probe\n".to_owned(),
        ),
        ("/big?n=300000", format!("{TEXT}{}", "a".repeat(300_000))),
    ] {
        let shown = function.invoke(get(path)).await.shown().await;
        assert_eq!(shown, expected, "{path}");
    }
    let all_bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(
        function.invoke(get("/binary")).await.body().await,
        all_bytes
    );
    let files = function.invoke(get("/files")).await.shown().await;
    assert!(!files.contains("entries"), "{files}");
    let one = function.invoke(get("/random")).await.shown().await;
    let other = function.invoke(get("/random")).await.shown().await;
    assert_ne!(one, other);
}

#[tokio::test]
async fn bodies_arrive_whole() {
    const BYTES: u64 = 16 << 20;
    let Some(function) = probe(|_| {}).await else {
        return;
    };
    let text = Bytes::from_static(b"a body");
    let shown = function.invoke(post("/echo", text)).await.shown().await;
    assert_eq!(shown, "200|content-type=text/plain|a body");
    let source = || Body::stream(Source::new(BYTES));
    let shown = function
        .invoke(post("/upload", source()))
        .await
        .shown()
        .await;
    assert_eq!(shown, format!("200|content-type=text/plain|{BYTES}\n"));
    let echoed = function.invoke(post("/echo", source())).await.body().await;
    assert_eq!(echoed.len() as u64, BYTES);
    let shown = function
        .invoke(post("/ignore-body", source()))
        .await
        .shown()
        .await;
    assert_eq!(shown, "200|content-type=text/plain|ok\n");
}

#[tokio::test]
async fn what_the_rfc_forbids_is_a_bad_response() {
    let Some(function) = probe(|_| {}).await else {
        return;
    };
    for path in [
        "/no-blank-line",
        "/only-body",
        "/no-colon",
        "/bad-name",
        "/empty-name",
        "/folded",
        "/cr",
        "/nul",
        "/http-line",
        "/status-0",
        "/status-101",
        "/status-999",
        "/status-text",
        "/status-twice",
        "/transfer-encoding",
        "/length-text",
        "/length-twice",
        "/infinite-header",
        "/infinite-line",
    ] {
        let outcome = function.invoke(get(path)).await;
        assert_eq!(outcome.failure_code(), Some(Code::BadResponse), "{path}");
    }
    for path in ["/length-short", "/length-long"] {
        let shown = function.invoke(get(path)).await.shown().await;
        assert!(shown.contains("BadResponse: "), "{path}: {shown}");
    }
    let outcome = function.invoke(get("/no-output")).await;
    assert_eq!(outcome.failure_code(), Some(Code::NoResponse));
}

#[tokio::test]
async fn bad_ends_are_named() {
    let Some(function) = probe(|config| {
        config.limits.cpu_ms_max = 300;
        config.limits.log_bytes_max = 1_000;
    })
    .await
    else {
        return;
    };
    for (path, expected) in [
        ("/exit?n=7", "Exited: the function exited with code 7"),
        ("/panic", "Trap: "),
        ("/spin", "CpuExhausted: "),
        (
            "/exit-after-body?n=7",
            "Exited: the function exited with code 7",
        ),
        ("/trap-after-head", "Trap: "),
    ] {
        let shown = function.invoke(get(path)).await.shown().await;
        assert!(shown.contains(expected), "{path}: {shown}");
    }
    let outcome = function.invoke(get("/panic")).await;
    let lines = outcome.log.lines();
    assert!(
        lines.iter().any(|line| line.contains("told to panic")),
        "{lines:?}"
    );

    let outcome = function.invoke(get("/stderr-flood?n=1000")).await;
    let (log, context) = (outcome.log.clone(), outcome.context.clone());
    assert!(outcome.shown().await.ends_with("done\n"));
    let n_bytes: usize = log.lines().iter().map(String::len).sum();
    assert!(n_bytes < 4_000, "{n_bytes} bytes of log");
    assert!(context.meter.log_dropped_bytes.load(Ordering::Relaxed) > 5_000);
}

#[tokio::test]
async fn a_program_without_end_stops_when_nobody_waits() {
    let Some(function) = probe(|_| {}).await else {
        return;
    };
    let mut pending = Box::pin(function.invoke(get("/pending")));
    let is_waiting = std::future::poll_fn(|cx| Poll::Ready(pending.as_mut().poll(cx).is_pending()));
    assert!(is_waiting.await);
    drop(pending);
}
