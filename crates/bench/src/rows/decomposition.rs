//! D1 and D2: where the time of W1 and W2c goes. Each step adds a part of a node and is a ratio to the
//! step before it.

use std::rc::Rc;

use bytes::Bytes;

use crate::lab::{Found, Guest, Lab, RowError, Subject};
use crate::load::Expect;
use crate::report::Row;
use crate::rows::RowSpec;
use crate::serve::{ServerSpec, Stage, StageSpec};
use crate::servers::{NodeOptions, Server};

pub(super) const CORE: RowSpec = RowSpec {
    name: "D1",
    measure: "where W1's time goes",
    baseline: Some("the step before"),
    gate: None,
    moonshot: None,
    takes: |plan| plan.turns(6) + std::time::Duration::from_secs(4),
    run: |row, lab| {
        let mut steps = steps(lab, Guest::Core)?;
        // The guest writes a line where its path says so.
        let name = "hello/log".to_owned();
        let node = Rc::new(lab.node_with(Guest::Core.module()?, 1)?);
        let fresh = Expect::Body(Bytes::from_static(b"1"));
        steps.push(("a log line", Subject::functions(node, [name], fresh)));
        measure(row, lab, &steps)
    },
};

pub(super) const HTTP: RowSpec = RowSpec {
    name: "D2",
    measure: "where W2c's time goes",
    baseline: Some("the step before"),
    gate: None,
    moonshot: None,
    takes: |plan| plan.turns(5) + std::time::Duration::from_secs(4),
    run: |row, lab| {
        let steps = steps(lab, Guest::Http)?;
        measure(row, lab, &steps)
    },
};

/// What a step adds, and the server that has it and everything before.
type Step = (&'static str, Subject);

fn steps(lab: &mut Lab, guest: Guest) -> Result<Vec<Step>, RowError> {
    let module = guest.module()?;
    let core = lab.server_core;
    let stage = |stage| {
        Server::floor(core, &[("module.wasm", module)], |directory| {
            ServerSpec::Stage(StageSpec {
                module: directory.join("module.wasm"),
                data_dir: directory.join("data"),
                stage,
            })
        })
    };
    let node = |metering| {
        let options = NodeOptions {
            metering,
            logs: false,
            ..NodeOptions::usual(core)
        };
        lab.special_node(&options, module, 1)
    };
    let servers = [
        ("the engine", stage(Stage::Engine)?),
        ("admission and pools", stage(Stage::Invoker)?),
        ("the gateway", node(false)?),
        ("metering", node(true)?),
    ];
    let mut steps = vec![("the floor", lab.raw()?)];
    let servers = servers.into_iter();
    steps.extend(servers.map(|(adds, server)| (adds, Subject::fresh(Rc::new(server)))));
    Ok(steps)
}

fn measure(row: &RowSpec, lab: &mut Lab, steps: &[Step]) -> Result<Vec<Row>, RowError> {
    let subjects: Vec<&Subject> = steps.iter().map(|(_, subject)| subject).collect();
    let blocks = lab.take_turns(&subjects)?;
    let rows = (1..steps.len()).map(|index| {
        let found = Found::throughput(&blocks[index], &blocks[index - 1]);
        let (adds, before) = (steps[index].0, steps[index - 1].0);
        Row {
            row: format!("{}.{index}", row.name),
            measure: format!("{}: + {adds}", row.measure),
            baseline: Some(format!("the step before: {before}")),
            ..row.row(found)
        }
    });
    Ok(rows.collect())
}
