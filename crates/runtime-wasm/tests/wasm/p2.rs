//! `wasi:http` 0.2 components: the probe under `tests/fixtures`, built from source.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use model::limits::MIB;
use model::{Code, Failure, FunctionConfig};
use runtime::{Body, LogStream};
use testkit::guests;

use crate::support::{Function, World, collect, get, request};

/// The probe in a world of its own; `None`, said aloud, where it cannot be built.
async fn probe(adjust: impl FnOnce(&mut FunctionConfig)) -> Option<(World, Function)> {
    match guests::cargo("tests/fixtures/http-probe", "wasm32-wasip2") {
        Ok(bytes) => {
            let world = World::new();
            let function = world.try_bytes(&bytes, adjust).await;
            let function = function.unwrap_or_else(|failure| panic!("{failure}"));
            Some((world, function))
        }
        Err(reason) => {
            testkit::skipped("wasi:http 0.2 components", &reason);
            None
        }
    }
}

macro_rules! probe {
    () => {
        probe!(|_: &mut FunctionConfig| {})
    };
    ($adjust:expr) => {
        match probe($adjust).await {
            Some(probe) => probe,
            None => return,
        }
    };
}

fn code<T>(result: Result<T, Failure>) -> Code {
    result.err().expect("it cannot have succeeded").code()
}

