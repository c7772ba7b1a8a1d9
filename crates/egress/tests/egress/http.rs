//! The client against real servers: what passes, what streams, what is cut off.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::support::{Function, ScriptedResolver, Server, ServerBody, full, text};
use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use egress::{EgressConfig, EgressError, Scope, Stage};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};

async fn echo_head(request: Request<hyper::body::Incoming>) -> Response<ServerBody> {
    let mut lines = vec![format!("{} {}", request.method(), request.uri())];
    for (name, value) in request.headers() {
        lines.push(format!("{name}: {}", value.to_str().unwrap()));
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    lines.push(String::from_utf8(body.to_vec()).unwrap());
    Response::builder()
        .header("keep-alive", "timeout=5")
        .header("x-answer", "42")
        .body(full(lines.join("\n")))
        .unwrap()
}

#[tokio::test]
async fn a_request_and_its_answer_arrive_whole() {
    let server = Server::start(echo_head).await;
    let function = Function::new(&[&server.rule()]);
    let request = Request::post(server.url("/a/b?c=d"))
        .header("host", "somewhere.else")
        .header("x-mine", "1")
        .body(Full::new(Bytes::from_static(b"hello")))
        .unwrap();
    let response = function.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-answer"], "42");
    assert!(!response.headers().contains_key("keep-alive"));
    let expected = format!(
        "POST /a/b?c=d\nhost: {}\nx-mine: 1\nconnection: close\ncontent-length: 5\nhello",
        server.address
    );
    assert_eq!(text(response).await, expected);
    let counts = function.client.counts();
    assert_eq!((counts.requests, counts.denied, counts.failed), (1, 0, 0));
    assert_eq!(counts.connections_open, 0);
}

#[tokio::test]
async fn bodies_are_not_decompressed() {
    // Ten bytes that claim to be gzip reach the guest as they are.
    let server = Server::start(|_| async {
        let response = Response::builder().header("content-encoding", "gzip");
        response.body(full(&b"\x1f\x8b123456789"[..])).unwrap()
    })
    .await;
    let function = Function::new(&[&server.rule()]);
    let response = function.get(&server.url("/")).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"\x1f\x8b123456789");
}

/// Yields chunks until `bytes_left` is used up, and counts what was taken.
struct Source {
    bytes_left: u64,
    taken: Arc<AtomicU64>,
}

const CHUNK: usize = 64 * 1024;

impl Body for Source {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        static ZEROS: [u8; CHUNK] = [0; CHUNK];
        if self.bytes_left == 0 {
            return Poll::Ready(None);
        }
        self.bytes_left -= CHUNK as u64;
        self.taken.fetch_add(CHUNK as u64, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&ZEROS)))))
    }
}

/// What the kernel may hold in the two socket buffers of a loopback connection, with room to spare.
const SOCKETS_BYTES_MAX: u64 = 16 * 1024 * 1024;
const STREAM_BYTES: u64 = 128 * 1024 * 1024;

#[tokio::test]
async fn a_long_upload_is_held_back_by_the_server() {
    let taken = Arc::<AtomicU64>::default();
    let gap_max = Arc::<AtomicU64>::default();
    let server = Server::start({
        let (taken, gap_max) = (taken.clone(), gap_max.clone());
        move |request| {
            let (taken, gap_max) = (taken.clone(), gap_max.clone());
            async move {
                let mut body = request.into_body();
                let mut read = 0;
                while let Some(frame) = body.frame().await {
                    read += frame.unwrap().into_data().unwrap().len() as u64;
                    gap_max.fetch_max(taken.load(Ordering::SeqCst) - read, Ordering::SeqCst);
                }
                Response::new(full(read.to_string()))
            }
        }
    })
    .await;
    let function = Function::new(&[&server.rule()]);
    let source = Source {
        bytes_left: STREAM_BYTES,
        taken,
    };
    let request = Request::post(server.url("/")).body(source).unwrap();
    let response = function.send(request).await.unwrap();
    assert_eq!(text(response).await, STREAM_BYTES.to_string());
    let gap_max = gap_max.load(Ordering::SeqCst);
    assert!(
        gap_max <= SOCKETS_BYTES_MAX,
        "{gap_max} bytes were in flight"
    );
}

