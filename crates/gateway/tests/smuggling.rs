//! Requests that two programs could frame differently (catalogue A41, A45): each is refused with 400 and a
//! close, and at most one invocation comes of one request.

mod common;

use common::Node;
use model::Code;

/// What follows a smuggling attempt: a request that must never be answered.
const SMUGGLED: &str = "GET /function/hello/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Sends `request` and then another one on the same connection.
fn assert_refused(node: &Node, request: &str, code: Code) {
    let n_before = node.n_invoked();
    let mut client = node.connect();
    client.send(format!("{request}{SMUGGLED}"));
    let answer = client.answer();
    assert_eq!(answer.status, code.status(), "{request:?} got {answer:?}");
    answer.assert_problem(code);
    assert_eq!(answer.header("connection"), Some("close"), "{request:?}");
    client.assert_closed();
    assert_eq!(
        node.n_invoked(),
        n_before,
        "{request:?} must not reach a function"
    );
}

#[test]
fn heads_that_could_be_read_differently() {
    let node = Node::start();
    let get = "GET /function/hello/ HTTP/1.1\r\n";
    let post = "POST /function/hello/ HTTP/1.1\r\nHost: a.test\r\n";
    let heads = [
        // Host.
        format!("{get}\r\n"),
        format!("{get}Host: a.test\r\nHost: a.test\r\n\r\n"),
        format!("{get}Host: a.test\r\nHost: b.test\r\n\r\n"),
        format!("{get}Host:\r\n\r\n"),
        format!("{get}Host: a.test, b.test\r\n\r\n"),
        format!("{get}Host: user@a.test\r\n\r\n"),
        format!("{get}Host: a.test/x\r\n\r\n"),
        format!("{get}Host: a.test:port\r\n\r\n"),
        format!("{get}Host: a.test:99999\r\n\r\n"),
        format!("{get}Host: [::1\r\n\r\n"),
        format!("{get}Host: 0x7f.1\r\n\r\n"),
        "GET http://b.test/function/hello/ HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(),
        "GET http://user@a.test/function/hello/ HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(),
        "GET http://a.test/function/hello/ HTTP/1.1\r\n\r\n".to_owned(),
        "GET ftp://a.test/function/hello/ HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(),
        // Line ends and white space.
        "GET /function/hello/ HTTP/1.1\nHost: a.test\n\n".to_owned(),
        format!("{get}Host: a.test\n\r\n"),
        format!("{get}Host: a.test\r\nX: a\rY: b\r\n\r\n"),
        format!("{get}Host: a.test\r\n folded\r\n\r\n"),
        format!("{get}Host: a.test\r\nX: a\0b\r\n\r\n"),
        format!("{get}Host: a.test\r\nX : a\r\n\r\n"),
        format!("{get} Host: a.test\r\n\r\n"),
        "GET  /function/hello/ HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(),
        "GET /function/hello/\tHTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(),
        "GET /function/hello/#x HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(),
        "GET /function/hello/ HTTP/1.2\r\nHost: a.test\r\n\r\n".to_owned(),
        // Lengths.
        format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n"),
        format!("{post}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        format!("{post}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
        format!("{post}Content-Length: 5, 5\r\n\r\nhello"),
        format!("{post}Content-Length: +5\r\n\r\nhello"),
        format!("{post}Content-Length: 0x5\r\n\r\nhello"),
        format!("{post}Content-Length: -1\r\n\r\nhello"),
        "POST /function/hello/ HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
    ];
    for head in &heads {
        assert_refused(&node, head, Code::BadRequest);
    }
}

#[test]
fn paths_that_hide_something() {
    let node = Node::start();
    for path in [
        "/function/hello/..%2f..%2fadmin",
        "/function/hello/%2e%2e/%2e%2e/%2e%2e/x",
        "/function/hello/a%5cb",
        "/function/hello/%00",
        "/function/hello/%zz",
        "/function/hello/%",
        "/../function/hello/",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_refused(&node, &request, Code::BadRequest);
    }
    // What has one reading only gets that reading.
    for (path, seen) in [
        ("/function/inspect", "/"),
        ("/function/inspect/", "/"),
        ("//function//inspect//a", "/a"),
        ("/function/./inspect/a/../b?x=../y", "/b?x=../y"),
        ("/function/hello/%2e%2e/inspect/%7Ea", "/~a"),
        ("/function/%69nspect/a;p=1", "/a;p=1"),
        ("/function/inspect.default/a%20b", "/a%20b"),
    ] {
        let answer = node.get(path);
        assert_eq!(
            answer.text().lines().next(),
            Some(format!("GET {seen}").as_str()),
            "{path}"
        );
    }
}

#[test]
fn broken_bodies_are_never_a_success() {
    let node = Node::start();
    let bodies = [
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "zz\r\n",
        "-1\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n",
        "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
    ];
    for name in ["inspect", "ignore"] {
        for body in bodies {
            // In one piece, so that the function cannot answer before the body is seen.
            let mut client = node.connect();
            client.send(format!(
                "POST /function/{name}/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {body}{SMUGGLED}"
            ));
            client.answer().assert_problem(Code::BodyMalformed);
            client.assert_closed();
        }
    }
    // And with the break arriving later.
    for body in bodies {
        let mut client = node.connect();
        client.send(
            "POST /function/inspect/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n",
        );
        client.send(format!("{body}{SMUGGLED}"));
        client.answer().assert_problem(Code::BodyMalformed);
        client.assert_closed();
    }
}

#[test]
fn size_limits_have_their_codes() {
    let node = Node::start();
    let head = "GET /function/hello/ HTTP/1.1\r\nHost: a.test\r\n";
    let uri = "a".repeat(9 * 1024);
    let large = "a".repeat(33 * 1024);
    let many = "a: b\r\n".repeat(101);
    for (request, code) in [
        (
            format!("GET /{uri} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            Code::UriTooLong,
        ),
        (format!("{head}X: {large}\r\n\r\n"), Code::HeadersTooLarge),
        (format!("{head}{many}\r\n"), Code::HeadersTooLarge),
    ] {
        assert_refused(&node, &request, code);
    }
    // Without waiting for an end that never comes.
    let mut client = node.connect();
    client.send(format!("{head}X: {large}"));
    client.answer().assert_problem(Code::HeadersTooLarge);
    // Extensions and trailers are bounded too.
    for body in [
        format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(5000)),
        format!("0\r\n{}\r\n", "x: y\r\n".repeat(3000)),
    ] {
        let mut client = node.connect();
        client.send(format!(
            "POST /function/inspect/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        ));
        client.answer().assert_problem(Code::BodyMalformed);
    }
}

#[test]
fn a_refusal_waits_for_the_answers_before_it() {
    let node = Node::start();
    let mut client = node.connect();
    client.send(format!(
        "{SMUGGLED}{SMUGGLED}GET / HTTP/1.1\nHost: a.test\n\n{SMUGGLED}"
    ));
    for _ in 0..2 {
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (200, "hello"));
    }
    client.answer().assert_problem(Code::BadRequest);
    client.assert_closed();
    assert_eq!(node.n_invoked(), 2);
}

#[test]
fn a_refused_head_request_gets_no_body() {
    let node = Node::start();
    let mut client = node.connect();
    client.expects_head_only = true;
    client.send("HEAD /function/hello/ HTTP/1.1\nHost: a.test\n\n");
    assert_eq!(client.answer().status, 400);
    client.assert_closed();
}

#[test]
fn heads_may_arrive_byte_by_byte() {
    let node = Node::start();
    let mut client = node.connect();
    let request = "POST /function/inspect/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;e=1\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 9\r\n\r\n";
    for _ in 0..2 {
        for byte in request.bytes() {
            client.send([byte]);
        }
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.line("body"), Some("body 5 abcde"));
        assert_eq!(answer.line("trailer"), Some("trailer x-sum: 9"));
    }
}

#[test]
fn other_protocols_are_turned_away() {
    let node = Node::start();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"SSH-2.0-x\r\n",
        b"\0\0\0\0",
    ] {
        let mut client = node.connect();
        client.send(bytes);
        client.answer().assert_problem(Code::BadRequest);
        client.assert_closed();
    }
}
