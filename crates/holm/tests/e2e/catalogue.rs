//! Rows of the failure catalogue that need the whole node: a planted secret is found nowhere (A26), deploys,
//! removals and calls of one name race (A52), encoded bodies pass as they are (A44), a stopped process goes
//! on, a hang-up drains (A71), a herd finds everything cold (A61).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use testkit::guests::{wat, wat_text};
use testkit::{HttpClient, Node, NodeOptions};

use crate::{HOLM, node};

/// As no other text in the node.
const SECRET: &str = "planted-4f1c9e7d";

#[test]
fn a_planted_secret_is_found_nowhere() {
    let node = node();
    let manifest = format!("[env]\nAPI_KEY = \"{SECRET}\"\n[limits]\ntimeout = \"300ms\"\n");
    let mut seen = Vec::new();
    for guest in ["env-dump", "trap-unreachable", "cpu-loop", "start-trap"] {
        let output = node.try_deploy(guest, &wat(guest), &manifest).ok();
        seen.push((format!("deploy {guest}"), output.stdout + &output.stderr));
    }
    let changed = manifest.replace("API_KEY", "API_TOKEN");
    let output = node.try_deploy("cpu-loop", &wat("cpu-loop"), &changed).ok();
    seen.push(("deploy a change".to_owned(), output.stdout + &output.stderr));
    let broken = format!("[env]\nAPI_KEY = \"{SECRET}\"\n\"BAD NAME\" = \"{SECRET}\"\n");
    let refused = node.try_deploy("broken", &wat("noop"), &broken);
    assert_eq!(refused.code, 1, "{}", refused.stdout);

    // The function itself gets it; what it does with it is its own affair.
    assert_eq!(node.get("env-dump", "/API_KEY").text(), SECRET);
    for guest in ["trap-unreachable", "cpu-loop", "start-trap"] {
        let answer = node.get(guest, "/");
        assert!(answer.code().is_some(), "{guest}");
        seen.push((
            format!("answer of {guest}"),
            format!("{answer:?}{}", answer.text()),
        ));
        for command in ["logs", "describe", "versions"] {
            let output = node.holm(&[command, guest, "--json"]);
            seen.push((format!("{command} {guest}"), output.stdout + &output.stderr));
        }
    }
    let admin = node.admin.to_string();
    let token = format!("Bearer {}", node.token());
    let mut client = HttpClient::connect(node.admin);
    for path in [
        "/v1/functions",
        "/v1/node",
        "/v1/config",
        "/v1/usage",
        "/metrics",
    ] {
        client.request(
            "GET",
            path,
            &[("host", &admin), ("authorization", &token)],
            b"",
        );
        let answer = client.answer().expect("an answer");
        assert_eq!(answer.status, 200, "{path}");
        seen.push((path.to_owned(), answer.text()));
    }
    for file in ["cmdline", "environ"] {
        let path = format!("/proc/{}/{file}", node.pid());
        let bytes = std::fs::read(path).expect("it lives");
        seen.push((
            file.to_owned(),
            String::from_utf8_lossy(&bytes).into_owned(),
        ));
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.pid()));
    let limits = limits.expect("it lives");
    let cores = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let words: Vec<&str> = cores.expect("Linux has it").split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "no core files");
    seen.push(("the node's log".to_owned(), node.log()));
    for (place, text) in &seen {
        assert!(!text.contains(SECRET), "the secret is in {place}: {text}");
        assert!(
            !text.contains(&node.token()),
            "the token is in {place}: {text}"
        );
    }
}

/// A module that answers `digit`.
fn answering(digit: usize) -> Vec<u8> {
    wat_text(&format!(
        r#"(module
            (import "holm:core/1" "response_write" (func $write (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "v{digit}")
            (func (export "alloc") (param i32) (result i32) i32.const 1024)
            (func (export "handle") (param i32 i32) (result i32)
              (call $write (i32.const 16) (i32.const 2))))"#
    ))
}

#[test]
fn deploys_removals_and_calls_of_one_name_may_race() {
    let node = node();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut n_found = 0;
                    while !is_done.load(Ordering::Relaxed) {
                        let answer = node.get("race", "/");
                        match answer.status {
                            200 => {
                                let text = answer.text();
                                assert!(text.len() == 2 && text.starts_with('v'), "{text}");
                                n_found += 1;
                            }
                            404 => assert_eq!(answer.code().as_deref(), Some("H1001")),
                            status => panic!("{status}: {}", answer.text()),
                        }
                    }
                    n_found
                })
            })
            .collect();
        let deployers: Vec<_> = (0..3)
            .map(|number| {
                let node = &node;
                scope.spawn(move || {
                    for round in 0..8 {
                        let wasm = answering((number + round) % 4);
                        let output = node.try_deploy("race", &wasm, "reuse = 10\n");
                        assert_eq!(output.code, 0, "{}", output.stderr);
                        let removed = node.holm(&["rm", "race"]);
                        let is_gone = removed.stderr.contains("H1001");
                        assert!(removed.code == 0 || is_gone, "{}", removed.stderr);
                    }
                })
            })
            .collect();
        for deployer in deployers {
            deployer.join().expect("no panic");
        }
        is_done.store(true, Ordering::Relaxed);
        let n_found: usize = callers
            .into_iter()
            .map(|caller| caller.join().expect("no panic"))
            .sum();
        assert!(n_found > 0, "nobody ever met the function");
    });
    node.deploy_wasm("race", &answering(9), &[]);
    assert_eq!(node.get("race", "/").text(), "v9");
}

