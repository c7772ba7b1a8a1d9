//! P2: what it costs a request that ten thousand functions are deployed. All of them are called, so that
//! none profits from being the only one in the processor's caches.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::lab::{Guest, Lab, RowError, Subject};
use crate::load::Expect;
use crate::report::{Bound, Row};
use crate::rows::{MANY, RowSpec, noop_node, noop_options};

pub(super) const ROW: RowSpec = RowSpec {
    name: "P2",
    measure: "no-op function, 10,000 deployed over 100 modules, all of them called",
    baseline: Some("the same, 1 deployed"),
    gate: Some(Bound::AtLeast(0.95)),
    moonshot: Some(Bound::AtLeast(0.99)),
    takes: |plan| plan.turns(2) + Duration::from_secs(25),
    run: |row, lab| run(row, lab, usize::MAX),
};

pub(super) const ONE_CALLED: RowSpec = RowSpec {
    name: "P2b",
    measure: "no-op function, 10,000 deployed over 100 modules, one of them called",
    baseline: Some("the same, 1 deployed"),
    gate: None,
    moonshot: None,
    takes: |plan| plan.turns(2) + Duration::from_secs(2),
    run: |row, lab| run(row, lab, 1),
};

fn run(row: &RowSpec, lab: &mut Lab, n_called: usize) -> Result<Vec<Row>, RowError> {
    let many = lab.many(Guest::Core, MANY)?;
    let node = Rc::new(many.node(&noop_options(lab))?);
    let answer = Expect::Body(Bytes::from_static(b"1"));
    let ours = Subject::functions(node, many.names().take(n_called), answer);
    let theirs = Subject::fixed(Rc::new(noop_node(lab, |_| {})?));
    Ok(vec![row.row(lab.throughput(&ours, &theirs)?)])
}
