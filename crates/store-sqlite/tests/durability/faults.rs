//! Faults injected by strace(1) into the system calls of a child, one call per run: an error, no space,
//! or SIGKILL at the call. Which calls there are is told by a run without faults. By default a
//! sample of the calls is plagued, most of them syncs; `HOLM_TEST_EVERY_CALL=1` takes every one.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use store::conformance::catalog::apply;
use store::memory::MemoryStore;

use crate::child::{Child, Plan, Said, change_of};
use crate::random::Random;
use crate::verify::{check_receipts, verify};

/// The calls that the store reads and writes by.
const CALLS: [&str; 11] = [
    "fsync",
    "fdatasync",
    "rename",
    "unlink",
    "mkdir",
    "ftruncate",
    "write",
    "pwrite64",
    "pread64",
    "utimensat",
    "flock",
];

const PLAN: Plan = Plan {
    from: 0,
    until: 12,
    reopen_before: 7,
};

/// Runs per call and fault, unless every call is wanted.
const N_SAMPLES: u64 = 3;

/// The same for syncs, on which most depends; and as many of the first, which make the directory.
const N_SYNC_SAMPLES: u64 = 9;

#[test]
fn errors_of_every_kind_of_call_are_reported_and_nothing_is_there_in_part() {
    plague("error=EIO");
}

#[test]
fn no_space_in_any_call_is_reported_and_nothing_is_there_in_part() {
    plague("error=ENOSPC");
}

#[test]
fn kills_at_any_call_leave_nothing_in_part() {
    plague("signal=SIGKILL");
}

/// How one run went.
struct Outcome {
    /// The fault happened.
    was_plagued: bool,
    /// The child reported a failure.
    has_failed: bool,
}

fn plague(fault: &str) {
    if let Err(reason) = strace_works() {
        println!("skipped: {reason}");
        return;
    }
    let mut random = Random::seeded();
    let wants_every_call = std::env::var("HOLM_TEST_EVERY_CALL").is_ok_and(|value| value == "1");
    let mut outcomes = Vec::new();
    for (call, n_calls) in count_calls() {
        let (n_first, n_samples) = match call.ends_with("sync") {
            true => (N_SYNC_SAMPLES, N_SYNC_SAMPLES),
            false => (0, N_SAMPLES),
        };
        let indices: Vec<u64> = match wants_every_call || n_calls <= n_first + n_samples {
            true => (1..=n_calls).collect(),
            false => {
                let random = (0..n_samples).map(|_| n_first + 1 + random.below(n_calls - n_first));
                (1..=n_first).chain(random).collect()
            }
        };
        println!("{fault} at {} of {n_calls} calls of {call}", indices.len());
        outcomes.extend(
            indices
                .into_iter()
                .map(|index| plague_once(&call, fault, index)),
        );
    }
    let n_runs = outcomes.len();
    let n_plagued = outcomes
        .iter()
        .filter(|outcome| outcome.was_plagued)
        .count();
    let n_failed = outcomes.iter().filter(|outcome| outcome.has_failed).count();
    println!("{n_runs} runs, {n_plagued} had their fault, {n_failed} reported a failure");
    // Runs differ by a call or two, so that the last may not come.
    assert!(
        n_runs > 20 && n_plagued * 10 >= n_runs * 9,
        "{n_plagued} of {n_runs}"
    );
    match fault.starts_with("error") {
        true => assert!(
            n_failed * 4 > n_plagued,
            "errors are reported: {n_failed} of {n_plagued}"
        ),
        false => assert_eq!(n_failed, 0, "the killed report nothing"),
    }
}

