//! Many connections at once (catalogue A39, A48, A74), and the limit of them.

mod common;

use std::time::Instant;

use common::{Client, Node, PATIENCE, quick_config, wait_until};
use gateway::GatewayConfig;
use model::Code;

const REQUEST: &str = "GET /function/hello/ HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Opens `n` connections that each got an answer.
fn served(node: &Node, n: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..n).map(|_| node.connect()).collect();
    for client in &mut clients {
        client.send(REQUEST);
    }
    for client in &mut clients {
        assert_eq!(client.answer().text(), "hello");
    }
    clients
}

#[test]
fn a_thousand_connections_are_served() {
    // The engine's class has 900 places by default, so requests may wait for each other; none is refused.
    let node = Node::start();
    node.deploy("hello", common::usual_handler("hello"), |config| {
        config.limits.concurrency_max = 2000;
    });
    let began = Instant::now();
    let mut clients = served(&node, 1000);
    assert_eq!(node.n_connections(), 1000);
    for client in &mut clients {
        client.send(REQUEST);
    }
    for client in &mut clients {
        assert_eq!(client.answer().text(), "hello");
    }
    assert!(began.elapsed() < PATIENCE, "it took {:?}", began.elapsed());
    drop(clients);
    wait_until("the connections are gone", || node.n_connections() == 0);
    assert_eq!(node.receipts.wait(2000).len(), 2000);
}

#[test]
fn connections_above_the_limit_are_told_so() {
    let config = GatewayConfig {
        n_connections_max: 10,
        ..quick_config()
    };
    let node = Node::with(config);
    let clients = served(&node, 10);
    for _ in 0..5 {
        let mut client = node.connect();
        client.send(REQUEST);
        let answer = client.answer();
        assert_eq!(answer.status, 503);
        assert_eq!(
            answer.header("holm-error"),
            Some(Code::NodeAtCapacity.to_string().as_str())
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("connection"), Some("close"));
        client.assert_closed();
    }
    drop(clients);
    wait_until("the connections are gone", || node.n_connections() == 0);
    assert_eq!(node.get("/function/hello/").text(), "hello");
    let gateway = node.gateway.as_ref().expect("it runs");
    assert_eq!(
        (gateway.stats().n_refused(), gateway.stats().n_accepted()),
        (5, 11)
    );
}

#[test]
fn callers_who_vanish_at_every_stage_leave_nothing() {
    let node = Node::start();
    let stages = [
        "",
        "G",
        "GET /function/hello/ HTTP/1.1\r\n",
        REQUEST,
        "GET /function/hang/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /function/big/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "POST /function/inspect/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nhalf",
        "POST /function/echo/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
    ];
    for round in 0..200 {
        let mut client = node.connect();
        client.send(stages[round % stages.len()]);
    }
    wait_until("the connections are gone", || node.n_connections() == 0);
    wait_until("the functions are gone", || node.n_alive() == 0);
    assert_eq!(node.get("/function/hello/").text(), "hello");
}
