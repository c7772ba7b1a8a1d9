//! HTTP/2 with prior knowledge: with a client library as it should be, and with frames by hand as it should
//! not (catalogue A41, A42).

mod common;

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::frames::*;
use common::{Node, PATIENCE, quick_config, wait_until};
use gateway::{GatewayConfig, Http2Config};
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use model::Code;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(PATIENCE, future)
            .await
            .expect("it does not take that long")
    })
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("it listens");
    let (client, connection) = h2::client::handshake(stream)
        .await
        .expect("it speaks HTTP/2");
    tokio::spawn(async move {
        // Ends with the connection; how is the tests' business.
        let _ = connection.await;
    });
    client
}

struct Reply {
    head: Response<()>,
    body: Vec<u8>,
}

async fn send(
    client: &SendRequest<Bytes>,
    request: Request<()>,
    body: Option<&[u8]>,
) -> Result<Reply, h2::Error> {
    let mut client = client.clone().ready().await?;
    let (response, mut stream) = client.send_request(request, body.is_none())?;
    if let Some(body) = body {
        stream.send_data(Bytes::copy_from_slice(body), true)?;
    }
    let (head, mut incoming) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = incoming.data().await {
        let chunk = chunk?;
        incoming.flow_control().release_capacity(chunk.len())?;
        body.extend(chunk);
    }
    Ok(Reply {
        head: Response::from_parts(head, ()),
        body,
    })
}

fn request(method: Method, uri: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(uri)
        .body(())
        .expect("a request")
}

fn assert_problem(reply: &Reply, code: Code) {
    assert_eq!(reply.head.status().as_u16(), code.status());
    let headers: &HeaderMap = reply.head.headers();
    assert_eq!(headers["holm-error"], code.to_string().as_str());
    assert!(
        !headers.contains_key("connection"),
        "no such header in HTTP/2"
    );
    let problem: model::Problem = serde_json::from_slice(&reply.body).expect("a problem");
    assert_eq!(problem.code, code);
}

#[test]
fn requests_and_answers() {
    let node = Node::start();
    // Chunks larger than the pieces in which they are sent.
    let large = common::handler(|_| async { Ok(Response::new(common::chunks(4, 500_000))) });
    node.deploy("large", large, |_| {});
    block_on(async {
        let client = connect(node.address).await;
        let uri = "http://a.test/function/inspect/x?y=z";
        let mut post = request(Method::POST, uri);
        post.headers_mut()
            .insert("x-forwarded-for", "6.6.6.6".parse().expect("a value"));
        let reply = send(&client, post, Some(b"body")).await.expect("an answer");
        assert_eq!(reply.head.status(), 200);
        let text = String::from_utf8(reply.body).expect("text");
        assert!(text.starts_with("POST /x?y=z\n"), "{text}");
        assert!(text.contains("\nhost: a.test\n"), "{text}");
        assert!(text.contains("\nx-forwarded-for: 127.0.0.1\n"), "{text}");
        assert!(text.ends_with("body 4 body"), "{text}");
        assert!(reply.head.headers().contains_key("holm-invocation-id"));
        assert!(reply.head.headers().contains_key("server-timing"));

        let host = request(Method::GET, "http://inspect.localhost:80/a");
        let reply = send(&client, host, None).await.expect("an answer");
        assert!(reply.body.starts_with(b"GET /a\n"));

        let head = request(Method::HEAD, "http://a.test/function/hello/");
        let reply = send(&client, head, None).await.expect("an answer");
        assert_eq!((reply.head.status(), reply.body.len()), (StatusCode::OK, 0));

        let large = request(Method::GET, "http://a.test/function/large/");
        let reply = send(&client, large, None).await.expect("an answer");
        assert_eq!(reply.body.len(), 2_000_000);

        let upload = vec![b'u'; 3_000_000];
        let echo = request(Method::POST, "http://a.test/function/echo/");
        let reply = send(&client, echo, Some(&upload)).await.expect("an answer");
        assert!(reply.body == upload, "it came back whole");
    });
    let receipts = node.receipts.wait(5);
    assert!(
        receipts.iter().all(|receipt| receipt.error.is_none()),
        "{receipts:?}"
    );
}

