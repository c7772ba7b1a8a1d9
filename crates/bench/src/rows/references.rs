//! Rows of reference, without a gate: a node's no-op function beside servers that people know.

use std::rc::Rc;

use crate::lab::{Lab, RowError, Subject};
use crate::peers;
use crate::report::Row;
use crate::rows::{RowSpec, noop_node, two_subjects};
use crate::servers::Server;

pub(super) const NODE: RowSpec = RowSpec {
    name: "R1",
    measure: "no-op function, as in P1",
    baseline: Some("node http, one process"),
    gate: None,
    moonshot: None,
    takes: two_subjects,
    run: |row, lab| {
        let server = peers::nodejs::serve(lab)?;
        against(row, lab, server)
    },
};

pub(super) const NGINX: RowSpec = RowSpec {
    name: "R2",
    measure: "no-op function, as in P1",
    baseline: Some("nginx return 200, one worker"),
    gate: None,
    moonshot: None,
    takes: two_subjects,
    run: |row, lab| {
        let server = peers::nginx::serve(lab)?;
        against(row, lab, server)
    },
};

fn against(row: &RowSpec, lab: &mut Lab, server: Server) -> Result<Vec<Row>, RowError> {
    let ours = Subject::fixed(Rc::new(noop_node(lab, |_| {})?));
    let theirs = Subject::fixed(Rc::new(server));
    Ok(vec![row.row(lab.throughput(&ours, &theirs)?)])
}
