//! What `docs/guide/core-abi.md` says, call by call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use model::{Code, Failure};
use runtime::{Body, LogStream};
use tokio::time::Instant;

use crate::support::{Function, World, collect, get, request};

fn code<T>(result: Result<T, Failure>) -> Code {
    result.err().expect("it cannot have succeeded").code()
}

#[tokio::test]
async fn the_head_arrives_as_text() {
    let world = World::new();
    for name in ["head", "alloc-grow"] {
        let function = world.function(name).await;
        let sandbox = function.sandbox().await;
        let mut request = get("/a%20b/c?x=1&y");
        let headers = request.headers_mut();
        headers.append("x-twice", "1".parse().unwrap());
        headers.append("x-twice", http::HeaderValue::from_bytes(b"\xff 2").unwrap());
        let answer = function.call(&sandbox, request).await.expect("answers");
        let answer = collect(answer).await.expect("a whole body");
        assert_eq!(
            answer.body,
            &b"GET /a%20b/c?x=1&y\nhost: guest.localhost\nx-twice: 1\nx-twice: \xff 2\n"[..],
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_fresh_instance_serves_every_request_and_reuse_is_opt_in() {
    let world = World::new();
    let function = world.function("counter").await;
    for _ in 0..50 {
        assert_eq!(function.get("/").await.expect("answers").text(), "2\n");
    }
    let function = world.adjusted("counter", |config| config.reuse = 3).await;
    let sandbox = function.sandbox().await;
    for n in 1..=3 {
        let answer = function.call(&sandbox, get("/")).await.expect("answers");
        let answer = collect(answer).await.expect("a whole body");
        assert_eq!(answer.text(), format!("{}\n", 2 * n));
        assert!(sandbox.is_reusable());
    }
}

#[tokio::test]
async fn bodies_stream_through_a_small_buffer() {
    let world = World::new();
    let function = world.function("echo").await;
    let sandbox = function.sandbox().await;
    let bytes: Bytes = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let body = Body::from(bytes.clone());
    let answer = function.call(&sandbox, request("POST", "/", body)).await;
    let answer = collect(answer.expect("answers")).await.expect("whole");
    assert!(answer.body == bytes, "the body comes back as it went in");
    // An empty body still gets an answer.
    assert_eq!(function.get("/").await.expect("answers").body.len(), 0);
    let function = world.function("big-response").await;
    let answer = function.get("/?n=3000000").await.expect("answers");
    assert_eq!(answer.body.len(), 3_000_000);
}

#[tokio::test]
async fn a_small_answer_needs_no_stream() {
    let world = World::new();
    let function = world.function("noop").await;
    let sandbox = function.sandbox().await;
    let answer = function.call(&sandbox, get("/")).await.expect("answers");
    assert!(matches!(answer.body(), Body::Full(Some(body)) if body == "ok"));
    assert!(!sandbox.is_reusable(), "fresh instances are the default");
}

#[tokio::test]
async fn a_head_request_gets_no_body_and_the_guest_still_runs_to_its_end() {
    let world = World::new();
    let function = world.function("big-response").await;
    let sandbox = function.sandbox().await;
    let head = request("HEAD", "/?n=3000000", Body::Empty);
    let answer = function.call(&sandbox, head).await.expect("answers");
    assert!(matches!(answer.body(), Body::Empty));
    let function = world.function("error-after-response").await;
    let sandbox = function.sandbox().await;
    let head = request("HEAD", "/", Body::Empty);
    assert_eq!(
        code(function.call(&sandbox, head).await),
        Code::FunctionError
    );
}

#[tokio::test]
async fn bad_heads_are_refused_and_never_sent() {
    let world = World::new();
    let function = world.function("bad-head").await;
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
        "length-twice",
        "length-text",
        "length-signed",
        "length-huge",
    ] {
        let answer = function.get(&format!("/{path}")).await.expect(path);
        assert_eq!(answer.text().trim(), "-2", "{path}");
        assert_eq!(answer.head.status, 200, "{path}");
        assert!(answer.head.headers.is_empty(), "{path}");
    }
    for path in [
        "length-right",
        "no-final-lf",
        "not-utf8",
        "spaces",
        "platform",
    ] {
        let answer = function.get(&format!("/{path}")).await.expect(path);
        assert_eq!(answer.text(), "0123456789", "{path}");
    }
}

#[tokio::test]
async fn a_content_length_is_held_against_the_body() {
    let world = World::new();
    let function = world.function("bad-head").await;
    for path in ["/length-short", "/length-long"] {
        let result = function.get(path).await;
        assert_eq!(code(result), Code::BadResponse, "{path}");
    }
    for path in ["/body-204", "/body-304"] {
        let answer = function.get(path).await.expect(path);
        assert_eq!(answer.body.len(), 0, "{path}");
    }
}

#[tokio::test]
async fn ends_without_an_answer_have_their_codes() {
    let world = World::new();
    for (name, expected) in [
        ("no-response", Code::NoResponse),
        ("error-number", Code::FunctionError),
        ("error-after-response", Code::FunctionError),
        ("alloc-outside", Code::FunctionError),
        ("alloc-straddle", Code::FunctionError),
        ("alloc-trap", Code::Trap),
    ] {
        assert_eq!(
            code(world.function(name).await.get("/").await),
            expected,
            "{name}"
        );
    }
    let failure = world.function("error-number").await.get("/?n=-9").await;
    let failure = failure.expect_err("an error number");
    assert!(failure.detail().contains("returned"), "{failure}");
}

#[tokio::test]
async fn only_the_calls_without_a_request_work_during_initialisation() {
    let world = World::new();
    let answer = world.function("initialize").await.get("/").await;
    let text = answer.expect("answers").text();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        ["-3", "-3", "-3", "-3", "-3", "0"]
    );
}

#[tokio::test]
async fn environment_randomness_and_clocks() {
    let world = World::new();
    let function = world
        .adjusted("env-dump", |config| {
            config.env.insert("GREETING".to_owned(), "moin".to_owned());
        })
        .await;
    assert_eq!(function.get("/GREETING").await.expect("set").text(), "moin");
    assert_eq!(
        function.get("/OTHER").await.expect("answers").head.status,
        404
    );

    let function = world.function("random").await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..1000 {
        let random = function.get("/").await.expect("answers").body;
        assert_eq!(random.len(), 16);
        assert!(seen.insert(random), "fresh instances repeat no randomness");
    }

    let function = world.function("clock").await;
    let numbers = async || -> Vec<u128> {
        let text = function.get("/").await.expect("answers").text();
        text.lines()
            .map(|line| line.parse().expect("a number"))
            .collect()
    };
    let (first, second) = (numbers().await, numbers().await);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_nanos();
    assert!(now.abs_diff(first[0]) < 10_000_000_000);
    assert!(second[1] > first[1], "the monotonic clock goes on");
}

#[tokio::test]
async fn log_entries_arrive_by_level_and_line() {
    let world = World::new();
    let function = world.function("log-levels").await;
    function.get("/").await.expect("answers");
    let lines: Vec<(LogStream, String)> = function
        .log
        .lines()
        .into_iter()
        .map(|(_, stream, text)| (stream, String::from_utf8_lossy(&text).into_owned()))
        .collect();
    let expected = [
        (LogStream::Stdout, "trace"),
        (LogStream::Stdout, "debug"),
        (LogStream::Stdout, "info"),
        (LogStream::Stderr, "warn"),
        (LogStream::Stderr, "error"),
        (LogStream::Stderr, "unknown"),
    ];
    for (line, expected) in lines.iter().zip(expected) {
        assert_eq!((line.0, line.1.as_str()), expected);
    }
    let texts: Vec<&str> = lines[6..].iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts.join("|").trim_matches('|'), "first|last");
}

