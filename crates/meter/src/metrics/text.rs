//! The Prometheus text exposition format, version 0.0.4. Other crates add their own metrics to the same
//! text.

use std::fmt::{Display, Write as _};

use super::histogram::Snapshot;

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows; restarts at 0 with the node.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations by bucket.
    Histogram,
}

/// The text while it is being written: a family, then its samples, then the next family.
#[derive(Debug, Default)]
pub struct PrometheusText {
    text: String,
    /// The family that samples belong to.
    family: String,
}

/// How a histogram's integers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Nanoseconds, written as seconds.
    Seconds,
    /// As they are.
    Plain,
}

impl PrometheusText {
    /// Begins a family: all samples up to the next one belong to it. Names are `[a-z_]` with the unit,
    /// and `_total` for counters, at the end. A family may be begun once.
    pub fn family(&mut self, name: &str, kind: MetricKind, help: &str) {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        name.clone_into(&mut self.family);
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// A family with one sample and no labels.
    pub fn single(&mut self, name: &str, kind: MetricKind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.text
    }

    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Snapshot, unit: Unit) {
        for (bound, n) in histogram.bounds.iter().zip(&histogram.cumulative) {
            self.line("_bucket", labels, Some(&unit.format(*bound)), n);
        }
        self.line("_bucket", labels, Some("+Inf"), histogram.n);
        self.line("_sum", labels, None, unit.format(histogram.sum));
        self.line("_count", labels, None, histogram.n);
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        le: Option<&str>,
        value: impl Display,
    ) {
        self.text.push_str(&self.family);
        self.text.push_str(suffix);
        let labels = labels.iter().copied().chain(le.map(|le| ("le", le)));
        let mut separator = '{';
        for (name, value) in labels {
            let _ = write!(self.text, "{separator}{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

impl Unit {
    fn format(self, value: u64) -> String {
        match self {
            Unit::Seconds => seconds(value),
            Unit::Plain => value.to_string(),
        }
    }
}

/// Nanoseconds as seconds, exact: `0.0025`.
pub(super) fn seconds(ns: u64) -> String {
    const NS_PER_S: u64 = 1_000_000_000;
    let (whole, rest) = (ns / NS_PER_S, ns % NS_PER_S);
    if rest == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{rest:09}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::histogram::Histogram;

    #[test]
    fn seconds_are_exact() {
        for (ns, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (2_500_000, "0.0025"),
            (30_000_000_000, "30"),
        ] {
            assert_eq!(seconds(ns), text);
        }
    }

    #[test]
    fn the_format_is_prometheus() {
        let mut text = PrometheusText::default();
        text.single("a_total", MetricKind::Counter, "What\nis \\ it.", 7);
        text.family("b", MetricKind::Gauge, "B.");
        text.sample(&[("name", "x\"\\\n"), ("class", "wasm")], -1);
        text.family("c_seconds", MetricKind::Histogram, "C.");
        let histogram = Histogram::new(&[1_500_000_000]);
        histogram.observe(1_000_000_000);
        histogram.observe(2_000_000_000);
        text.histogram(&[("f", "g")], &histogram.snapshot(), Unit::Seconds);
        let expected = r#"# HELP a_total What\nis \\ it.
# TYPE a_total counter
a_total 7
# HELP b B.
# TYPE b gauge
b{name="x\"\\\n",class="wasm"} -1
# HELP c_seconds C.
# TYPE c_seconds histogram
c_seconds_bucket{f="g",le="1.5"} 1
c_seconds_bucket{f="g",le="+Inf"} 2
c_seconds_sum{f="g"} 3
c_seconds_count{f="g"} 2
"#;
        assert_eq!(text.into_string(), expected);
    }
}
