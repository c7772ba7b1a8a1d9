//! CGI programs in WebAssembly text: no toolchain, one behaviour each.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use model::{Code, Contract};
use runtime::Body;

use crate::harness::{Function, Outcome, Source, get, post};

/// A program in the making: code of `_start`, and texts at fixed addresses.
#[derive(Default)]
struct Program {
    data: String,
    code: String,
    next: usize,
}

impl Program {
    fn new() -> Self {
        Self {
            next: 1_024,
            ..Self::default()
        }
    }

    /// Writes `text` to file descriptor `fd`.
    fn write(mut self, fd: u32, text: &str) -> Self {
        let address = self.next;
        self.next += text.len();
        assert!(self.next < 60_000, "texts fit below the buffers");
        let mut escaped = String::new();
        for byte in text.bytes() {
            write!(escaped, "\\{byte:02x}").unwrap();
        }
        writeln!(self.data, "(data (i32.const {address}) \"{escaped}\")").unwrap();
        let length = text.len();
        self.code(&format!(
            "(call $write (i32.const {fd}) (i32.const {address}) (i32.const {length}))"
        ))
    }

    fn print(self, text: &str) -> Self {
        self.write(1, text)
    }

    fn code(mut self, code: &str) -> Self {
        self.code += code;
        self.code += "\n";
        self
    }

    fn exit(self, code: u32) -> Self {
        self.code(&format!("(call $proc_exit (i32.const {code}))"))
    }

    fn wasm(self) -> Vec<u8> {
        let Self { data, code, .. } = self;
        let text = format!(
            r#"(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get"
    (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get"
    (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 8)
  {data}
  (func $write (param $fd i32) (param $at i32) (param $n i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $n))
    (if (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))
      (then unreachable)))
  ;; Reads up to $n bytes of standard input to $at; gives how many.
  (func $read (param $at i32) (param $n i32) (result i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $n))
    (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))
      (then unreachable))
    (i32.load (i32.const 8)))
  (func (export "_start") (local $n i32)
    {code}))"#
        );
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }
}

/// Copies standard input to standard output, 128 KiB at a time.
const COPY: &str = "(loop $more
      (local.set $n (call $read (i32.const 65536) (i32.const 131072)))
      (if (local.get $n) (then
        (call $write (i32.const 1) (i32.const 65536) (local.get $n))
        (br $more))))";

async fn shown(program: Program) -> String {
    Function::new(&program.wasm())
        .await
        .invoke(get("/"))
        .await
        .shown()
        .await
}

#[tokio::test]
async fn a_program_answers() {
    let program = Program::new()
        .print("Content-Type: text/plain\n\nhello\n")
        .wasm();
    let function = Function::new(&program).await;
    assert_eq!(function.contract(), Contract::Cgi11);
    let outcome = function.invoke(get("/")).await;
    let context = outcome.context.clone();
    assert_eq!(outcome.shown().await, "200|content-type=text/plain|hello\n");
    assert!(context.meter.cpu_ns.load(Ordering::Relaxed) > 0);
    assert_eq!(
        context.meter.memory_peak_bytes.load(Ordering::Relaxed),
        8 * 65_536
    );
}

#[tokio::test]
async fn status_location_and_exit_0_are_understood() {
    for (output, expected) in [
        ("Status: 404 Not Found\nX-A: b\n\ngone", "404|x-a=b|gone"),
        ("Location: /there\n\n", "302|location=/there|"),
        ("Status: 204\n\n", "204|"),
    ] {
        assert_eq!(shown(Program::new().print(output)).await, expected);
        assert_eq!(shown(Program::new().print(output).exit(0)).await, expected);
    }
    let in_bytes = "Status: 201\n\nok"
        .split("")
        .fold(Program::new(), Program::print);
    assert_eq!(shown(in_bytes).await, "201|ok");
}

#[tokio::test]
async fn the_request_is_in_the_environment() {
    let program = Program::new()
        .print("X-Env: follows\n\n")
        .code(
            "(drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
             (drop (call $environ_get (i32.const 65536) (i32.const 131072)))
             (call $write (i32.const 1) (i32.const 131072) (i32.load (i32.const 20)))",
        )
        .wasm();
    let function = Function::with(&program, |config| {
        config.env.insert("GREETING".to_owned(), "hi".to_owned());
    })
    .await
    .unwrap();
    let request = Request::put("/a%20b?c=d")
        .header("host", "tester.localhost:8080")
        .header("content-type", "text/plain")
        .header("proxy", "http://evil.example")
        .header("x-mine", "1")
        .body(Body::from(Bytes::from_static(b"12345")))
        .unwrap();
    let body = function.invoke(request).await.body().await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    let variables: Vec<&str> = text.split_terminator('\0').collect();
    for expected in [
        "REQUEST_METHOD=PUT",
        "PATH_INFO=/a b",
        "QUERY_STRING=c=d",
        "CONTENT_TYPE=text/plain",
        "CONTENT_LENGTH=5",
        "SERVER_NAME=tester.localhost",
        "SERVER_PORT=8080",
        "REMOTE_ADDR=192.0.2.7",
        "GATEWAY_INTERFACE=CGI/1.1",
        "HTTP_X_MINE=1",
        "GREETING=hi",
    ] {
        assert!(
            variables.contains(&expected),
            "{expected} is in {variables:?}"
        );
    }
    assert!(!text.contains("HTTP_PROXY"), "{text}");
    assert!(
        !text.contains("PATH="),
        "nothing of the host's environment: {text}"
    );
}

