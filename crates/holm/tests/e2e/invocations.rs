//! Calling functions: `holm invoke` and its exit codes, freshness, reuse, logs.

use testkit::guests::wat;

use crate::node;

#[test]
fn invoke_prints_the_body_alone_and_has_three_exit_codes() {
    let node = node();
    node.deploy_wasm("echo", &wat("echo"), &[]);
    node.deploy_wasm("trap", &wat("trap-unreachable"), &[]);

    let echoed = node.holm(&["invoke", "echo", "--data", "{\"a\":1}"]);
    assert_eq!((echoed.code, echoed.stdout.as_str()), (0, "{\"a\":1}"));
    let piped = node.holm_with_input(&["invoke", "echo", "--data", "-"], b"\x00from stdin");
    assert_eq!((piped.code, piped.stdout.as_str()), (0, "\0from stdin"));

    let trapped = node.holm(&["invoke", "trap"]);
    assert_eq!((trapped.code, trapped.stdout.as_str()), (1, ""));
    assert!(trapped.stderr.contains("H2001"), "{}", trapped.stderr);

    let unknown = node.holm(&["invoke", "nobody"]);
    assert_eq!(unknown.stdout, "");
    assert!(
        unknown.code != 0 && unknown.stderr.contains("H1001"),
        "{}",
        unknown.stderr
    );
    assert_eq!(node.holm(&["invoke", "echo", "--no-such-flag"]).code, 2);
}

#[test]
fn invoke_passes_headers_to_the_function_and_none_of_its_own() {
    let node = node();
    node.deploy_wasm("head", &wat("head"), &[]);
    let headers = ["-H", "Authorization: Basic eA==", "-H", "x-key: 1"];
    let seen = node
        .holm(&[&["invoke", "head"][..], &headers].concat())
        .ok();
    let lines: Vec<&str> = seen.stdout.lines().collect();
    assert!(lines.contains(&"authorization: Basic eA=="), "{lines:?}");
    assert!(lines.contains(&"x-key: 1"), "{lines:?}");
    assert!(!seen.stdout.contains("Bearer"), "the node's token stays");
    assert!(!seen.stdout.contains("holm-pass-"), "{lines:?}");

    let refused = node.holm(&["invoke", "head", "-H", "x-forwarded-for: 1.2.3.4"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""));
    assert!(refused.stderr.contains("H1018"), "{}", refused.stderr);
}

#[test]
fn every_request_gets_a_fresh_instance_unless_reuse_is_said() {
    let node = node();
    let wasm = wat("counter");
    node.deploy("fresh", &wasm, "");
    node.deploy("reused", &wasm, "reuse = 3\n");
    let mut client = node.client();
    let mut counts = |name: &str| -> Vec<String> {
        let target = format!("/function/{name}/");
        let mut next = || {
            client.request("GET", &target, &[], b"");
            client.answer().expect("an answer").text().trim().to_owned()
        };
        (0..6).map(|_| next()).collect()
    };
    // The guest counts in a global and in its memory, and answers the sum.
    assert_eq!(counts("fresh"), ["2"; 6]);
    assert_eq!(counts("reused"), ["2", "4", "6", "2", "4", "6"]);
}

#[test]
fn logs_are_found_by_function_and_invocation() {
    let node = node();
    node.deploy_wasm("talk", &wat("log-levels"), &[]);
    let answer = node.get("talk", "/");
    let id = answer
        .header("holm-invocation-id")
        .expect("an id")
        .to_owned();
    node.get("talk", "/");
    let all = node.holm(&["logs", "talk", "--json"]).ok();
    let one = node
        .holm(&["logs", "talk", "--invocation", &id, "--json"])
        .ok();
    let n_all = all.stdout.lines().count();
    let n_one = one.stdout.lines().count();
    assert!(n_one > 0 && n_all == 2 * n_one, "{n_all} and {n_one}");
    assert!(one.stdout.lines().all(|line| line.contains(&id)));
}

#[test]
fn a_trap_puts_its_backtrace_in_the_log_and_not_in_the_answer() {
    let node = node();
    node.deploy_wasm("trap", &wat("trap-oob"), &[]);
    let answer = node.get("trap", "/");
    assert_eq!(
        (answer.status, answer.code().as_deref()),
        (502, Some("H2001"))
    );
    assert!(
        !answer.text().contains("wasm backtrace"),
        "{}",
        answer.text()
    );
    let logs = node.holm(&["logs", "trap"]).ok().stdout;
    assert!(logs.contains("backtrace"), "{logs}");
    assert!(logs.contains("out of bounds"), "{logs}");
}

#[test]
fn answers_carry_id_and_times_and_the_trace_goes_on() {
    let node = node();
    node.deploy_wasm("head", &wat("head"), &[]);
    let mut client = node.client();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    client.request(
        "GET",
        "/function/head/a/b?c=d",
        &[("traceparent", parent)],
        b"",
    );
    let answer = client.answer().expect("an answer");
    assert_eq!(answer.header("holm-invocation-id").map(str::len), Some(36));
    let timing = answer.header("server-timing").expect("times");
    for part in ["queue", "start", "run"] {
        assert!(timing.contains(part), "{timing}");
    }
    let seen = answer.text();
    assert!(seen.starts_with("GET /a/b?c=d"), "{seen}");
    assert!(
        seen.contains("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{seen}"
    );
    assert!(
        !seen.contains("00f067aa0ba902b7"),
        "the span is ours: {seen}"
    );
}

#[test]
fn listing_and_explaining() {
    let node = node();
    node.deploy_wasm("noop", &wat("noop"), &[]);
    let listed = node.holm(&["ls", "--json"]).ok().json();
    assert!(listed.to_string().contains("\"noop\""), "{listed}");
    assert!(node.holm(&["explain", "H2003"]).ok().stdout.contains("CPU"));
    let doctor = node.holm(&["doctor"]);
    for class in ["wasm", "v8", "container", "gvisor", "microvm"] {
        assert!(doctor.stdout.contains(class), "{}", doctor.stdout);
    }
}

#[test]
fn without_a_node_the_error_says_how_to_start_one() {
    let node = node();
    let admin = format!("http://{}", node.admin);
    let mut command = node.command(&["ls"]);
    assert!(node.stop(std::time::Duration::from_secs(20)).is_some());
    let output = command
        .env("HOLM_ADMIN", admin)
        .env("HOLM_TOKEN", "x")
        .output()
        .expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr.contains("H5001") && stderr.contains("holm up"),
        "{stderr}"
    );
}
