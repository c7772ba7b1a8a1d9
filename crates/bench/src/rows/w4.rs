//! W4: an instance serves 128 requests before the next one takes its place.

use std::rc::Rc;

use crate::lab::{Guest, Lab, RowError, Subject};
use crate::load::Expect;
use crate::report::{Bound, Row};
use crate::rows::{RowSpec, two_subjects};

pub(super) const ROW: RowSpec = RowSpec {
    name: "W4",
    measure: "wasm, wasi:http 0.2, an instance serves 128 requests",
    baseline: Some("raw hyper"),
    gate: Some(Bound::AtLeast(0.55)),
    moonshot: Some(Bound::AtLeast(0.80)),
    takes: two_subjects,
    run,
};

fn run(row: &RowSpec, lab: &mut Lab) -> Result<Vec<Row>, RowError> {
    let module = Guest::Http.module()?;
    let node = Rc::new(lab.node_with(module, 128)?);
    let ours = Subject::functions(node, ["hello".to_owned()], Expect::Ok);
    let theirs = lab.raw()?;
    Ok(vec![row.row(lab.throughput(&ours, &theirs)?)])
}