#[test]
fn refusals() {
    let node = Node::start();
    block_on(async {
        let client = connect(node.address).await;
        for (method, uri, code) in [
            (
                Method::GET,
                "http://a.test/function/nobody/",
                Code::FunctionNotFound,
            ),
            (Method::GET, "http://a.test/nowhere", Code::NoRoute),
            (
                Method::GET,
                "http://a.test/function/hello/%2e%2e%2f",
                Code::BadRequest,
            ),
            (
                Method::GET,
                "http://user@a.test/function/hello/",
                Code::BadRequest,
            ),
            (
                Method::GET,
                "http://0x7f.1/function/hello/",
                Code::BadRequest,
            ),
            (
                Method::GET,
                "ftp://a.test/function/hello/",
                Code::BadRequest,
            ),
            (Method::GET, "http://a.test/function/trap/", Code::Trap),
        ] {
            let reply = send(&client, request(method, uri), None)
                .await
                .expect("an answer");
            assert_problem(&reply, code);
        }
        for (name, value, code) in [
            ("host", "b.test", Code::BadRequest),
            ("expect", "a-pony", Code::ExpectationFailed),
        ] {
            let mut odd = request(Method::GET, "http://a.test/function/hello/");
            odd.headers_mut()
                .insert(name, value.parse().expect("a value"));
            assert_problem(&send(&client, odd, None).await.expect("an answer"), code);
        }
        let mut two_hosts = request(Method::GET, "http://a.test/function/hello/");
        two_hosts
            .headers_mut()
            .append("host", "a.test".parse().expect("a value"));
        two_hosts
            .headers_mut()
            .append("host", "a.test".parse().expect("a value"));
        let reply = send(&client, two_hosts, None).await.expect("an answer");
        assert_problem(&reply, Code::BadRequest);

        let hello = request(Method::GET, "http://a.test/function/hello/");
        assert_eq!(
            send(&client, hello, None).await.expect("an answer").body,
            b"hello"
        );
    });
    assert_eq!(node.n_invoked(), 2, "trap and hello");
}

#[test]
fn many_streams_at_once() {
    let node = Node::start();
    block_on(async {
        let client = connect(node.address).await;
        // After this the client knows how many streams it may open at once.
        let hello = request(Method::GET, "http://a.test/function/hello/");
        send(&client, hello, None).await.expect("an answer");
        let calls = (0..500).map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let echo = request(Method::POST, "http://a.test/function/echo/");
                send(&client, echo, Some(b"ping"))
                    .await
                    .expect("an answer")
                    .body
            })
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.expect("no panic"), b"ping");
        }
    });
    let gateway = node.gateway.as_ref().expect("it runs");
    assert_eq!(gateway.stats().n_accepted(), 1);
}

/// Heads that HTTP/2 forbids (RFC 9113, sections 8.2 and 8.3): none reaches a function.
#[test]
fn malformed_heads_end_their_stream() {
    let node = Node::start();
    let path = (":path", "/function/hello/");
    let (method, scheme, authority) = (
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.test"),
    );
    let good = [method, scheme, authority, path];
    let with = |extra: (&'static str, &'static str)| [&good[..], &[extra]].concat();
    let heads: Vec<Vec<(&str, &str)>> = vec![
        vec![method, scheme, authority],
        vec![scheme, authority, path],
        vec![method, scheme, path],
        vec![method, method, scheme, authority, path],
        vec![method, scheme, authority, path, path],
        vec![("x", "first"), method, scheme, authority, path],
        vec![method, scheme, authority, (":path", "")],
        vec![
            method,
            scheme,
            authority,
            (":path", "/function/hello/ HTTP/1.1\r\nX: y"),
        ],
        vec![method, scheme, authority, (":path", "/function/hello /")],
        vec![method, scheme, authority, (":path", "function/hello/")],
        vec![method, scheme, (":authority", "a.test\r\nx: y"), path],
        vec![method, scheme, (":authority", "a.test/x"), path],
        vec![(":method", "GET / HTTP/1.1"), scheme, authority, path],
        with((":status", "200")),
        with((":unknown", "x")),
        with(("X-Upper", "x")),
        with(("connection", "close")),
        with(("transfer-encoding", "chunked")),
        with(("upgrade", "h2c")),
        with(("keep-alive", "1")),
        with(("te", "gzip")),
        with(("x", "a\r\nb: c")),
        with(("x", "a\0b")),
        with(("x y", "a")),
        with(("content-length", "5")),
        with(("content-length", "+0")),
    ];
    for head in heads {
        let mut client = node.connect();
        client.send(hello(&[]));
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&head)));
        let ended = loop {
            let Some(frame) = client.frame() else {
                break "closed";
            };
            match frame.kind {
                RST_STREAM => break "reset",
                GOAWAY => break "closed",
                // 400 is entry 12 of HPACK's static table.
                HEADERS if frame.payload[0] == 0x8c => break "refused",
                HEADERS => panic!("{head:?} got {frame:?}"),
                _ => {}
            }
        };
        assert!(["closed", "reset", "refused"].contains(&ended));
        assert_eq!(node.n_invoked(), 0, "{head:?}");
    }
}

