//! W7: what a deployed function takes of the node's memory while nobody calls it. All were called once
//! before, so that what a call leaves behind is in it.

use std::rc::Rc;
use std::time::Duration;

use crate::lab::{Found, Guest, Lab, RowError, Subject};
use crate::load::Expect;
use crate::report::{Bound, Row};
use crate::rows::{MANY, RowSpec};
use crate::servers::{NodeOptions, Server};

pub(super) const ROW: RowSpec = RowSpec {
    name: "W7",
    measure: "memory (PSS) per deployed, idle wasm function, of 10,000 over 100 modules",
    baseline: None,
    gate: Some(Bound::AtMost(64.0)),
    moonshot: Some(Bound::AtMost(4.0)),
    takes: |plan| plan.turns(2) + Duration::from_secs(25),
    run,
};

fn run(row: &RowSpec, lab: &mut Lab) -> Result<Vec<Row>, RowError> {
    let many = lab.many(Guest::Core, MANY)?;
    let options = NodeOptions::usual(lab.server_core);
    let full = Rc::new(many.node(&options)?);
    let empty = Rc::new(lab.node_with(Guest::Core.module()?, 1)?);
    let of_full = after_load(lab, &full, many.names())?;
    let of_empty = after_load(lab, &empty, ["hello".to_owned()])?;
    let per_function = (of_full - of_empty) / MANY as f64;
    Ok(vec![row.row(Found::absolute(per_function, "KiB"))])
}

/// What a node has in memory after all its functions were called, in KiB.
fn after_load(
    lab: &mut Lab,
    server: &Rc<Server>,
    names: impl IntoIterator<Item = String>,
) -> Result<f64, RowError> {
    let subject = Subject::functions(Rc::clone(server), names, Expect::Ok);
    lab.take_turns(&[&subject])?;
    pss_kib(server.pid())
}

/// "Pss" of `/proc/<pid>/smaps_rollup` (proc_pid_smaps_rollup(5)).
fn pss_kib(pid: u32) -> Result<f64, RowError> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| RowError::Failed(format!("{path}: {error}")))?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| RowError::Failed(format!("{path} has no Pss")))
}
