//! The guard against itself and against hyper: whatever pieces the bytes come in, the judgement is the
//! same; what passes, hyper frames as the guard does; nothing panics.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use model::Code;
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::framer::{Framer, FramerLimits, Then};
use super::io::{GuardedIo, Protocol, Transport};
use super::refusal::Refusal;
use crate::config::GatewayConfig;
use crate::connection::state::{ConnectionState, RefusedPart};

impl Transport for DuplexStream {
    fn reset_on_close(&self) {}
}

fn limits() -> FramerLimits {
    FramerLimits {
        head_bytes_max: 2048,
        uri_bytes_max: 256,
        n_headers_max: 20,
        chunk_extension_bytes_max: 64,
        trailer_bytes_max: 128,
    }
}

/// What became of a stream of bytes.
#[derive(Debug, PartialEq, Eq)]
struct Judged {
    passed: Vec<u8>,
    refused: Option<(RefusedPart, Refusal)>,
    n_heads: u64,
}

impl Judged {
    fn code(&self) -> Option<(RefusedPart, Code)> {
        self.refused.map(|(part, refusal)| (part, refusal.code))
    }
}

/// Feeds `pieces` as the IO object does: what is held comes again with more behind it.
fn judge<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Judged {
    let mut framer = Framer::new(limits());
    let mut passed = Vec::new();
    let mut held = Vec::new();
    let mut refused = None;
    for piece in pieces {
        held.extend_from_slice(piece);
        let inspection = framer.inspect(&held);
        passed.extend(held.drain(..inspection.n_pass));
        refused = match inspection.then {
            Then::Nothing => {
                assert!(held.is_empty(), "nothing is left without a reason");
                continue;
            }
            Then::Hold => continue,
            Then::RefuseHead(refusal) => Some((RefusedPart::Head, refusal)),
            Then::RefuseBody(refusal) => Some((RefusedPart::Body, refusal)),
        };
        break;
    }
    Judged {
        passed,
        refused,
        n_heads: framer.n_heads(),
    }
}

fn refused(bytes: &[u8]) -> Option<(RefusedPart, Code)> {
    judge([bytes]).code()
}

/// Cuts `bytes` at `cuts`, which are fractions of the length in 1/1000.
fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| bytes.len() * cut / 1000).collect();
    at.push(0);
    at.push(bytes.len());
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec!["GET", "POST", "HEAD", "DELETE", "M-SEARCH"]);
    let path = "/[a-zA-Z0-9/%._~-]{0,20}(\\?[a-z=&]{0,10})?";
    let header = "x-[a-z]{1,8}: ?[ -~]{0,20}";
    let headers = prop::collection::vec(header, 0..5);
    let body = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| {
            let mut part = format!("content-length: {}\r\n\r\n", bytes.len()).into_bytes();
            part.extend(bytes);
            part
        }),
        (
            prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..4),
            any::<bool>()
        )
            .prop_map(|(chunks, has_extras)| {
                let mut part = b"Transfer-Encoding: Chunked\r\n\r\n".to_vec();
                for chunk in chunks {
                    let extension = if has_extras { ";a=\"b\"" } else { "" };
                    part.extend(format!("{:X}{extension}\r\n", chunk.len()).bytes());
                    part.extend(chunk);
                    part.extend(b"\r\n");
                }
                part.extend(if has_extras {
                    &b"000\r\nx-sum: 1\r\n\r\n"[..]
                } else {
                    b"0\r\n\r\n"
                });
                part
            }),
    ];
    (method, path, headers, body).prop_map(|(method, path, headers, body)| {
        let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: a.test\r\n").into_bytes();
        for header in headers {
            bytes.extend(header.bytes());
            bytes.extend(b"\r\n");
        }
        if body.is_empty() {
            bytes.extend(b"\r\n");
        }
        bytes.extend(body);
        bytes
    })
}

