//! Every invocation leaves a receipt, failed ones too; it can be read as soon as the answer ended, and
//! usage sums are exact.

use testkit::guests::wat;
use testkit::{Node, NodeOptions};

use crate::{HOLM, node};

const PRICES: &str =
    "[meter.prices]\ncurrency = \"EUR\"\nrequest_nano = 200\ngb_second_nano = 16667\n";

#[test]
fn a_receipt_is_there_when_the_answer_ended() {
    let node = Node::start(
        HOLM,
        NodeOptions {
            config: Some(PRICES.to_owned()),
            ..NodeOptions::default()
        },
    );
    node.deploy_wasm("echo", &wat("echo"), &[]);
    let token = format!("Bearer {}", node.token());
    let mut admin = testkit::HttpClient::connect(node.admin);
    let host = node.admin.to_string();
    for round in 0..100 {
        let answer = node.post("echo", "/", b"0123456789");
        let id = answer.header("holm-invocation-id").expect("an id");
        let path = format!("/v1/receipts/{id}");
        admin.request(
            "GET",
            &path,
            &[("host", &host), ("authorization", &token)],
            b"",
        );
        let found = admin.answer().expect("an answer");
        assert_eq!(found.status, 200, "round {round}: {}", found.text());
        let receipt = &found.json()["receipt"];
        assert_eq!(
            (&receipt["bytes_in"], &receipt["bytes_out"]),
            (&10.into(), &10.into())
        );
        assert!(
            receipt["price_nano"].as_u64().expect("a number") >= 200,
            "{receipt}"
        );
        assert!(
            receipt["cpu_ns"].as_u64().expect("a number") > 0,
            "{receipt}"
        );
        assert!(
            receipt["memory_peak_bytes"].as_u64().expect("a number") >= 65_536,
            "{receipt}"
        );
    }
}

#[test]
fn failures_have_receipts_with_their_code() {
    let node = node();
    node.deploy_wasm("trap", &wat("trap-div0"), &[]);
    let answer = node.get("trap", "/");
    let receipt = node.receipt(&answer);
    assert_eq!(receipt["receipt"]["status"], 502);
    assert_eq!(receipt["receipt"]["error"], "H2001");
}

#[test]
fn usage_is_the_exact_sum_of_the_receipts_and_survives_a_restart() {
    let scratch = tempfile::tempdir().expect("a directory");
    let options = NodeOptions {
        data_dir: Some(scratch.path().join("data")),
        config: Some(PRICES.to_owned()),
        ..NodeOptions::default()
    };
    let node = Node::start(HOLM, options.clone());
    node.deploy_wasm("echo", &wat("echo"), &[]);
    node.deploy_wasm("trap", &wat("trap-div0"), &[]);
    let mut sums = [0_u64; 4];
    let mut add = |answer: &testkit::Answer| {
        let receipt = node.receipt(answer);
        for (sum, key) in sums
            .iter_mut()
            .zip(["run_ns", "cpu_ns", "bytes_out", "price_nano"])
        {
            *sum += receipt["receipt"][key].as_u64().expect("a number");
        }
    };
    for _ in 0..20 {
        add(&node.post("echo", "/", b"abc"));
        add(&node.get("trap", "/"));
    }
    let check = |node: &Node| {
        let usage = node.holm(&["usage", "--json"]).ok().json();
        let row = &usage["rows"][0];
        assert_eq!(
            (&row["n_invocations"], &row["n_errors"]),
            (&40.into(), &20.into()),
            "{row}"
        );
        let found = ["run_ns", "cpu_ns", "bytes_out", "price_nano"].map(|key| row[key].as_u64());
        assert_eq!(found, sums.map(Some), "{row}");
        let by_function = node
            .holm(&["usage", "--by", "function", "--json"])
            .ok()
            .json();
        let total: u64 = by_function["rows"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["n_invocations"].as_u64().expect("a number"))
            .sum();
        assert_eq!(total, 40);
    };
    check(&node);
    assert!(
        node.stop(std::time::Duration::from_secs(20))
            .expect("it ends")
            .success()
    );
    check(&Node::start(HOLM, options));
}
