//! W2, W2b and W2c: the same `wasi:http` component under a node and under others, an instance per request
//! in both.

use std::rc::Rc;

use crate::lab::{Guest, Lab, RowError, Subject};
use crate::peers;
use crate::report::{Bound, Row};
use crate::rows::{RowSpec, two_subjects};

pub(super) const AGAINST_DEFAULT: RowSpec = RowSpec {
    name: "W2",
    measure: "wasm, wasi:http 0.2, fresh instance per request",
    baseline: Some("wasmtime serve, its default pooling, no reuse"),
    gate: Some(Bound::AtLeast(4.0)),
    moonshot: Some(Bound::AtLeast(7.0)),
    takes: two_subjects,
    run: |row, lab| against_wasmtime(row, lab, peers::wasmtime::DEFAULT),
};

pub(super) const AGAINST_TUNED: RowSpec = RowSpec {
    name: "W2b",
    measure: "wasm, wasi:http 0.2, fresh instance per request",
    baseline: Some("wasmtime serve, tuned by its flags, no reuse"),
    gate: Some(Bound::AtLeast(1.6)),
    moonshot: Some(Bound::AtLeast(2.5)),
    takes: two_subjects,
    run: |row, lab| against_wasmtime(row, lab, peers::wasmtime::TUNED),
};

pub(super) const AGAINST_RAW: RowSpec = RowSpec {
    name: "W2c",
    measure: "wasm, wasi:http 0.2, fresh instance per request",
    baseline: Some("raw hyper"),
    gate: Some(Bound::AtLeast(0.25)),
    moonshot: Some(Bound::AtLeast(0.45)),
    takes: two_subjects,
    run: against_raw,
};

fn against_wasmtime(row: &RowSpec, lab: &mut Lab, flags: &[&str]) -> Result<Vec<Row>, RowError> {
    let module = Guest::Http.module()?;
    let theirs = Subject::fresh(Rc::new(peers::wasmtime::serve(lab, module, flags)?));
    let ours = Subject::fresh(Rc::new(lab.node_with(module, 1)?));
    Ok(vec![row.row(lab.throughput(&ours, &theirs)?)])
}

fn against_raw(row: &RowSpec, lab: &mut Lab) -> Result<Vec<Row>, RowError> {
    let module = Guest::Http.module()?;
    let ours = Subject::fresh(Rc::new(lab.node_with(module, 1)?));
    let theirs = lab.raw()?;
    Ok(vec![row.row(lab.throughput(&ours, &theirs)?)])
}