#[tokio::test]
async fn bodies_stream_through_with_bounded_buffers() {
    const BYTES: u64 = 32 << 20;
    /// What guest memory, the pieces under way and the exchange hold together.
    const IN_FLIGHT_BYTES_MAX: u64 = 1 << 20;
    let program = Program::new().print("X-A: b\n\n").code(COPY).wasm();
    let function = Function::new(&program).await;
    let source = Source::new(BYTES);
    let taken = source.taken.clone();
    let outcome = function.invoke(post("/", Body::stream(source))).await;
    let mut body = outcome.response.unwrap().into_body();
    let (mut n_read, mut in_flight_max, mut n_frames) = (0, 0, 0_u64);
    while let Some(frame) = body.frame().await {
        let bytes = frame.unwrap().into_data().unwrap();
        assert!(bytes.iter().all(|byte| *byte == b'x'));
        n_read += bytes.len() as u64;
        n_frames += 1;
        in_flight_max = in_flight_max.max(taken.load(Ordering::SeqCst) - n_read);
    }
    assert_eq!(n_read, BYTES);
    assert!(
        in_flight_max <= IN_FLIGHT_BYTES_MAX,
        "{in_flight_max} bytes were under way"
    );
    assert!(
        n_frames <= BYTES / (16 << 10),
        "pieces are joined: {n_frames} frames"
    );
}

#[tokio::test]
async fn a_body_that_nobody_reads_does_not_matter() {
    let program = Program::new().print("X-A: b\n\ndone").wasm();
    let function = Function::new(&program).await;
    let outcome = function
        .invoke(post("/", Body::stream(Source::new(1 << 30))))
        .await;
    assert_eq!(outcome.shown().await, "200|x-a=b|done");
}

#[tokio::test]
async fn an_exit_code_is_an_error_before_and_after_the_head() {
    for code in [1, 125, 126, 255] {
        let expected = format!("Exited: the function exited with code {code}");
        assert_eq!(shown(Program::new().exit(code)).await, expected);
        assert_eq!(
            shown(Program::new().print("Content-Type: te").exit(code)).await,
            expected
        );
        let late = Program::new().print("X-A: b\n\nsome").exit(code);
        let text = shown(late).await;
        // The guest ended in its first poll, so the failure may come as the whole answer.
        assert!(text.ends_with(&expected), "{text}");
    }
}

#[tokio::test]
async fn bad_output_is_a_bad_response() {
    for (output, expected) in [
        (
            "hello\n\n",
            "line 1 of its header is not `name: value`: `hello`",
        ),
        (
            "Content-Type: text/plain\n",
            "its output ended inside the header",
        ),
        (
            "\nhello",
            "its output begins with an empty line where the header should be",
        ),
        (
            "A: b\nStatus: 999\n\n",
            "line 2 of its header is not a status from 200 to 599: `Status: 999`",
        ),
    ] {
        let expected =
            format!("BadResponse: the function did not answer as a CGI program: {expected}");
        assert_eq!(shown(Program::new().print(output)).await, expected);
    }
    assert_eq!(
        shown(Program::new()).await,
        "NoResponse: the function ended without any output"
    );
    let endless_head = Program::new().code(
        "(loop $again (call $write (i32.const 1) (i32.const 65536) (i32.const 65536)) (br $again))",
    );
    let text = shown(endless_head).await;
    assert!(
        text.starts_with("BadResponse: ") && text.contains("longer than"),
        "{text}"
    );
}

#[tokio::test]
async fn traps_and_limits_are_named() {
    let trap = Function::new(&Program::new().code("unreachable").wasm()).await;
    let outcome = trap.invoke(get("/")).await;
    assert_eq!(outcome.failure_code(), Some(Code::Trap));
    let failure = outcome.response.unwrap_err();
    assert!(
        failure.log_detail().unwrap().contains("backtrace"),
        "{failure:?}"
    );

    let busy = Program::new().code("(loop $again (br $again))").wasm();
    let busy = Function::with(&busy, |config| config.limits.cpu_ms_max = 20)
        .await
        .unwrap();
    let outcome = busy.invoke(get("/")).await;
    assert_eq!(outcome.failure_code(), Some(Code::CpuExhausted));
}

#[tokio::test]
async fn standard_error_goes_to_the_log() {
    let program = Program::new()
        .write(2, "first\nsec")
        .print("X-A: b\n\n")
        .write(2, "ond\nthird")
        .wasm();
    let function = Function::new(&program).await;
    let outcome = function.invoke(get("/")).await;
    let log = outcome.log.clone();
    assert_eq!(outcome.shown().await, "200|x-a=b|");
    assert_eq!(
        log.lines(),
        ["stderr: first", "stderr: second", "stderr: third"]
    );
}

