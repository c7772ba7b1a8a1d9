//! W1: the core ABI with a fresh instance per request.

use std::rc::Rc;

use crate::lab::{Guest, Lab, RowError, Subject};
use crate::report::{Bound, Row};
use crate::rows::{RowSpec, two_subjects};

pub(super) const ROW: RowSpec = RowSpec {
    name: "W1",
    measure: "wasm, holm:core/1, fresh instance per request",
    baseline: Some("raw hyper"),
    gate: Some(Bound::AtLeast(0.45)),
    moonshot: Some(Bound::AtLeast(0.70)),
    takes: two_subjects,
    run,
};

fn run(row: &RowSpec, lab: &mut Lab) -> Result<Vec<Row>, RowError> {
    let module = Guest::Core.module()?;
    let ours = Subject::fresh(Rc::new(lab.node_with(module, 1)?));
    let theirs = lab.raw()?;
    Ok(vec![row.row(lab.throughput(&ours, &theirs)?)])
}
