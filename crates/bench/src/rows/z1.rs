//! Z1: from starting the process until it says that it is ready.

use std::time::Duration;

use crate::lab::{Found, Guest, Lab, RowError};
use crate::report::{Bound, Row};
use crate::rows::{RowSpec, SOME};
use crate::servers::NodeOptions;
use crate::stats;

pub(super) const ROW: RowSpec = RowSpec {
    name: "Z1",
    measure: "start of a node to ready, 1,000 functions deployed",
    baseline: None,
    gate: Some(Bound::AtMost(300.0)),
    moonshot: Some(Bound::AtMost(50.0)),
    takes: |plan| Duration::from_secs(plan.n_rounds as u64 + 5),
    run,
};

fn run(row: &RowSpec, lab: &mut Lab) -> Result<Vec<Row>, RowError> {
    let many = lab.many(Guest::Core, SOME)?;
    let mut times_ms = Vec::new();
    for _ in 0..lab.plan.n_rounds {
        let node = many.node(&NodeOptions::usual(lab.server_core))?;
        times_ms.push(node.started_in.as_secs_f64() * 1e3);
    }
    let median_ms = stats::median_of(&times_ms).median;
    Ok(vec![row.row(Found::absolute(median_ms, "ms"))])
}
