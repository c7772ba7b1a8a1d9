//! The rows: what is measured against what, and what must come out. Each in a file of its own, and in the
//! table here. The figures of gates and moonshots are promises: docs/performance.md has them.

mod b1;
mod decomposition;
mod p1;
mod p2;
mod p3;
mod references;
mod w1;
mod w2;
mod w3;
mod w4;
mod w6;
mod w7;
mod z1;

use std::time::Duration;

use crate::lab::{Found, Lab, Plan, RowError};
use crate::report::{Bound, Figure, Row};
use crate::servers::{Engine, NodeOptions, Server};

/// Functions of rows about many of them.
const MANY: usize = 10_000;

/// Functions of the row about starting.
const SOME: usize = 1_000;

/// What is deployed where no guest runs: an empty module.
pub(crate) const NO_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// A row, or a few that are measured together.
pub(crate) struct RowSpec {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What is measured.
    pub(crate) measure: &'static str,
    /// What it is compared with; none for an absolute figure.
    pub(crate) baseline: Option<&'static str>,
    /// What must be reached.
    pub(crate) gate: Option<Bound>,
    /// What it aims for.
    pub(crate) moonshot: Option<Bound>,
    /// What it takes under a plan, roughly and rather too much.
    pub(crate) takes: fn(&Plan) -> Duration,
    /// Measures it.
    pub(crate) run: fn(&RowSpec, &mut Lab) -> Result<Vec<Row>, RowError>,
}

/// Every row, in the order in which they are measured and shown.
pub(crate) const ROWS: &[&RowSpec] = &[
    &p1::ROW,
    &p3::ROW,
    &w1::ROW,
    &w2::AGAINST_DEFAULT,
    &w2::AGAINST_TUNED,
    &w2::AGAINST_RAW,
    &w4::ROW,
    &w3::ROW,
    &w6::ROW,
    // Before the rows with more functions: those are deployed on top of its own.
    &z1::ROW,
    &p2::ROW,
    &w7::ROW,
    &p1::SANDBOXES,
    &b1::ROW,
    &decomposition::CORE,
    &decomposition::HTTP,
    &p2::ONE_CALLED,
    &references::NODE,
    &references::NGINX,
];

impl RowSpec {
    /// The row with what was found.
    pub(crate) fn row(&self, found: Found) -> Row {
        Row {
            moonshot_also: found.moonshot_also,
            cpu_us: found.cpu_us,
            is_client_bound: found.is_client_bound,
            ..self.empty(found.figure)
        }
    }

    /// The row with a figure and nothing else.
    pub(crate) fn empty(&self, figure: Figure) -> Row {
        Row {
            row: self.name.to_owned(),
            measure: self.measure.to_owned(),
            baseline: self.baseline.map(ToOwned::to_owned),
            figure,
            gate: self.gate,
            moonshot: self.moonshot,
            moonshot_also: true,
            cpu_us: None,
            is_client_bound: false,
        }
    }
}

/// What two subjects with a node to start take.
fn two_subjects(plan: &Plan) -> Duration {
    plan.turns(2) + Duration::from_secs(1)
}

/// A node without guests.
fn noop_options(lab: &Lab) -> NodeOptions {
    NodeOptions {
        engine: Engine::Noop,
        ..NodeOptions::usual(lab.server_core)
    }
}

/// The same with one function and `change`.
fn noop_node(lab: &Lab, change: impl FnOnce(&mut NodeOptions)) -> Result<Server, RowError> {
    let mut options = noop_options(lab);
    change(&mut options);
    lab.special_node(&options, NO_MODULE, 1)
}
