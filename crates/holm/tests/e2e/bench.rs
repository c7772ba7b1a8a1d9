//! `holm bench` as a program: what it refuses, what it leaves behind, and that its figures come from
//! servers that ran. No test here says how fast anything is: the bench does, on a quiet machine.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::eventually;

use crate::HOLM;

/// Short enough for a test; `--anyway`, as other tests may have kept the machine busy until now.
const SHORT: [&str; 6] = ["bench", "--anyway", "--rounds", "1", "--block-ms", "100"];

/// What a run said and left.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
    /// The file of `--out`.
    report: Option<Value>,
    /// What was left in the temporary directory.
    left: Vec<String>,
}

/// Runs the bench with temporary files of its own; `path` is its search path.
#[track_caller]
fn bench(arguments: &[&str], path: &str) -> Run {
    let scratch = tempfile::tempdir().expect("a directory");
    let temporary = scratch.path().join("tmp");
    std::fs::create_dir(&temporary).expect("writable");
    let out = scratch.path().join("report.json");
    let output = Command::new(HOLM)
        .args(arguments)
        .arg("--out")
        .arg(&out)
        .env("TMPDIR", &temporary)
        .env("XDG_CACHE_HOME", scratch.path())
        .env("PATH", path)
        .output()
        .expect("the binary starts");
    let left = std::fs::read_dir(&temporary).expect("readable");
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        report: std::fs::read(&out)
            .ok()
            .map(|json| serde_json::from_slice(&json).expect("the report is JSON")),
        left: left
            .map(|entry| entry.expect("readable").file_name().display().to_string())
            .collect(),
    }
}

/// Whether this machine has the two cores that the bench needs; where not, that it says so.
#[track_caller]
fn can_measure(test: &str) -> bool {
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    if n_cores >= 2 {
        return true;
    }
    let run = bench(&[&SHORT[..], &["--row", "W1"]].concat(), "");
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("H5010"), "{}", run.stderr);
    testkit::skipped(test, "the bench needs two cores");
    false
}

#[test]
fn an_unknown_row_is_refused_with_those_there_are() {
    let run = bench(&["bench", "--row", "W2d"], "");
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("W2d"), "{}", run.stderr);
    assert!(run.stderr.contains("P1, P3, W1, W2, W2b"), "{}", run.stderr);
    assert!(run.stderr.contains("similar"), "{}", run.stderr);
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_measuring() {
    let scratch = tempfile::tempdir().expect("a directory");
    let missing = scratch.path().join("missing/report.json");
    for path in [missing.as_path(), scratch.path()] {
        let output = Command::new(HOLM)
            .args(SHORT)
            .arg("--out")
            .arg(path)
            .output()
            .expect("the binary starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("--out"), "{stderr}");
        assert!(!stderr.contains("control"), "{stderr}");
    }
    assert!(!missing.exists());
}

#[test]
fn a_row_is_measured_and_nothing_is_left_behind() {
    if !can_measure("a row of the bench") {
        return;
    }
    // In either case, as people type.
    let run = bench(&[&SHORT[..], &["--quick", "--row", "w1"]].concat(), "");
    let report = run.report.expect("a report");
    // Void where something else computes meanwhile; then nothing is decided.
    let is_void = report["void"] == true;
    assert_eq!(run.code, if is_void { 2 } else { 0 }, "{}", run.stderr);
    let row = &report["rows"][0];
    assert_eq!(row["row"], "W1");
    if row["skipped"].is_null() {
        assert!(row["ratio"].as_f64().expect("a ratio") > 0.0, "{row}");
        assert!(row["cpu_us"].as_f64().expect("CPU time") > 0.0, "{row}");
    } else {
        let reason = row["skipped"].as_str().expect("a reason");
        assert!(reason.contains("rustup target add"), "{reason}");
        testkit::skipped("W1's figures", reason);
    }
    assert_eq!(report["meta"]["mode"], "quick");
    assert!(report["meta"]["n_cores"].as_u64() >= Some(2));
    assert!(run.stdout.contains("| W1 "), "{}", run.stdout);
    assert!(run.stderr.contains("control"), "{}", run.stderr);
    assert_eq!(run.left, Vec::<String>::new());
}

#[test]
fn a_missing_baseline_skips_its_row_with_the_remedy() {
    if !can_measure("a row without its baseline") {
        return;
    }
    let run = bench(&[&SHORT[..], &["--row", "W2,R1", "--check"]].concat(), "");
    let report = run.report.expect("a report");
    for (row, remedy) in [("W2", "make bench-peers"), ("R1", "nodejs.org")] {
        let rows = report["rows"].as_array().expect("rows");
        let found = rows.iter().find(|found| found["row"] == row);
        let found = found.expect("the row is listed");
        let reason = found["skipped"].as_str().expect("a reason");
        assert!(
            reason.contains(remedy) || reason.contains("rustup target add"),
            "{reason}"
        );
        assert!(found["ratio"].is_null() && found["gate_met"].is_null());
    }
    assert_ne!(run.code, 1, "what is not measured misses no gate");
}

#[test]
fn a_killed_bench_takes_its_servers_with_it() {
    if !can_measure("killing the bench") {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let mut bench = Command::new(HOLM)
        .args(["bench", "--anyway", "--row", "P1,W1"])
        .env("TMPDIR", scratch.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let stderr = bench.stderr.take().expect("piped");
    let mut lines = BufReader::new(stderr).lines();
    // The control is over: hyper's process is there.
    let is_at_row = lines.any(|line| line.is_ok_and(|line| line.starts_with("P1:")));
    let servers = children(bench.id());
    bench.kill().expect("it runs");
    bench.wait().expect("it is ours");
    assert!(is_at_row && !servers.is_empty(), "{servers:?}");
    let are_gone = eventually(Duration::from_secs(10), || {
        servers.iter().all(|server| !runs(*server))
    });
    assert!(are_gone, "{servers:?}");
}

/// The children of a process's first thread (proc_tid_children(5)).
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).expect("the process runs");
    let pids = text.split_whitespace().map(str::parse);
    pids.collect::<Result<_, _>>().expect("process ids")
}

/// Whether it runs; one that has ended and that nobody has waited for does not.
fn runs(pid: u32) -> bool {
    let path = format!("/proc/{pid}/stat");
    match std::fs::read_to_string(Path::new(&path)) {
        Ok(stat) => !stat.contains(") Z "),
        Err(_) => false,
    }
}
