//! Every limit of a function: it holds, it is named, and the next invocation is fine (catalogue rows A1,
//! A2, A8, A12, A14, A16, A17, A18).

use std::time::{Duration, Instant};

use testkit::guests::wat;
use testkit::{Answer, Node};

use crate::node;

/// Deploys `guest` with `limits` and returns its answer with the time that it took.
#[track_caller]
fn run(node: &Node, guest: &str, limits: &str, path: &str) -> (Answer, Duration) {
    node.deploy(guest, &wat(guest), &format!("[limits]\n{limits}\n"));
    let began = Instant::now();
    let answer = node.get(guest, path);
    (answer, began.elapsed())
}

#[track_caller]
fn assert_limit(answer: &Answer, status: u16, code: &str, limit: &str) {
    assert_eq!(
        (answer.status, answer.code().as_deref()),
        (status, Some(code)),
        "{}",
        answer.text()
    );
    assert_eq!(answer.json()["limit"]["name"], limit, "{}", answer.text());
    assert!(
        answer.json()["limit"]["knob"]
            .as_str()
            .is_some_and(|knob| !knob.is_empty())
    );
}

#[test]
fn a_busy_loop_ends_at_its_deadline_or_its_cpu_budget() {
    let node = node();
    let (answer, took) = run(&node, "cpu-loop", "timeout = \"300ms\"", "/");
    assert_limit(&answer, 504, "H2002", "limits.timeout");
    assert!((300..1_000).contains(&took.as_millis()), "{took:?}");

    let (answer, _) = run(&node, "cpu-loop", "cpu_ms = 100", "/");
    assert_limit(&answer, 504, "H2003", "limits.cpu_ms");
    let receipt = node.receipt(&answer);
    let cpu_ms = receipt["receipt"]["cpu_ns"].as_u64().expect("a number") / 1_000_000;
    assert!((100..150).contains(&cpu_ms), "{cpu_ms} ms of CPU");
}

#[test]
fn sleeping_costs_wall_time_and_no_cpu() {
    let node = node();
    let (answer, took) = run(&node, "sleep", "cpu_ms = 20", "/?ms=200");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(took >= Duration::from_millis(200));
    let receipt = node.receipt(&answer);
    assert!(receipt["receipt"]["cpu_ns"].as_u64().expect("a number") < 20_000_000);
}

#[test]
fn memory_stops_at_the_limit_and_the_host_stays_small() {
    let node = node();
    node.get("nobody", "/");
    let before = testkit::Resources::of(node.pid());
    let (answer, _) = run(&node, "memory-bomb", "memory = \"16MiB\"", "/");
    assert!(
        answer.status == 200 || answer.code().as_deref() == Some("H2004"),
        "{}",
        answer.text()
    );
    let receipt = node.receipt(&answer);
    let peak = receipt["receipt"]["memory_peak_bytes"]
        .as_u64()
        .expect("a number");
    assert!(peak <= 16 * 1024 * 1024 && peak > 1024 * 1024, "{peak}");
    let (many, _) = run(&node, "many-grows", "memory = \"16MiB\"", "/");
    assert!(
        many.status == 200 || many.code().is_some(),
        "{}",
        many.text()
    );
    let after = testkit::Resources::of(node.pid());
    let grown = after.rss_bytes.saturating_sub(before.rss_bytes);
    assert!(grown < 48 * 1024 * 1024, "{grown} bytes");
}

#[test]
fn concurrency_is_refused_with_a_retry_hint() {
    let node = node();
    node.deploy("sleep", &wat("sleep"), "[limits]\nconcurrency = 1\n");
    let mut first = node.client();
    first.request("GET", "/function/sleep/?ms=3000", &[], b"");
    node.await_running(1);
    let refused = node.get("sleep", "/?ms=0");
    assert_limit(&refused, 429, "H1009", "limits.concurrency");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(first.answer().expect("an answer").status, 200);
    assert_eq!(node.get("sleep", "/?ms=0").status, 200);
}

