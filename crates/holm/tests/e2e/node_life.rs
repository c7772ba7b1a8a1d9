//! Starting, draining, and what a node refuses to start on (catalogue rows A71, A75, A85).

use std::time::{Duration, Instant};

use rustix::process::Signal;
use testkit::guests::wat;
use testkit::{Node, NodeOptions, Resources};

use crate::{HOLM, node};

/// A generous end for anything that ends.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn sigterm_drains_and_exits_with_zero() {
    let mut node = node();
    node.deploy_wasm("sleep", &wat("sleep"), &[]);
    let mut client = node.client();
    client.request("GET", "/function/sleep/?ms=3000", &[], b"");
    node.await_running(1);
    node.signal(Signal::TERM);
    let answer = client
        .answer()
        .expect("an invocation in flight is answered");
    assert_eq!((answer.status, answer.text().as_str()), (200, "slept"));
    assert_eq!(node.wait(SOON).expect("it ends").code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut node = node();
    node.deploy_wasm("sleep", &wat("sleep"), &[]);
    let mut client = node.client();
    client.request("GET", "/function/sleep/?ms=29000", &[], b"");
    node.signal(Signal::TERM);
    let began = Instant::now();
    while node.wait(Duration::from_millis(50)).is_none() {
        assert!(began.elapsed() < SOON, "it does not end");
        node.signal(Signal::TERM);
    }
}

#[test]
fn two_nodes_on_one_directory_are_refused() {
    let node = node();
    let options = NodeOptions {
        data_dir: Some(node.data_dir.clone()),
        ..NodeOptions::default()
    };
    let refused = Node::try_start(HOLM, options)
        .err()
        .expect("the directory is taken");
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("H5005"), "{}", refused.stderr);
    assert_eq!(testkit::get(node.admin, "/ready").status, 200);
}

#[test]
fn a_taken_port_and_a_bad_configuration_are_told() {
    let node = node();
    let gateway = node.gateway.to_string();
    let arguments = vec!["--gateway".to_owned(), gateway];
    let mut command = std::process::Command::new(HOLM);
    let scratch = tempfile::tempdir().expect("a directory");
    let output = command
        .args(["up", "--admin", "127.0.0.1:0", "--data-dir"])
        .arg(scratch.path())
        .args(&arguments)
        .output()
        .expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("H5004"), "{stderr}");

    let config = Some("gatewy = \"127.0.0.1:0\"\n".to_owned());
    let refused = Node::try_start(
        HOLM,
        NodeOptions {
            config,
            ..NodeOptions::default()
        },
    );
    let refused = refused.err().expect("an unknown key");
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("H5008") && refused.stderr.contains("gatewy"),
        "{}",
        refused.stderr
    );
}

#[test]
fn an_idle_node_is_small_and_the_token_is_private() {
    let node = node();
    let rss_bytes = Resources::of(node.pid()).rss_bytes;
    eprintln!("an idle node: {} KiB resident", rss_bytes / 1024);
    assert!(rss_bytes < 60 * 1024 * 1024, "{rss_bytes} bytes");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(node.data_dir.join("admin.token")).expect("it is there");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_restart_serves_what_was_deployed() {
    let scratch = tempfile::tempdir().expect("a directory");
    let options = NodeOptions {
        data_dir: Some(scratch.path().join("data")),
        ..NodeOptions::default()
    };
    let node = Node::start(HOLM, options.clone());
    node.deploy_wasm("noop", &wat("noop"), &[]);
    node.crash();
    let node = Node::start(HOLM, options);
    assert_eq!(node.get("noop", "/").text(), "ok");
}
