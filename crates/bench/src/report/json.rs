//! The report for machines. Its keys are a contract: other programs read them by name.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Mode, Report, Row};

#[derive(Serialize)]
struct Document<'a> {
    meta: Meta<'a>,
    void: bool,
    rows: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Meta<'a> {
    versions: &'a BTreeMap<String, String>,
    kernel: &'a str,
    cpu: &'a str,
    n_cores: usize,
    commit: Option<&'a str>,
    mode: Mode,
    started: &'a str,
    psi: Option<f64>,
    control: Option<Control>,
    generator_ceiling_per_s: Option<f64>,
    /// Rows whose figure is the generator's.
    client_bound: Vec<&'a str>,
}

#[derive(Serialize)]
struct Control {
    ratio: Option<f64>,
    ci: [Option<f64>; 2],
}

#[derive(Serialize)]
struct Entry<'a> {
    row: &'a str,
    measure: &'a str,
    baseline: Option<&'a str>,
    ratio: Option<f64>,
    ci: Option<[f64; 2]>,
    value: Option<f64>,
    unit: Option<&'a str>,
    gate: Option<String>,
    gate_met: Option<bool>,
    moonshot_met: Option<bool>,
    cpu_us: Option<f64>,
    skipped: Option<&'a str>,
}

/// The document, with a newline at its end.
pub fn document(report: &Report) -> String {
    let meta = &report.meta;
    let document = Document {
        meta: Meta {
            versions: &meta.versions,
            kernel: &meta.machine.kernel,
            cpu: &meta.machine.cpu,
            n_cores: meta.machine.n_cores,
            commit: meta.commit.as_deref(),
            mode: meta.mode,
            started: &meta.started,
            psi: meta.psi.and_then(finite),
            control: meta.control.map(|control| Control {
                ratio: finite(control.median),
                ci: [finite(control.low), finite(control.high)],
            }),
            generator_ceiling_per_s: meta.generator_ceiling_per_s.and_then(finite),
            client_bound: report
                .rows
                .iter()
                .filter(|row| row.is_client_bound)
                .map(|row| row.row.as_str())
                .collect(),
        },
        void: report.is_void(),
        rows: report.rows.iter().map(|row| entry(report, row)).collect(),
    };
    let mut text = serde_json::to_string_pretty(&document)
        .expect("strings, finite numbers and lists of them always serialise");
    text.push('\n');
    text
}

fn entry<'a>(report: &Report, row: &'a Row) -> Entry<'a> {
    let ratio = row.figure.ratio().filter(|ratio| ratio.median.is_finite());
    let quantity = row.figure.quantity();
    Entry {
        row: &row.row,
        measure: &row.measure,
        baseline: row.baseline.as_deref(),
        ratio: ratio.map(|ratio| ratio.median),
        ci: ratio.map(|ratio| [ratio.low, ratio.high]),
        value: quantity.and_then(|quantity| finite(quantity.value)),
        unit: quantity.map(|quantity| quantity.unit),
        gate: row.gate.map(|gate| gate.to_string()),
        gate_met: report.gate_met(row),
        moonshot_met: report.moonshot_met(row),
        cpu_us: row.cpu_us.and_then(finite),
        skipped: row.figure.skipped(),
    }
}

fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}
