//! Calling functions, and what is left of a call: receipt, usage, log lines.

use std::time::Duration;

use api::{InvokeQuery, LogSource, LogsQuery, UsageBy, UsageQuery};
use bytes::Bytes;
use client::{Invocation, InvocationBody};
use model::{Code, InvocationId, StartKind};
use tokio::io::AsyncWriteExt;

use crate::support::{Node, Options, code, key, problem};

#[tokio::test]
async fn the_answer_is_the_functions_and_says_so() {
    let node = Node::start().await;
    node.deploy(
        "f",
        "status 418\nheader x-own yes\nheader holm-answer problem\necho",
    )
    .await;
    let invocation = Invocation {
        content_type: Some("text/plain".to_owned()),
        body: InvocationBody::Bytes(Bytes::from_static(b"to and fro")),
        ..Invocation::default()
    };
    let called = node
        .client
        .invoke(&key("f"), invocation)
        .await
        .expect("an answer");
    assert_eq!(called.status, 418);
    assert_eq!(called.headers["x-own"], "yes");
    assert_eq!(
        called.headers.get_all(api::header::ANSWER).iter().count(),
        1
    );
    assert_eq!(called.headers[api::header::ANSWER], "function");
    assert_eq!(called.headers[api::header::VERSION], "1");
    let timing = called.headers["server-timing"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(
        timing.starts_with("queue;dur=") && timing.contains("run;dur="),
        "{timing}"
    );
    let id = called.invocation().expect("an id");
    assert_eq!(called.bytes(100).await.expect("whole"), "to and fro");
    let receipt = node.client.receipt(id).await.expect("there").receipt;
    assert_eq!(
        (receipt.status, receipt.bytes_in, receipt.bytes_out),
        (418, 10, 10)
    );
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let node = Node::start().await;
    node.deploy("f", "echo").await;
    let (mut writer, reader) = tokio::io::duplex(1024);
    let invocation = Invocation {
        body: InvocationBody::Reader {
            reader: Box::new(reader),
            length: None,
        },
        ..Invocation::default()
    };
    writer.write_all(b"first").await.expect("written");
    let mut called = node
        .client
        .invoke(&key("f"), invocation)
        .await
        .expect("an answer");
    assert_eq!(
        called.chunk().await.expect("a chunk").expect("not the end"),
        "first"
    );
    // The first chunk has come back before the second was sent.
    writer.write_all(b"second").await.expect("written");
    assert_eq!(
        called.chunk().await.expect("a chunk").expect("not the end"),
        "second"
    );
    drop(writer);
    assert_eq!(called.chunk().await.expect("the end"), None);
}

#[tokio::test]
async fn failures_carry_code_side_and_id_and_leave_a_receipt() {
    let node = Node::start().await;
    node.deploy("f", "log before\ntrap").await;
    let failed = problem(node.client.invoke(&key("f"), Invocation::default()).await);
    assert_eq!((failed.code, failed.status), (Code::Trap, 502));
    let id = failed.instance.expect("named");
    let id: InvocationId = id
        .strip_prefix("urn:uuid:")
        .expect("a URN")
        .parse()
        .expect("an invocation id");
    let receipt = node.client.receipt(id).await.expect("there");
    assert_eq!(receipt.receipt.error, Some(Code::Trap));

    node.try_deploy("slow", "hang", "[limits]\ntimeout = '50ms'")
        .await
        .expect("published");
    let failed = problem(
        node.client
            .invoke(&key("slow"), Invocation::default())
            .await,
    );
    assert_eq!((failed.code, failed.status), (Code::DeadlineExceeded, 504));
    assert_eq!(failed.limit.expect("named").name, "limits.timeout");
}

#[tokio::test]
async fn odd_paths_and_methods_are_refused_before_anything_runs() {
    let node = Node::start().await;
    node.deploy("f", "write x").await;
    for (path, method) in [
        ("no-slash", "GET"),
        ("/..", "GET"),
        ("/", "get"),
        ("/", "CONNECT"),
    ] {
        let query = InvokeQuery {
            path: Some(path.to_owned()),
            method: Some(method.to_owned()),
            version: None,
        };
        let called = node
            .client
            .invoke(
                &key("f"),
                Invocation {
                    query,
                    ..Default::default()
                },
            )
            .await;
        assert_eq!(code(called), Code::InvalidArgument, "{method} {path}");
    }
    let usage = node
        .client
        .usage(&UsageQuery::default())
        .await
        .expect("sums");
    assert_eq!(
        usage.rows.iter().map(|row| row.n_invocations).sum::<u64>(),
        0
    );
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_invocation() {
    let node = Node::start().await;
    node.deploy("f", "write head\nhang").await;
    let mut called = node
        .client
        .invoke(&key("f"), Invocation::default())
        .await
        .expect("the head");
    assert_eq!(
        called.chunk().await.expect("a chunk").expect("not the end"),
        "head"
    );
    let id = called.invocation().expect("an id");
    assert_eq!(node.invoker.n_running(), 1);
    drop(called);
    // The receipt is there once the node noticed: ask until it is.
    let receipt = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            if let Ok(receipt) = node.client.receipt(id).await {
                break receipt.receipt;
            }
        }
    })
    .await
    .expect("cancelled");
    assert_eq!(receipt.error, Some(Code::CallerGone));
    assert_eq!(node.invoker.n_running(), 0);
}

