//! CPU-bound guests and their neighbours (catalogue row A9; the first challenge): beside ten
//! hogs, one that sleeps keeps its p99 within 2x, one that does not is delayed by at most 10 ms.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::Node;
use testkit::guests::wat;

use crate::node;

const N_HOGS: usize = 10;
const N_REQUESTS: usize = 200;

/// Latencies of sequential requests, sorted.
fn latencies(node: &Node, target: &str) -> Vec<Duration> {
    let mut client = node.client();
    let mut times: Vec<Duration> = (0..N_REQUESTS)
        .map(|_| {
            let began = Instant::now();
            client.request("GET", target, &[], b"");
            assert_eq!(client.answer().expect("an answer").status, 200);
            began.elapsed()
        })
        .collect();
    times.sort();
    times
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

#[test]
fn hogs_do_not_starve_their_neighbours() {
    let node = node();
    node.deploy(
        "hog",
        &wat("cpu-loop"),
        "[limits]\ntimeout = \"60s\"\ncpu_ms = 60000\n",
    );
    node.deploy_wasm("sleep", &wat("sleep"), &[]);
    node.deploy_wasm("noop", &wat("noop"), &[]);
    let calm_sleep = latencies(&node, "/function/sleep/?ms=20");
    let calm_noop = latencies(&node, "/function/noop/");

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..N_HOGS {
            scope.spawn(|| {
                let mut client = node.client();
                client.request("GET", "/function/hog/", &[], b"");
                while !stop.load(Ordering::Relaxed) {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            });
        }
        let hogs_run = testkit::eventually(Duration::from_secs(20), || {
            let text = node.holm(&["doctor", "--json"]).stdout;
            text.contains(&format!("\"n_running\":{N_HOGS}"))
                || text.contains(&format!("\"n_running\": {N_HOGS}"))
        });
        let busy_sleep = latencies(&node, "/function/sleep/?ms=20");
        let busy_noop = latencies(&node, "/function/noop/");
        stop.store(true, Ordering::Relaxed);
        assert!(hogs_run, "the hogs never ran together");

        let (calm, busy) = (percentile(&calm_sleep, 99), percentile(&busy_sleep, 99));
        eprintln!("sleeper p99: {calm:?} alone, {busy:?} beside {N_HOGS} hogs");
        assert!(
            busy <= calm * 2,
            "sleeper p99 {calm:?} alone, {busy:?} beside hogs"
        );
        let (calm, busy) = (percentile(&calm_noop, 99), percentile(&busy_noop, 99));
        eprintln!("no-op p99: {calm:?} alone, {busy:?} beside {N_HOGS} hogs");
        assert!(
            busy <= calm + Duration::from_millis(10),
            "no-op p99 {calm:?}, then {busy:?}"
        );
    });
}
