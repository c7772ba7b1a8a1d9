//! W3: the first request to a function of which nothing is in the node's memory, its compiled module in
//! the page cache: what a node does for every function after a restart. Each function is called cold once,
//! then warm, one request at a time.

use std::time::Duration;

use crate::lab::{Caller, Found, Guest, Lab, RowError};
use crate::report::{Bound, Mode, Quantity, Row};
use crate::rows::RowSpec;
use crate::servers::NodeOptions;
use crate::stats;

/// What a moonshot's cold start takes at most, in microseconds.
const COLD_US_MAX: f64 = 1_000.0;

pub(super) const ROW: RowSpec = RowSpec {
    name: "W3",
    measure: "wasm, wasi:http 0.2: first request after a restart, p50 (moonshot: and <= 1 ms)",
    baseline: Some("the next request, p50"),
    gate: Some(Bound::AtMost(10.0)),
    moonshot: Some(Bound::AtMost(4.0)),
    takes: |plan| Duration::from_secs(if plan.mode == Mode::Quick { 15 } else { 60 }),
    run,
};

fn run(row: &RowSpec, lab: &mut Lab) -> Result<Vec<Row>, RowError> {
    // Every function a module of its own, as two of one module share what is loaded.
    let n_functions = match lab.plan.mode {
        Mode::Quick => 30,
        Mode::Full => 100,
    };
    let many = lab.many(Guest::Http, n_functions)?;
    let mut pairs = Vec::new();
    for _ in 0..lab.plan.n_rounds {
        let node = many.node(&NodeOptions::usual(lab.server_core))?;
        let mut caller = Caller::connect(node.address)?;
        // The connection, not a function.
        caller.call("nobody", 404)?;
        let cold = stats::median_of(&caller.call_each(many.names())?).median;
        let warm = stats::median_of(&caller.call_each(many.names())?).median;
        pairs.push((cold, warm));
    }
    let cold: Vec<f64> = pairs.iter().map(|(cold, _)| *cold).collect();
    let cold_us = stats::median_of(&cold).median;
    let quantity = Quantity {
        value: cold_us,
        unit: "us",
    };
    let mut found = Found::ratio(stats::ratio(&pairs), Some(quantity));
    found.moonshot_also = cold_us <= COLD_US_MAX;
    Ok(vec![row.row(found)])
}