#[test]
fn bodies_are_limited_in_both_directions() {
    let node = node();
    node.deploy("echo", &wat("echo"), "[limits]\nbody = 1000\n");
    assert_eq!(node.post("echo", "/", &[b'x'; 1000]).body.len(), 1000);
    let announced = node.post("echo", "/", &[b'x'; 1001]);
    assert_limit(&announced, 413, "H1005", "limits.body");

    let (endless, _) = run(&node, "infinite-response", "body = \"1MiB\"", "/");
    assert!(
        !endless.is_whole || endless.status == 502,
        "an endless answer cannot look whole"
    );
    assert!(endless.body.len() <= 1024 * 1024, "{}", endless.body.len());
}

#[test]
fn a_chunked_upload_over_the_limit_is_a_413() {
    let node = node();
    node.deploy(
        "reader",
        &wat("read-body-slowly"),
        "[limits]\nbody = 1000\n",
    );
    let mut client = node.client();
    let head = b"POST /function/reader/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(head).expect("the server reads");
    for _ in 0..4 {
        // The server may answer and close before everything is sent: that is what is wanted.
        let _ = client.send(format!("200\r\n{}\r\n", "x".repeat(0x200)).as_bytes());
    }
    let answer = client.answer().expect("an answer");
    assert_eq!(
        (answer.status, answer.code().as_deref()),
        (413, Some("H1005"))
    );
}

#[test]
fn a_log_flood_is_cut_and_counted() {
    let node = node();
    let (answer, _) = run(&node, "log-flood", "log = \"10KiB\"\ntimeout = \"2s\"", "/");
    let receipt = node.receipt(&answer);
    let kept = receipt["receipt"]["log_bytes"].as_u64().expect("a number");
    let dropped = receipt["receipt"]["log_dropped_bytes"]
        .as_u64()
        .expect("a number");
    assert!(
        kept <= 10 * 1024 && dropped > 0,
        "{kept} kept, {dropped} dropped"
    );
}

#[test]
fn traps_are_named_and_the_slot_is_clean_again() {
    let node = node();
    node.deploy_wasm("noop", &wat("noop"), &[]);
    for (guest, word) in [
        ("trap-unreachable", "unreachable"),
        ("trap-oob", "out of bounds"),
        ("trap-div0", "divide by zero"),
        ("trap-indirect", "indirect call"),
        ("stack-overflow", "stack"),
        ("alloc-outside", "outside the memory"),
    ] {
        let (answer, _) = run(&node, guest, "", "/");
        assert_eq!(answer.status, 502, "{guest}: {}", answer.text());
        let text = answer.text();
        assert!(
            text.contains(word),
            "{guest} does not name `{word}`: {text}"
        );
        assert_eq!(node.get("noop", "/").text(), "ok", "after {guest}");
    }
}

#[test]
fn no_response_and_bad_responses_are_502_and_the_connection_lives() {
    let node = node();
    node.deploy_wasm("silent", &wat("no-response"), &[]);
    assert_eq!(node.get("silent", "/").code().as_deref(), Some("H2006"));
    node.deploy_wasm("number", &wat("error-number"), &[]);
    assert_eq!(node.get("number", "/").code().as_deref(), Some("H2010"));
    node.deploy_wasm("late", &wat("trap-after-head"), &[]);
    let late = node.get("late", "/");
    assert!(
        late.code().is_some() || !late.is_whole,
        "a broken answer cannot look whole"
    );
}

#[test]
fn a_failing_or_endless_init_is_told_apart() {
    let node = node();
    for guest in ["start-trap", "initialize-trap"] {
        let (answer, _) = run(&node, guest, "", "/");
        assert_eq!(
            answer.code().as_deref(),
            Some("H2009"),
            "{guest}: {}",
            answer.text()
        );
    }
    for guest in ["start-loop", "initialize-loop"] {
        let (answer, took) = run(&node, guest, "cpu_ms = 200\nstart_timeout = \"1s\"", "/");
        let code = answer.code();
        assert!(
            matches!(code.as_deref(), Some("H2003" | "H2009" | "H3001")),
            "{guest}: {code:?}"
        );
        assert!(took < Duration::from_secs(3), "{guest}: {took:?}");
    }
}
