//! `wasi:http` 0.3 components, built from source.

use std::sync::atomic::Ordering;

use http::Request;
use http_body_util::BodyExt as _;
use model::Contract;
use runtime::Body;

use crate::harness::{Function, Source, get, post};

/// A guest crate below the repository's root; `None`, said aloud, where it cannot be built here.
fn guest(directory: &str) -> Option<Vec<u8>> {
    match testkit::guests::cargo(directory, "wasm32-wasip2") {
        Ok(wasm) => Some(wasm),
        Err(reason) => {
            testkit::skipped(directory, &reason);
            None
        }
    }
}

#[tokio::test]
async fn a_component_answers() {
    let Some(wasm) = guest("examples/hello-rust-p3") else {
        return;
    };
    let function = Function::new(&wasm).await;
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
async fn a_long_request_body_streams_in() {
    const BYTES: u64 = 32 << 20;
    let Some(wasm) = guest("examples/hello-rust-p3") else {
        return;
    };
    let function = Function::new(&wasm).await;
    let outcome = function
        .invoke(post("/", Body::stream(Source::new(BYTES))))
        .await;
    let context = outcome.context.clone();
    let shown = outcome.shown().await;
    assert!(
        shown.contains(&format!("\"body_bytes\":{BYTES}")),
        "{shown}"
    );
    let peak = context.meter.memory_peak_bytes.load(Ordering::Relaxed);
    assert!(peak < 4 << 20, "{peak} bytes of guest memory");
}

#[tokio::test]
async fn an_instance_may_serve_again() {
    let Some(wasm) = guest("examples/hello-rust-p3") else {
        return;
    };
    let function = Function::with(&wasm, |config| config.reuse = 3)
        .await
        .unwrap();
    let mut outcome = function.invoke(get("/")).await;
    for _ in 0..3 {
        let sandbox = outcome.sandbox.clone();
        let body = outcome
            .response
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap();
        assert!(body.to_bytes().starts_with(b"{\"greeting\""));
        assert!(sandbox.is_reusable());
        outcome = function.invoke_again(sandbox, get("/")).await;
    }
}
