//! Guests and callers that mean harm, against the whole node: resources that all functions share, modules
//! that explode when compiled, uploads that stop, answers that nobody reads (catalogue rows A2, A9, A10,
//! A11, A16, A17, A23, A48, A61).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::guests::{wat, wat_text};
use testkit::{Node, NodeOptions, Resources, eventually};

use crate::{HOLM, node};

/// Sends `n_requests` to `target` at once, each on a connection of its own; how they were answered:
/// status and code.
fn at_once(node: &Node, n_requests: usize, target: &str) -> Vec<(u16, Option<String>)> {
    let mut clients: Vec<_> = (0..n_requests).map(|_| node.client()).collect();
    for client in &mut clients {
        client.request("GET", target, &[], b"");
    }
    clients
        .iter_mut()
        .map(|client| client.answer().expect("an answer"))
        .map(|answer| (answer.status, answer.code()))
        .collect()
}

/// Calls a no-op on one connection until `work` is done; the 99th percentile of its times. The slowest is
/// shown only: many hogs that arrive at once have a slice each before they queue up.
fn canary_p99(node: &Node, what: &str, work: impl FnOnce()) -> Duration {
    let is_done = AtomicBool::new(false);
    let mut times = std::thread::scope(|scope| {
        let canary = scope.spawn(|| {
            let mut client = node.client();
            let mut times = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                let began = Instant::now();
                client.request("GET", "/function/canary/", &[], b"");
                let answer = client.answer().expect("an answer");
                assert_eq!(answer.text(), "ok", "{}", answer.status);
                times.push(began.elapsed());
            }
            times
        });
        work();
        is_done.store(true, Ordering::Relaxed);
        canary.join().expect("the canary lives")
    });
    times.sort();
    let p99 = times[times.len() * 99 / 100];
    let slowest = times.last().expect("it was called");
    eprintln!(
        "canary beside {what}: {} calls, p99 {p99:?}, slowest {slowest:?}",
        times.len()
    );
    p99
}

fn n_running(node: &Node) -> u64 {
    let doctor = node.holm(&["doctor", "--json"]).ok().json();
    let found = doctor
        .pointer("/node/n_running")
        .or(doctor.get("n_running"));
    found
        .and_then(serde_json::Value::as_u64)
        .unwrap_or_else(|| panic!("{doctor}"))
}

/// A module that sleeps with `n_memories` memories and `n_tables` tables.
fn hoarder(n_memories: usize, n_tables: usize) -> Vec<u8> {
    let memories = "(memory 1)".repeat(n_memories - 1);
    let tables = "(table 1 funcref)".repeat(n_tables);
    wat_text(&format!(
        r#"(module
            (import "holm:core/1" "sleep_ms" (func $sleep (param i32) (result i32)))
            (memory (export "memory") 1) {memories} {tables}
            (func (export "alloc") (param i32) (result i32) i32.const 1024)
            (func (export "handle") (param i32 i32) (result i32)
              (drop (call $sleep (i32.const 20000)))
              i32.const 0))"#
    ))
}

