//! The command line as a program: streams, exit codes, tokens, what guests may not do to a terminal.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use testkit::Node;
use testkit::guests::{wat, wat_text};

use crate::{HOLM, node};

/// A module of `holm:core/1` that writes `text` to its log and answers its first byte.
fn saying(text: &str) -> Vec<u8> {
    let data: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let n_bytes = text.len();
    wat_text(&format!(
        r#"(module
            (import "holm:core/1" "log" (func $log (param i32 i32 i32)))
            (import "holm:core/1" "response_write" (func $write (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "{data}")
            (func (export "alloc") (param i32) (result i32) i32.const 1024)
            (func (export "handle") (param i32 i32) (result i32)
              (call $log (i32.const 1) (i32.const 16) (i32.const {n_bytes}))
              (call $write (i32.const 16) (i32.const 1))))"#
    ))
}

fn invocation_id(stderr: &str) -> &str {
    stderr
        .lines()
        .find_map(|line| line.strip_prefix("holm-invocation-id: "))
        .expect("-i shows the headers")
}

#[test]
fn an_answer_that_breaks_off_is_the_functions_failure() {
    let node = node();
    // Far more than fits between function and caller, so that the head is out when the trap comes.
    let wasm = wat_text(
        r#"(module
            (import "holm:core/1" "response_write" (func $write (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "alloc") (param i32) (result i32) i32.const 1024)
            (func (export "handle") (param i32 i32) (result i32)
              (local $n i32)
              (loop $more
                (drop (call $write (i32.const 0) (i32.const 32768)))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $n) (i32.const 256))))
              unreachable))"#,
    );
    node.deploy_wasm("broken", &wasm, &[]);
    let output = node.holm(&["invoke", "broken"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(!output.stdout.is_empty(), "what came before is shown");
    assert!(output.stderr.contains("broke off"), "{}", output.stderr);
    assert!(output.stderr.contains("H2001"), "{}", output.stderr);
    assert!(output.stderr.contains("holm logs broken --invocation"));
}

#[test]
fn status_and_headers_go_to_stderr_and_lead_to_the_receipt() {
    let node = node();
    node.deploy_wasm("echo", &wat("echo"), &[]);
    let output = node.holm(&["invoke", "echo", "--data", "abc", "-i"]).ok();
    assert_eq!(output.stdout, "abc");
    assert!(
        output.stderr.starts_with("HTTP/1.1 200"),
        "{}",
        output.stderr
    );
    let receipt = node.holm(&["receipt", invocation_id(&output.stderr)]).ok();
    for part in ["echo v1", "status 200", "limits.memory", "body in   3 B"] {
        assert!(
            receipt.stdout.contains(part),
            "{part} in {}",
            receipt.stdout
        );
    }
    let unknown = node.holm(&["receipt", "0192f0c1-9f3b-7cc2-8a55-3c1d1f0a9b11"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (1, ""));
    assert!(unknown.stderr.contains("H1016"), "{}", unknown.stderr);
}

#[test]
fn a_log_line_cannot_act_on_the_terminal() {
    let node = node();
    node.deploy_wasm("hostile", &saying("\u{1b}[2J\u{9b}31mgone\rforged"), &[]);
    node.get("hostile", "/");
    let text = node.holm(&["logs", "hostile"]).ok().stdout;
    assert!(text.contains(r"\x1b[2J\x9b31mgone\rforged"), "{text}");
    let json = node.holm(&["logs", "hostile", "--json"]).ok().json();
    assert_eq!(json["text"], "\u{1b}[2J\u{9b}31mgone\rforged");
}

#[test]
fn following_a_log_shows_lines_as_they_come() {
    let node = node();
    node.deploy_wasm("talk", &saying("first words"), &[]);
    node.get("talk", "/");
    let mut child = node
        .command(&["logs", "talk", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("readable");
    assert!(next().contains("first words"));
    // The second call comes while the command waits.
    node.get("talk", "/");
    assert!(next().contains("first words"));
    child.kill().expect("the child is ours");
    child.wait().expect("the child is ours");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let node = node();
    node.deploy_wasm("talk", &saying("words"), &[]);
    let mut child = node
        .command(&["logs", "talk", "-f"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    node.get("talk", "/");
    let output = child.wait_with_output().expect("the child is ours");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn without_the_token_the_message_says_where_it_was_looked_for() {
    let node = node();
    let scratch = tempfile::tempdir().expect("a directory");
    let mut command = node.command(&["ls"]);
    command.env("HOLM_DATA_DIR", scratch.path());
    command
        .env("HOME", scratch.path())
        .env_remove("XDG_DATA_HOME");
    let output = command.output().expect("the binary starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let looked_in = scratch.path().join("admin.token").display().to_string();
    for part in ["H1013", "HOLM_TOKEN is not set", &looked_in] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
    let wrong = command.env("HOLM_TOKEN", "wrong").output();
    let stderr = String::from_utf8(wrong.expect("the binary starts").stderr).expect("UTF-8");
    assert!(stderr.contains("H1013"), "{stderr}");
    let right = command.env("HOLM_TOKEN", node.token()).output();
    assert!(right.expect("the binary starts").status.success());
}

#[test]
fn a_project_is_built_and_deployed_from_its_own_directory() {
    let node = node();
    let project = tempfile::tempdir().expect("a directory");
    std::fs::write(project.path().join("noop.bin"), wat("noop")).expect("writable");
    let manifest = "name = \"built\"\n[build]\ncommand = \"cp noop.bin out.wasm\"\n\
                    output = \"out.wasm\"\n";
    std::fs::write(project.path().join("holm.toml"), manifest).expect("writable");
    let output = node.holm_in(project.path(), &["deploy"]).ok();
    assert!(
        output.stdout.starts_with("built v1 is live\n"),
        "{}",
        output.stdout
    );
    assert_eq!(output.stderr, "", "no progress where there is no terminal");
    assert_eq!(node.get("built", "/").text(), "ok");
    let again = node.holm_in(project.path(), &["deploy"]).ok();
    assert!(again.stdout.contains("nothing changed"), "{}", again.stdout);
}

#[test]
fn up_tells_the_addresses_as_text_and_nothing_else() {
    let scratch = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(HOLM)
        .args(["up", "--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .env("HOLM_DATA_DIR", scratch.path().join("data"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut lines = String::new();
    for _ in 0..3 {
        stdout.read_line(&mut lines).expect("readable");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("the child is ours");
    let n_more = std::io::copy(&mut stdout, &mut std::io::sink()).expect("readable");
    assert_eq!(child.wait().expect("the child is ours").code(), Some(0));
    assert_eq!(n_more, 0);
    let labels: Vec<&str> = lines
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(labels, ["gateway", "admin", "data"], "{lines}");
}

#[test]
fn starting_the_program_is_quick() {
    let began = std::time::Instant::now();
    let output = Command::new(HOLM).arg("--version").output();
    assert!(output.expect("the binary starts").status.success());
    // The goal is 15 ms; this allows for a loaded machine.
    assert!(began.elapsed().as_millis() < 500, "{:?}", began.elapsed());
}

#[test]
fn every_command_answers_in_json() {
    let node: Node = node();
    node.deploy_wasm("noop", &wat("noop"), &[]);
    node.deploy_wasm("noop", &wat("echo"), &[]);
    for arguments in [
        &["ls"][..],
        &["describe", "noop"],
        &["versions", "noop"],
        &["rollback", "noop"],
        &["promote", "noop"],
        &["usage", "--by", "day"],
        &["rm", "noop"],
    ] {
        let output = node.holm(&[arguments, &["--json"]].concat()).ok();
        assert_eq!(output.stdout.lines().count(), 1, "{arguments:?}");
        assert!(output.json().is_object(), "{arguments:?}");
    }
    let refused = node.holm(&["describe", "noop", "--json"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    let problem: serde_json::Value = serde_json::from_str(&refused.stderr).expect("JSON");
    assert_eq!(problem["code"], "H1001");
}