#[tokio::test]
async fn waiting_costs_no_cpu_and_a_slow_reader_of_the_body_is_waited_for() {
    let world = World::new();
    let function = world.function("sleep").await;
    let sandbox = function.sandbox().await;
    let context = function.context();
    let began = Instant::now();
    let answer = function
        .call_as(&sandbox, context.clone(), get("/?ms=60"))
        .await;
    assert_eq!(
        collect(answer.expect("answers"))
            .await
            .expect("whole")
            .text(),
        "slept"
    );
    assert!(began.elapsed() >= Duration::from_millis(60));
    let cpu_ns = context
        .meter
        .cpu_ns
        .load(std::sync::atomic::Ordering::Relaxed);
    assert!(cpu_ns < 30_000_000, "{cpu_ns} ns");

    let function = world.function("read-body-slowly").await;
    let sandbox = function.sandbox().await;
    let body = Body::from(Bytes::from(vec![1; 5000]));
    let answer = function
        .call(&sandbox, request("POST", "/?ms=1", body))
        .await;
    let text = collect(answer.expect("answers"))
        .await
        .expect("whole")
        .text();
    assert_eq!(text.trim(), "5000");
}

struct Failing(Option<Failure>);

impl http_body::Body for Failing {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Failure>>> {
        std::task::Poll::Ready(self.0.take().map(Err))
    }
}