#[tokio::test]
async fn requests_arrive_as_they_were_sent() {
    let (_world, function) = probe!();
    let sandbox = function.sandbox().await;
    let mut request = get("/headers?x=%20y");
    request.headers_mut().append("x-a", "1".parse().unwrap());
    request.headers_mut().append("x-a", "2".parse().unwrap());
    let answer = function.call(&sandbox, request).await.expect("answers");
    let text = collect(answer).await.expect("whole").text();
    for part in [
        r#""method":"GET""#,
        r#""scheme":"http""#,
        r#""authority":"guest.localhost""#,
        r#""target":"/headers?x=%20y""#,
        r#"["x-a","1"],["x-a","2"]"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn instances_are_fresh_or_reused_as_asked() {
    let (_world, function) = probe!();
    let sandbox = function.sandbox().await;
    let answer = function.call(&sandbox, get("/counter")).await;
    let answer = answer.expect("answers");
    assert!(matches!(answer.body(), Body::Full(_)), "it needs no stream");
    for _ in 0..20 {
        assert_eq!(
            function.get("/counter").await.expect("answers").text(),
            "1\n"
        );
    }
    let (_world, function) = probe!(|config| config.reuse = 200);
    let sandbox = function.sandbox().await;
    for n in 1..=200 {
        let answer = function
            .call(&sandbox, get("/counter"))
            .await
            .expect("answers");
        assert_eq!(
            collect(answer).await.expect("whole").text(),
            format!("{n}\n")
        );
        assert!(sandbox.is_reusable());
    }
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let (_world, function) = probe!();
    let bytes: Bytes = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let sandbox = function.sandbox().await;
    let echo = request("POST", "/echo", Body::from(bytes.clone()));
    let answer = function.call(&sandbox, echo).await.expect("answers");
    assert!(collect(answer).await.expect("whole").body == bytes);
    let sandbox = function.sandbox().await;
    let upload = request("POST", "/upload", Body::from(bytes));
    let answer = function.call(&sandbox, upload).await.expect("answers");
    let text = collect(answer).await.expect("whole").text();
    assert!(
        text.contains(r#""bytes":800000"#) && text.contains(r#""end":"closed""#),
        "{text}"
    );
    let answer = function.get("/big?bytes=3000000").await.expect("answers");
    assert_eq!(answer.body.len(), 3_000_000);
}

#[tokio::test]
async fn the_world_around_it() {
    let (_world, function) = probe!(|config| {
        config.env.insert("GREETING".to_owned(), "moin".to_owned());
    });
    let env = function.get("/env").await.expect("answers").text();
    assert!(env.contains("GREETING") && env.contains("moin"), "{env}");
    assert_eq!(
        function
            .get("/stdout?lines=3")
            .await
            .expect("answers")
            .text(),
        "written\n"
    );
    let lines: Vec<_> = function
        .log
        .lines()
        .into_iter()
        .map(|(_, stream, text)| (stream, String::from_utf8_lossy(&text).into_owned()))
        .collect();
    for n in 0..3 {
        assert!(
            lines.contains(&(LogStream::Stdout, format!("stdout line {n}"))),
            "{lines:?}"
        );
    }
    assert!(
        lines.contains(&(LogStream::Stderr, "stderr line".to_owned())),
        "{lines:?}"
    );
    let mut seen = std::collections::HashSet::new();
    for _ in 0..200 {
        let random = function
            .get("/random?bytes=16")
            .await
            .expect("answers")
            .text();
        assert!(seen.insert(random), "fresh instances repeat no randomness");
    }
}

#[tokio::test]
async fn ends_of_every_kind_have_their_codes() {
    let (_world, function) = probe!();
    for (target, expected) in [
        ("/trap", Code::Trap),
        ("/panic", Code::Trap),
        ("/exit?code=3", Code::Exited),
        ("/recurse", Code::Trap),
        ("/no-response", Code::NoResponse),
        ("/error-response", Code::FunctionError),
        ("/status?code=101", Code::BadResponse),
        ("/status?code=600", Code::BadResponse),
        ("/status?code=999", Code::BadResponse),
        (
            "/content-length-lie?declared=10&actual=20",
            Code::BadResponse,
        ),
        (
            "/content-length-lie?declared=20&actual=10",
            Code::BadResponse,
        ),
        (
            "/content-length-lie?declared=x&actual=10",
            Code::BadResponse,
        ),
        ("/trap-mid-stream", Code::Trap),
        ("/many-pollables?n=1000000", Code::HostcallLimit),
        ("/random-flood", Code::HostcallLimit),
    ] {
        let failure = function.get(target).await.expect_err(target);
        let expected_here = [expected, Code::Trap];
        // A probe that is refused a header may also panic over it.
        let allowed = if target.contains("=x") {
            &expected_here[..]
        } else {
            &expected_here[..1]
        };
        assert!(allowed.contains(&failure.code()), "{target}: {failure}");
    }
    let (_world, function) = probe!(|config| config.reuse = 10);
    for target in ["/exit?code=0", "/no-response", "/trap"] {
        let sandbox = function.sandbox().await;
        let result = function.call(&sandbox, get(target)).await;
        assert!(result.is_err() && !sandbox.is_reusable(), "{target}");
    }
    assert_eq!(
        function
            .get("/status?code=204")
            .await
            .expect("answers")
            .head
            .status,
        204
    );
    let failure = function.get("/trap").await.expect_err("a trap");
    let backtrace = failure.log_detail().expect("a backtrace");
    assert!(backtrace.contains("trap"), "{backtrace}");
}

#[tokio::test]
async fn headers_that_frame_messages_never_leave() {
    let (_world, function) = probe!();
    for which in [
        "crlf",
        "nul",
        "name",
        "connection",
        "transfer-encoding",
        "upgrade",
    ] {
        let target = format!("/bad-header?which={which}");
        let answer = function.get(&target).await.expect(which);
        assert!(
            answer.text().starts_with("Err"),
            "{which}: {}",
            answer.text()
        );
        assert!(
            answer.head.headers.is_empty(),
            "{which}: {:?}",
            answer.head.headers
        );
    }
    let failure = function.get("/many-headers?n=1000000").await;
    assert!(matches!(
        code(failure),
        Code::BadResponse | Code::Trap | Code::HostcallLimit
    ));
}

#[tokio::test]
async fn memory_and_cpu_have_their_limits() {
    let (_world, function) = probe!(|config| {
        config.limits.memory_bytes_max = 32 * MIB;
        config.limits.cpu_ms_max = 200;
    });
    let answer = function.get("/memory?mib=300").await.expect("it is told");
    let mib: u64 = answer
        .text()
        .trim_end_matches(" MiB\n")
        .parse()
        .expect("a number");
    assert!((16..32).contains(&mib), "{mib} MiB");
    assert_eq!(
        code(function.get("/spin?ms=100000").await),
        Code::CpuExhausted
    );
    assert_eq!(
        code(function.get("/answer-then-spin").await),
        Code::CpuExhausted
    );
    let answer = function
        .get("/answer-then-sleep?ms=30")
        .await
        .expect("whole");
    assert_eq!(answer.text(), "done\n");
}

#[tokio::test]
async fn a_guest_that_waits_for_ever_ends_with_its_caller() {
    let (_world, function) = probe!();
    let outcome = tokio::time::timeout(Duration::from_millis(50), function.get("/pending")).await;
    assert!(outcome.is_err());
    let sandbox = function.sandbox().await;
    let answer = function
        .call(&sandbox, get("/infinite"))
        .await
        .expect("a head");
    let mut body = answer.into_body();
    let mut n_bytes = 0;
    while n_bytes < 5_000_000 {
        let frame = body.frame().await.expect("endless").expect("no failure");
        let length = frame.data_ref().map_or(0, Bytes::len);
        assert!(length <= 64 << 10, "pieces are bounded");
        n_bytes += length;
    }
    let weak = std::sync::Arc::downgrade(&sandbox);
    drop((body, sandbox));
    assert!(weak.upgrade().is_none());
}

#[tokio::test]
async fn the_network_is_denied_unless_granted() {
    let (_world, function) = probe!();
    let answer = function
        .get("/fetch?url=http://127.0.0.1:1/")
        .await
        .expect("answers");
    assert_eq!(answer.head.status, 502);
    assert!(
        answer.text().contains("HttpRequestDenied"),
        "{}",
        answer.text()
    );

    let (address, server) = crate::core_abi::upstream().await;
    let (_world, function) = probe!(crate::core_abi::granted(address));
    let answer = function.get(&format!("/fetch?url=http://{address}/")).await;
    let answer = answer.expect("answers");
    assert_eq!(
        (answer.head.status.as_u16(), answer.text().as_str()),
        (200, "hello")
    );
    server.abort();
}