#[test]
fn a_function_of_many_memories_and_tables_takes_no_slot_from_others() {
    let node = node();
    node.deploy_wasm("canary", &wat("noop"), &[]);
    node.deploy_wasm("hoarder", &hoarder(4, 40), &[]);
    // As many as one function may run by default.
    let mut hoarders: Vec<_> = (0..250).map(|_| node.client()).collect();
    for client in &mut hoarders {
        client.request("GET", "/function/hoarder/", &[], b"");
    }
    assert!(
        eventually(Duration::from_secs(15), || n_running(&node) >= 250),
        "{} run",
        n_running(&node)
    );
    for _ in 0..20 {
        let answer = node.get("canary", "/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
}

#[test]
fn three_hundred_hogs_end_in_time_and_leave_every_place() {
    let node = node();
    node.deploy_wasm("canary", &wat("noop"), &[]);
    let limits = "[limits]\ntimeout = \"2s\"\nconcurrency = 300\n";
    node.deploy("hog", &wat("cpu-loop"), limits);
    let before = Resources::of(node.pid());
    let began = Instant::now();
    let p99 = canary_p99(&node, "300 hogs", || {
        let answers = at_once(&node, 300, "/function/hog/");
        for (status, code) in answers {
            assert_eq!(status, 504, "{code:?}");
            assert!(
                matches!(code.as_deref(), Some("H2002" | "H2003")),
                "{code:?}"
            );
        }
    });
    eprintln!("300 hogs ended after {:?}", began.elapsed());
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    assert!(p99 < Duration::from_millis(50), "{p99:?}");
    // Every place and every permit is free again.
    assert!(
        at_once(&node, 300, "/function/canary/")
            .iter()
            .all(|(status, _)| *status == 200)
    );
    assert_eq!(n_running(&node), 0);
    let back = eventually(Duration::from_secs(30), || {
        Resources::of(node.pid()).n_fds <= before.n_fds + 4
    });
    assert!(back, "{before:?}, then {:?}", Resources::of(node.pid()));
}

#[test]
fn guests_that_spin_while_starting_hurt_nobody() {
    let node = node();
    node.deploy_wasm("canary", &wat("noop"), &[]);
    let limits = "[limits]\ncpu_ms = 200\nstart_timeout = \"2s\"\n";
    node.deploy("spinner", &wat("start-loop"), limits);
    let p99 = canary_p99(&node, "60 spinning starts", || {
        for (status, code) in at_once(&node, 60, "/function/spinner/") {
            assert!((500..600).contains(&status), "{status}");
            assert!(
                matches!(code.as_deref(), Some("H2003" | "H2009" | "H3001")),
                "{code:?}"
            );
        }
    });
    assert!(p99 < Duration::from_millis(50), "{p99:?}");
    assert_eq!(n_running(&node), 0);
}

#[test]
fn an_upload_that_stalls_ends_at_the_functions_timeout() {
    let node = node();
    let limits = "[limits]\ntimeout = \"400ms\"\nconcurrency = 1\n";
    node.deploy("echo", &wat("echo"), limits);
    let mut client = node.client();
    let head = "POST /function/echo/ HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf";
    let began = Instant::now();
    client.send(head.as_bytes()).expect("the server reads");
    // The echo may have begun its answer, which then breaks off; it never looks whole.
    if let Some(answer) = client.answer() {
        let is_timeout = answer.code().as_deref() == Some("H2002");
        assert!(is_timeout || !answer.is_whole, "{}", answer.text());
        let receipt = node.receipt(&answer);
        assert_eq!(receipt["receipt"]["error"], "H2002", "{receipt}");
    }
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        node.post("echo", "/", b"whole").text(),
        "whole",
        "its place is free"
    );
}

#[test]
fn an_answer_that_nobody_reads_to_its_end_gives_everything_back() {
    let node = node();
    let limits = "reuse = 1000\n[limits]\nconcurrency = 2\nbody = \"100MiB\"\n";
    node.deploy("endless", &wat("infinite-response"), limits);
    node.deploy("counter", &wat("counter"), "reuse = 1000\n");
    let before = Resources::of(node.pid());
    for round in 0..20 {
        let mut client = node.client();
        client.request("GET", "/function/endless/", &[], b"");
        let (status, _) = client.head().expect("a head");
        assert_eq!(status, 200, "round {round}");
        drop(client);
        assert!(
            eventually(Duration::from_secs(5), || n_running(&node) == 0),
            "round {round}: the invocation goes on"
        );
    }
    let usage = node.holm(&["usage", "--json"]).ok().json();
    assert!(
        usage.to_string().contains("\"n_invocations\":20"),
        "{usage}"
    );
    let now = Resources::of(node.pid());
    assert!(now.n_fds <= before.n_fds + 4, "{before:?}, then {now:?}");
    assert!(
        now.rss_bytes.saturating_sub(before.rss_bytes) < 64 << 20,
        "{before:?}, then {now:?}"
    );
    // A reused instance goes on counting: bodies that nobody reads change nothing about that.
    for expected in ["2", "4", "6"] {
        let mut client = node.client();
        client.request("POST", "/function/counter/", &[], &[b'x'; 50_000]);
        let answer = client.answer().expect("an answer");
        assert_eq!(answer.text().trim(), expected);
    }
}

#[test]
fn a_reused_instance_serves_one_at_a_time() {
    let node = node();
    node.deploy("sleeper", &wat("sleep"), "reuse = 1000\n");
    node.deploy("counter", &wat("counter"), "reuse = 5\n");
    let n_ok = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = node.client();
                for _ in 0..50 {
                    client.request("GET", "/function/sleeper/?ms=1", &[], b"");
                    assert_eq!(client.answer().expect("an answer").text(), "slept");
                    client.request("GET", "/function/counter/", &[], b"");
                    let text = client.answer().expect("an answer").text();
                    let sum: u32 = text.trim().parse().expect("a number");
                    // Twice the calls of the instance: never odd, never more than five of them.
                    assert!(sum.is_multiple_of(2) && (2..=10).contains(&sum), "{sum}");
                    n_ok.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(n_ok.into_inner(), 800);
    assert_eq!(n_running(&node), 0);
}

/// `bytes` as a section of a module or component.
fn section(id: u8, bytes: &[u8]) -> Vec<u8> {
    let mut section = vec![id];
    section.extend(leb(bytes.len()));
    section.extend_from_slice(bytes);
    section
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// A `wasip1` command of these function bodies, each with its count of locals in front.
fn module_of(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // () -> () and the type of `fd_write`, which makes the file a function at all.
    module.extend(section(1, b"\x02\x60\0\0\x60\x04\x7f\x7f\x7f\x7f\x01\x7f"));
    module.extend(section(
        2,
        b"\x01\x16wasi_snapshot_preview1\x08fd_write\0\x01",
    ));
    let mut functions = leb(bodies.len());
    functions.extend(std::iter::repeat_n(0, bodies.len()));
    module.extend(section(3, &functions));
    module.extend(section(5, &[1, 0, 1]));
    module.extend(section(7, b"\x02\x06memory\x02\0\x06_start\0\x01"));
    let mut code = leb(bodies.len());
    for body in bodies {
        code.extend(leb(body.len()));
        code.extend_from_slice(body);
    }
    module.extend(section(10, &code));
    module
}

fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let mut locals = leb(20);
    for _ in 0..20 {
        locals.extend(leb(50_000));
        locals.push(0x7e);
    }
    locals.push(0x0b);
    let mut table = b"\0\x02\x40\x41\0\x0e".to_vec();
    table.extend(leb(50_000));
    table.extend(std::iter::repeat_n(0, 50_001));
    table.extend_from_slice(&[0x0b, 0x0b]);
    let mut nested = vec![0];
    nested.extend(std::iter::repeat_n([0x02, 0x40], 100_000).flatten());
    nested.extend(std::iter::repeat_n(0x0b, 100_001));
    let mut components = b"\0asm\x0d\0\x01\0".to_vec();
    // Each level wraps the one before: built from the inside, so the sizes are right.
    for _ in 0..10_000 {
        let mut outer = b"\0asm\x0d\0\x01\0".to_vec();
        outer.extend(section(4, &components));
        components = outer;
    }
    let mut data = module_of(&[vec![0, 0x0b]]);
    let mut segment = b"\x01\0\x41\0\x0b".to_vec();
    segment.extend(leb(100 << 20));
    segment.resize(segment.len() + (100 << 20), 7);
    data.extend(section(11, &segment));
    vec![
        ("a million locals", module_of(&[locals])),
        ("50,000 branch targets", module_of(&[table])),
        ("100,000 nested blocks", module_of(&[nested])),
        (
            "900,000 functions",
            module_of(&vec![vec![0, 0x0b]; 900_000]),
        ),
        ("10,000 nested components", components),
        ("100 MiB of data", data),
    ]
}

#[test]
fn compile_bombs_through_a_deploy_hurt_nobody() {
    let config = "[wasm]\ncompile_cpu_s_max = 5\ncompile_timeout_s = 20\n";
    let options = NodeOptions {
        config: Some(config.to_owned()),
        ..NodeOptions::default()
    };
    let node = Node::start(HOLM, options);
    node.deploy_wasm("canary", &wat("noop"), &[]);
    let before = Resources::of(node.pid());
    let p99 = canary_p99(&node, "compile bombs", || {
        for (what, wasm) in bombs() {
            let began = Instant::now();
            let output = node.try_deploy("bomb", &wasm, "");
            let end = output.stderr.lines().next().unwrap_or_default();
            eprintln!("{what}: {} after {:?}: {end}", output.code, began.elapsed());
            assert!(began.elapsed() < Duration::from_secs(30), "{what}");
            let is_refused = output.code == 1 && output.stderr.contains("H40");
            assert!(output.code == 0 || is_refused, "{what}: {}", output.stderr);
        }
    });
    assert!(p99 < Duration::from_millis(50), "{p99:?}");
    let back = eventually(Duration::from_secs(10), || {
        Resources::of(node.pid()).n_children == 0
    });
    assert!(back, "a compile worker is left");
    let grown = Resources::of(node.pid())
        .rss_bytes
        .saturating_sub(before.rss_bytes);
    assert!(grown < 300 << 20, "{grown} bytes");
}