fn plague_once(call: &str, fault: &str, index: u64) -> Outcome {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (log, data_dir) = (directory.path().join("log"), directory.path().join("data"));
    let inject = format!("inject={call}:{fault}:when={index}");
    let trace = format!("trace={call}");
    let log_path = log.to_str().expect("a temporary path is text");
    let mut options = vec!["-o", log_path, "-e", &trace, "-e", &inject];
    // strace 6.1 injects no signals with the filter, which makes the rest faster.
    if fault.starts_with("error") {
        options.push("--seccomp-bpf");
    }
    let mut child = Child::start(&data_dir, PLAN, &strace(&options));
    let said = child.rest();
    let context = format!("{inject}: {said:?}");
    println!("{context}");

    let model = MemoryStore::new(Duration::ZERO).expect("a temporary directory");
    let (mut done, mut failed, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for said in &said {
        match said {
            Said::Done(step) => {
                apply(&model, &change_of(*step), *step).expect("memory does not fail");
                done.push(*step);
            }
            Said::Failed(step, _) => failed.push(*step),
            Said::Kept(step) => kept.push(*step),
            Said::ViewIsWrong(_) => panic!("{context}"),
            Said::Open | Said::NotOpen(_) | Said::ViewIsRight => {}
        }
    }
    // A failed step may have happened only when no step was done after it; the same holds for one that
    // a kill cut off.
    let last = done.iter().chain(&failed).copied().max();
    let ended = said
        .iter()
        .any(|said| matches!(said, Said::ViewIsRight | Said::NotOpen(_)));
    let in_doubt = match failed.last() {
        Some(step) if Some(*step) == last => Some(*step),
        _ if ended => None,
        _ => Some(last.map_or(0, |step| step + 1)),
    };
    let (store, _) = verify(&data_dir, &model, in_doubt);
    check_receipts(&store, kept.into_iter(), None);
    let is_kill = fault.starts_with("signal");
    // An error in the test harness's own output ends the child before it begins.
    assert!(
        is_kill || ended || said.is_empty(),
        "the child broke down: {context}"
    );
    let log = std::fs::read_to_string(log).expect("strace wrote it");
    Outcome {
        was_plagued: log.contains("(INJECTED)") || child.was_killed(),
        has_failed: !failed.is_empty()
            || said
                .iter()
                .any(|said| matches!(said, Said::NotOpen(_) | Said::ViewIsWrong(_))),
    }
}

/// How often the busiest thread of an undisturbed child makes each call; faults count per thread.
fn count_calls() -> Vec<(String, u64)> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = directory.path().join("log");
    let trace = format!("trace={}", CALLS.join(","));
    let options = [
        "-o",
        log.to_str().expect("a temporary path is text"),
        "-e",
        &trace,
    ];
    let data_dir = directory.path().join("data");
    let said = Child::start(&data_dir, PLAN, &strace(&options)).rest();
    assert_eq!(said.last(), Some(&Said::ViewIsRight), "{said:?}");

    let mut counts = HashMap::<(&str, &str), u64>::new();
    let log = std::fs::read_to_string(log).expect("strace wrote it");
    for line in log.lines() {
        // `1234  fsync(5) = 0`
        let mut words = line.split_whitespace();
        let (Some(thread), Some(call)) = (words.next(), words.next()) else {
            continue;
        };
        if let Some(call) = CALLS
            .iter()
            .find(|known| call.starts_with(&format!("{known}(")))
        {
            *counts.entry((thread, call)).or_default() += 1;
        }
    }
    let most = |call: &str| {
        counts
            .iter()
            .filter(|((_, of), _)| *of == call)
            .map(|(_, n)| *n)
            .max()
    };
    let calls = CALLS
        .iter()
        .filter_map(|call| Some(((*call).to_owned(), most(call)?)));
    calls.collect()
}

fn strace(options: &[&str]) -> Vec<String> {
    let words = ["strace", "-f", "-qq"].iter().chain(options);
    words.map(|word| (*word).to_owned()).collect()
}

fn strace_works() -> Result<(), String> {
    let tried = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match tried {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("strace cannot trace here: {status}")),
        Err(error) => Err(format!("strace is not installed: {error}")),
    }
}