#[tokio::test]
async fn a_long_download_is_held_back_by_the_guest() {
    let sent = Arc::<AtomicU64>::default();
    let server = Server::start({
        let sent = sent.clone();
        move |_| {
            let source = Source {
                bytes_left: STREAM_BYTES,
                taken: sent.clone(),
            };
            async move { Response::new(source.boxed_unsync()) }
        }
    })
    .await;
    let function = Function::new(&[&server.rule()]);
    let mut body = function.get(&server.url("/")).await.unwrap().into_body();
    let (mut read, mut gap_max) = (0, 0);
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().unwrap().len() as u64;
        gap_max = gap_max.max(sent.load(Ordering::SeqCst) - read);
    }
    assert_eq!(read, STREAM_BYTES);
    assert!(
        gap_max <= SOCKETS_BYTES_MAX,
        "{gap_max} bytes were in flight"
    );
}

#[tokio::test]
async fn both_directions_flow_at_once() {
    let server = Server::start(|request| async move {
        let body = request
            .into_body()
            .map_err(|_| unreachable!("the test sends all"));
        Response::new(body.boxed_unsync())
    })
    .await;
    let function = Function::new(&[&server.rule()]);
    let taken = Arc::<AtomicU64>::default();
    let source = Source {
        bytes_left: STREAM_BYTES,
        taken: taken.clone(),
    };
    let request = Request::post(server.url("/")).body(source).unwrap();
    let mut body = function.send(request).await.unwrap().into_body();
    assert!(
        taken.load(Ordering::SeqCst) < STREAM_BYTES,
        "the head came before the upload ended"
    );
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().unwrap().len() as u64;
    }
    assert_eq!(read, STREAM_BYTES);
}

/// Never ends and never moves.
struct Stuck;

