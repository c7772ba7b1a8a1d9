//! P1: everything a node does for a request but running a guest. A2 takes its absolute figure from the
//! same: each of those requests made a sandbox.

use std::rc::Rc;

use crate::lab::{Block, Found, Lab, RowError, Subject, median};
use crate::report::{Bound, Row};
use crate::rows::{RowSpec, noop_node, two_subjects};

pub(super) const ROW: RowSpec = RowSpec {
    name: "P1",
    measure: "no-op function: routing, limits, receipt, a log line",
    baseline: Some("raw hyper"),
    gate: Some(Bound::AtLeast(0.75)),
    moonshot: Some(Bound::AtLeast(0.90)),
    takes: two_subjects,
    run,
};

pub(super) const SANDBOXES: RowSpec = RowSpec {
    name: "A2",
    measure: "no-op sandboxes made through the full control path, one per request, on one core",
    baseline: None,
    gate: Some(Bound::AtLeast(5_000.0)),
    moonshot: Some(Bound::AtLeast(50_000.0)),
    takes: |plan| plan.turns(1) + std::time::Duration::from_secs(1),
    run: sandboxes,
};

fn run(row: &RowSpec, lab: &mut Lab) -> Result<Vec<Row>, RowError> {
    let ours = Subject::fixed(Rc::new(noop_node(lab, |_| {})?));
    let theirs = lab.raw()?;
    Ok(vec![row.row(lab.throughput(&ours, &theirs)?)])
}

fn sandboxes(row: &RowSpec, lab: &mut Lab) -> Result<Vec<Row>, RowError> {
    let ours = Subject::fixed(Rc::new(noop_node(lab, |_| {})?));
    let blocks: Vec<Block> = lab.take_turns(&[&ours])?.remove(0);
    let mut found = Found::absolute(median(&blocks, |block| block.rate_per_s), "sandboxes/s");
    found.cpu_us = Some(median(&blocks, |block| block.cpu_us));
    Ok(vec![row.row(found)])
}
