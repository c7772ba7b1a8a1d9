//! P3: latency while there is room: half of what the node could do, due at a constant rate.

use std::rc::Rc;

use crate::lab::{Found, Lab, RowError, Subject, median};
use crate::report::{Bound, Quantity, Row};
use crate::rows::{RowSpec, noop_node};
use crate::stats;

pub(super) const ROW: RowSpec = RowSpec {
    name: "P3",
    measure: "no-op function: p99 at half of its capacity, open loop",
    baseline: Some("raw hyper at the same rate"),
    gate: Some(Bound::AtMost(2.0)),
    moonshot: Some(Bound::AtMost(1.25)),
    takes: |plan| plan.turns(3) + std::time::Duration::from_secs(1),
    run,
};

fn run(row: &RowSpec, lab: &mut Lab) -> Result<Vec<Row>, RowError> {
    let ours = Subject::fixed(Rc::new(noop_node(lab, |_| {})?));
    let theirs = lab.raw()?;
    let capacity = lab.take_turns(&[&ours])?.remove(0);
    let rate_per_s = median(&capacity, |block| block.rate_per_s) / 2.0;
    let blocks = lab.take_turns_at(rate_per_s, &[&ours, &theirs])?;
    let pairs: Vec<(f64, f64)> = blocks[0]
        .iter()
        .zip(&blocks[1])
        .map(|(ours, theirs)| (ours.p99_us, theirs.p99_us))
        .collect();
    let p99 = Quantity {
        value: median(&blocks[0], |block| block.p99_us),
        unit: "us",
    };
    let mut found = Found::ratio(stats::ratio(&pairs), Some(p99));
    found.cpu_us = Some(median(&blocks[0], |block| block.cpu_us));
    Ok(vec![row.row(found)])
}
