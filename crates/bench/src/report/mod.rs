//! What a run found, as one table for people and one document for machines. Knows nothing of how a figure
//! came about.

mod row;

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
    /// Whether the machine was too noisy: the control is not 1 ± 0.05. Nothing in a void run is decided.
    pub fn is_void(&self) -> bool {
        false
    }

    /// What the process exits with: 0 measured, 2 void, and when `check` is asked 1 for a missed gate.
    pub fn exit_code(&self, check: bool) -> u8 {
        let _ = check;
        0
    }

    /// One Markdown table, with what qualifies it below.
    pub fn to_markdown(&self) -> String {
        String::new()
    }

    /// The document of `--out`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// This moment as a report has it: RFC 3339, UTC, seconds.
pub fn timestamp() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}
