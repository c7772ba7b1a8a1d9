//! W6: what limits cost a function that computes: CPU time per call with epochs and accounts, against the
//! same module in the same engine without. One call at a time: what sharing a core costs is another matter.

use std::rc::Rc;

use crate::guests;
use crate::lab::{Found, Lab, RowError, Subject, median};
use crate::load::Expect;
use crate::report::{Bound, Quantity, Row};
use crate::rows::{RowSpec, two_subjects};
use crate::serve::ServerSpec;
use crate::servers::Server;
use crate::stats;

pub(super) const ROW: RowSpec = RowSpec {
    name: "W6",
    measure: "CPU time of a computing wasm function under limits",
    baseline: Some("the same module in wasmtime without epochs, limits, accounts"),
    gate: Some(Bound::AtMost(1.18)),
    moonshot: Some(Bound::AtMost(1.05)),
    takes: two_subjects,
    run,
};

fn run(row: &RowSpec, lab: &mut Lab) -> Result<Vec<Row>, RowError> {
    let module = guests::CORE_CPU.map_err(RowError::no_guest)?;
    let node = Rc::new(lab.node_with(module, 1)?);
    let plain = Server::floor(lab.server_core, &[("module.wasm", module)], |directory| {
        ServerSpec::Plain {
            module: directory.join("module.wasm"),
        }
    })?;
    let ours = subject(node);
    let theirs = subject(Rc::new(plain));
    let blocks = lab.take_turns(&[&ours, &theirs])?;
    let pairs: Vec<(f64, f64)> = blocks[0]
        .iter()
        .zip(&blocks[1])
        .map(|(ours, theirs)| (ours.cpu_us, theirs.cpu_us))
        .collect();
    let cpu_us = median(&blocks[0], |block| block.cpu_us);
    let quantity = Quantity {
        value: cpu_us,
        unit: "us of CPU",
    };
    let mut found = Found::ratio(stats::ratio(&pairs), Some(quantity));
    found.cpu_us = Some(cpu_us);
    Ok(vec![row.row(found)])
}

fn subject(server: Rc<Server>) -> Subject {
    Subject::functions(server, ["hello".to_owned()], Expect::Ok).one_by_one()
}
