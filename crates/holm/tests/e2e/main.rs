//! End to end: the real binary as a node, the real command line against it, real guests. One test binary,
//! so that it is linked once.

mod bench;
mod catalogue;
mod command_line;
mod deploys;
mod edge;
mod hostile;
mod invocations;
mod isolation;
mod limits;
mod neighbours;
mod node_life;
mod probe;
mod receipts;
mod robustness;

use testkit::{Node, NodeOptions};

/// The binary under test.
const HOLM: &str = env!("CARGO_BIN_EXE_holm");

/// A node with the defaults.
#[track_caller]
fn node() -> Node {
    Node::start(HOLM, NodeOptions::default())
}