#[test]
fn an_encoded_body_reaches_the_function_as_it_was_sent() {
    let node = node();
    node.deploy("echo", &wat("echo"), "[limits]\nbody = 1000\n");
    // The beginning of a gzip stream of zeros: whoever inflated it would fail or send back zeros.
    let bomb =
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xec\xc1\x01\x0d\0\0\0\xc2\xa0\xf7\x4f\x6d\x0e\x37\xa0";
    for encoding in ["gzip", "br", "zstd", "gzip, gzip, gzip"] {
        let mut client = node.client();
        let headers = [("content-encoding", encoding)];
        client.request("POST", "/function/echo/", &headers, bomb);
        let answer = client.answer().expect("an answer");
        assert_eq!(
            (answer.status, answer.body == bomb),
            (200, true),
            "{encoding}"
        );
    }
}

#[test]
fn a_process_that_was_stopped_goes_on() {
    let node = node();
    node.deploy("sleep", &wat("sleep"), "[limits]\ntimeout = \"10s\"\n");
    let mut under_way = node.client();
    under_way.request("GET", "/function/sleep/?ms=300", &[], b"");
    node.signal(Signal::STOP);
    // The kernel accepts for it; nobody answers.
    let mut waiting = node.client();
    waiting.request("GET", "/function/sleep/?ms=0", &[], b"");
    let socket = waiting.socket();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a socket option");
    let is_silent = std::io::Read::read(&mut &*socket, &mut [0; 1]).is_err();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a socket option");
    node.signal(Signal::CONT);
    assert!(is_silent, "a stopped process answered");
    for client in [&mut under_way, &mut waiting] {
        assert_eq!(client.answer().expect("an answer").text(), "slept");
    }
}

#[test]
fn a_hang_up_drains() {
    let mut node = node();
    node.deploy("sleep", &wat("sleep"), "[limits]\ntimeout = \"10s\"\n");
    let mut client = node.client();
    client.request("GET", "/function/sleep/?ms=500", &[], b"");
    let is_running = testkit::eventually(Duration::from_secs(5), || {
        node.holm(&["doctor", "--json"]).ok().json()["node"]["n_running"] == 1
    });
    assert!(is_running, "the invocation never ran");
    // The terminal and the shell may both tell.
    node.signal(Signal::HUP);
    node.signal(Signal::HUP);
    assert_eq!(client.answer().expect("an answer").text(), "slept");
    let status = node.wait(Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", node.log());
}

#[test]
fn a_herd_that_finds_every_function_cold_is_answered() {
    const N_FUNCTIONS: usize = 30;
    let scratch = tempfile::tempdir().expect("a directory");
    let options = NodeOptions {
        data_dir: Some(scratch.path().join("data")),
        ..NodeOptions::default()
    };
    let before = Node::start(HOLM, options.clone());
    for number in 0..N_FUNCTIONS {
        before.deploy_wasm(&format!("cold-{number}"), &answering(number % 10), &[]);
    }
    before.stop(Duration::from_secs(20)).expect("it ends");
    let node = Node::start(HOLM, options);
    let began = Instant::now();
    let mut clients: Vec<_> = (0..20 * N_FUNCTIONS).map(|_| node.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let path = format!("/function/cold-{}/", n % N_FUNCTIONS);
        client.request("GET", &path, &[], b"");
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let answer = client.answer().expect("an answer");
        assert_eq!(answer.text(), format!("v{}", n % N_FUNCTIONS % 10));
    }
    eprintln!("600 first requests of 30 functions: {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10));
}
