//! W7: what a deployed function takes of the node's memory while nobody calls it. All were called once
//! before, so that what a call leaves behind is in it; the node it is held against served as many calls.

use std::time::Duration;

use crate::lab::{Caller, Found, Guest, Lab, RowError};
use crate::report::{Bound, Row};
use crate::rows::{MANY, RowSpec};
use crate::servers::NodeOptions;

pub(super) const ROW: RowSpec = RowSpec {
    name: "W7",
    measure: "memory (PSS) per deployed, idle wasm function, of 10,000 over 100 modules",
    baseline: None,
    gate: Some(Bound::AtMost(64.0)),
    moonshot: Some(Bound::AtMost(4.0)),
    takes: |_| Duration::from_secs(15),
    run,
};

fn run(row: &RowSpec, lab: &mut Lab) -> Result<Vec<Row>, RowError> {
    let many = lab.many(Guest::Core, MANY)?;
    let options = NodeOptions::usual(lab.server_core);
    let full = many.node(&options)?;
    let empty = lab.node_with(Guest::Core.module()?, 1)?;
    Caller::connect(full.address)?.call_each(many.names())?;
    let hello = std::iter::repeat_n("hello".to_owned(), MANY);
    Caller::connect(empty.address)?.call_each(hello)?;
    let per_function = (pss_kib(full.pid())? - pss_kib(empty.pid())?) / MANY as f64;
    Ok(vec![row.row(Found::absolute(per_function, "KiB"))])
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