#[tokio::test]
async fn a_broken_upload_is_an_error_number() {
    let world = World::new();
    let function = world.function("read-body-slowly").await;
    for (cause, expected) in [(Code::BodyTooLarge, "-5"), (Code::CallerGone, "-4")] {
        let sandbox = function.sandbox().await;
        let body = Body::stream(Failing(Some(Failure::new(cause, "broken"))));
        let answer = function.call(&sandbox, request("POST", "/", body)).await;
        let text = collect(answer.expect("answers"))
            .await
            .expect("whole")
            .text();
        assert_eq!(text.trim(), expected);
    }
}

#[tokio::test]
async fn a_response_beyond_the_body_limit_is_never_taken_for_a_whole_one() {
    let world = World::new();
    let limit = |config: &mut model::FunctionConfig| config.limits.body_bytes_max = 200_000;
    let function = world.adjusted("infinite-response", limit).await;
    let failure = function.get("/").await.expect_err("too large");
    assert_eq!(failure.code(), Code::ResponseTooLarge);
    assert_eq!(failure.limit().expect("named").name, "limits.body");
    // Nor where the guest does not care.
    let function = world.adjusted("big-response", limit).await;
    assert_eq!(
        code(function.get("/?n=300000").await),
        Code::ResponseTooLarge
    );
}

#[tokio::test]
async fn an_answer_is_whole_only_when_the_guest_has_returned() {
    let world = World::new();
    let function = world
        .adjusted("answer-then-loop", |config| config.limits.cpu_ms_max = 50)
        .await;
    assert_eq!(code(function.get("/").await), Code::CpuExhausted);
    let failure = world.function("trap-after-head").await.get("/").await;
    assert_eq!(code(failure), Code::Trap);
}

#[tokio::test]
async fn a_streaming_answer_that_fails_ends_in_an_error() {
    let world = World::new();
    let function = world
        .text(
            r#"(module
              (import "holm:core/1" "response_write" (func $write (param i32 i32) (result i32)))
              (import "holm:core/1" "sleep_ms" (func $sleep (param i32) (result i32)))
              (memory (export "memory") 2)
              (func (export "alloc") (param i32) (result i32) (i32.const 1024))
              (func (export "handle") (param i32 i32) (result i32)
                (drop (call $write (i32.const 0) (i32.const 5)))
                (drop (call $sleep (i32.const 1)))
                (drop (call $write (i32.const 0) (i32.const 6)))
                unreachable))"#,
        )
        .await;
    let sandbox = function.sandbox().await;
    let answer = function.call(&sandbox, get("/")).await.expect("a head");
    let mut body = answer.into_body();
    let mut n_bytes = 0;
    let failure = loop {
        match body.frame().await.expect("it does not end well") {
            Ok(frame) => n_bytes += frame.data_ref().map_or(0, Bytes::len),
            Err(failure) => break failure,
        }
    };
    assert_eq!((n_bytes, failure.code()), (11, Code::Trap));
    assert!(body.frame().await.is_none(), "an error is the last frame");
    assert!(!sandbox.is_reusable());
}

#[tokio::test]
async fn unknown_fetch_handles_and_denied_hosts_are_error_numbers() {
    let world = World::new();
    let answer = world.function("bad-handles").await.get("/").await;
    let text = answer.expect("answers").text();
    assert!(
        !text.is_empty() && text.lines().all(|line| line == "-1"),
        "{text}"
    );
    let answer = world.function("fetch").await;
    let answer = answer
        .get("/?url=http://127.0.0.1:1/")
        .await
        .expect("answers");
    assert_eq!(
        (answer.head.status.as_u16(), answer.text().trim()),
        (502, "-6")
    );
}

/// Answers every connection with `200` and the body `hello`, until dropped.
pub(crate) async fn upstream() -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("binds");
    let address = listener.local_addr().expect("bound");
    let task = tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = connection.read(&mut [0; 4096]).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-up: 1\r\n\r\nhello";
                let _ = connection.write_all(answer).await;
            });
        }
    });
    (address, task)
}

