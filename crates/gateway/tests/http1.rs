//! HTTP/1 as callers meet it: addresses, headers in both directions, answers without content, keep-alive,
//! hostile answers (catalogue A18, A38, A40, A46), callers who go away (A48).

mod common;

use common::{Node, route, wait_until};
use model::{Code, StartKind};

const HEAD: &str = "HTTP/1.1\r\nHost: a.test\r\n";

#[test]
fn functions_are_reached_by_path_host_and_route() {
    let node = Node::start();
    let inspect = || common::usual_handler("inspect");
    node.deploy("tool.team", inspect(), |_| {});
    node.deploy("shop", inspect(), |config| {
        config.routes = vec![
            route(None, "/shop/*", &[]),
            route(Some("shop.test"), "/*", &["GET", "POST"]),
        ];
    });
    let seen = |host: &str, path: &str| {
        let answer = node.call(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status, 200, "{host}{path}: {answer:?}");
        answer.text().lines().next().expect("a line").to_owned()
    };
    assert_eq!(seen("a.test", "/function/inspect/a/b?c=d"), "GET /a/b?c=d");
    assert_eq!(seen("a.test", "/function/tool.team/x"), "GET /x");
    assert_eq!(seen("inspect.localhost:8080", "/a/b?c"), "GET /a/b?c");
    assert_eq!(
        seen("INSPECT.localhost.", "/function/hello/"),
        "GET /function/hello/"
    );
    assert_eq!(seen("tool.team.localhost", "/"), "GET /");
    assert_eq!(seen("a.test", "/shop/cart"), "GET /shop/cart");
    assert_eq!(
        seen("shop.test", "/function/hello/"),
        "GET /function/hello/"
    );
    assert_eq!(seen("[::1]:80", "/function/inspect/"), "GET /");

    let absolute = "GET http://a.test/function/inspect/x HTTP/1.1\r\nHost: a.test\r\n\r\n";
    assert_eq!(node.call(absolute).text().lines().next(), Some("GET /x"));
    let old = "GET /function/inspect/x HTTP/1.0\r\nHost: a.test\r\n\r\n";
    assert_eq!(node.call(old).text().lines().next(), Some("GET /x"));

    for (host, path, code) in [
        ("a.test", "/function/nobody/", Code::FunctionNotFound),
        ("a.test", "/function/tool/", Code::FunctionNotFound),
        ("a.test", "/function/a.b.c/", Code::FunctionNotFound),
        ("a.test", "/function/", Code::FunctionNotFound),
        ("nobody.localhost", "/", Code::FunctionNotFound),
        ("a.test", "/", Code::NoRoute),
        ("a.test", "/functional", Code::NoRoute),
    ] {
        let answer = node.call(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        answer.assert_problem(code);
        assert_eq!(
            answer.header("connection"),
            None,
            "a miss does not end the connection"
        );
    }
    let answer = node.call("DELETE /x HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    answer.assert_problem(Code::MethodNotAllowed);
    assert_eq!(answer.header("allow"), Some("GET, POST"));
    let answer = node.call("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    answer.assert_problem(Code::MethodNotAllowed);
    let answer = node.call("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n");
    answer.assert_problem(Code::BadRequest);
}

#[test]
fn callers_cannot_speak_for_the_platform() {
    let node = Node::start();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = node.call(&format!(
        "GET /function/inspect/ {HEAD}\
         X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
         X-Amz-Function-Error: x\r\nHolm-Invocation-Id: x\r\nProxy: http://evil\r\n\
         Connection: keep-alive, X-Drop\r\nX-Drop: 1\r\nX-Keep: 1\r\nTE: trailers\r\n\
         Traceparent: {parent}\r\nTracestate: a=b\r\n\r\n"
    ));
    assert_eq!(answer.status, 200);
    let text = answer.text();
    for gone in [
        "6.6.6.6",
        "evil",
        "amz",
        "holm-",
        "connection",
        "x-drop",
        "\nte:",
    ] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    assert_eq!(
        answer.line("x-forwarded-for"),
        Some("x-forwarded-for: 127.0.0.1")
    );
    assert_eq!(
        answer.line("x-forwarded-proto"),
        Some("x-forwarded-proto: http")
    );
    assert_eq!(
        answer.line("x-forwarded-host"),
        Some("x-forwarded-host: a.test")
    );
    assert_eq!(answer.line("host"), Some("host: a.test"));
    assert_eq!(answer.line("x-keep"), Some("x-keep: 1"));
    assert_eq!(answer.line("tracestate"), Some("tracestate: a=b"));
    let traceparent = answer.line("traceparent").expect("a trace");
    assert!(traceparent.starts_with("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    assert!(
        !traceparent.contains("00f067aa0ba902b7"),
        "a span of its own"
    );

    let answer = node.call(&format!(
        "GET /function/inspect/ {HEAD}Traceparent: x\r\nTracestate: a=b\r\n\r\n"
    ));
    assert_eq!(
        answer.line("tracestate"),
        None,
        "no state without its trace"
    );
}

#[test]
fn answers_carry_id_and_timings_and_leave_a_receipt() {
    let node = Node::start();
    let answer = node.get("/function/hello/");
    let id = answer
        .header("holm-invocation-id")
        .expect("an id")
        .to_owned();
    let timing = answer.header("server-timing").expect("timings");
    assert!(timing.starts_with("queue;dur=0."), "{timing}");
    assert!(
        timing.contains("start;dur=") && timing.contains("run;dur="),
        "{timing}"
    );
    assert!(timing.contains(";desc=\"cold\""), "{timing}");
    let receipts = node.receipts.wait(1);
    assert_eq!(receipts[0].id.to_string(), id);
    assert_eq!(
        (receipts[0].status, receipts[0].start),
        (200, StartKind::Cold)
    );

    let answer = node.get("/function/trap/");
    answer.assert_problem(Code::Trap);
    assert!(answer.header("server-timing").is_some());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn hostile_answers_are_made_harmless() {
    let node = Node::start();
    let mut client = node.connect();
    let mut ask = |extra: &str, body: &str| {
        client.send(format!(
            "POST /function/answer/ {HEAD}{extra}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let answer = client.answer();
        // Whatever that was, the connection is still in step.
        client.send(format!("GET /function/hello/ {HEAD}\r\n"));
        assert_eq!(client.answer().text(), "hello", "after {extra:?}");
        answer
    };
    for stream in ["", "X-Stream: 1\r\n"] {
        for header in [
            "content-length=1",
            "content-length=999",
            "content-length=x",
            "transfer-encoding=chunked",
            "transfer-encoding=gzip",
            "connection=close",
            "connection=upgrade, content-type",
            "upgrade=websocket",
            "keep-alive=timeout=1",
            "trailer=x",
        ] {
            let answer = ask(&format!("{stream}X-Header: {header}\r\n"), "body");
            assert_eq!(
                (answer.status, answer.text()),
                (200, "body"),
                "{stream}{header}"
            );
        }
    }
    for status in [100, 101, 103, 199, 600, 999] {
        ask(&format!("X-Status: {status}\r\n"), "").assert_problem(Code::BadResponse);
    }
    let answer = ask(
        "X-Header: holm-error=H1001\r\nX-Header: holm-invocation-id=x\r\n",
        "",
    );
    assert_eq!(answer.header("holm-error"), None);
    assert_ne!(answer.header("holm-invocation-id"), Some("x"));
    let answer = ask("X-Header: set-cookie=a=1; Domain=test; Path=/\r\n", "");
    assert_eq!(answer.header("set-cookie"), Some("a=1; Path=/"));
    let answer = ask("X-Header: service-worker-allowed=/\r\n", "");
    assert_eq!(answer.header("service-worker-allowed"), None);
    let large = format!("X-Header: a={}\r\n", "x".repeat(10_000)).repeat(3);
    let large = ask(&large, "");
    assert_eq!(large.status, 200, "below the limit");
}

#[test]
fn too_large_answer_heads_are_refused() {
    let config = gateway::GatewayConfig {
        response_head_bytes_max: 100,
        ..common::quick_config()
    };
    let node = Node::with(config);
    let header = format!("X-Header: a={}\r\n", "x".repeat(100));
    let answer = node.call(&format!("GET /function/answer/ {HEAD}{header}\r\n"));
    answer.assert_problem(Code::BadResponse);
}

#[test]
fn answers_without_content_stay_in_step() {
    let node = Node::start();
    let mut client = node.connect();
    for status in [204, 304] {
        for body in ["", "body"] {
            client.send(format!(
                "POST /function/answer/ {HEAD}X-Status: {status}\r\nX-Header: content-length=9\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            ));
            let answer = client.answer();
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("transfer-encoding"), None);
        }
    }
    client.send(format!(
        "POST /function/answer/ {HEAD}X-Status: 205\r\nContent-Length: 4\r\n\r\nbody"
    ));
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.len()), (205, 0));

    client.expects_head_only = true;
    client.send(format!("HEAD /function/hello/ {HEAD}\r\n"));
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (200, Some("5"))
    );
    client.send(format!("HEAD /function/stream/ {HEAD}\r\n"));
    assert_eq!(client.answer().status, 200);
    client.send(format!("HEAD /function/nobody/ {HEAD}\r\n"));
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.header("holm-error")),
        (404, Some("H1001"))
    );
    client.expects_head_only = false;
    client.send(format!("GET /function/hello/ {HEAD}\r\n"));
    assert_eq!(client.answer().text(), "hello");
    // The function behind HEAD ran to its end, although nobody read what it wrote.
    let receipts = node.receipts.wait(8);
    assert!(
        receipts.iter().all(|receipt| receipt.error.is_none()),
        "{receipts:?}"
    );
}

#[test]
fn connections_outlive_misses_and_function_errors() {
    let node = Node::start();
    let mut client = node.connect();
    for (path, status) in [
        ("nobody", 404),
        ("trap", 502),
        ("hello", 200),
        ("stream", 200),
        ("trap", 502),
        ("echo", 200),
    ] {
        client.send(format!("GET /function/{path}/ {HEAD}\r\n"));
        assert_eq!(client.answer().status, status, "{path}");
    }
    // A wish for another protocol is no reason to leave this one.
    client.send(format!(
        "GET /function/hello/ {HEAD}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
    ));
    assert_eq!(client.answer().text(), "hello");
    client.send(format!(
        "GET /function/hello/ {HEAD}Connection: close\r\n\r\n"
    ));
    let answer = client.answer();
    assert_eq!(answer.header("connection"), Some("close"));
    client.assert_closed();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let node = Node::start();
    let mut client = node.connect();
    let mut bytes = String::new();
    for index in 0..50 {
        let body = "x".repeat(index);
        bytes.push_str(&format!(
            "POST /function/echo/ {HEAD}Content-Length: {index}\r\n\r\n{body}"
        ));
    }
    client.send(bytes);
    for index in 0..50 {
        assert_eq!(client.answer().body.len(), index);
    }
}

#[test]
fn bodies_stream_both_ways() {
    let node = Node::start();
    let mut client = node.connect();
    client.send(format!(
        "POST /function/echo/ {HEAD}Transfer-Encoding: chunked\r\n\r\n"
    ));
    // Each chunk comes back before the next is sent: nothing collects.
    client.send("5\r\nfirst\r\n");
    let head = client.head_of_stream();
    assert_eq!(head.status, 200);
    assert_eq!(client.chunk(), b"first");
    client.send("6\r\nsecond\r\n");
    assert_eq!(client.chunk(), b"second");
    client.send("0\r\n\r\n");
    assert_eq!(client.chunk(), b"");
    client.send(format!("GET /function/hello/ {HEAD}\r\n"));
    assert_eq!(client.answer().text(), "hello");
}

#[test]
fn expectations_and_announced_lengths_are_judged_before_the_body() {
    let node = Node::start();
    node.deploy("small", common::usual_handler("answer"), |config| {
        config.limits.body_bytes_max = 10;
    });
    let mut client = node.connect();
    client.send(format!(
        "POST /function/small/ {HEAD}Expect: 100-continue\r\nContent-Length: 11\r\n\r\n"
    ));
    let answer = client.answer();
    answer.assert_problem(Code::BodyTooLarge);
    assert_eq!(answer.header("connection"), Some("close"));
    client.assert_closed();

    let mut client = node.connect();
    client.send(format!(
        "POST /function/small/ {HEAD}Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 100);
    client.send("hello");
    assert_eq!(client.answer().text(), "hello");

    let mut client = node.connect();
    client.send(format!(
        "POST /function/small/ {HEAD}Expect: a-pony\r\nContent-Length: 5\r\n\r\n"
    ));
    client.answer().assert_problem(Code::ExpectationFailed);
    client.assert_closed();

    // Without an announced length the limit fires while the body streams.
    let mut client = node.connect();
    client.send(format!(
        "POST /function/small/ {HEAD}Transfer-Encoding: chunked\r\n\r\n\
         8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n"
    ));
    client.answer().assert_problem(Code::BodyTooLarge);
    assert_eq!(node.n_invoked(), 2, "the first and third never ran");
}

#[test]
fn an_upload_that_nobody_reads_gets_its_answer() {
    let node = Node::start();
    let mut client = node.connect();
    // More than fits anywhere: the function answers without reading it.
    client.send(format!(
        "POST /function/ignore/ {HEAD}Content-Length: 50000000\r\n\r\n"
    ));
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, "ignored"));
    // The connection closes on our side and keeps reading for a while, so the answer is not lost to a
    // reset.
    client.send(vec![b'x'; 100_000]);
    client.assert_closed();
}

#[test]
fn a_caller_who_goes_away_cancels_the_invocation() {
    let node = Node::start();
    let mut waiting = node.connect();
    waiting.send(format!("GET /function/hang/ {HEAD}\r\n"));
    wait_until("the function runs", || node.n_alive() == 1);
    drop(waiting);
    wait_until("the function is gone", || node.n_alive() == 0);
    let mut uploading = node.connect();
    uploading.send(format!(
        "POST /function/inspect/ {HEAD}Content-Length: 10\r\n\r\nhalf"
    ));
    wait_until("the function runs", || node.n_alive() == 1);
    drop(uploading);
    wait_until("the function is gone", || node.n_alive() == 0);
    let mut reading = node.connect();
    reading.send(format!("GET /function/big/ {HEAD}\r\n"));
    assert_eq!(reading.head_of_stream().status, 200);
    drop(reading);
    for receipt in node.receipts.wait(3) {
        assert_eq!(receipt.error, Some(Code::CallerGone), "{receipt:?}");
    }
    wait_until("the connections are gone", || node.n_connections() == 0);
}

#[test]
fn values_beyond_ascii_and_tabs_pass_unchanged() {
    let node = Node::start();
    let mut client = node.connect();
    let mut request = format!("GET /function/echo/ {HEAD}X-Tab: a\tb\r\nX-Raw: ").into_bytes();
    request.extend([0xe9, b' ', 0xff]);
    request.extend(b"\r\n\r\n");
    for _ in 0..2 {
        client.send(&request);
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn every_character_in_a_uri_gets_a_proper_answer() {
    let node = Node::start();
    let mut odd = Vec::new();
    for byte in 0x21..=0x7e_u8 {
        let character = char::from(byte);
        for target in [
            format!("/function/inspect/a{character}b"),
            format!("/function/inspect/?a{character}b"),
            format!("http://a.test/function/inspect/{character}"),
            format!("{character}"),
            format!("a.test{character}80"),
        ] {
            let mut client = node.connect();
            client.send(format!("GET {target} {HEAD}\r\n"));
            let answer = client.answer();
            if answer.status != 200 && answer.header("holm-error").is_none() {
                odd.push((target, answer.status));
            }
        }
    }
    assert_eq!(odd, []);
}
