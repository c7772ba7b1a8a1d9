//! Metrics of invocations, counted from their receipts: OpenTelemetry's `faas.*` in Prometheus spelling
//! by function, and the platform's own `holm_*` by class.
//!
//! Counting takes a lock once for a few hundred receipts, off the request path. Labels are bounded: a fixed number of functions have series of their
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
use parking_lot::{Mutex, MutexGuard};

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

    /// As `add` where nobody else adds: no locked instruction.
    fn add_alone(&self, n: u64) {
        if n > 0 {
            self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
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
    /// Held by who counts receipts, adds or removes a function: one at a time.
    counting: Mutex<()>,
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
            counting: Mutex::new(()),
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

    /// Counts settled invocations.
    pub(crate) fn record(&self, receipts: &[Receipt]) {
        let counting = self.counting.lock();
        let mut last: Option<(&FunctionKey, Option<Arc<FunctionMetrics>>)> = None;
        for receipt in receipts {
            self.classes[class_index(receipt.isolation)].record(receipt);
            self.log_dropped_bytes.add_alone(receipt.log_dropped_bytes);
            let code = receipt.error;
            if let Some(index) = code.and_then(|code| Code::ALL.binary_search(&code).ok()) {
                self.errors[index].add_alone(1);
            }
            let key = &receipt.function;
            if last.as_ref().is_none_or(|(last, _)| !is_same(last, key)) {
                last = Some((key, self.function(key, &counting)));
            }
            let function = last.as_ref().and_then(|(_, function)| function.as_deref());
            function.unwrap_or(&self.other).record(receipt);
        }
    }

    pub(crate) fn forget(&self, function: &FunctionKey) {
        let _counting = self.counting.lock();
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

    /// The counters of a function, new ones where it has none; `None` where there are too many.
    fn function(
        &self,
        function: &FunctionKey,
        _counting: &MutexGuard<'_, ()>,
    ) -> Option<Arc<FunctionMetrics>> {
        let functions = self.functions.load();
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

/// Whether both are the same in memory: those of one version are. Others may still be equal.
fn is_same(a: &FunctionKey, b: &FunctionKey) -> bool {
    std::ptr::eq(a.name.as_str(), b.name.as_str())
        && std::ptr::eq(a.namespace.as_str(), b.namespace.as_str())
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
        self.n_invocations.add_alone(1);
        self.bytes_in.add_alone(receipt.bytes_in);
        self.bytes_out.add_alone(receipt.bytes_out);
        if let Some(code) = receipt.error {
            let side = SIDES.iter().position(|(side, _)| *side == code.side());
            self.n_errors[side.expect("every side is in the table")].add_alone(1);
            let is_timeout = matches!(code, Code::DeadlineExceeded | Code::CpuExhausted);
            self.n_timeouts.add_alone(u64::from(is_timeout));
        }
        // Without an instance the function did not run: zeros would only lie about its speed.
        if receipt.start == StartKind::None {
            return;
        }
        self.n_cold
            .add_alone(u64::from(receipt.start == StartKind::Cold));
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
        self.n_starts[kind].add_alone(1);
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
