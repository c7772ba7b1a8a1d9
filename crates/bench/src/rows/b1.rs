//! B1: what metering costs, where nothing else costs anything; and whether it is right: what a function
//! that computes is billed against what the node's process used.

use std::rc::Rc;

use crate::guests;
use crate::lab::{Lab, RowError, Subject};
use crate::load::Expect;
use crate::report::{Bound, Row};
use crate::rows::{RowSpec, noop_node};
use crate::servers::billed_cpu;

/// How far what is billed may be from what the process used.
const BILLING_TOLERANCE: f64 = 0.01;

pub(super) const ROW: RowSpec = RowSpec {
    name: "B1",
    measure: "no-op function with metering",
    baseline: Some("the same without"),
    gate: Some(Bound::AtLeast(0.95)),
    moonshot: Some(Bound::AtLeast(0.99)),
    takes: |plan| plan.turns(3) + std::time::Duration::from_secs(3),
    run,
};

fn run(row: &RowSpec, lab: &mut Lab) -> Result<Vec<Row>, RowError> {
    let share = billed_share(lab)?;
    let with = Subject::fixed(Rc::new(noop_node(lab, |_| {})?));
    let without = Subject::fixed(Rc::new(noop_node(lab, |options| options.metering = false)?));
    let mut found = lab.throughput(&with, &without)?;
    found.moonshot_also = (share - 1.0).abs() <= BILLING_TOLERANCE;
    let mut row = row.row(found);
    row.measure = format!(
        "{}; of a computing function {:.1} % of the process's CPU time is billed",
        row.measure,
        share * 100.0
    );
    Ok(vec![row])
}

/// The CPU time on the receipts of a function that computes, by that of the node's process.
fn billed_share(lab: &mut Lab) -> Result<f64, RowError> {
    let module = guests::CORE_CPU.map_err(RowError::no_guest)?;
    let node = Rc::new(lab.node_with(module, 1)?);
    let subject = Subject::functions(Rc::clone(&node), ["hello".to_owned()], Expect::Ok);
    let billed_before = billed_cpu(&node)?;
    let used_before = node.clock.now()?;
    lab.take_turns(&[&subject.one_by_one()])?;
    let used = node.clock.now()?.saturating_sub(used_before);
    let billed = billed_cpu(&node)?.saturating_sub(billed_before);
    Ok(billed.as_secs_f64() / used.as_secs_f64())
}
