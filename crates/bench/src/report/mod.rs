//! What a run found, as one table for people and one document for machines. Knows nothing of how a figure
//! came about.

mod json;
mod row;
mod table;

use std::collections::BTreeMap;

use serde::Serialize;

pub use row::{Bound, Figure, Quantity, Row};

use crate::machine::Description;
use crate::stats::Interval;

/// How far the A/A control may be from 1 before a run is void.
pub const CONTROL_TOLERANCE: f64 = 0.05;

/// How long a run takes and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// At most three minutes.
    Quick,
    /// At most thirty minutes.
    Full,
}

/// The circumstances of a run.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Program to version, as the program says it.
    pub versions: BTreeMap<String, String>,
    /// The machine.
    pub machine: Description,
    /// The commit measured, when known.
    pub commit: Option<String>,
    /// Quick or full.
    pub mode: Mode,
    /// When the run began, RFC 3339 (`report::timestamp`).
    pub started: String,
    /// CPU pressure before the start in percent, when the kernel counts it.
    pub psi: Option<f64>,
    /// The A/A control: one server against itself. None when the run had no row that needs one.
    pub control: Option<Interval>,
    /// Requests per second that the generator could do at most.
    pub generator_ceiling_per_s: Option<f64>,
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The circumstances.
    pub meta: Meta,
    /// The rows in the order they are shown.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether the machine was too noisy: the control is not 1 ± 0.05, or is no number. Nothing in a void
    /// run is decided.
    pub fn is_void(&self) -> bool {
        let fair = 1.0 - CONTROL_TOLERANCE..=1.0 + CONTROL_TOLERANCE;
        self.meta
            .control
            .is_some_and(|control| !fair.contains(&control.median))
    }

    /// Whether a row reached its gate. None when it has no gate or no figure, or when the run is void.
    pub fn gate_met(&self, row: &Row) -> Option<bool> {
        let figure = row.figure.decisive().filter(|_| !self.is_void())?;
        row.gate.map(|gate| gate.is_met_by(figure))
    }

    /// As [`Self::gate_met`] for the moonshot and its further condition.
    pub fn moonshot_met(&self, row: &Row) -> Option<bool> {
        let figure = row.figure.decisive().filter(|_| !self.is_void())?;
        row.moonshot
            .map(|moonshot| moonshot.is_met_by(figure) && row.moonshot_also)
    }

    /// What the process exits with: 0 measured, 2 void, and when `check` is asked 1 for a missed gate. A
    /// row without a figure misses nothing: a baseline that is not installed is no regression.
    pub fn exit_code(&self, check: bool) -> u8 {
        if self.is_void() {
            2
        } else if check
            && self
                .rows
                .iter()
                .any(|row| self.gate_met(row) == Some(false))
        {
            1
        } else {
            0
        }
    }

    /// One Markdown table, with what qualifies it above and below.
    pub fn to_markdown(&self) -> String {
        table::markdown(self)
    }

    /// The document of `--out`, with a newline at its end.
    pub fn to_json(&self) -> String {
        json::document(self)
    }
}

/// This moment as a report has it: RFC 3339, UTC, seconds.
pub fn timestamp() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests;