#[tokio::test]
async fn receipts_have_price_and_margins_and_usage_adds_them_up() {
    let node = Node::start().await;
    node.try_deploy("f", "burn 3\nwrite abc", "[limits]\ncpu_ms = 100\n")
        .await
        .expect("published");
    node.deploy("g", "trap").await;
    let mut prices = 0;
    for _ in 0..3 {
        let called = node
            .client
            .invoke(&key("f"), Invocation::default())
            .await
            .expect("an answer");
        let id = called.invocation().expect("an id");
        called.bytes(10).await.expect("whole");
        let receipt = node.client.receipt(id).await.expect("readable at once");
        assert_ne!(receipt.receipt.start, StartKind::None);
        assert!(receipt.price.nano >= 200 && receipt.price.text.ends_with(" EUR"));
        prices += receipt.price.nano;
        let margin = |name: &str| {
            let found = receipt.margins.iter().find(|margin| margin.limit == name);
            let margin = found.unwrap_or_else(|| panic!("no margin of {name}"));
            (margin.used, margin.max)
        };
        assert_eq!(margin("limits.cpu_ms"), (3, 100));
        assert_eq!(margin("limits.body").0, 3);
        assert_eq!(receipt.margins.len(), 5);
    }
    problem(node.client.invoke(&key("g"), Invocation::default()).await);

    let query = UsageQuery {
        by: UsageBy::Function,
        ..UsageQuery::default()
    };
    let usage = node.client.usage(&query).await.expect("sums");
    let rows: Vec<_> = usage
        .rows
        .iter()
        .map(|row| {
            (
                row.key.as_str(),
                row.n_invocations,
                row.n_errors,
                row.bytes_out,
            )
        })
        .collect();
    assert_eq!(rows[0], ("f", 3, 0, 9));
    assert_eq!((rows[1].0, rows[1].1, rows[1].2), ("g", 1, 1));
    assert_eq!(usage.rows[0].price_nano, prices);
    assert_eq!(usage.currency, "EUR");
    let query = UsageQuery {
        function: Some("f".parse().expect("a name")),
        ..UsageQuery::default()
    };
    let usage = node.client.usage(&query).await.expect("sums");
    assert_eq!(
        usage.rows.iter().map(|row| row.n_invocations).sum::<u64>(),
        3
    );
    let query = UsageQuery {
        until: Some(1),
        ..UsageQuery::default()
    };
    let usage = node.client.usage(&query).await.expect("sums");
    assert_eq!(
        usage.rows.iter().map(|row| row.n_invocations).sum::<u64>(),
        0
    );
}

#[tokio::test]
async fn unknown_receipts_are_told_from_malformed_ids() {
    let node = Node::start().await;
    let unknown = InvocationId::new(1, [1; 10]);
    assert_eq!(
        code(node.client.receipt(unknown).await),
        Code::ReceiptNotFound
    );
    let request = http::Request::get("/v1/receipts/zz").body(Default::default());
    let response = node.send(request.expect("a request")).await;
    assert_eq!(response.headers()[api::header::ERROR], "H1018");
}