impl Body for Stuck {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

fn timed_out(result: Result<impl Sized, EgressError>, expected: Stage, ms: u64) {
    match result {
        Err(EgressError::Timeout { stage, limit }) => {
            assert_eq!((stage, limit), (expected, Duration::from_millis(ms)));
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it did not time out"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = Server::raw(b"").await;
    let function = Function::new(&[&server.rule()]);
    timed_out(function.get(&server.url("/")).await, Stage::Head, 60_000);
    let half = Server::raw(b"HTTP/1.1 200 OK\r\nx-a: b\r\n").await;
    let function = Function::new(&[&half.rule()]);
    timed_out(function.get(&half.url("/")).await, Stage::Head, 60_000);
    assert_eq!(function.client.counts().timeouts, 1);
    assert_eq!(function.client.counts().connections_open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_body_that_stands_still_does_not_hold_the_connection_for_ever() {
    let server = Server::start(echo_head).await;
    let function = Function::new(&[&server.rule()]);
    let request = Request::post(server.url("/")).body(Stuck).unwrap();
    timed_out(function.send(request).await, Stage::Head, 60_000);
}

#[tokio::test]
async fn a_response_body_that_stands_still_is_given_up() {
    let server = Server::start(|_| async {
        let body = Stuck.with_trailers(std::future::ready(None));
        Response::builder()
            .header("content-length", "10")
            .body(body.boxed_unsync())
            .unwrap()
    })
    .await;
    let mut function = Function::new(&[&server.rule()]);
    function.timeouts.between_bytes = Some(Duration::from_millis(1_500));
    let response = function.get(&server.url("/")).await.unwrap();
    assert_eq!(function.client.counts().connections_open, 1);
    tokio::time::pause();
    let mut body = response.into_body();
    timed_out(body.frame().await.unwrap(), Stage::BetweenBytes, 1_500);
    assert!(body.frame().await.is_none());
    assert_eq!(function.client.counts().connections_open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_does_not_answer_is_given_up() {
    struct Silent;
    impl egress::Resolver for Silent {
        fn resolve(
            &self,
            _: String,
            ticket: egress::LookupTicket,
        ) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<std::net::IpAddr>>> + Send>> {
            Box::pin(async move {
                let _ticket = ticket;
                std::future::pending().await
            })
        }
    }
    let function = Function::with(EgressConfig::default(), Silent, &["*"]);
    timed_out(
        function.get("http://example.com/").await,
        Stage::Resolve,
        5_000,
    );
}

#[tokio::test]
async fn a_failing_request_body_is_told_as_such() {
    let server = Server::start(echo_head).await;
    let function = Function::new(&[&server.rule()]);
    let body = http_body_util::StreamBody::new(futures_util::stream::iter([
        Ok(Frame::data(Bytes::from_static(b"some"))),
        Err(std::io::Error::other("the guest trapped")),
    ]));
    let request = Request::post(server.url("/")).body(body).unwrap();
    match function.send(request).await {
        Err(EgressError::RequestBody(text)) => assert_eq!(text, "the guest trapped"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn oversized_and_broken_responses_are_errors() {
    static MANY: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        for n in 0..300 {
            head.extend_from_slice(format!("x-{n}: y\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    });
    static LARGE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        let mut head = b"HTTP/1.1 200 OK\r\nx-large: ".to_vec();
        head.resize(70 * 1024, b'y');
        head.extend_from_slice(b"\r\n\r\n");
        head
    });
    for answer in [&*MANY, &*LARGE] {
        let server = Server::raw(answer).await;
        let function = Function::new(&[&server.rule()]);
        let result = function.get(&server.url("/")).await;
        assert!(
            matches!(result, Err(EgressError::HeadTooLarge)),
            "{result:?}"
        );
    }
    for answer in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nx\0y: z\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
    ] {
        let server = Server::raw(answer).await;
        let function = Function::new(&[&server.rule()]);
        let result = function.get(&server.url("/")).await;
        assert!(
            matches!(result, Err(EgressError::Protocol(_))),
            "{answer:?}: {result:?}"
        );
    }
    let server = Server::raw(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    )
    .await;
    let function = Function::new(&[&server.rule()]);
    let result = function.get(&server.url("/")).await;
    assert!(matches!(
        result,
        Err(EgressError::UnexpectedUpgrade | EgressError::Protocol(_))
    ));
}

#[tokio::test]
async fn nobody_listening_is_a_connect_error() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let function = Function::new(&[&format!("private:{address}")]);
    let result = function.get(&format!("http://{address}/")).await;
    assert!(
        matches!(result, Err(EgressError::ConnectFailed { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let server = Server::start(echo_head).await;
    let port = server.address.port();
    let resolver = ScriptedResolver::default().answer("two.example", &["127.0.0.9", "127.0.0.1"]);
    let rule = format!("private:two.example:{port}");
    let function = Function::with(EgressConfig::default(), resolver, &[&rule]);
    let response = function
        .get(&format!("http://two.example:{port}/"))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn unknown_and_empty_names_are_dns_errors() {
    let resolver = ScriptedResolver::default().answer("empty.example", &[]);
    let function = Function::with(EgressConfig::default(), resolver, &["*"]);
    for name in ["empty.example", "unknown.example"] {
        let result = function.get(&format!("http://{name}/")).await;
        assert!(
            matches!(result, Err(EgressError::DnsFailed { .. })),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn connections_are_limited_and_come_back() {
    let server = Server::start(|_| async {
        let body = Stuck.with_trailers(std::future::ready(None));
        Response::new(body.boxed_unsync())
    })
    .await;
    let config = EgressConfig {
        connections_per_function_max: 1,
        ..EgressConfig::default()
    };
    let function = Function::with(config, ScriptedResolver::default(), &[&server.rule()]);
    let held = function.get(&server.url("/")).await.unwrap();
    let refused = function.get(&server.url("/")).await;
    assert!(matches!(
        refused,
        Err(EgressError::TooManyConnections {
            scope: Scope::Function,
            n_max: 1
        })
    ));
    drop(held);
    function.get(&server.url("/")).await.unwrap();
    assert_eq!(function.client.counts().refused, 1);
}

#[tokio::test]
async fn dropping_the_response_closes_the_connection() {
    let (gone_sender, gone) = tokio::sync::oneshot::channel::<()>();
    let gone_sender = Arc::new(std::sync::Mutex::new(Some(gone_sender)));
    struct Held(
        #[expect(dead_code, reason = "dropped with the body, which closes the channel")]
        Option<tokio::sync::oneshot::Sender<()>>,
    );
    impl Body for Held {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }
    let server = Server::start(move |_| {
        let held = Held(gone_sender.lock().unwrap().take());
        async move { Response::new(held.boxed_unsync()) }
    })
    .await;
    let function = Function::new(&[&server.rule()]);
    let response = function.get(&server.url("/")).await.unwrap();
    drop(response);
    // The server drops its body when the client is gone: the sender goes with it.
    assert!(gone.await.is_err());
}

#[tokio::test]
async fn the_system_resolves_names_of_this_host() {
    let server = Server::start(echo_head).await;
    let port = server.address.port();
    let rule = format!("private:localhost:{port}");
    let config = EgressConfig::default();
    let function = Function::with(config, egress::SystemResolver, &[&rule]);
    // The server listens on IPv4 only; where `localhost` is both, the other address is tried.
    let url = format!("http://localhost:{port}/");
    assert_eq!(function.get(&url).await.unwrap().status(), StatusCode::OK);
    let missing = function.get("http://name.invalid/").await;
    assert!(matches!(missing, Err(EgressError::Denied { .. })));
    let function = Function::with(EgressConfig::default(), egress::SystemResolver, &["*"]);
    let missing = function.get("http://name.invalid/").await;
    assert!(
        matches!(missing, Err(EgressError::DnsFailed { .. })),
        "{missing:?}"
    );
}