#[tokio::test]
async fn head_requests_get_no_body_and_the_program_ends_well() {
    let program = Program::new()
        .print("Content-Length: 4\n\nbody")
        .write(2, "ended\n")
        .wasm();
    let function = Function::new(&program).await;
    let request = Request::head("/").body(Body::Empty).unwrap();
    let outcome = function.invoke(request).await;
    let log = outcome.log.clone();
    assert_eq!(outcome.shown().await, "200|content-length=4|");
    assert_eq!(log.lines(), ["stderr: ended"]);
}

#[tokio::test]
async fn each_request_runs_the_program_anew() {
    // Counts its runs in memory: a second run in the same instance would say 2.
    let program = Program::new()
        .code(
            "(i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) (i32.const 1)))
             (i32.store8 (i32.const 520) (i32.add (i32.load (i32.const 512)) (i32.const 48)))",
        )
        .print("X-A: b\n\nrun ")
        .code("(call $write (i32.const 1) (i32.const 520) (i32.const 1))")
        .wasm();
    let function = Function::with(&program, |config| config.reuse = 10)
        .await
        .unwrap();
    for _ in 0..3 {
        let outcome = function.invoke(get("/")).await;
        let sandbox = outcome.sandbox.clone();
        assert_eq!(outcome.shown().await, "200|x-a=b|run 1");
        assert!(!sandbox.is_reusable());
    }
}

#[tokio::test]
async fn dropping_the_answer_stops_the_program() {
    let program = Program::new()
        .print("X-A: b\n\n")
        .code("(loop $again (call $write (i32.const 1) (i32.const 65536) (i32.const 65536)) (br $again))")
        .wasm();
    let function = Function::new(&program).await;
    let Outcome {
        response, context, ..
    } = function.invoke(get("/")).await;
    let mut body = response.unwrap().into_body();
    for _ in 0..100 {
        body.frame().await.unwrap().unwrap();
    }
    assert!(Arc::strong_count(&context) > 1, "it still runs");
    drop(body);
    // The store is gone, and with it all that knew the invocation.
    assert_eq!(Arc::strong_count(&context), 1);
}

#[tokio::test]
async fn a_path_that_no_variable_can_hold_is_refused() {
    let function = Function::new(&Program::new().print("X-A: b\n\n").wasm()).await;
    let outcome = function.invoke(get("/a%00b")).await;
    assert_eq!(outcome.failure_code(), Some(Code::BadRequest));
}

#[tokio::test]
async fn files_and_sockets_are_not_there() {
    let text = r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "/etc/passwdX-A: b\n\nnone")
  (func (export "_start")
    ;; 8 is EBADF: no directory is preopened, under any number.
    (if (i32.ne (call $prestat (i32.const 3) (i32.const 0)) (i32.const 8)) (then unreachable))
    (if (i32.ne (i32.const 8) (call $path_open (i32.const 3) (i32.const 0) (i32.const 64)
          (i32.const 11) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0)))
      (then unreachable))
    (i32.store (i32.const 0) (i32.const 75))
    (i32.store (i32.const 4) (i32.const 12))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;
    let function = Function::new(&wat::parse_str(text).unwrap()).await;
    assert_eq!(
        function.invoke(get("/")).await.shown().await,
        "200|x-a=b|none"
    );
}

#[tokio::test]
async fn one_write_may_be_as_large_as_the_memory() {
    const BYTES: usize = 16 << 20;
    let text = format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 300)
  (data (i32.const 16) "X-A: b\n\n")
  (func $write (param $at i32) (param $n i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $n))
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
      (then unreachable)))
  (func (export "_start")
    (call $write (i32.const 16) (i32.const 8))
    (call $write (i32.const 1024) (i32.const {BYTES}))))"#
    );
    let function = Function::new(&wat::parse_str(&text).unwrap()).await;
    assert_eq!(function.invoke(get("/")).await.body().await.len(), BYTES);
}

#[tokio::test]
async fn floods_of_host_calls_are_refused() {
    // Waits for 10,000 clocks at once, and asks for 64 MiB of randomness.
    for (import, call) in [
        (
            "(import \"wasi_snapshot_preview1\" \"poll_oneoff\"
               (func $f (param i32 i32 i32 i32) (result i32)))",
            "(call $f (i32.const 0) (i32.const 1048576) (i32.const 10000) (i32.const 2097152))",
        ),
        (
            "(import \"wasi_snapshot_preview1\" \"random_get\"
               (func $f (param i32 i32) (result i32)))",
            "(call $f (i32.const 0) (i32.const 67108864))",
        ),
    ] {
        let text = format!(
            "(module {import} (memory (export \"memory\") 1100)
               (func (export \"_start\") (drop {call})))"
        );
        let function = Function::new(&wat::parse_str(&text).unwrap()).await;
        let outcome = function.invoke(get("/")).await;
        assert_eq!(outcome.failure_code(), Some(Code::HostcallLimit), "{call}");
    }
}
