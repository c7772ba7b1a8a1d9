//! Writes the counters as text. Every family's samples stand together, functions in order of their names.

use model::{Code, FunctionKey, Isolation};

use super::histogram::Histogram;
use super::text::{MetricKind, PrometheusText, Unit};
use super::{Counter, FunctionMetrics, Metrics, OTHER, SIDES, STARTS};

/// Name and counters of every function, `_other` last.
type Rows<'m> = [(String, &'m FunctionMetrics)];

impl Metrics {
    pub(crate) fn render(&self, text: &mut PrometheusText, n_unwritten: usize) {
        let functions = self.functions.load_full();
        let mut sorted: Vec<(&FunctionKey, &FunctionMetrics)> = functions
            .iter()
            .map(|(function, metrics)| (function, metrics.as_ref()))
            .collect();
        sorted.sort_by_key(|(function, _)| *function);
        let mut rows: Vec<(String, &FunctionMetrics)> = sorted
            .into_iter()
            .map(|(function, metrics)| (function.to_string(), metrics))
            .collect();
        if self.other.n_invocations.get() > 0 {
            rows.push((OTHER.to_owned(), &self.other));
        }
        function_counters(text, &rows);
        function_histograms(text, &rows);
        self.render_classes(text);
        self.render_receipts(text, n_unwritten);
    }

    fn render_classes(&self, text: &mut PrometheusText) {
        let classes = || Isolation::ALL.into_iter().zip(&self.classes);
        let name = "holm_invocations_total";
        let help = "Invocations by isolation class and how they got their instance.";
        text.family(name, MetricKind::Counter, help);
        for (isolation, class) in classes() {
            for (kind, counter) in STARTS.iter().zip(&class.n_starts) {
                let labels = [("isolation", isolation.as_str()), ("start", kind.as_str())];
                counted(text, &labels, counter);
            }
        }
        let help = "Time that invocations waited for a place.";
        text.family("holm_queue_duration_seconds", MetricKind::Histogram, help);
        for (isolation, class) in classes() {
            observed(
                text,
                &[("isolation", isolation.as_str())],
                &class.queue,
                Unit::Seconds,
            );
        }
        let help = "Time that making an instance took, the function's own init included.";
        text.family("holm_start_duration_seconds", MetricKind::Histogram, help);
        for (isolation, class) in classes() {
            for (kind, histogram) in ["fresh", "cold"].into_iter().zip(&class.start) {
                let labels = [("isolation", isolation.as_str()), ("start", kind)];
                observed(text, &labels, histogram, Unit::Seconds);
            }
        }
        text.family(
            "holm_errors_total",
            MetricKind::Counter,
            "Failed invocations by error code.",
        );
        for (code, counter) in Code::ALL.iter().zip(&self.errors) {
            counted(text, &[("code", &code.to_string())], counter);
        }
    }

    fn render_receipts(&self, text: &mut PrometheusText, n_unwritten: usize) {
        let counters = [
            (
                "holm_receipts_written_total",
                "Receipts brought to the storage.",
                &self.n_receipts_written,
            ),
            (
                "holm_receipts_dropped_total",
                "Receipts lost because too many were waiting for the storage.",
                &self.n_receipts_dropped,
            ),
            (
                "holm_receipts_write_failures_total",
                "Attempts to write receipts that failed; they are repeated.",
                &self.n_receipts_failed,
            ),
            (
                "holm_log_limit_dropped_bytes_total",
                "Log bytes dropped at the log limit of their invocation.",
                &self.log_dropped_bytes,
            ),
        ];
        for (name, help, counter) in counters {
            text.single(name, MetricKind::Counter, help, counter.get());
        }
        let help = "Receipts in memory that are not in the storage.";
        text.single(
            "holm_receipts_unwritten",
            MetricKind::Gauge,
            help,
            n_unwritten,
        );
    }
}

fn function_counters(text: &mut PrometheusText, rows: &Rows<'_>) {
    type Get = fn(&FunctionMetrics) -> &Counter;
    let counters: [(&str, &str, Get); 3] = [
        (
            "faas_invocations_total",
            "Invocations, failed ones too.",
            |f| &f.n_invocations,
        ),
        (
            "faas_coldstarts_total",
            "Invocations that met no template in memory.",
            |f| &f.n_cold,
        ),
        (
            "faas_timeouts_total",
            "Invocations that ran out of wall-clock or CPU time.",
            |f| &f.n_timeouts,
        ),
    ];
    for (name, help, get) in counters {
        text.family(name, MetricKind::Counter, help);
        for (function, metrics) in rows {
            text.sample(&[("faas_name", function)], get(metrics).get());
        }
    }
    let help = "Failed invocations by whose doing it was.";
    text.family("faas_errors_total", MetricKind::Counter, help);
    for (function, metrics) in rows {
        for ((_, side), counter) in SIDES.iter().zip(&metrics.n_errors) {
            // Also where it is 0: `rate()` does not see a series that begins at 1.
            text.sample(&[("faas_name", function), ("side", side)], counter.get());
        }
    }
    text.family(
        "faas_net_io_bytes_total",
        MetricKind::Counter,
        "Body bytes in and out.",
    );
    for (function, metrics) in rows {
        for (direction, counter) in [("in", &metrics.bytes_in), ("out", &metrics.bytes_out)] {
            counted(
                text,
                &[("faas_name", function), ("direction", direction)],
                counter,
            );
        }
    }
}

fn function_histograms(text: &mut PrometheusText, rows: &Rows<'_>) {
    type Get = fn(&FunctionMetrics) -> &Histogram;
    let histograms: [(&str, &str, Unit, Get); 4] = [
        (
            "faas_invoke_duration_seconds",
            "Time from the hand-over to the function to the end of its answer.",
            Unit::Seconds,
            |f| &f.run,
        ),
        (
            "faas_init_duration_seconds",
            "Time that the function's own initialisation took.",
            Unit::Seconds,
            |f| &f.init,
        ),
        (
            "faas_cpu_usage_seconds",
            "CPU time of an invocation, initialisation included.",
            Unit::Seconds,
            |f| &f.cpu,
        ),
        (
            "faas_mem_usage_bytes",
            "Peak memory of an instance.",
            Unit::Plain,
            |f| &f.memory,
        ),
    ];
    for (name, help, unit, get) in histograms {
        text.family(name, MetricKind::Histogram, help);
        for (function, metrics) in rows {
            observed(text, &[("faas_name", function)], get(metrics), unit);
        }
    }
}

/// Leaves out what never happened: most combinations of labels.
fn counted(text: &mut PrometheusText, labels: &[(&str, &str)], counter: &Counter) {
    if counter.get() > 0 {
        text.sample(labels, counter.get());
    }
}

/// As [`counted`].
fn observed(text: &mut PrometheusText, labels: &[(&str, &str)], histogram: &Histogram, unit: Unit) {
    let snapshot = histogram.snapshot();
    if snapshot.n > 0 {
        text.histogram(labels, &snapshot, unit);
    }
}
