//! Outbound requests of guests of every contract that has them: what the manifest allows arrives, all
//! else is denied and told in the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::harness::{Function, get, guest};

/// Answers every request with 203 and a word; counts them.
struct Server {
    address: SocketAddr,
    hits: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hits = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let hits = hits.clone();
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    hits.fetch_add(1, Ordering::SeqCst);
                    let service = service_fn(|_| async {
                        let response = Response::builder().status(203);
                        response.body(Full::new(Bytes::from_static(b"outside")))
                    });
                    let server = hyper::server::conn::http1::Builder::new();
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                }
            }
        });
        Self {
            address,
            hits,
            _tasks: tasks,
        }
    }

    fn hits(&self) -> u64 {
        self.hits.load(Ordering::SeqCst)
    }
}

/// Deploys `wasm` three times, with rules from none to enough, and lets it fetch from a local server.
async fn check(wasm: &[u8], denied_by_rule: &str, denied_by_address: &str) {
    let server = Server::start().await;
    let port = server.address.port();
    let path = format!("/fetch?url=http://{}/x", server.address);
    for (rules, expected) in [
        (vec![], denied_by_rule),
        (vec![format!("*:{port}")], denied_by_address),
    ] {
        let function = Function::with(wasm, |config| {
            config.egress = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        })
        .await
        .unwrap();
        let outcome = function.invoke(get(&path)).await;
        let log = outcome.log.clone();
        let shown = outcome.shown().await;
        assert!(shown.contains(expected), "{shown}");
        assert_eq!(server.hits(), 0);
        assert_eq!(function.egress.counts().denied, 1);
        let lines = log.lines();
        let told = format!("platform: outbound request to {} denied: ", server.address);
        assert!(
            lines.iter().any(|line| line.starts_with(&told)),
            "{lines:?}"
        );
    }
    let function = Function::with(wasm, |config| {
        config.egress = vec![format!("private:{}", server.address).parse().unwrap()];
    })
    .await
    .unwrap();
    let shown = function.invoke(get(&path)).await.shown().await;
    assert!(
        shown.starts_with("203|") && shown.ends_with("|outside"),
        "{shown}"
    );
    assert_eq!(server.hits(), 1);
    assert_eq!(function.egress.counts().connections_open, 0);
}

#[tokio::test]
async fn components_of_0_2_reach_what_is_allowed() {
    let Some(wasm) = guest("tests/fixtures/http-probe", "wasm32-wasip2") else {
        return;
    };
    check(&wasm, "HttpRequestDenied", "DestinationIpProhibited").await;
}

#[tokio::test]
async fn components_of_0_3_reach_what_is_allowed() {
    let Some(wasm) = guest("tests/fixtures/http-probe-p3", "wasm32-wasip2") else {
        return;
    };
    check(&wasm, "HttpRequestDenied", "DestinationIpProhibited").await;
}

#[tokio::test]
async fn core_modules_reach_what_is_allowed() {
    check(&testkit::guests::wat("fetch"), "502|-6", "502|-6").await;
}