#[tokio::test]
async fn log_lines_are_kept_filtered_and_followed() {
    let node = Node::start().await;
    node.deploy("f", "log one\nlog \u{1b}[31mtwo\nwrite x")
        .await;
    let called = node
        .client
        .invoke(&key("f"), Invocation::default())
        .await
        .expect("an answer");
    let first = called.invocation().expect("an id");
    called.bytes(10).await.expect("whole");

    let mut kept = node
        .client
        .logs(&key("f"), &LogsQuery::default())
        .await
        .expect("a stream");
    let one = kept.next().await.expect("readable").expect("a line");
    assert_eq!((one.text.as_str(), one.stream), ("one", LogSource::Stdout));
    assert_eq!((one.invocation, one.version), (Some(first), Some(1)));
    assert_eq!(
        kept.next().await.expect("readable").expect("a line").text,
        "\u{1b}[31mtwo"
    );
    assert_eq!(kept.next().await.expect("readable"), None);

    let query = LogsQuery {
        follow: true,
        tail: Some(1),
        invocation: None,
    };
    let mut followed = node.client.logs(&key("f"), &query).await.expect("a stream");
    assert_eq!(
        followed.next().await.expect("readable").expect("kept").text,
        "\u{1b}[31mtwo"
    );
    let called = node
        .client
        .invoke(&key("f"), Invocation::default())
        .await
        .expect("an answer");
    let second = called.invocation().expect("an id");
    called.bytes(10).await.expect("whole");
    let new = followed.next().await.expect("readable").expect("new");
    assert_eq!((new.text.as_str(), new.invocation), ("one", Some(second)));

    let query = LogsQuery {
        invocation: Some(second),
        ..LogsQuery::default()
    };
    let mut filtered = node.client.logs(&key("f"), &query).await.expect("a stream");
    for _ in 0..2 {
        let line = filtered.next().await.expect("readable").expect("a line");
        assert_eq!(line.invocation, Some(second));
    }
    assert_eq!(filtered.next().await.expect("readable"), None);

    assert_eq!(
        followed.next().await.expect("readable").expect("new").text,
        "\u{1b}[31mtwo"
    );
    node.client.remove(&key("f")).await.expect("removed");
    assert_eq!(
        followed.next().await.expect("readable"),
        None,
        "its function is gone"
    );
    let gone = node.client.logs(&key("f"), &LogsQuery::default()).await;
    assert_eq!(code(gone), Code::FunctionNotFound);
    let query = LogsQuery {
        tail: Some(10_001),
        ..LogsQuery::default()
    };
    node.deploy("f", "write x").await;
    assert_eq!(
        code(node.client.logs(&key("f"), &query).await),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn followers_are_bounded_and_a_place_is_free_when_one_leaves() {
    let mut options = Options::default();
    options.config.n_followers_max = 1;
    let node = Node::start_with(options).await;
    node.deploy("f", "write x").await;
    let query = LogsQuery {
        follow: true,
        ..LogsQuery::default()
    };
    let first = node.client.logs(&key("f"), &query).await.expect("a stream");
    assert_eq!(
        code(node.client.logs(&key("f"), &query).await),
        Code::NodeAtCapacity
    );
    drop(first);
    tokio::time::timeout(Duration::from_secs(10), async {
        while node.client.logs(&key("f"), &query).await.is_err() {}
    })
    .await
    .expect("the node notices that the first has left");
}

#[tokio::test]
async fn shutdown_ends_followers_and_lets_invocations_finish() {
    let node = Node::start().await;
    node.deploy("f", "write head\nsleep 50\nwrite tail").await;
    let query = LogsQuery {
        follow: true,
        ..LogsQuery::default()
    };
    let mut followed = node.client.logs(&key("f"), &query).await.expect("a stream");
    let mut called = node
        .client
        .invoke(&key("f"), Invocation::default())
        .await
        .expect("the head");
    assert_eq!(
        called.chunk().await.expect("a chunk").expect("not the end"),
        "head"
    );
    let Node { handle, client, .. } = node;
    let (body, ()) = tokio::join!(called.bytes(100), handle.shutdown(Duration::from_secs(10)));
    assert_eq!(body.expect("whole"), "tail");
    assert_eq!(followed.next().await.expect("readable"), None);
    let error = client.live().await.expect_err("gone");
    assert_eq!(error.code(), Code::NodeNotRunning);
}

#[tokio::test]
async fn shutdown_does_not_wait_longer_than_its_grace() {
    let node = Node::start().await;
    node.deploy("f", "write head\nhang").await;
    let mut called = node
        .client
        .invoke(&key("f"), Invocation::default())
        .await
        .expect("the head");
    assert_eq!(
        called.chunk().await.expect("a chunk").expect("not the end"),
        "head"
    );
    node.handle.shutdown(Duration::from_millis(10)).await;
    called.chunk().await.expect_err("cut");
    assert_eq!(node.invoker.n_running(), 0);
}
