//! Metrics of invocations, counted from their receipts: OpenTelemetry's `faas.*` in Prometheus spelling
//! by function, and the platform's own `holm_*` by class.
//!
//! Counting takes atomics only. Labels are bounded: a fixed number of functions have series of their
//! own, the others share `_other`, which is no function's name; classes, start kinds and error codes are
//! fixed sets. Invocation ids and anything a caller sends never become labels.

mod histogram;
mod render;
mod text;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use model::{Code, FunctionKey, Isolation, Receipt, Side, StartKind};
use parking_lot::Mutex;

use crate::logs::Logs;
use crate::meter::Meter;
use histogram::{DURATION_NS, Histogram, MEMORY_BYTES, OVERHEAD_NS};

pub use text::{CONTENT_TYPE, MetricKind, PrometheusText};

/// The name under which functions beyond the bound are counted.
pub const OTHER: &str = "_other";

/// The whole text: invocations, receipts, logs, and what `more` adds.
pub fn render(meter: &Meter, logs: &Logs, more: impl FnOnce(&mut PrometheusText)) -> String {
    let mut text = PrometheusText::default();
    meter.render(&mut text);
    logs.render(&mut text);
    more(&mut text);
    text.into_string()
}

/// A counter.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    fn add(&self, n: u64) {
        // Most of what is added is 0: spare the cache line.
        if n > 0 {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counters.
pub(crate) struct Metrics {
    /// Replaced whole when a function is new: that is rare, and reading takes no lock.
    functions: ArcSwap<HashMap<FunctionKey, Arc<FunctionMetrics>>>,
    adding: Mutex<()>,
    n_functions_max: usize,
    other: FunctionMetrics,
    classes: [ClassMetrics; Isolation::ALL.len()],
    /// In the order of [`Code::ALL`].
    errors: Box<[Counter]>,
    log_dropped_bytes: Counter,
    n_receipts_dropped: Counter,
    n_receipts_written: Counter,
    n_receipts_failed: Counter,
}

/// Counters of one function.
#[derive(Debug)]
struct FunctionMetrics {
    n_invocations: Counter,
    /// By [`SIDES`].
    n_errors: [Counter; SIDES.len()],
    n_timeouts: Counter,
    n_cold: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    run: Histogram,
    init: Histogram,
    cpu: Histogram,
    memory: Histogram,
}

/// Counters of one isolation class.
#[derive(Debug)]
struct ClassMetrics {
    /// By [`STARTS`].
    n_starts: [Counter; STARTS.len()],
    queue: Histogram,
    /// Of fresh and of cold starts.
    start: [Histogram; 2],
}

const SIDES: [(Side, &str); 3] = [
    (Side::Caller, "caller"),
    (Side::Function, "function"),
    (Side::Platform, "platform"),
];

const STARTS: [StartKind; 4] = [
    StartKind::None,
    StartKind::Warm,
    StartKind::Fresh,
    StartKind::Cold,
];

impl Metrics {
    pub(crate) fn new(n_functions_max: usize) -> Self {
        Self {
            functions: ArcSwap::default(),
            adding: Mutex::new(()),
            n_functions_max,
            other: FunctionMetrics::new(),
            classes: Isolation::ALL.map(|_| ClassMetrics::new()),
            errors: Code::ALL.iter().map(|_| Counter::default()).collect(),
            log_dropped_bytes: Counter::default(),
            n_receipts_dropped: Counter::default(),
            n_receipts_written: Counter::default(),
            n_receipts_failed: Counter::default(),
        }
    }

    /// Counts a settled invocation.
    pub(crate) fn record(&self, receipt: &Receipt) {
        self.classes[class_index(receipt.isolation)].record(receipt);
        self.log_dropped_bytes.add(receipt.log_dropped_bytes);
        if let Some(index) = receipt
            .error
            .and_then(|code| Code::ALL.binary_search(&code).ok())
        {
            self.errors[index].add(1);
        }
        let functions = self.functions.load();
        match functions.get(&receipt.function) {
            Some(function) => function.record(receipt),
            None if functions.len() >= self.n_functions_max => self.other.record(receipt),
            None => match self.add_function(&receipt.function) {
                Some(function) => function.record(receipt),
                None => self.other.record(receipt),
            },
        }
    }

    pub(crate) fn forget(&self, function: &FunctionKey) {
        let _adding = self.adding.lock();
        let mut functions = HashMap::clone(&self.functions.load());
        if functions.remove(function).is_some() {
            self.functions.store(Arc::new(functions));
        }
    }

    pub(crate) fn receipt_dropped(&self) {
        self.n_receipts_dropped.add(1);
    }

    pub(crate) fn receipts_written(&self, n: usize) {
        self.n_receipts_written.add(n as u64);
    }

    pub(crate) fn receipts_failed(&self) {
        self.n_receipts_failed.add(1);
    }

    fn add_function(&self, function: &FunctionKey) -> Option<Arc<FunctionMetrics>> {
        let _adding = self.adding.lock();
        let functions = self.functions.load_full();
        if let Some(metrics) = functions.get(function) {
            return Some(Arc::clone(metrics));
        }
        if functions.len() >= self.n_functions_max {
            return None;
        }
        let metrics = Arc::new(FunctionMetrics::new());
        let mut functions = HashMap::clone(&functions);
        functions.insert(function.clone(), Arc::clone(&metrics));
        self.functions.store(Arc::new(functions));
        Some(metrics)
    }
}

impl FunctionMetrics {
    fn new() -> Self {
        Self {
            n_invocations: Counter::default(),
            n_errors: Default::default(),
            n_timeouts: Counter::default(),
            n_cold: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            run: Histogram::new(DURATION_NS),
            init: Histogram::new(DURATION_NS),
            cpu: Histogram::new(DURATION_NS),
            memory: Histogram::new(MEMORY_BYTES),
        }
    }

    fn record(&self, receipt: &Receipt) {
        self.n_invocations.add(1);
        self.bytes_in.add(receipt.bytes_in);
        self.bytes_out.add(receipt.bytes_out);
        if let Some(code) = receipt.error {
            let side = SIDES.iter().position(|(side, _)| *side == code.side());
            self.n_errors[side.expect("every side is in the table")].add(1);
            let is_timeout = matches!(code, Code::DeadlineExceeded | Code::CpuExhausted);
            self.n_timeouts.add(u64::from(is_timeout));
        }
        // Without an instance the function did not run: zeros would only lie about its speed.
        if receipt.start == StartKind::None {
            return;
        }
        self.n_cold.add(u64::from(receipt.start == StartKind::Cold));
        self.run.observe(receipt.run_ns);
        self.cpu.observe(receipt.cpu_ns);
        self.memory.observe(receipt.memory_peak_bytes);
        if receipt.init_ns > 0 {
            self.init.observe(receipt.init_ns);
        }
    }
}

impl ClassMetrics {
    fn new() -> Self {
        Self {
            n_starts: Default::default(),
            queue: Histogram::new(OVERHEAD_NS),
            start: [Histogram::new(OVERHEAD_NS), Histogram::new(OVERHEAD_NS)],
        }
    }

    fn record(&self, receipt: &Receipt) {
        let kind = match receipt.start {
            StartKind::None => 0,
            StartKind::Warm => 1,
            StartKind::Fresh => 2,
            StartKind::Cold => 3,
        };
        self.n_starts[kind].add(1);
        self.queue.observe(receipt.queue_ns);
        match receipt.start {
            StartKind::Fresh => self.start[0].observe(receipt.start_ns),
            StartKind::Cold => self.start[1].observe(receipt.start_ns),
            StartKind::None | StartKind::Warm => {}
        }
    }
}

/// The place in [`Isolation::ALL`].
fn class_index(isolation: Isolation) -> usize {
    match isolation {
        Isolation::Wasm => 0,
        Isolation::V8 => 1,
        Isolation::Container => 2,
        Isolation::Gvisor => 3,
        Isolation::Microvm => 4,
    }
}