/// A stream of valid requests with a few bytes changed, put in or taken out.
fn nearly_valid() -> impl Strategy<Value = Vec<u8>> {
    let interesting = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"\r\n\0 :;,\t0123456789abcfF".to_vec())
    ];
    let change = (any::<prop::sample::Index>(), 0..3_u8, interesting);
    let changes = prop::collection::vec(change, 0..3);
    (prop::collection::vec(request(), 1..4), changes).prop_map(|(requests, changes)| {
        let mut bytes = requests.concat();
        for (index, kind, byte) in changes {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_requests_pass_unchanged(requests in prop::collection::vec(request(), 1..5),
                                     cuts in prop::collection::vec(0..1000_usize, 0..8)) {
        let bytes = requests.concat();
        let judged = judge(cut(&bytes, &cuts));
        prop_assert_eq!(judged.refused, None);
        prop_assert_eq!(judged.passed, bytes);
        prop_assert_eq!(judged.n_heads, requests.len() as u64);
    }

    #[test]
    fn the_judgement_does_not_depend_on_the_pieces(bytes in nearly_valid(),
                                                   cuts in prop::collection::vec(0..1000_usize, 0..8)) {
        let whole = judge([&bytes[..]]);
        let in_pieces = judge(cut(&bytes, &cuts));
        let in_bytes = judge(bytes.chunks(1));
        // The words may differ, as more of a head shows more of what is wrong; and how much of a broken
        // body passes before the refusal: it ends in an error anyway.
        prop_assert_eq!(whole.code(), in_pieces.code());
        prop_assert_eq!(whole.code(), in_bytes.code());
        prop_assert_eq!(whole.n_heads, in_pieces.n_heads);
        prop_assert_eq!(whole.n_heads, in_bytes.n_heads);
        if whole.refused.is_none() {
            prop_assert_eq!(whole.passed, in_pieces.passed);
        }
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let judged = judge([&bytes[..]]);
        prop_assert!(bytes.starts_with(&judged.passed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// On what is valid the guard changes nothing.
    #[test]
    fn hyper_sees_the_same_with_and_without_the_guard(
        requests in prop::collection::vec(request(), 1..5),
        cuts in prop::collection::vec(0..1000_usize, 0..6),
    ) {
        let last = b"GET /end HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        let bytes = [&requests.concat()[..], last].concat();
        let pieces: Vec<_> = cut(&bytes, &cuts).into_iter().map(<[u8]>::to_vec).collect();
        let guarded = serve(pieces.clone(), Mode::Guarded);
        prop_assert_eq!(guarded.len(), requests.len() + 1);
        prop_assert_eq!(guarded, serve(pieces, Mode::Bare));
    }

    /// The property that smuggling breaks: whatever passes, hyper sees the requests that the guard saw.
    #[test]
    fn hyper_frames_what_passes_as_the_guard_does(bytes in nearly_valid(),
                                                  cuts in prop::collection::vec(0..1000_usize, 0..4)) {
        let judged = judge([&bytes[..]]);
        let pieces = cut(&bytes, &cuts).into_iter().map(<[u8]>::to_vec).collect();
        let seen = serve(pieces, Mode::GuardedAndCut);
        let n_refused_heads = u64::from(matches!(judged.refused, Some((RefusedPart::Head, _))));
        // hyper may see fewer: it stops at a `connection: close`, at a body that it cannot read, and at
        // a URI that it does not like.
        prop_assert!(seen.len() as u64 <= judged.n_heads + n_refused_heads);
        for (index, seen) in seen.iter().enumerate() {
            let is_stand_in = index as u64 == judged.n_heads;
            let target = seen.head.split(' ').nth(1).expect("a URI");
            prop_assert!(is_stand_in || contains(&judged.passed, target.as_bytes()));
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A request as the service behind hyper saw it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    head: String,
    body: Option<Bytes>,
}

/// How a test's connection is served and ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Behind the guard; the client closes its side when it has sent everything.
    GuardedAndCut,
    /// Behind the guard; the last request asks for the end.
    Guarded,
    /// By hyper alone; the last request asks for the end.
    Bare,
}

/// Runs hyper on `pieces`; gives the requests that its service saw.
fn serve(pieces: Vec<Vec<u8>>, mode: Mode) -> Vec<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let seen = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        let (mut client, server) = duplex(1 << 16);
        let state = ConnectionState::new(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            GatewayConfig::default().timeouts(),
        );
        let service = service_fn(|request: Request<Incoming>| {
            let (index, in_flight) = state.begin_request();
            let seen = Arc::clone(&seen);
            async move {
                let head = format!(
                    "{} {} {:?}",
                    request.method(),
                    request.uri(),
                    request.headers()
                );
                let body = request.into_body().collect().await;
                let body = body.ok().map(http_body_util::Collected::to_bytes);
                seen.lock().push(Seen { head, body });
                let mut response = Response::new(Full::new(Bytes::new()));
                if in_flight.connection().refusal(index).is_some() {
                    let close = http::HeaderValue::from_static("close");
                    response
                        .headers_mut()
                        .insert(http::header::CONNECTION, close);
                }
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let mut builder = http1::Builder::new();
        builder.header_read_timeout(None);
        let server = async {
            if mode == Mode::Bare {
                let io = hyper_util::rt::TokioIo::new(server);
                let _ = builder.serve_connection(io, &service).await;
            } else {
                let protocol = Protocol::Http1(limits());
                let state = Arc::clone(&state);
                let io = GuardedIo::new(server, protocol, BytesMut::new(), 1024, state);
                let _ = builder.serve_connection(io, &service).await;
            }
        };
        let client = async {
            for piece in pieces {
                if client.write_all(&piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            if mode == Mode::GuardedAndCut {
                let _ = client.shutdown().await;
            }
            let mut answers = Vec::new();
            let _ = client.read_to_end(&mut answers).await;
        };
        let both = async { tokio::join!(server, client) };
        let limit = std::time::Duration::from_secs(10);
        let ended = tokio::time::timeout(limit, both).await;
        ended.expect("both sides come to an end");
    });
    drop(runtime);
    Arc::into_inner(seen)
        .expect("the server is gone")
        .into_inner()
}

#[test]
fn heads_with_two_readings_are_refused() {
    let head = |lines: &str| format!("{lines}\r\n\r\n").into_bytes();
    let bad = Some((RefusedPart::Head, Code::BadRequest));
    for lines in [
        "GET / HTTP/1.1\nHost: a",
        "GET / HTTP/1.1\r\nHost: a\nX: b",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\0",
        "GET / HTTP/1.1\r\nHost: a\r\n X: folded",
        "GET / HTTP/1.1\r\nHost: a\r\n\tX: folded",
        "GET / HTTP/1.1\r\n Host: a",
        "GET / HTTP/1.1\r\nHost : a",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon",
        "GET / HTTP/1.1\r\nHost: a\r\n: nameless",
        "GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: b",
        "GET  / HTTP/1.1\r\nHost: a",
        "GET /  HTTP/1.1\r\nHost: a",
        "GET / a HTTP/1.1\r\nHost: a",
        "GET /\u{e9} HTTP/1.1\r\nHost: a",
        "GET /#fragment HTTP/1.1\r\nHost: a",
        "GET / HTTP/1.1 \r\nHost: a",
        "GET / HTTP/0.9\r\nHost: a",
        "GET / HTTP/2.0\r\nHost: a",
        "GET / http/1.1\r\nHost: a",
        "GET /",
        "G\u{e9}T / HTTP/1.1\r\nHost: a",
        " GET / HTTP/1.1\r\nHost: a",
        "PRI * HTTP/2.0",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "POST / HTTP/1.1\r\nTransfer-Encoding: identity",
        "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked",
        "POST / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked;q=1",
        "POST / HTTP/1.1\r\nTransfer-Encoding:\u{b}chunked",
        "POST / HTTP/1.1\r\nTransfer-Encoding:",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1",
        "POST / HTTP/1.1\r\nContent-Length: 1, 1",
        "POST / HTTP/1.1\r\nContent-Length: +1",
        "POST / HTTP/1.1\r\nContent-Length: -1",
        "POST / HTTP/1.1\r\nContent-Length: 0x1",
        "POST / HTTP/1.1\r\nContent-Length: 1 1",
        "POST / HTTP/1.1\r\nContent-Length: 18446744073709551616",
        "POST / HTTP/1.1\r\nContent-Length:",
    ] {
        assert_eq!(refused(&head(lines)), bad, "{lines:?}");
    }
}

#[test]
fn size_limits_fire_before_the_end_of_the_head() {
    let uri = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(256));
    assert_eq!(
        refused(uri.as_bytes()),
        Some((RefusedPart::Head, Code::UriTooLong))
    );
    let endless_uri = format!("GET /{}", "a".repeat(400));
    assert_eq!(
        refused(endless_uri.as_bytes()),
        Some((RefusedPart::Head, Code::UriTooLong))
    );
    let endless_method = "A".repeat(40);
    assert_eq!(
        refused(endless_method.as_bytes()),
        Some((RefusedPart::Head, Code::BadRequest))
    );
    let endless_header = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(2048));
    let too_large = Some((RefusedPart::Head, Code::HeadersTooLarge));
    assert_eq!(refused(endless_header.as_bytes()), too_large);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(21));
    assert_eq!(refused(many.as_bytes()), too_large);
    let blank_lines = "\r\n".repeat(1025);
    assert_eq!(refused(blank_lines.as_bytes()), too_large);
    let tls = [0x16, 0x03, 0x01, 0x02, 0x00];
    assert_eq!(refused(&tls), Some((RefusedPart::Head, Code::BadRequest)));
}

#[test]
fn chunks_are_followed_strictly() {
    let body = |body: &str| format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    for good in [
        "0\r\n\r\n",
        "00000001\r\na\r\n0\r\n\r\n",
        "A;x=y\r\n0123456789\r\n0;z\r\nt: 1\r\nu:\r\n\r\n",
        "1\r\n\n\r\n0\r\n\r\n",
    ] {
        assert_eq!(refused(body(good).as_bytes()), None, "{good:?}");
    }
    let long_extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(100));
    let long_trailers = format!("0\r\n{}\r\n", "x: 1\r\n".repeat(30));
    for bad in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\na\r\n",
        "0x1\r\na\r\n",
        " 1\r\na\r\n",
        "1 \r\na\r\n",
        "1 ;x\r\na\r\n",
        "1\na\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "1\r\na0\r\n\r\n",
        "1;x\ny\r\na\r\n",
        "1;x\0\r\na\r\n",
        "1\r\ra\r\n",
        "00000000000000001\r\na\r\n",
        "fffffffffffffffff\r\n",
        "0\r\nnot a trailer\r\n\r\n",
        "0\r\n folded: 1\r\n\r\n",
        "0\r\nx: 1\n\r\n",
        "0\r\n\n",
        "0\r\n\rX",
        &long_extension,
        &long_trailers,
    ] {
        let code = Some((RefusedPart::Body, Code::BodyMalformed));
        assert_eq!(refused(body(bad).as_bytes()), code, "{bad:?}");
    }
}

#[test]
fn blank_lines_before_a_request_pass() {
    let judged =
        judge([&b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n"[..]]);
    assert_eq!((judged.refused, judged.n_heads), (None, 2));
}
