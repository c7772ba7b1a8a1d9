//! Logs of functions: a bounded ring of lines per function, and readers who follow it.
//!
//! Writing takes a read lock of the table and the function's own lock, for as long as it takes to push a
//! line. All bounds count bookkeeping, so empty lines are not free. What exceeds a function's bound
//! pushes out its own oldest lines; what exceeds the bound of all is taken from the functions with most
//! (see [`share`]), so that a noisy tenant loses its own lines first.
//!
//! Lines are kept as they came, control characters and all: whoever shows them escapes them.

mod follow;
mod ring;
mod share;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use foldhash::quality::RandomState;
use model::{FunctionKey, InvocationId};
use parking_lot::{Mutex, RwLock};
use runtime::log::LOG_LINE_BYTES_MAX;
use runtime::{LogLine, LogSink};
use tokio::sync::Notify;

use crate::config::LogsConfig;
use crate::metrics::{MetricKind, PrometheusText};
use ring::Ring;

pub use follow::Follower;
pub use ring::LogEntry;

/// The wall clock: milliseconds since the Unix epoch.
pub type UnixClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The logs of all functions. One per node.
pub struct Logs {
    config: LogsConfig,
    clock: UnixClock,
    functions: RwLock<HashMap<FunctionKey, Arc<FunctionLog>, RandomState>>,
    /// Of all rings; kept beside them, so that writing need not sum.
    n_bytes: AtomicUsize,
    /// Held by who trims, so that one does.
    trimming: Mutex<()>,
    n_lines: AtomicU64,
    n_lines_evicted: AtomicU64,
    n_functions_forgotten: AtomicU64,
}

/// The log of one function.
pub(crate) struct FunctionLog {
    ring: Mutex<Ring>,
    /// Woken by every line.
    written: Notify,
}

impl Logs {
    /// Empty logs.
    pub fn new(config: LogsConfig, clock: UnixClock) -> Arc<Self> {
        Arc::new(Self {
            config,
            clock,
            functions: RwLock::default(),
            n_bytes: AtomicUsize::new(0),
            trimming: Mutex::new(()),
            n_lines: AtomicU64::new(0),
            n_lines_evicted: AtomicU64::new(0),
            n_functions_forgotten: AtomicU64::new(0),
        })
    }

    /// The last `n_max` lines of `function`, oldest first; with `invocation`, of this invocation only.
    pub fn tail(
        &self,
        function: &FunctionKey,
        invocation: Option<InvocationId>,
        n_max: usize,
    ) -> Vec<LogEntry> {
        match self.functions.read().get(function) {
            Some(log) => log.ring.lock().tail(invocation, n_max),
            None => Vec::new(),
        }
    }

    /// The last `n_tail` lines and then every new one, also of a function that has not written yet.
    pub fn follow(
        &self,
        function: &FunctionKey,
        invocation: Option<InvocationId>,
        n_tail: usize,
    ) -> Follower {
        Follower::new(self.log_of(function), invocation, n_tail)
    }

    /// Drops the log of a function that was removed; who follows it comes to the end.
    pub fn forget(&self, function: &FunctionKey) {
        if let Some(log) = self.functions.write().remove(function) {
            self.close(&log);
        }
    }

    /// Writes the metrics of the logs.
    pub fn render(&self, text: &mut PrometheusText) {
        let counters = [
            ("holm_log_lines_total", "Log lines taken.", &self.n_lines),
            (
                "holm_log_lines_evicted_total",
                "Log lines pushed out of memory by newer ones.",
                &self.n_lines_evicted,
            ),
            (
                "holm_log_functions_evicted_total",
                "Functions whose log was dropped because others wrote more recently.",
                &self.n_functions_forgotten,
            ),
        ];
        for (name, help, counter) in counters {
            text.single(
                name,
                MetricKind::Counter,
                help,
                counter.load(Ordering::Relaxed),
            );
        }
        let n_bytes = self.n_bytes.load(Ordering::Relaxed);
        let help = "Memory that log lines take.";
        text.single("holm_log_bytes", MetricKind::Gauge, help, n_bytes);
    }

    fn log_of(&self, function: &FunctionKey) -> Arc<FunctionLog> {
        if let Some(log) = self.functions.read().get(function) {
            return Arc::clone(log);
        }
        let mut functions = self.functions.write();
        if !functions.contains_key(function) && functions.len() >= self.config.n_functions_max {
            self.forget_least_recent(&mut functions);
        }
        let log = functions.entry(function.clone()).or_insert_with(|| {
            Arc::new(FunctionLog {
                ring: Mutex::default(),
                written: Notify::new(),
            })
        });
        Arc::clone(log)
    }

    /// Makes room for new functions: a sixteenth of all go at once, so that the scan is rare. Those that
    /// somebody follows or writes to stay.
    fn forget_least_recent(
        &self,
        functions: &mut HashMap<FunctionKey, Arc<FunctionLog>, RandomState>,
    ) {
        let mut by_age: Vec<(u64, FunctionKey)> = functions
            .iter()
            .filter(|(_, log)| Arc::strong_count(log) == 1)
            .map(|(function, log)| (log.ring.lock().last_unix_ms(), function.clone()))
            .collect();
        by_age.sort_unstable();
        for (_, function) in by_age
            .iter()
            .take((self.config.n_functions_max / 16).max(1))
        {
            if let Some(log) = functions.remove(function) {
                self.close(&log);
                self.n_functions_forgotten.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    // The sum of all bytes changes under the lock of the ring that changed: what is subtracted was added
    // before, so the sum never wraps.

    fn close(&self, log: &FunctionLog) {
        let mut ring = log.ring.lock();
        self.n_bytes.fetch_sub(ring.close(), Ordering::Relaxed);
        drop(ring);
        log.written.notify_waiters();
    }

    /// Brings all rings together back under their bound, with some room, so that it is rare.
    fn trim(&self) {
        let Some(_trimming) = self.trimming.try_lock() else {
            return;
        };
        let logs: Vec<Arc<FunctionLog>> = self.functions.read().values().map(Arc::clone).collect();
        let sizes = logs.iter().map(|log| log.ring.lock().n_bytes()).collect();
        let goal = self.config.bytes_max - self.config.bytes_max / 8;
        let level = share::level(sizes, goal);
        for log in logs {
            let mut ring = log.ring.lock();
            self.note_evicted(ring.shrink(level));
        }
    }

    fn note_evicted(&self, evicted: ring::Evicted) {
        self.n_bytes.fetch_sub(evicted.n_bytes, Ordering::Relaxed);
        self.n_lines_evicted
            .fetch_add(evicted.n_lines, Ordering::Relaxed);
    }
}

impl LogSink for Logs {
    fn write(&self, line: &LogLine<'_>) {
        let text = &line.text[..line.text.len().min(LOG_LINE_BYTES_MAX)];
        let entry = LogEntry {
            time_unix_ms: (self.clock)(),
            invocation: line.invocation,
            version: line.version,
            stream: line.stream,
            text: Bytes::copy_from_slice(text),
            n_missed: 0,
        };
        let log = self.log_of(line.function);
        let mut ring = log.ring.lock();
        let Some((n_bytes, evicted)) = ring.push(entry, &self.config) else {
            // The function was removed while its last invocation was still talking.
            return;
        };
        self.n_bytes.fetch_add(n_bytes, Ordering::Relaxed);
        self.note_evicted(evicted);
        drop(ring);
        log.written.notify_waiters();
        self.n_lines.fetch_add(1, Ordering::Relaxed);
        if self.n_bytes.load(Ordering::Relaxed) > self.config.bytes_max {
            self.trim();
        }
    }
}
