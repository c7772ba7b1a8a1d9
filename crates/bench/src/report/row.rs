//! One row: what was measured against what, and whether that is enough.

use std::fmt;

use crate::stats::Interval;

/// What a figure must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Bound {
    /// Whether a figure reaches it. NaN reaches nothing.
    pub fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::AtMost(bound) => write!(f, "<= {bound}"),
        }
    }
}

/// A number with its unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantity {
    /// The number.
    pub value: f64,
    /// Its unit as printed, such as `requests/s` or `KiB`.
    pub unit: &'static str,
}

/// What a row found.
#[derive(Debug, Clone, PartialEq)]
pub enum Figure {
    /// Against a baseline in the same run.
    Ratio {
        /// Ours by theirs.
        ratio: Interval,
        /// Ours on its own, for orientation: it decides nothing.
        ours: Option<Quantity>,
    },
    /// An absolute figure (A2, W7, Z1).
    Absolute(Quantity),
    /// Not measured: why, and how to get it measured.
    Skipped(String),
    /// Does not fit into a quick run.
    FullOnly,
}

impl Figure {
    /// The number that gates are about. None when there is none, or when what was measured is no number.
    pub fn decisive(&self) -> Option<f64> {
        let figure = match self {
            Self::Ratio { ratio, .. } => ratio.median,
            Self::Absolute(quantity) => quantity.value,
            Self::Skipped(_) | Self::FullOnly => return None,
        };
        figure.is_finite().then_some(figure)
    }

    /// The ratio, when it is one.
    pub fn ratio(&self) -> Option<Interval> {
        match self {
            Self::Ratio { ratio, .. } => Some(*ratio),
            _ => None,
        }
    }

    /// The absolute figure: ours of a ratio, or the figure itself.
    pub fn quantity(&self) -> Option<&Quantity> {
        match self {
            Self::Ratio { ours, .. } => ours.as_ref(),
            Self::Absolute(quantity) => Some(quantity),
            Self::Skipped(_) | Self::FullOnly => None,
        }
    }

    /// Why there is no figure.
    pub fn skipped(&self) -> Option<&str> {
        match self {
            Self::Skipped(reason) => Some(reason),
            Self::FullOnly => Some("full-only: does not fit into a quick run"),
            Self::Ratio { .. } | Self::Absolute(_) => None,
        }
    }
}

/// One row of the report.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name, such as `W1`.
    pub row: String,
    /// What is measured.
    pub measure: String,
    /// What it is compared with; none for an absolute figure.
    pub baseline: Option<String>,
    /// What was found.
    pub figure: Figure,
    /// What it must reach; none for a row of reference.
    pub gate: Option<Bound>,
    /// What it aims for.
    pub moonshot: Option<Bound>,
    /// A further condition of the moonshot beside the bound (W3: and at most 1 ms); true when there is none.
    pub moonshot_also: bool,
    /// CPU time of the server's process per request in microseconds.
    pub cpu_us: Option<f64>,
    /// The generator was the limit: the figure is a lower bound of the server's.
    pub is_client_bound: bool,
}
