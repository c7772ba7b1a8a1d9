//! Shutting down: what is in flight ends well, nothing new begins, and at the end of the grace the rest is
//! cut.

mod common;

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Node, PATIENCE, handler, wait_until};
use http::Response;
use model::Code;
use runtime::Body;
use tokio::sync::Notify;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

#[test]
fn in_flight_requests_end_and_idle_connections_close() {
    let mut node = Node::start();
    let release = Arc::new(Notify::new());
    let held = release.clone();
    node.deploy(
        "held",
        handler(move |_| {
            let held = held.clone();
            async move {
                held.notified().await;
                Ok(Response::new(Body::from(Bytes::from("released"))))
            }
        }),
        |_| {},
    );
    let mut idle = node.connect();
    idle.send("GET /function/hello/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(idle.answer().status, 200);
    let mut busy = node.connect();
    busy.send("GET /function/held/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
    wait_until("it runs", || node.n_invoked() == 2);

    let gateway = node.gateway.take().expect("it runs");
    let stats = gateway.stats().clone();
    let draining = std::thread::spawn(move || block_on(gateway.shutdown(PATIENCE)));
    idle.assert_closed();
    wait_until("only the busy connection is left", || {
        stats.n_connections() == 1
    });
    wait_until("nothing new is accepted", || {
        TcpStream::connect(node.address).is_err()
    });
    release.notify_one();
    let answer = busy.answer();
    assert_eq!(
        (answer.text(), answer.header("connection")),
        ("released", Some("close"))
    );
    busy.assert_closed();
    assert_eq!(draining.join().expect("no panic"), 0, "nothing was cut");
}

#[test]
fn what_does_not_end_is_cut() {
    let mut node = Node::start();
    let mut hanging = node.connect();
    hanging.send("GET /function/hang/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
    wait_until("it runs", || node.n_alive() == 1);
    let gateway = node.gateway.take().expect("it runs");
    let began = Instant::now();
    let n_cut = block_on(gateway.shutdown(Duration::from_millis(200)));
    assert_eq!(n_cut, 1);
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert!(hanging.try_answer().is_none(), "no answer, only the end");
    assert_eq!(node.receipts.wait(1)[0].error, Some(Code::CallerGone));
    assert_eq!(node.n_alive(), 0);
}

#[test]
fn a_dropped_handle_ends_the_gateway() {
    let mut node = Node::start();
    let mut client = node.connect();
    client.send("GET /function/hang/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
    wait_until("it runs", || node.n_alive() == 1);
    drop(node.gateway.take());
    assert!(client.try_answer().is_none());
    wait_until("nothing listens", || {
        TcpStream::connect(node.address).is_err()
    });
    wait_until("nothing runs", || node.n_alive() == 0);
}

#[test]
fn a_taken_address_is_an_error_with_its_code() {
    let node = Node::start();
    let config = gateway::GatewayConfig {
        address: node.address,
        ..common::quick_config()
    };
    let error = node.try_second(config);
    assert_eq!(error.code(), Code::PortInUse);
    assert_eq!(node.get("/function/hello/").text(), "hello");
}
