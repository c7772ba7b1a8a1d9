//! What the hidden command `internal-bench-server` serves: the floors that a node is measured against,
//! and nodes with a part replaced. Runs in a process of its own that dies with the bench.
//!
//! Refuses to know what is measured.

mod node;
mod noop;

mod plain;
mod raw;
mod stage;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use model::{Code, Failure};
use serde::{Deserialize, Serialize};

/// What such a process is to serve. Travels as JSON in its only argument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ServerSpec {
    /// hyper alone: a fixed answer of one byte.
    Raw,
    /// A node with parts of the bench's own.
    Node(NodeSpec),
    /// The stages of a node between hyper and the whole.
    Stage(StageSpec),
    /// A module in wasmtime with nothing around it: no epochs, no limits, no receipts.
    Plain {
        /// The module; speaks `holm:core/1` as far as answering goes.
        module: PathBuf,
    },
}

/// A node with parts of the bench's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeSpec {
    /// The node's configuration file.
    pub(crate) config: PathBuf,
    /// The engine of class `wasm`.
    pub(crate) engine: EngineSpec,
    /// Whether receipts are made and kept.
    pub(crate) metering: bool,
    /// Whether log lines are kept.
    pub(crate) logs: bool,
}

/// The engine of class `wasm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EngineSpec {
    /// The node's own.
    Usual,
    /// One that answers at once, without a guest.
    Noop,
}

/// hyper with one or two stages of a node behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StageSpec {
    /// The function's artifact.
    pub(crate) module: PathBuf,
    /// Where the engine keeps what it compiled.
    pub(crate) data_dir: PathBuf,
    /// How far it goes.
    pub(crate) stage: Stage,
}

/// How far a server of stages goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// An instance per request straight from the engine's template.
    Engine,
    /// The same through the invoker: admission, pools, deadlines, settlement into nothing.
    Invoker,
}

/// What a server says on its first line of stdout, in the words of `holm up --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Where it answers.
    pub(crate) gateway: String,
    /// Where its admin API answers; a floor has none.
    #[serde(default)]
    pub(crate) admin: Option<String>,
}

/// The whole of such a process: serves what `spec` says until it is killed.
///
/// # Errors
/// `InvalidArgument` for a specification that is none; what is in the way of serving.
pub fn run(spec: &str) -> Result<(), Failure> {
    let spec: ServerSpec = serde_json::from_str(spec).map_err(|error| {
        Failure::new(
            Code::InvalidArgument,
            format!("the bench runs this command itself: {error}"),
        )
    })?;
    match spec {
        ServerSpec::Raw => raw::run(),
        ServerSpec::Node(spec) => node::run(spec),
        ServerSpec::Stage(spec) => stage::run(spec),
        ServerSpec::Plain { module } => plain::run(&module),
    }
}

/// Says where the server answers.
fn tell(gateway: SocketAddr, admin: Option<SocketAddr>) -> Result<(), Failure> {
    let ready = Ready {
        gateway: format!("http://{gateway}"),
        admin: admin.map(|admin| format!("http://{admin}")),
    };
    let line = serde_json::to_string(&ready).expect("plain data");
    writeln!(std::io::stdout(), "{line}").map_err(|error| internal("stdout", &error))
}

fn internal(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Code::Internal, format!("{what}: {error}"))
}
