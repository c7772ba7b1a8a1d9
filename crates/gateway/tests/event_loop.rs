//! Measures what `event_loop.event_interval` costs and brings: how long a neighbour waits beside guests that
//! compute, and what a request costs when nobody does. By hand, on a quiet machine:
//! `cargo test -p gateway --test event_loop -- --ignored --nocapture`. The figures are in
//! `docs/guide/gateway.md`.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use common::{Node, handler, quick_config};
use gateway::GatewayConfig;
use http::Response;
use runtime::Body;

const N_HOGS: usize = 10;
const HELLO: &str = "GET /function/hello/ HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// How a guest that computes lets others run.
#[derive(Clone, Copy, Debug)]
enum Yielding {
    /// It is at the end of the run queue at once, as a future that wakes itself is.
    Naive,
    /// It waits for its turn among those of its thread and lets the loop look at sockets in between, as
    /// guests of the `wasm` class do.
    ByTurns,
}

thread_local! {
    static TURN: Arc<tokio::sync::Mutex<()>> = Arc::default();
}

async fn compute(yielding: Yielding, stop: Arc<AtomicBool>) {
    let turn = TURN.with(Arc::clone);
    while !stop.load(Ordering::Relaxed) {
        let has_turn = match yielding {
            Yielding::Naive => None,
            Yielding::ByTurns => Some(turn.lock().await),
        };
        let began = Instant::now();
        while began.elapsed() < Duration::from_micros(700) {
            std::hint::spin_loop();
        }
        match yielding {
            Yielding::Naive => yield_naively().await,
            Yielding::ByTurns => tokio::task::yield_now().await,
        }
        drop(has_turn);
    }
}

async fn yield_naively() {
    let mut has_yielded = false;
    std::future::poll_fn(|context| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn node(event_interval: u32, yielding: Yielding, stop: &Arc<AtomicBool>) -> Node {
    let mut config: GatewayConfig = quick_config();
    config.event_loop.event_interval = event_interval;
    let node = Node::with(config);
    let stop = stop.clone();
    let hog = handler(move |_| {
        let stop = stop.clone();
        async move {
            compute(yielding, stop).await;
            Ok(Response::new(Body::Empty))
        }
    });
    node.deploy("hog", hog, |_| {});
    node
}

/// Latencies of requests one after the other beside the hogs, in microseconds: median, p90, p99.
fn latencies_beside_hogs(event_interval: u32, yielding: Yielding) -> [u128; 3] {
    let stop = Arc::new(AtomicBool::new(false));
    let node = node(event_interval, yielding, &stop);
    let mut hogs = Vec::new();
    for _ in 0..N_HOGS {
        let mut hog = node.connect();
        hog.send("GET /function/hog/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
        hogs.push(hog);
    }
    common::wait_until("the hogs run", || node.n_invoked() == N_HOGS);
    let mut latencies = Vec::new();
    // Several connections, as each stays on the worker it came to.
    for _ in 0..8 {
        let mut client = node.connect();
        for _ in 0..25 {
            let began = Instant::now();
            client.send(HELLO);
            assert_eq!(client.answer().status, 200);
            latencies.push(began.elapsed().as_micros());
        }
    }
    stop.store(true, Ordering::Relaxed);
    latencies.sort_unstable();
    let n = latencies.len();
    [
        latencies[n / 2],
        latencies[n * 9 / 10],
        latencies[n * 99 / 100],
    ]
}

/// Requests per second without hogs: 32 connections of one client, one request each per round.
fn capacity(event_interval: u32) -> u128 {
    let node = node(event_interval, Yielding::Naive, &Arc::default());
    let mut clients: Vec<_> = (0..32).map(|_| node.connect()).collect();
    let began = Instant::now();
    let mut n_requests = 0;
    while began.elapsed() < Duration::from_secs(2) {
        for client in &mut clients {
            client.send(HELLO);
        }
        for client in &mut clients {
            assert_eq!(client.answer().status, 200);
            n_requests += 1;
        }
    }
    n_requests * 1000 / began.elapsed().as_millis()
}

#[test]
#[ignore = "a measurement, to be run by hand"]
fn event_interval() {
    println!("interval | beside naive hogs, us: p50 p90 p99 | by turns: p50 p90 p99 | requests/s");
    for interval in [1, 2, 4, 8, 16, 61] {
        let naive = latencies_beside_hogs(interval, Yielding::Naive);
        let by_turns = latencies_beside_hogs(interval, Yielding::ByTurns);
        let rate = capacity(interval);
        println!("{interval:8} | {naive:?} | {by_turns:?} | {rate}");
    }
}
