//! What reaches the node over HTTP must not confuse it. The full battery against the edge is the gateway's
//! own; here it meets the whole node (catalogue rows A18, A37, A40, A41, A45, A46, A48).

use std::time::Duration;

use testkit::guests::wat;
use testkit::{Resources, eventually};

use crate::node;

#[test]
fn a_guest_cannot_smuggle_with_its_head() {
    let node = node();
    node.deploy_wasm("bad", &wat("bad-head"), &[]);
    node.deploy_wasm("noop", &wat("noop"), &[]);
    for path in [
        "crlf",
        "nul",
        "no-colon",
        "empty-name",
        "bad-name",
        "blank-line",
        "control",
        "connection",
        "transfer-encoding",
        "upgrade",
        "status-0",
        "status-101",
        "status-199",
        "status-600",
        "status-999",
        "status-65736",
        "length-short",
        "length-long",
        "length-twice",
        "length-text",
        "length-signed",
        "length-huge",
        "no-final-lf",
        "not-utf8",
        "platform",
        "body-204",
        "body-304",
    ] {
        let mut client = node.client();
        client.request("GET", &format!("/function/bad/{path}"), &[], b"");
        let answer = client
            .answer()
            .unwrap_or_else(|| panic!("{path}: no answer"));
        assert!(answer.header("x-injected").is_none(), "{path}");
        assert!(answer.header("upgrade").is_none(), "{path}");
        let id = answer
            .header("holm-invocation-id")
            .expect("every answer has an id");
        assert_ne!(id, "forged", "{path}");
        if !answer.is_whole {
            continue;
        }
        // The next request on that connection is answered as if nothing had been.
        client.request("GET", "/function/noop/", &[], b"");
        if let Some(next) = client.answer() {
            assert_eq!(
                (next.status, next.text().as_str()),
                (200, "ok"),
                "after {path}"
            );
        }
    }
}

