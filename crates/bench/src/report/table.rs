//! The report for people: one Markdown table, padded so that it also reads as plain text.

use std::fmt::Write as _;

use super::{Bound, CONTROL_TOLERANCE, Figure, Mode, Report, Row};

const HEADER: [&str; 9] = [
    "row", "measure", "against", "ratio", "95 %", "value", "CPU µs", "gate", "moonshot",
];

/// Columns of numbers, aligned right.
const NUMBERS: [bool; 9] = [false, false, false, true, true, true, true, false, false];

const CLIENT_BOUND: &str = "†";
const CLOSE: &str = "~";

/// The table, with what qualifies it around it.
pub fn markdown(report: &Report) -> String {
    let mut text = circumstances(report);
    let rows: Vec<[String; 9]> = report.rows.iter().map(|row| cells(report, row)).collect();
    let widths: [usize; 9] = std::array::from_fn(|column| {
        rows.iter()
            .map(|cells| width(&cells[column]))
            .chain([width(HEADER[column]), 2])
            .max()
            .unwrap_or_default()
    });
    push_line(&mut text, &HEADER.map(str::to_owned), &widths);
    text.push('|');
    for (width, is_number) in widths.iter().zip(NUMBERS) {
        let end = if is_number { ':' } else { '-' };
        let _ = write!(text, "{:-<1$}{end}|", "", width + 1);
    }
    text.push('\n');
    for cells in &rows {
        push_line(&mut text, cells, &widths);
    }
    text.push_str(&notes(report, &rows));
    text
}

/// What was measured, when and on what.
fn circumstances(report: &Report) -> String {
    let meta = &report.meta;
    let mut text = String::new();
    if report.is_void() {
        let median = meta.control.map_or(f64::NAN, |control| control.median);
        let _ = writeln!(
            text,
            "**VOID**: one server measured against itself came out at {} instead of 1 ± {CONTROL_TOLERANCE}. \
             The machine is too noisy; nothing below is decided. Run it again when nothing else runs.\n",
            number(median)
        );
    }
    let mode = match meta.mode {
        Mode::Quick => "quick",
        Mode::Full => "full",
    };
    let commit = meta.commit.as_deref().unwrap_or("an unknown commit");
    let _ = writeln!(
        text,
        "{mode} run of {commit}, {}; {}, {} cores, {}\n",
        meta.started, meta.machine.cpu, meta.machine.n_cores, meta.machine.kernel
    );
    text
}

fn cells(report: &Report, row: &Row) -> [String; 9] {
    let ratio = row.figure.ratio();
    let mark = if row.is_client_bound {
        CLIENT_BOUND
    } else {
        ""
    };
    let found = match &row.figure {
        Figure::Skipped(_) => "skipped".to_owned(),
        Figure::FullOnly => "full-only".to_owned(),
        Figure::Absolute(_) => "-".to_owned(),
        Figure::Ratio { ratio, .. } => number(ratio.median) + mark,
    };
    let value = row.figure.quantity().map(|quantity| {
        // An absolute row has no ratio to carry the mark.
        let mark = if ratio.is_none() { mark } else { "" };
        format!("{} {}{mark}", number(quantity.value), quantity.unit)
    });
    [
        row.row.clone(),
        row.measure.clone(),
        row.baseline.clone().unwrap_or_else(|| "-".to_owned()),
        found,
        ratio.map_or_else(
            || "-".to_owned(),
            |ratio| format!("{} to {}", number(ratio.low), number(ratio.high)),
        ),
        value.unwrap_or_else(|| "-".to_owned()),
        row.cpu_us.map_or_else(|| "-".to_owned(), number),
        verdict(row, row.gate, report.gate_met(row), ["met", "MISSED"]),
        verdict(
            row,
            row.moonshot,
            report.moonshot_met(row),
            ["met", "not yet"],
        ),
    ]
    .map(|cell| escape(&cell))
}

fn verdict(row: &Row, bound: Option<Bound>, met: Option<bool>, words: [&str; 2]) -> String {
    let Some(bound) = bound else {
        return "-".to_owned();
    };
    let [yes, no] = words;
    match met {
        None => bound.to_string(),
        Some(met) => {
            let word = if met { yes } else { no };
            let close = if is_close(row, bound) { CLOSE } else { "" };
            format!("{bound} {word}{close}")
        }
    }
}

/// Whether the interval has values on both sides of the bound: another run may decide otherwise.
fn is_close(row: &Row, bound: Bound) -> bool {
    row.figure
        .ratio()
        .is_some_and(|ratio| bound.is_met_by(ratio.low) != bound.is_met_by(ratio.high))
}

/// What the marks mean, why rows are missing, and what the run says about itself.
fn notes(report: &Report, rows: &[[String; 9]]) -> String {
    let meta = &report.meta;
    let mut notes = Vec::new();
    if report
        .rows
        .iter()
        .any(|row| row.is_client_bound && row.figure.decisive().is_some())
    {
        notes.push(format!(
            "{CLIENT_BOUND} client-bound: the load generator was the limit, the server can do more."
        ));
    }
    if rows
        .iter()
        .any(|cells| cells[7].ends_with(CLOSE) || cells[8].ends_with(CLOSE))
    {
        notes.push(format!(
            "{CLOSE} the bound lies within the interval: another run may decide otherwise."
        ));
    }
    for row in &report.rows {
        if let Some(reason) = row.figure.skipped() {
            notes.push(format!("{}: {reason}", row.row));
        }
    }
    if let Some(control) = meta.control {
        notes.push(format!(
            "Control, one server against itself: {} ({} to {}).",
            number(control.median),
            number(control.low),
            number(control.high)
        ));
    }
    if let Some(ceiling) = meta.generator_ceiling_per_s {
        notes.push(format!(
            "The load generator's own ceiling: {} requests/s.",
            number(ceiling)
        ));
    }
    if let Some(psi) = meta.psi {
        notes.push(format!("CPU pressure before the start: {} %.", number(psi)));
    }
    if !meta.versions.is_empty() {
        let versions: Vec<String> = meta
            .versions
            .iter()
            .map(|(program, version)| format!("{program}: {version}"))
            .collect();
        notes.push(format!("Versions: {}.", versions.join("; ")));
    }
    let mut text = String::new();
    for note in notes {
        let _ = write!(text, "\n- {}", note.replace('\n', " "));
    }
    if text.is_empty() {
        text
    } else {
        format!("{text}\n")
    }
}

fn push_line(text: &mut String, cells: &[String; 9], widths: &[usize; 9]) {
    text.push('|');
    for ((cell, width_max), is_number) in cells.iter().zip(widths).zip(NUMBERS) {
        let gap = " ".repeat(width_max - width(cell));
        let _ = match is_number {
            true => write!(text, " {gap}{cell} |"),
            false => write!(text, " {cell}{gap} |"),
        };
    }
    text.push('\n');
}

/// A cell must not end its column or its line.
fn escape(cell: &str) -> String {
    cell.replace('|', "\\|").replace('\n', " ")
}

/// Columns that text takes. What is printed here has no wide characters.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// Three significant digits, or all of those before the point, in groups of three.
pub fn number(number: f64) -> String {
    if !number.is_finite() {
        return "no number".to_owned();
    }
    let size = number.abs();
    if size >= 1000.0 {
        return grouped(number);
    }
    let n_decimals = match size {
        _ if size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{number:.n_decimals$}")
}

fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits.as_str()),
    };
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
