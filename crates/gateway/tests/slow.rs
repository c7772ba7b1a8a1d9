//! Callers who are slow on purpose (catalogue A39): each is answered or cut at its limit, and others are
//! served meanwhile. The limits are short here; all waiting is for what the gateway does.

mod common;

use std::io::Write;
use std::time::{Duration, Instant};

use common::{Node, PATIENCE, quick_config, wait_until};
use gateway::GatewayConfig;
use model::Code;

const HEAD: &str = "HTTP/1.1\r\nHost: a.test\r\n";

/// One limit, short; the others as they are.
fn node(change: impl FnOnce(&mut GatewayConfig)) -> Node {
    let mut config = quick_config();
    change(&mut config);
    Node::with(config)
}

/// Asserts that `elapsed` is the limit, with room for a busy machine but none for another limit.
fn assert_limit(elapsed: Duration, limit_ms: u64) {
    let limit = Duration::from_millis(limit_ms);
    assert!(
        elapsed >= limit && elapsed < limit + Duration::from_secs(4),
        "{elapsed:?}"
    );
}

#[test]
fn a_head_that_does_not_come_ends_in_408() {
    let node = node(|config| config.head_timeout_ms = 300);
    for start in ["G", "GET /function/hello/ HTTP/1.1\r\nHost: a", "\r\n"] {
        let began = Instant::now();
        let mut client = node.connect();
        client.send(start);
        let answer = client.answer();
        assert_limit(began.elapsed(), 300);
        answer.assert_problem(Code::RequestTimeout);
        let problem: model::Problem = serde_json::from_slice(&answer.body).expect("a problem");
        assert_eq!(
            problem.limit.expect("a limit").name,
            "gateway.head_timeout_ms"
        );
        client.assert_closed();
    }
    // A drip does not push the limit.
    let began = Instant::now();
    let mut client = node.connect();
    let mut drip = "GET / HTTP/1.1\r\nHost: a.test\r\n"
        .bytes()
        .chain(std::iter::repeat(b'x'));
    while began.elapsed() < PATIENCE {
        if client
            .stream
            .write_all(&[drip.next().expect("endless")])
            .is_err()
        {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_limit(began.elapsed(), 300);
    wait_until("the connections are gone", || node.n_connections() == 0);
}

#[test]
fn a_head_may_be_late_on_a_used_connection_too() {
    let node = node(|config| config.head_timeout_ms = 300);
    let mut client = node.connect();
    client.send(format!("GET /function/hello/ {HEAD}\r\nGET /function/hel"));
    assert_eq!(client.answer().text(), "hello");
    client.answer().assert_problem(Code::RequestTimeout);
    client.assert_closed();
}

#[test]
fn silence_is_closed_without_a_word() {
    let node = node(|config| {
        config.head_timeout_ms = 200;
        config.idle_timeout_ms = 600;
    });
    let began = Instant::now();
    node.connect().assert_closed();
    assert_limit(began.elapsed(), 200);

    let mut client = node.connect();
    client.send(format!("GET /function/stream/ {HEAD}\r\n"));
    assert_eq!(client.answer().status, 200);
    let began = Instant::now();
    client.assert_closed();
    assert!(
        began.elapsed() >= Duration::from_millis(500),
        "idle is not the head's limit"
    );
}

#[test]
fn an_answer_that_takes_long_is_not_idleness() {
    let node = node(|config| {
        config.head_timeout_ms = 100;
        config.idle_timeout_ms = 100;
    });
    node.deploy(
        "slow",
        common::handler(|_| async {
            tokio::time::sleep(Duration::from_millis(600)).await;
            Ok(http::Response::new(runtime::Body::from(
                bytes::Bytes::from("slow"),
            )))
        }),
        |_| {},
    );
    let mut client = node.connect();
    client.send(format!("GET /function/slow/ {HEAD}\r\n"));
    assert_eq!(client.answer().text(), "slow");
    client.assert_closed();
}

#[test]
fn a_body_that_stops_ends_in_408() {
    let node = node(|config| config.body_idle_timeout_ms = 300);
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let began = Instant::now();
        let mut client = node.connect();
        client.send(format!("POST /function/inspect/ {HEAD}{framing}\r\n\r\n3"));
        let answer = client.answer();
        assert_limit(began.elapsed(), 300);
        answer.assert_problem(Code::RequestTimeout);
        client.assert_closed();
    }
    let receipts = node.receipts.wait(2);
    assert!(
        receipts
            .iter()
            .all(|receipt| receipt.error == Some(Code::RequestTimeout))
    );
    assert_eq!(node.n_alive(), 0);
}

#[test]
fn a_caller_who_does_not_read_is_cut() {
    let node = node(|config| config.write_timeout_ms = 500);
    let mut client = node.connect();
    client.send(format!("GET /function/big/ {HEAD}\r\n"));
    wait_until("the function runs", || node.n_invoked() == 1);
    let began = Instant::now();
    let receipts = node.receipts.wait(1);
    assert_limit(began.elapsed() + Duration::from_millis(500), 500);
    assert_eq!(receipts[0].error, Some(Code::CallerGone));
    wait_until("the connection is gone", || node.n_connections() == 0);
    assert!(
        receipts[0].bytes_out < 64 * 1024 * 1024,
        "back-pressure held it"
    );
    // What was sent before can still be read, then the connection ends without the end of the body.
    let rest = client.rest();
    assert!(!rest.ends_with(b"0\r\n\r\n"));
}

#[test]
fn a_slow_caller_who_reads_is_served() {
    let node = node(|config| {
        config.write_timeout_ms = 500;
        config.write_bytes_min = 1024;
    });
    let mut client = node.connect();
    client.send(format!("GET /function/big/ {HEAD}\r\n"));
    assert_eq!(client.head_of_stream().status, 200);
    let mut n_bytes = 0;
    loop {
        let chunk = client.chunk();
        n_bytes += chunk.len();
        if chunk.is_empty() {
            break;
        }
        if n_bytes < 8 * 1024 * 1024 {
            // Longer in sum than the limit, but never without progress.
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
    assert_eq!(n_bytes, 64 * 1024 * 1024);
}

#[test]
fn slow_callers_do_not_keep_others_waiting() {
    let node = node(|config| config.head_timeout_ms = 60_000);
    let slow: Vec<_> = (0..500)
        .map(|index| {
            let mut client = node.connect();
            match index % 3 {
                0 => client.send("GET / HTTP/1.1\r\nHo"),
                1 => client.send(format!(
                    "POST /function/inspect/ {HEAD}Content-Length: 9\r\n\r\nx"
                )),
                _ => client.send(format!("GET /function/big/ {HEAD}\r\n")),
            }
            client
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(node.get("/function/hello/").text(), "hello");
    }
    drop(slow);
    wait_until("the connections are gone", || node.n_connections() == 0);
    wait_until("the functions are gone", || node.n_alive() == 0);
}
