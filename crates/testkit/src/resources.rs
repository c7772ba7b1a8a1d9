//! What a process holds, from /proc: to see that everything is back where it was.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A look at a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// Open file descriptors.
    pub n_fds: usize,
    /// Threads.
    pub n_threads: usize,
    /// Child processes.
    pub n_children: usize,
}

impl Resources {
    /// What process `pid` holds now.
    #[track_caller]
    pub fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        let field = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name));
            let mut words = line.expect("Linux has the field").split_whitespace();
            words.nth(1).expect("a value").parse().expect("a number")
        };
        let n_entries = |directory: &str| {
            std::fs::read_dir(format!("/proc/{pid}/{directory}"))
                .expect("it lives")
                .count()
        };
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
        let n_children = tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
            .map(|children| children.split_whitespace().count())
            .sum();
        Self {
            rss_bytes: field("VmRSS:") * 1024,
            n_fds: n_entries("fd"),
            n_threads: n_entries("task"),
            n_children,
        }
    }
}

/// Waits until `condition` holds, at most `limit`; whether it did.
pub fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > limit {
            return false;
        }
        std::thread::park_timeout(POLL_INTERVAL);
    }
    true
}