#[test]
fn rapid_reset_ends_the_connection() {
    let node = Node::start();
    let mut client = node.connect();
    client.send(hello(&[]));
    let head = request_block();
    let mut flood = Vec::new();
    for stream in (1..20_001).step_by(2) {
        flood.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    // It may be cut in the middle.
    let _ = client.stream.write_all(&flood);
    if let Some(goaway) = client.frame_of(GOAWAY) {
        assert_eq!(goaway.error(), 11, "ENHANCE_YOUR_CALM");
    }
    wait_until("the connection is gone", || node.n_connections() == 0);
    wait_until("the functions are gone", || node.n_alive() == 0);
    assert!(node.n_invoked() < 1000, "{} of 10000 ran", node.n_invoked());
    assert_eq!(node.get("/function/hello/").text(), "hello");
}

fn request_block() -> Vec<u8> {
    common::frames::request("GET", "/function/hang/")
}

#[test]
fn endless_heads_and_pings_hurt_nobody() {
    let node = Node::start();
    let mut client = node.connect();
    client.send(hello(&[]));
    client.send(frame(HEADERS, END_STREAM, 1, &request_block()));
    let value = "a".repeat(100);
    let more = frame(CONTINUATION, 0, 1, &block(&[("x", value.as_str()); 100]));
    let mut n_sent = 0;
    while client.stream.write_all(&more).is_ok() {
        n_sent += 1;
        assert!(n_sent < 10_000, "100 MB of headers were taken");
    }
    wait_until("the connection is gone", || node.n_connections() == 0);

    for kind in [PING, SETTINGS] {
        let mut client = node.connect();
        client.send(hello(&[]));
        let payload: &[u8] = if kind == PING { &[0; 8] } else { &[] };
        let flood = frame(kind, 0, 0, payload).repeat(1000);
        client
            .stream
            .set_write_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout");
        // Nobody reads the acknowledgements: it stops taking more, or ends.
        for _ in 0..100 {
            if client.stream.write_all(&flood).is_err() {
                break;
            }
        }
        assert_eq!(node.get("/function/hello/").text(), "hello");
    }
}

#[test]
fn a_stream_that_is_not_read_is_reset_alone() {
    let config = GatewayConfig {
        write_timeout_ms: 500,
        ..quick_config()
    };
    let node = Node::with(config);
    let mut client = node.connect();
    // SETTINGS_INITIAL_WINDOW_SIZE = 0: no stream may send before we say so.
    client.send(hello(&[(4, 0)]));
    let began = Instant::now();
    for (stream, name) in [(1, "big"), (3, "hello")] {
        let head = common::frames::request("GET", &format!("/function/{name}/"));
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
    }
    // The small one gets what it needs.
    client.send(frame(WINDOW_UPDATE, 0, 3, &100_u32.to_be_bytes()));
    let data = client.frame_of(DATA).expect("data");
    assert_eq!((data.stream, data.payload.as_slice()), (3, &b"hello"[..]));
    let reset = client.frame_of(RST_STREAM).expect("a reset");
    assert_eq!(reset.stream, 1);
    assert!(began.elapsed() >= Duration::from_millis(500));
    let receipts = node.receipts.wait(2);
    let big = receipts
        .iter()
        .find(|receipt| receipt.function.name.as_str() == "big");
    assert_eq!(big.expect("one of them").error, Some(Code::CallerGone));
    // The connection lives on.
    client.send(frame(PING, 0, 0, &[7; 8]));
    assert_eq!(client.frame_of(PING).expect("a pong").payload, [7; 8]);
}

#[test]
fn a_body_that_stops_ends_in_408() {
    let config = GatewayConfig {
        body_idle_timeout_ms: 300,
        ..quick_config()
    };
    let node = Node::with(config);
    block_on(async {
        let mut client = connect(node.address)
            .await
            .ready()
            .await
            .expect("it is open");
        let post = request(Method::POST, "http://a.test/function/inspect/");
        let (response, mut stream) = client.send_request(post, false).expect("it is open");
        stream
            .send_data(Bytes::from_static(b"half"), false)
            .expect("it is open");
        assert_eq!(response.await.expect("an answer").status(), 408);
    });
}

#[test]
fn idle_and_dead_connections_end() {
    let config = GatewayConfig {
        idle_timeout_ms: 300,
        ..quick_config()
    };
    let node = Node::with(config);
    let mut client = node.connect();
    client.send(hello(&[]));
    assert!(client.frame_of(GOAWAY).is_some(), "it says goodbye");
    wait_until("the connection is gone", || node.n_connections() == 0);

    // A head that never ends is idleness too.
    let mut client = node.connect();
    client.send(hello(&[]));
    client.send(frame(HEADERS, END_STREAM, 1, &request_block()));
    while client.frame().is_some() {}
    wait_until("the connection is gone", || node.n_connections() == 0);

    let http2 = Http2Config {
        keep_alive_interval_ms: 100,
        keep_alive_timeout_ms: 100,
        ..Http2Config::default()
    };
    let node = Node::with(GatewayConfig {
        http2,
        ..quick_config()
    });
    let mut client = node.connect();
    client.send(hello(&[]));
    // In flight, but nobody answers the pings.
    client.send(frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &request_block(),
    ));
    wait_until("it runs", || node.n_alive() == 1);
    wait_until("the connection is gone", || node.n_connections() == 0);
    wait_until("the function is gone", || node.n_alive() == 0);
}