#[test]
fn malformed_requests_are_400_and_closed() {
    let node = node();
    node.deploy_wasm("noop", &wat("noop"), &[]);
    let head = "GET /function/noop/ HTTP/1.1\r\n";
    let post = "POST /function/noop/ HTTP/1.1\r\nhost: a\r\n";
    for (what, request) in [
        ("no host", format!("{head}\r\n")),
        ("two hosts", format!("{head}host: a\r\nhost: b\r\n\r\n")),
        (
            "bare LF",
            "GET /function/noop/ HTTP/1.1\nhost: a\n\n".to_owned(),
        ),
        (
            "both framings",
            format!("{post}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            "gzip, chunked",
            format!("{post}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            "other authority",
            "GET http://b/function/noop/ HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        ),
        (
            "encoded slash",
            "GET /function%2fnoop/ HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        ),
        (
            "encoded nul",
            "GET /function/noop/%00 HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        ),
    ] {
        let mut client = node.client();
        client.send(request.as_bytes()).expect("the server reads");
        let answer = client
            .answer()
            .unwrap_or_else(|| panic!("{what}: no answer"));
        assert!(
            matches!(answer.status, 400 | 404),
            "{what}: {}",
            answer.status
        );
        assert!(answer.code().is_some(), "{what}: {}", answer.text());
    }
    assert_eq!(node.get("noop", "/").text(), "ok");
}

#[test]
fn dots_are_resolved_before_routing() {
    let node = node();
    node.deploy_wasm("head", &wat("head"), &[]);
    node.deploy_wasm("noop", &wat("noop"), &[]);
    for target in [
        "/function/head/../noop/",
        "/function/head/%2e%2e/noop/",
        "/x/../function/noop/",
    ] {
        let answer = testkit::get(node.gateway, target);
        let refused = answer.status == 400 || answer.status == 404;
        assert!(
            refused || answer.text() == "ok",
            "{target}: {}",
            answer.text()
        );
    }
}

#[test]
fn platform_headers_of_callers_are_not_believed() {
    let node = node();
    node.deploy_wasm("head", &wat("head"), &[]);
    let mut client = node.client();
    let forged = [
        ("x-forwarded-for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("x-amz-request-id", "forged"),
        ("holm-invocation-id", "forged"),
        ("connection", "x-secret"),
        ("x-secret", "hop"),
        ("x-kept", "yes"),
    ];
    client.request("GET", "/function/head/", &forged, b"");
    let seen = client.answer().expect("an answer").text();
    assert!(seen.contains("x-kept: yes"), "{seen}");
    for forbidden in ["6.6.6.6", "forged", "x-secret"] {
        assert!(!seen.contains(forbidden), "{forbidden} in {seen}");
    }
}

#[test]
fn the_admin_api_needs_its_token_and_is_not_on_the_gateway() {
    let node = node();
    let anonymous = |path: &str| testkit::get(node.admin, path);
    assert_eq!(anonymous("/live").status, 200);
    assert_eq!(anonymous("/ready").status, 200);
    for path in [
        "/v1/functions",
        "/v1/node",
        "/v1/config",
        "/metrics",
        "/v1/usage",
    ] {
        let answer = anonymous(path);
        assert_eq!(
            (answer.status, answer.code().as_deref()),
            (401, Some("H1013")),
            "{path}"
        );
        assert_eq!(
            testkit::get(node.gateway, path).code().as_deref(),
            Some("H1002"),
            "{path}"
        );
    }
    let token = format!("Bearer {}", node.token());
    let mut client = testkit::HttpClient::connect(node.admin);
    let admin = node.admin.to_string();
    client.request(
        "GET",
        "/metrics",
        &[("host", &admin), ("authorization", &token)],
        b"",
    );
    let metrics = client.answer().expect("an answer");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.text().contains("faas_invocations_total"),
        "{}",
        metrics.text()
    );
    let guide = testkit::guests::root().join("docs/guide/metrics.md");
    let guide = std::fs::read_to_string(guide).expect("the guide is there");
    for line in metrics.text().lines() {
        let kind = line.strip_prefix("# TYPE ");
        let name = kind.and_then(|kind| kind.split(' ').next());
        assert!(
            name.is_none_or(|name| guide.contains(&format!("`{name}`"))),
            "not in docs/guide/metrics.md: {line}"
        );
    }
    client.request(
        "GET",
        "/v1/node",
        &[("host", "evil.example"), ("authorization", &token)],
        b"",
    );
    assert_ne!(
        client.answer().expect("an answer").status,
        200,
        "a rebound name"
    );
}

#[test]
fn callers_who_hang_up_leave_nothing_behind() {
    let node = node();
    node.deploy("sleep", &wat("sleep"), "[limits]\nconcurrency = 50\n");
    assert_eq!(node.get("sleep", "/?ms=0").status, 200);
    let before = Resources::of(node.pid());
    for round in 0..20 {
        let mut clients: Vec<_> = (0..20).map(|_| node.client()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            let request = "GET /function/sleep/?ms=30000 HTTP/1.1\r\nhost: a\r\n\r\n";
            let n_bytes = if n % 2 == 0 { request.len() } else { 7 + round };
            client
                .send(&request.as_bytes()[..n_bytes])
                .expect("the server reads");
        }
    }
    assert!(
        eventually(Duration::from_secs(20), || Resources::of(node.pid()).n_fds
            <= before.n_fds),
        "{before:?} and then {:?}",
        Resources::of(node.pid())
    );
    assert!(
        eventually(Duration::from_secs(20), || node
            .get("sleep", "/?ms=0")
            .status
            == 200),
        "the places were not given back"
    );
    let metrics = |node: &testkit::Node| {
        node.holm(&["usage", "--by", "function", "--json"])
            .ok()
            .json()
    };
    let rows = metrics(&node);
    assert!(rows.to_string().contains("sleep"), "{rows}");
}