pub(crate) fn granted(address: std::net::SocketAddr) -> impl FnOnce(&mut model::FunctionConfig) {
    move |config| {
        let rule = format!("private:{address}");
        config.egress = vec![rule.parse().expect("a rule")];
    }
}

#[tokio::test]
async fn fetches_reach_what_the_manifest_grants_and_are_bounded() {
    let world = World::new();
    let (address, server) = upstream().await;
    let function = world.adjusted("fetch", granted(address)).await;
    let answer = function.get(&format!("/?url=http://{address}/x")).await;
    let answer = answer.expect("answers");
    assert_eq!(
        (answer.head.status.as_u16(), answer.text().as_str()),
        (200, "hello")
    );
    let function = world.adjusted("fetch-hoard", granted(address)).await;
    let answer = function.get(&format!("/?url=http://{address}/x")).await;
    let text = answer.expect("answers").text();
    assert_eq!(text.lines().collect::<Vec<_>>(), ["16", "-5"]);
    server.abort();
}

#[tokio::test]
async fn refused_modules_say_why() {
    let world = World::new();
    let directory = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/wat/refused"
    );
    let mut n_files = 0;
    for file in std::fs::read_dir(directory).expect("the fixtures are there") {
        let path = file.expect("readable").path();
        let bytes = wat::parse_file(&path).expect("valid text");
        let failure = world.try_bytes(&bytes, |_| {}).await.err();
        let failure = failure.unwrap_or_else(|| panic!("{} was accepted", path.display()));
        assert!(
            matches!(failure.code(), Code::WasmInvalid | Code::WasmUnsupported),
            "{}: {failure}",
            path.display()
        );
        assert!(failure.detail().len() > 20, "{}: {failure}", path.display());
        n_files += 1;
    }
    assert!(n_files >= 15);
}

#[tokio::test]
async fn a_caller_who_leaves_ends_the_guest() {
    let world = World::new();
    let function = world.function("drip").await;
    let sandbox = function.sandbox().await;
    let answer = function
        .call(&sandbox, get("/?ms=1"))
        .await
        .expect("a head");
    let mut body = answer.into_body();
    body.frame().await.expect("a frame").expect("no failure");
    let weak = Arc::downgrade(&sandbox);
    drop(sandbox);
    assert!(weak.upgrade().is_some(), "the body holds the guest");
    drop(body);
    assert!(weak.upgrade().is_none(), "and its end is the guest's");
}

/// How [`Function`] is used with several sandboxes at once.
#[tokio::test]
async fn instances_of_one_function_are_independent() {
    let world = World::new();
    let function: Arc<Function> =
        Arc::new(world.adjusted("counter", |config| config.reuse = 100).await);
    let first = function.sandbox().await;
    let second = function.sandbox().await;
    for n in 1..=5 {
        for sandbox in [&first, &second] {
            let answer = function.call(sandbox, get("/")).await.expect("answers");
            let text = collect(answer).await.expect("whole").text();
            assert_eq!(text, format!("{}\n", 2 * n));
        }
    }
}

#[tokio::test]
async fn the_start_section_may_log_and_ask_for_what_needs_no_request() {
    let world = World::new();
    let function = world
        .text(
            r#"(module
              (import "holm:core/1" "log" (func $log (param i32 i32 i32)))
              (import "holm:core/1" "random" (func $random (param i32 i32) (result i32)))
              (import "holm:core/1" "response_write" (func $write (param i32 i32) (result i32)))
              (memory (export "memory") 2)
              (data (i32.const 0) "starting")
              (func $begin
                (call $log (i32.const 2) (i32.const 0) (i32.const 8))
                (drop (call $random (i32.const 100) (i32.const 16))))
              (start $begin)
              (func (export "alloc") (param i32) (result i32) (i32.const 1024))
              (func (export "handle") (param i32 i32) (result i32)
                (call $write (i32.const 100) (i32.const 16))))"#,
        )
        .await;
    let context = function.context();
    let started = function
        .template
        .start(runtime::StartRequest {
            invocation: Some(context.clone()),
            deadline: Instant::now() + Duration::from_secs(10),
        })
        .await
        .expect("it starts");
    assert_eq!(function.log_text(), ["starting"]);
    assert!(started.init_cpu > Duration::ZERO);
    let answer = function.call_as(&started.sandbox, context, get("/")).await;
    let answer = collect(answer.expect("answers")).await.expect("whole");
    assert!(
        answer.body.iter().any(|byte| *byte != 0),
        "{:?}",
        answer.body
    );
}