#[test]
fn draining_says_goodbye_and_finishes() {
    let mut node = Node::start();
    let release = std::sync::Arc::new(tokio::sync::Notify::new());
    let held = release.clone();
    node.deploy(
        "held",
        common::handler(move |_| {
            let held = held.clone();
            async move {
                held.notified().await;
                Ok(Response::new(runtime::Body::from(Bytes::from("released"))))
            }
        }),
        |_| {},
    );
    let gateway = node.gateway.take().expect("it runs");
    block_on(async {
        let client = connect(node.address).await;
        let call = tokio::spawn({
            let client = client.clone();
            async move {
                send(
                    &client,
                    request(Method::GET, "http://a.test/function/held/"),
                    None,
                )
                .await
            }
        });
        while node.n_invoked() == 0 {
            tokio::task::yield_now().await;
        }
        let draining = tokio::spawn(gateway.shutdown(PATIENCE));
        // Once the goodbye is here, no stream can be opened any more.
        let mut client = client;
        while let Ok(ready) = client.clone().ready().await {
            client = ready;
            if tokio::net::TcpStream::connect(node.address).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        release.notify_one();
        let reply = call.await.expect("no panic").expect("an answer");
        assert_eq!(reply.body, b"released");
        drop(client);
        assert_eq!(draining.await.expect("no panic"), 0, "nothing was cut");
    });
}

#[test]
fn garbage_hurts_nobody() {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;

    let node = Node::start();
    // Deterministic: a failure can be repeated.
    let mut runner = TestRunner::deterministic();
    let garbage = proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300);
    let frames = proptest::collection::vec((0..12_u8, 0..=255_u8, 0..6_u32, garbage), 1..12);
    for _ in 0..300 {
        let frames = frames.new_tree(&mut runner).expect("no filter").current();
        let mut bytes = hello(&[]);
        for (kind, flags, stream, payload) in frames {
            bytes.extend(frame(kind, flags, stream, &payload));
        }
        let mut client = node.connect();
        // It may be cut in the middle.
        let _ = client.stream.write_all(&bytes);
    }
    assert_eq!(node.get("/function/hello/").text(), "hello");
    wait_until("the connections are gone", || node.n_connections() == 0);
    assert_eq!(node.n_invoked(), 1, "nothing of it was a request");
}
