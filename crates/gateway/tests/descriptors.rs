//! Out of descriptors (catalogue A74): callers are told 503, the accept loop does not spin, and all is well
//! when descriptors come back. Alone in its binary: the limit is the process's.

mod common;

use std::fs::File;

use common::{Client, Node, quick_config, wait_until};
use gateway::GatewayConfig;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn no_descriptors_left() {
    let old = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: Some(128),
        maximum: old.maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("lowering is allowed");
    let config = GatewayConfig {
        accept_pause_ms: 20,
        n_workers: 1,
        ..quick_config()
    };
    let node = Node::with(config);
    assert_eq!(node.get("/function/hello/").text(), "hello");
    wait_until("its connection is gone", || node.n_connections() == 0);

    // All descriptors are taken but the one that the client needs for each connection.
    let mut hoard: Vec<File> = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    hoard.pop();
    for round in 0..5 {
        let mut client = Client::connect(node.address);
        client.send("GET /function/hello/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
        // Where there is no answer, it went out, but the close with the request unread overtook it.
        if let Some(answer) = client.try_answer() {
            assert_eq!(answer.status, 503, "round {round}: {answer:?}");
        }
    }
    let gateway = node.gateway.as_ref().expect("it runs");
    let stats = gateway.stats();
    assert_eq!(stats.n_refused(), 5, "{stats:?}");
    assert_eq!(stats.n_connections(), 0);

    // Nobody is waiting to be accepted: no more errors come, so nothing spins.
    let n_errors = stats.n_accept_errors();
    assert!(
        (1..=50).contains(&n_errors),
        "{n_errors} errors for 5 connections"
    );

    drop(hoard);
    wait_until("it serves again", || {
        node.get("/function/hello/").status == 200
    });
    setrlimit(Resource::Nofile, old).expect("raising to the old limit is allowed");
}
